"""Collecting postings in bounded memory: sorted pieces on disk, merged by ranges of terms.

Documents arrive in order, each a row of term weights. They are buffered; a full buffer is turned
to term order and appended to disk as a piece. Since pieces follow each other in document order,
merging is copying: the postings of a term are those of the first piece, then the second, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.merge import scatter_piece

# 8 bytes a posting on disk, about 24 in memory while a piece is turned to term order.
PIECE_POSTINGS = 8_000_000
MERGE_POSTINGS = 16_000_000


class _Piece(NamedTuple):
    """One sorted piece: the postings of `terms[i]` lie at ``starts[i]:starts[i + 1]``."""

    terms: NDArray[np.int64]
    starts: NDArray[np.int64]
    documents: NDArray[np.uint32]
    values: NDArray[np.float32]


class TermRange(NamedTuple):
    """The merged postings of consecutive term ids."""

    first_term: int
    counts: NDArray[np.int64]  # postings of each term, shape (terms in the range,)
    documents: NDArray[np.uint32]
    values: NDArray[np.float32]


class PostingSpill:
    """Postings on their way into a segment. `folder` holds the pieces and is the caller's to remove."""

    def __init__(
        self, folder: Path, *, piece_postings: int = PIECE_POSTINGS, merge_postings: int = MERGE_POSTINGS
    ) -> None:
        self._folder = folder
        self._piece_postings = piece_postings
        self._merge_postings = merge_postings
        self._rows: list[sparse.csr_array] = []
        self._buffered = 0
        self._pieces: list[_Piece] = []
        self._first_document = 0
        self.document_count = 0
        self.posting_count = 0

    def add(self, weights: sparse.csr_array) -> None:
        """Append documents, one a row; columns are term ids, which may outgrow earlier batches."""
        self._rows.append(weights)
        self._buffered += weights.nnz
        self.document_count += weights.shape[0]
        self.posting_count += weights.nnz
        if self._buffered >= self._piece_postings:
            self._write_piece(self._turn())

    def _turn(self) -> _Piece:
        """Turn the buffered rows to term order and empty the buffer."""
        rows, self._rows, self._buffered = self._rows, [], 0
        width = max((row.shape[1] for row in rows), default=0)
        lengths = np.concatenate([np.diff(row.indptr) for row in rows] or [np.zeros(1, np.int32)])
        stack = sparse.csr_array(
            (
                np.concatenate([row.data for row in rows] or [np.empty(0, np.float32)]),
                np.concatenate([row.indices for row in rows] or [np.empty(0, np.int32)]),
                np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            ),
            shape=(sum(row.shape[0] for row in rows) or 1, width),
        )
        by_term = stack.tocsc()
        counts = np.diff(by_term.indptr)
        terms = np.flatnonzero(counts).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(counts[terms])]).astype(np.int64)
        documents = by_term.indices.astype(np.uint32) + np.uint32(self._first_document)
        self._first_document = self.document_count
        return _Piece(terms, starts, documents, by_term.data.astype(np.float32, copy=False))

    def _write_piece(self, piece: _Piece) -> None:
        """Move a piece's postings to disk; what remains in memory grows with its distinct terms."""
        stem = self._folder / f"piece-{len(self._pieces):05d}"
        paths = stem.with_suffix(".documents.npy"), stem.with_suffix(".values.npy")
        np.save(paths[0], piece.documents)
        np.save(paths[1], piece.values)
        documents, values = (np.load(path, mmap_mode="r") for path in paths)
        self._pieces.append(piece._replace(documents=documents, values=values))

    def merge(self, term_count: int) -> Iterator[TermRange]:
        """Yield all postings, in term order and within a term in document order.

        Ranges together cover ``0 .. term_count``, and hold at most `merge_postings` postings
        unless a single term has more.
        """
        if self._rows:
            last = self._turn()
            if self._pieces:
                self._write_piece(last)
            else:
                self._pieces.append(last)
        totals = np.zeros(term_count, np.int64)
        for piece in self._pieces:
            totals[piece.terms] += np.diff(piece.starts)
        ends = np.cumsum(totals)
        first = 0
        while first < term_count:
            before = int(ends[first - 1]) if first else 0
            past = int(np.searchsorted(ends, before + self._merge_postings, side="right"))
            past = min(max(past, first + 1), term_count)
            yield self._merge_range(first, totals[first:past])
            first = past

    def _merge_range(self, first: int, counts: NDArray[np.int64]) -> TermRange:
        """Merge the terms ``first : first + len(counts)``."""
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        total = int(starts[-1])
        documents = np.empty(total, np.uint32)
        values = np.empty(total, np.float32)
        places = starts[:-1].copy()
        for piece in self._pieces:
            low, high = np.searchsorted(piece.terms, [first, first + len(counts)]).tolist()
            if low == high:
                continue
            start, stop = int(piece.starts[low]), int(piece.starts[high])
            scatter_piece(
                piece.terms[low:high] - first,
                piece.starts[low : high + 1] - start,
                np.ascontiguousarray(piece.documents[start:stop]),
                np.ascontiguousarray(piece.values[start:stop]),
                places,
                documents,
                values,
            )
        return TermRange(first, counts, documents, values)
