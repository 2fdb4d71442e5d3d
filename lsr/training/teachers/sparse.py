"""Sparse teachers: any encoder that lsr loads, and BM25 with the statistics of the training documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lsr.encoders.base import Encoder
from lsr.encoders.bm25 import Bm25Encoder
from lsr.encoders.options import EncoderOptions

_BATCH = 2048


class SparseTeacher:
    """The dot product of an encoder's term weights."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def score(
        self, queries: Sequence[str], documents: Sequence[str], wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return scores, shape (queries, documents)."""
        asked = self._encoder.encode_queries(queries)
        scores: NDArray[np.float32] = (asked @ self._encoder.encode_documents(documents).T).toarray()
        return scores.astype(np.float32)


class Bm25Teacher:
    """BM25 whose document frequencies and average length are those of `documents`.

    A document of a batch may be another; it is then scored as if it had been left out of the counts.
    """

    def __init__(self, documents: Iterable[str]) -> None:
        self._encoder = Bm25Encoder.from_options(EncoderOptions())
        self._frequencies = np.zeros(0, np.int64)
        self._ids: dict[str, int] = {}
        self.document_count = 0
        length = 0.0
        remaining = iter(documents)
        while batch := list(islice(remaining, _BATCH)):
            counts = self._encoder.encode_documents(batch)
            self._frequencies = self._widened(counts.shape[1])
            self._frequencies += np.bincount(counts.indices, minlength=counts.shape[1])
            self.document_count += len(batch)
            length += float(counts.sum())
        self._average_length = length / max(self.document_count, 1)

    @property
    def vocabulary_size(self) -> int:
        """Number of words seen so far."""
        return len(self._encoder.vocabulary)

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of documents that hold each term, shape (terms,)."""
        return self._widened(self.vocabulary_size)[term_ids]

    def text_document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the same: BM25 adds no terms to a text."""
        return self.document_frequencies(term_ids)

    def term_ids(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """Return the id of each term, -1 for one that is in no document, shape (terms,)."""
        vocabulary = self._encoder.vocabulary
        if len(vocabulary) != len(self._ids):
            self._ids = {term: number for number, term in enumerate(vocabulary)}
        return np.fromiter((self._ids.get(term, -1) for term in terms), np.int64, len(terms))

    def score(
        self, queries: Sequence[str], documents: Sequence[str], wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return BM25 scores, shape (queries, documents)."""
        weights = self._encoder.weigh(self._encoder.encode_documents(documents), self._average_length)
        asked = self._encoder.encode_queries(queries, self)
        scores: NDArray[np.float32] = (asked @ weights.T).toarray()
        return scores.astype(np.float32)

    def _widened(self, width: int) -> NDArray[np.int64]:
        """Return the document frequencies, 0 for words seen since they were counted."""
        return np.pad(self._frequencies, (0, width - len(self._frequencies)))
