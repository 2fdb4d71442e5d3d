"""Cutting posting lists into runs, one a window of documents."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from lsr.index.postings import WINDOW


@nb.njit(nogil=True, cache=True)
def _cut(
    counts: Any, documents: Any, base: Any, run_windows: Any, run_starts: Any, term_runs: Any, offsets: Any
) -> Any:
    runs = np.int64(0)
    p = np.int64(0)
    for t in range(len(counts)):
        term_runs[t] = runs
        window = np.int64(-1)
        for _ in range(counts[t]):
            document = np.int64(documents[p])
            of = document // WINDOW
            if of != window:
                run_windows[runs] = of
                run_starts[runs] = base + p
                runs += 1
                window = of
            offsets[p] = document - of * WINDOW
            p += 1
    return runs


def cut_runs(
    counts: NDArray[np.int64], documents: NDArray[np.uint32], base: int, window_count: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """Cut posting lists into runs of one window each.

    Args:
        counts: postings of each term, shape (terms,).
        documents: documents of all postings in term order, rising within a term.
        base: the segment's postings before these.
        window_count: windows of the segment.

    Returns:
        Offsets in the window of each posting; the window and the start of each run; and the first
        run of each term, counted from this call's first.
    """
    most = int(np.minimum(counts, window_count).sum())
    run_windows = np.empty(most, np.uint32)
    run_starts = np.empty(most, np.int64)
    term_runs = np.empty(len(counts), np.int64)
    offsets = np.empty(len(documents), np.uint16)
    runs = int(_cut(counts, documents, base, run_windows, run_starts, term_runs, offsets))
    return offsets, run_windows[:runs].copy(), run_starts[:runs].copy(), term_runs
