"""Encoder and index held together: a corpus goes in, ranked documents come out.

Names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.retrieval.build import BuildReport, build_index
    from lsr.retrieval.changes import (
        ChangeReport,
        add_documents,
        compact_index,
        delete_documents,
        update_documents,
    )
    from lsr.retrieval.searcher import Hit, Searcher, TermScore

_HOME = {
    "BuildReport": "lsr.retrieval.build",
    "ChangeReport": "lsr.retrieval.changes",
    "Hit": "lsr.retrieval.searcher",
    "Searcher": "lsr.retrieval.searcher",
    "TermScore": "lsr.retrieval.searcher",
    "add_documents": "lsr.retrieval.changes",
    "build_index": "lsr.retrieval.build",
    "compact_index": "lsr.retrieval.changes",
    "delete_documents": "lsr.retrieval.changes",
    "update_documents": "lsr.retrieval.changes",
}

__all__ = [
    "BuildReport",
    "ChangeReport",
    "Hit",
    "Searcher",
    "TermScore",
    "add_documents",
    "build_index",
    "compact_index",
    "delete_documents",
    "update_documents",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.retrieval' has no attribute {name!r}")
