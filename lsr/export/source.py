"""What is exported: an index's live documents in their order, with their stored impacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from lsr.encoders.base import QueryEncoder
from lsr.index import Index, StoredDocument
from lsr.index.forward import forward_rows


class Batch(NamedTuple):
    """Some documents, numbered from `first` among those exported, and their codes, one row each."""

    first: int
    documents: list[StoredDocument]
    codes: sparse.csr_array


@dataclass(frozen=True)
class ExportSource:
    """An open index and the query side it keeps.

    Args:
        store_texts: export titles, texts and fields too, not ids and impacts alone.
        progress: called with the number of documents done since the last call.
    """

    index: Index
    encoder: QueryEncoder
    store_texts: bool = True
    progress: Callable[[int], None] | None = None

    @property
    def step(self) -> float:
        """What one unit of a code is worth."""
        return float(self.index.manifest.grid.step)

    @property
    def levels(self) -> int:
        """The highest code: 255 or 65,535."""
        return self.index.manifest.grid.levels

    @cached_property
    def terms(self) -> list[str]:
        """The string of every term id."""
        return self.index.vocabulary()

    def batches(self, documents_at_once: int = 2_000) -> Iterator[Batch]:
        """Yield all live documents in their order; memory stays bounded."""
        first = 0
        for numbers, codes in forward_rows(self.index, documents_at_once):
            documents = self.index.documents(numbers)
            if not self.store_texts:
                documents = [document._replace(title="", text=None, metadata={}) for document in documents]
            yield Batch(first, documents, codes)
            first += len(documents)
            if self.progress:
                self.progress(len(documents))

    def values(self, codes: sparse.csr_array) -> sparse.csr_array:
        """Return the float32 values that codes stand for, same shape."""
        return sparse.csr_array(
            (self.index.manifest.grid.decode(codes.data), codes.indices, codes.indptr), shape=codes.shape
        )


def integer_weights(query: sparse.csr_array, largest: int) -> tuple[list[tuple[int, int]], float]:
    """Return the terms of a query of one row with whole weights, and what one unit of a weight is worth.

    The heaviest weighs `largest`; none rounds to nothing.
    """
    if not query.nnz:
        return [], 1.0
    unit = float(query.data.max()) / largest
    weights = np.maximum(1, np.rint(query.data.astype(np.float64) / unit)).astype(np.int64)
    return list(zip(query.indices.tolist(), weights.tolist(), strict=True)), unit
