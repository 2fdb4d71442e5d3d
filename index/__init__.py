"""The inverted index: files, building, query processing.

Knows nothing of text or encoders: term weights come in as ``scipy.sparse.csr_array``, document
numbers and scores go out. Names are loaded when first used; opening and searching an index does not
load what building needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.index.approximation import Approximation
    from lsr.index.editor import Changes, Compaction, IndexEditor
    from lsr.index.errors import IndexProblem
    from lsr.index.hits import Hits
    from lsr.index.index import Contribution, Index
    from lsr.index.sharded import ShardedIndex, open_index
    from lsr.index.store import DocumentRecord, StoredDocument
    from lsr.index.writer import IndexWriter

_HOME = {
    "Approximation": "lsr.index.approximation",
    "Changes": "lsr.index.editor",
    "Compaction": "lsr.index.editor",
    "Contribution": "lsr.index.index",
    "DocumentRecord": "lsr.index.store",
    "Hits": "lsr.index.hits",
    "Index": "lsr.index.index",
    "IndexEditor": "lsr.index.editor",
    "IndexProblem": "lsr.index.errors",
    "IndexWriter": "lsr.index.writer",
    "ShardedIndex": "lsr.index.sharded",
    "StoredDocument": "lsr.index.store",
    "open_index": "lsr.index.sharded",
}

__all__ = [
    "Approximation",
    "Changes",
    "Compaction",
    "Contribution",
    "DocumentRecord",
    "Hits",
    "Index",
    "IndexEditor",
    "IndexProblem",
    "IndexWriter",
    "ShardedIndex",
    "StoredDocument",
    "open_index",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.index' has no attribute {name!r}")
