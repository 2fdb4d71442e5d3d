"""Learned sparse retrieval: encode, index, search, evaluate.

Names are loaded when first used, so that ``import lsr`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.corpus import Document, read_corpus
    from lsr.encoders import load_encoder, load_query_encoder
    from lsr.errors import UserError
    from lsr.eval import evaluate
    from lsr.index import Index
    from lsr.retrieval import (
        Searcher,
        add_documents,
        build_index,
        compact_index,
        delete_documents,
        update_documents,
    )

__version__ = "0.1.0"

_HOME = {
    "Document": "lsr.corpus",
    "Index": "lsr.index",
    "Searcher": "lsr.retrieval",
    "UserError": "lsr.errors",
    "add_documents": "lsr.retrieval",
    "build_index": "lsr.retrieval",
    "compact_index": "lsr.retrieval",
    "delete_documents": "lsr.retrieval",
    "evaluate": "lsr.eval",
    "load_encoder": "lsr.encoders",
    "load_query_encoder": "lsr.encoders",
    "read_corpus": "lsr.corpus",
    "update_documents": "lsr.retrieval",
}

__all__ = [
    "Document",
    "Index",
    "Searcher",
    "UserError",
    "add_documents",
    "build_index",
    "compact_index",
    "delete_documents",
    "evaluate",
    "load_encoder",
    "load_query_encoder",
    "read_corpus",
    "update_documents",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
