"""Encoder and index held together: a corpus goes in, ranked documents come out.

Names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.retrieval.build import BuildReport, build_index
    from lsr.retrieval.searcher import Hit, Searcher, TermScore

_HOME = {
    "BuildReport": "lsr.retrieval.build",
    "Hit": "lsr.retrieval.searcher",
    "Searcher": "lsr.retrieval.searcher",
    "TermScore": "lsr.retrieval.searcher",
    "build_index": "lsr.retrieval.build",
}

__all__ = ["BuildReport", "Hit", "Searcher", "TermScore", "build_index"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.retrieval' has no attribute {name!r}")
