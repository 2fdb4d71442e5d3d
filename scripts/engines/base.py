"""What the benchmark asks of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scipy import sparse
from vectors import Vectors


class Engine(ABC):
    """Builds an index from vectors in one process and searches it in another.

    `settings` are the ways to search one index, each timed on its own; the first is the engine's most
    exact one.
    """

    name: str
    settings: Mapping[str, Any]

    @abstractmethod
    def build(self, vectors: Vectors, folder: Path) -> None:
        """Write an index of the documents into an empty folder."""

    @abstractmethod
    def open(self, folder: Path, vocabulary: int) -> None:
        """Load the index, ready to search."""

    @abstractmethod
    def prepare(self, query: sparse.csr_array) -> Any:
        """Turn a query of one row into what `search` takes; not timed."""

    @abstractmethod
    def search(self, query: Any, k: int, setting: Any) -> list[int]:
        """Return the numbers of the k best documents, best first."""

    def size(self, folder: Path) -> int:
        """Return the bytes of the index on disk."""
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def weights_by_name(query: sparse.csr_array) -> dict[str, float]:
    """Return the weights of a query by the term's number as a string."""
    return dict(zip(map(str, query.indices.tolist()), query.data.tolist(), strict=True))
