"""Posting lists turned back to documents: what each document holds, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.index import Index
from lsr.index.postings import WINDOW, Postings
from lsr.index.segment import Segment


class ForwardRows(NamedTuple):
    """Some live documents and their impacts.

    Attributes:
        numbers: document numbers in the index, rising, shape (documents,).
        codes: impacts on the grid, uint8 or uint16, shape (documents, vocabulary), term ids rising
            within a row.
    """

    numbers: NDArray[np.int64]
    codes: sparse.csr_array


@nb.njit(nogil=True, cache=True)
def _count(runs: Any, run_starts: Any, offsets: Any, counts: Any) -> None:
    for run in runs:
        for p in range(run_starts[run], run_starts[run + 1]):
            counts[offsets[p]] += 1


@nb.njit(nogil=True, cache=True)
def _scatter(
    runs: Any,
    run_terms: Any,
    run_starts: Any,
    offsets: Any,
    codes: Any,
    places: Any,
    terms_out: Any,
    codes_out: Any,
) -> None:
    for run in runs:
        term = run_terms[run]
        for p in range(run_starts[run], run_starts[run + 1]):
            place = places[offsets[p]]
            terms_out[place] = term
            codes_out[place] = codes[p]
            places[offsets[p]] = place + 1


def forward_rows(index: Index, documents_at_once: int = 2_000) -> Iterator[ForwardRows]:
    """Yield all live documents of an index in their order.

    Memory holds the postings of one window of 65,536 documents, five or six bytes each.
    """
    for segment in index.segments:
        postings = segment.postings
        runs: NDArray[np.int64] = postings.term_runs[1:] - postings.term_runs[:-1]
        run_terms = np.repeat(np.arange(postings.term_count, dtype=np.int32), runs)
        for first in range(0, postings.document_count, WINDOW):
            count = min(WINDOW, postings.document_count - first)
            window = _window(postings, run_terms, first // WINDOW, count, index.vocabulary_size)
            for rows in _live_parts(segment, first, count, documents_at_once):
                yield ForwardRows(segment.base + first + rows, window[rows])


def _window(
    postings: Postings, run_terms: NDArray[np.int32], window: int, documents: int, vocabulary: int
) -> sparse.csr_array:
    # Runs are in term order, so each document's terms come out rising.
    runs = np.flatnonzero(postings.run_windows == window)
    counts = np.zeros(WINDOW, np.int64)
    _count(runs, postings.run_starts, postings.offsets, counts)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    terms = np.empty(int(starts[-1]), np.int32)
    codes = np.empty(int(starts[-1]), postings.codes.dtype)
    places = starts[:-1].copy()
    _scatter(runs, run_terms, postings.run_starts, postings.offsets, postings.codes, places, terms, codes)
    return sparse.csr_array((codes, terms, starts[: documents + 1]), shape=(documents, vocabulary))


def _live_parts(
    segment: Segment, first: int, count: int, documents_at_once: int
) -> Iterator[NDArray[np.int64]]:
    live = np.arange(count) if segment.live is None else np.flatnonzero(segment.live[first : first + count])
    for start in range(0, len(live), documents_at_once):
        yield live[start : start + documents_at_once]
