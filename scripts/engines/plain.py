"""Plain loops over posting lists, in Numba: the obvious one, and the package splade-index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from vectors import Vectors

from engines.base import Engine


@nb.njit(nogil=True)
def _plain_loop(
    starts: Any, documents: Any, impacts: Any, terms: Any, weights: Any, scores: Any, k: Any
) -> Any:
    """The obvious Numba search: one accumulator for all documents, then an insertion-sorted list."""
    scores[:] = 0
    for j in range(len(terms)):
        for p in range(starts[terms[j]], starts[terms[j] + 1]):
            scores[documents[p]] += weights[j] * np.float32(impacts[p])
    best = np.zeros(k, np.float32)
    places = np.full(k, -1, np.int64)
    for document in range(len(scores)):
        score = scores[document]
        if score > best[k - 1]:
            p = k - 1
            while p > 0 and best[p - 1] < score:
                best[p] = best[p - 1]
                places[p] = places[p - 1]
                p -= 1
            best[p] = score
            places[p] = document
    return places


class _ByTerm(Engine):
    """Keeps the transposed matrix as raw arrays."""

    value: type[np.generic]

    def build(self, vectors: Vectors, folder: Path) -> None:
        documents = vectors.matrix()
        by_term = documents.tocsc()
        np.save(folder / "starts.npy", by_term.indptr.astype(np.int64))
        np.save(folder / "documents.npy", by_term.indices.astype(np.int32))
        np.save(folder / "impacts.npy", by_term.data.astype(self.value))
        np.save(folder / "count.npy", documents.shape[0])

    def open(self, folder: Path, vocabulary: int) -> None:
        self.starts, self.documents, self.impacts = (
            np.load(folder / f"{name}.npy") for name in ("starts", "documents", "impacts")
        )
        self.count = int(np.load(folder / "count.npy"))

    def prepare(self, query: sparse.csr_array) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return query.indices.astype(np.int32), query.data.astype(np.float32)


class PlainLoop(_ByTerm):
    name = "plain Numba loop"
    settings: ClassVar = {"exact": None}
    value = np.uint8

    def open(self, folder: Path, vocabulary: int) -> None:
        super().open(folder, vocabulary)
        self.scores = np.zeros(self.count, np.float32)

    def search(self, query: Any, k: int, setting: None) -> list[int]:
        places = _plain_loop(self.starts, self.documents, self.impacts, *query, self.scores, k)
        return [place for place in places.tolist() if place >= 0]


class SpladeIndex(_ByTerm):
    """splade-index's Numba retrieval without its encoder: float32 values, as its index holds them."""

    name = "splade-index"
    settings: ClassVar = {"exact": None}
    value = np.float32

    def open(self, folder: Path, vocabulary: int) -> None:
        super().open(folder, vocabulary)
        self.scores = {
            "data": self.impacts,
            "indices": self.documents,
            "indptr": self.starts.astype(np.int32),
            "num_docs": self.count,
        }

    def search(self, query: Any, k: int, setting: None) -> list[int]:
        from splade_index import _retrieve_numba_functional

        found = _retrieve_numba_functional([query[0]], [query[1]], self.scores, k, return_as="doc_ids")
        return list(found[0].tolist())
