"""lsr: one index, searched by each algorithm that this version has."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy import sparse
from vectors import Vectors

from engines.base import Engine

# What is compared, where this version knows it; the name is the setting's in tables and plots.
SEARCHES: dict[str, dict[str, Any]] = {
    "exhaustive": {"algorithm": "exhaustive"},
    "block-max": {"algorithm": "blockmax"},
    "auto": {"algorithm": "auto"},
    "recall .99": {"recall": 0.99},
    "recall .95": {"recall": 0.95},
    "recall .9": {"recall": 0.9},
}


def known_searches() -> dict[str, dict[str, Any]]:
    """Return the searches that the installed lsr offers."""
    from lsr.index import Index, planner

    algorithms = get_args(planner.Algorithm)
    options = inspect.signature(Index.search).parameters
    return {
        name: search
        for name, search in SEARCHES.items()
        if search.get("algorithm", "auto") in algorithms and set(search) <= set(options)
    }


class Lsr(Engine):
    name = "lsr"

    def __init__(self) -> None:
        self.settings = known_searches()

    def build(self, vectors: Vectors, folder: Path) -> None:
        from lsr.index import DocumentRecord, IndexWriter

        number = 0
        with IndexWriter(folder / "lsr.index", encoder={}, impact_maximum=255.0) as writer:
            for chunk in vectors.chunks(10_000):
                records = [DocumentRecord(str(number + i)) for i in range(chunk.shape[0])]
                writer.add(chunk.astype(np.float32), records)
                number += chunk.shape[0]
                vocabulary = chunk.shape[1]
            writer.commit([str(i) for i in range(vocabulary)])

    def open(self, folder: Path, vocabulary: int) -> None:
        from lsr.index import Index

        self.index = Index(folder / "lsr.index")

    def prepare(self, query: sparse.csr_array) -> sparse.csr_array:
        return query

    def search(self, query: sparse.csr_array, k: int, setting: dict[str, Any]) -> list[int]:
        return list(self.index.search(query, k, **setting)[0].documents.tolist())

    def size(self, folder: Path) -> int:
        from lsr.index import Index

        return Index(folder / "lsr.index").sizes()["postings"]
