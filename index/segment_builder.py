"""A segment in the making: documents and their weights stream in, files come out."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.deletions import write_deletions
from lsr.index.errors import IndexProblem
from lsr.index.files import write_array
from lsr.index.grid import ImpactGrid
from lsr.index.manifest import SegmentEntry
from lsr.index.segment import STORE, TEXT_FREQUENCIES
from lsr.index.segment_writer import write_segment
from lsr.index.spill import PostingSpill
from lsr.index.store import DocumentRecord
from lsr.index.store_writer import StoreWriter
from lsr.index.text_terms import TextTerms, TextTermsWriter
from lsr.index.weighting import Bm25Weighting


class SegmentBuilder:
    """Builds one segment in a folder of its own, which the caller removes if that fails.

    Args:
        folder: is made; its name is the segment's.
        bm25: weights are term frequencies, and their sums document lengths.
        store_texts: keep texts.
    """

    def __init__(self, folder: Path, *, bm25: bool, store_texts: bool) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.largest = 0.0
        """The largest weight seen."""
        self._bm25 = bm25
        self._store_texts = store_texts
        self._spill_folder = folder / "spill"
        self._spill_folder.mkdir()
        self._spill = PostingSpill(self._spill_folder)
        self._store = StoreWriter(folder / STORE)
        self._text_terms: TextTermsWriter | None = None
        self._lengths: list[NDArray[np.uint32]] = []
        self._deleted: list[int] = []

    @property
    def document_count(self) -> int:
        """Documents added so far, those removed again included."""
        return self._store.document_count

    @property
    def posting_count(self) -> int:
        """Postings added so far."""
        return self._spill.posting_count

    def add(
        self,
        weights: sparse.csr_array,
        documents: Sequence[DocumentRecord],
        text_terms: sparse.csr_array | None = None,
    ) -> None:
        """Append documents with their term weights; see `lsr.index.IndexWriter.add`."""
        if weights.shape[0] != len(documents):
            raise ValueError(f"{weights.shape[0]} rows of weights for {len(documents)} documents")
        if text_terms is not None and text_terms.shape[0] != len(documents):
            raise ValueError(f"{text_terms.shape[0]} rows of text terms for {len(documents)} documents")
        if not documents:
            return
        weights = checked_weights(weights, documents)
        if not self._store_texts:
            documents = [document._replace(text=None) for document in documents]
        if text_terms is not None and self._text_terms is None and self.document_count == 0:
            self._text_terms = TextTermsWriter(self.folder)
        if (text_terms is None) != (self._text_terms is None):
            raise ValueError("text terms are given for all documents of a segment or for none")
        if text_terms is not None and self._text_terms is not None:
            self._text_terms.add(text_terms)
        self._store.add(documents)
        self._spill.add(weights)
        if weights.nnz:
            self.largest = max(self.largest, float(weights.data.max()))
        if self._bm25:
            self._lengths.append(np.asarray(weights.sum(axis=1)).astype(np.uint32))

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers in this segment of documents by id, without the ids it does not hold."""
        return self._store.numbers(ids)

    def remove(self, ids: Sequence[str]) -> int:
        """Take back documents of this segment by id, and return how many there were."""
        numbers = self._store.remove(ids)
        self._deleted += numbers
        return len(numbers)

    @property
    def live_count(self) -> int:
        """Documents added and not removed again."""
        return self.document_count - len(self._deleted)

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """The sum of each document's weights, shape (documents,); under BM25 only."""
        return np.concatenate([*self._lengths, np.empty(0, np.uint32)])

    def finish(
        self,
        terms: Iterable[tuple[int, str]],
        term_count: int,
        grid: ImpactGrid,
        weighting: Bm25Weighting | None,
        text_frequencies: NDArray[np.int64] | None = None,
    ) -> SegmentEntry:
        """Write the files.

        Args:
            terms: term ids and their strings, those that no other segment holds.
            term_count: size of the vocabulary.
            text_frequencies: number of documents whose own text holds each term, shape
                (term_count,), where `add` was not told the terms of each text.
        """
        self._store.finish(terms)
        lengths = self.lengths if self._bm25 else None
        entry = write_segment(
            self.folder, self.folder.name, self._spill, term_count, grid, weighting, lengths
        )
        if self._text_terms is not None:
            counted = self._text_terms.finish()
            text_frequencies = np.zeros(term_count, np.int64)
            text_frequencies[: len(counted)] = counted[:term_count]
        if text_frequencies is not None:
            write_array(self.folder / TEXT_FREQUENCIES, text_frequencies.astype(np.int64))
        shutil.rmtree(self._spill_folder)
        if self._deleted:
            deleted = np.array(self._deleted, np.int64)
            own = TextTerms.open(self.folder)
            if own is not None and text_frequencies is not None:
                text_frequencies = text_frequencies - own.frequencies(deleted, term_count)
            entry = write_deletions(self.folder, entry, deleted, text_frequencies)
        return entry

    def abort(self) -> None:
        """Close files, finished or not."""
        self._store.abort()
        if self._text_terms is not None:
            self._text_terms.abort()


def checked_weights(weights: sparse.csr_array, documents: Sequence[DocumentRecord]) -> sparse.csr_array:
    """Return weights as float32, sorted and without zeros.

    Raises:
        IndexProblem: for a weight below 0, NaN or infinite, naming its document.
    """
    weights = sparse.csr_array(weights).astype(np.float32, copy=False)
    good = (weights.data >= 0) & (weights.data < np.inf)
    if not good.all():
        place = int(np.flatnonzero(~good)[0])
        document = documents[int(np.searchsorted(weights.indptr, place, side="right")) - 1]
        where = f"{document.location}: " if document.location else ""
        raise IndexProblem(
            f"{where}document {document.id!r} has the term weight {weights.data[place]}; "
            "weights are finite and not below 0."
        )
    if not weights.has_canonical_format or not weights.data.all():
        weights = weights.copy()
        weights.sum_duplicates()
        weights.eliminate_zeros()
    return weights
