"""Kernels of merging: posting lists of one segment under the document numbers of another."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from lsr.index.postings import WINDOW, Postings

DELETED = np.uint32(0xFFFF_FFFF)


def new_numbers(live: NDArray[np.bool_] | None, document_count: int, base: int) -> NDArray[np.uint32]:
    """Return the new number of each document, `DELETED` for one that is left out.

    Live documents are numbered from `base` in their order. The array covers whole windows, so that
    no offset leads out of it.
    """
    windows = (document_count + WINDOW - 1) // WINDOW
    numbers = np.full(windows * WINDOW, DELETED, np.uint32)
    if live is None:
        numbers[:document_count] = np.arange(base, base + document_count, dtype=np.uint32)
    else:
        kept = np.flatnonzero(live)
        numbers[kept] = np.arange(base, base + len(kept), dtype=np.uint32)
    return numbers


@nb.njit(nogil=True, cache=True)
def _count(
    run_windows: Any, run_starts: Any, term_runs: Any, offsets: Any, numbers: Any, counts: Any
) -> None:
    for t in range(len(term_runs) - 1):
        for run in range(term_runs[t], term_runs[t + 1]):
            base = np.int64(run_windows[run]) * WINDOW
            for p in range(run_starts[run], run_starts[run + 1]):
                if numbers[base + offsets[p]] != DELETED:
                    counts[t] += 1


def live_counts(postings: Postings, numbers: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the postings of each term that belong to documents with a new number, shape (terms,)."""
    counts = np.zeros(postings.term_count, np.int64)
    _count(postings.run_windows, postings.run_starts, postings.term_runs, postings.offsets, numbers, counts)
    return counts


@nb.njit(nogil=True, cache=True)
def _copy(
    first: Any,
    last: Any,
    run_windows: Any,
    run_starts: Any,
    term_runs: Any,
    offsets: Any,
    values: Any,
    numbers: Any,
    places: Any,
    documents: Any,
    copied: Any,
) -> None:
    for t in range(first, last):
        place = places[t - first]
        for run in range(term_runs[t], term_runs[t + 1]):
            base = np.int64(run_windows[run]) * WINDOW
            for p in range(run_starts[run], run_starts[run + 1]):
                number = numbers[base + offsets[p]]
                if number != DELETED:
                    documents[place] = number
                    copied[place] = values[p]
                    place += 1


def copy_postings(
    postings: Postings,
    values: NDArray[Any],
    numbers: NDArray[np.uint32],
    terms: range,
    places: NDArray[np.int64],
    documents: NDArray[np.uint32],
    copied: NDArray[Any],
) -> None:
    """Copy the postings of consecutive terms to where they belong in a merged segment.

    Args:
        values: what goes with each posting, codes or term frequencies, shape (postings,).
        terms: the terms; the segment may know only the first of them.
        places: where each term's postings go, shape (terms,); room is as `live_counts` says.
        documents: receives new document numbers.
        copied: receives values.
    """
    last = min(terms.stop, postings.term_count)
    _copy(
        terms.start,
        last,
        postings.run_windows,
        postings.run_starts,
        postings.term_runs,
        postings.offsets,
        values,
        numbers,
        places,
        documents,
        copied,
    )
