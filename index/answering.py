"""Answering batches of queries in compiled code, each by the algorithm that should be fastest.

Exhaustive search reads every posting of a query, about a nanosecond each, and then all scores. Safe
block-max search bounds blocks for a fraction of that, and then looks up each promising block's
postings. The first wins on small segments and on queries that nothing stands out for; the second on
large ones. Both return the same, so the choice is one of time alone.

A query's cost is estimated from its postings before it starts. Where it turns out after bounding
that too many blocks are left, block-max search gives the query to exhaustive search.
"""

from __future__ import annotations

import threading
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from lsr.index.allowed import listed
from lsr.index.approximation import SAFE, Approximation
from lsr.index.blockmax import NS_A_LOOKUP, search_blocks
from lsr.index.blocks import TILE, Blocks
from lsr.index.exhaustive import search_exhaustively
from lsr.index.hits import Hits
from lsr.index.postings import WINDOW, Postings
from lsr.index.reading import read_query

EXHAUSTIVE, BLOCKMAX, AUTO = 0, 1, 2

# What steps take, in nanoseconds; fitted to real and grown corpora from 50,000 to 4 million documents.
_A_POSTING = 1.4
_A_DOCUMENT = 0.24
_A_BOUNDED_POSTING = 1.5
_A_ROW = 0.006  # for each document
_A_BOUNDED_DOCUMENT = 0.02
_A_QUERY = 10_000.0  # block-max search
# Blocks scored for a typical query, k being 10 and documents a million.
_BLOCKS = 180.0


@nb.njit(nogil=True, cache=True)
def _costs(
    lists: Any, run_starts: Any, row_numbers: Any, document_count: Any, k: Any, most_blocks: Any
) -> Any:
    """Estimate the nanoseconds that a query takes by exhaustive and by block-max search."""
    exhaustive = document_count * _A_DOCUMENT
    bounding = document_count * _A_BOUNDED_DOCUMENT
    for j in range(len(lists)):
        postings = np.float64(run_starts[lists[j, 2]] - run_starts[lists[j, 1]])
        exhaustive += postings * _A_POSTING
        if row_numbers[lists[j, 0]] >= 0:
            bounding += document_count * _A_ROW
        else:
            bounding += postings * _A_BOUNDED_POSTING
    blocks = min(_BLOCKS * (k / 10) ** 0.82 * (document_count / 1e6) ** 0.25, most_blocks)
    return exhaustive, _A_QUERY + bounding + blocks * len(lists) * NS_A_LOOKUP


@nb.njit(nogil=True, cache=True)
def _answer(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    term_runs: Any,
    document_count: Any,
    step: Any,
    row_numbers: Any,
    largest: Any,
    rows: Any,
    places: Any,
    place_starts: Any,
    shifts: Any,
    filtered: Any,
    allowed: Any,
    counts: Any,
    members: Any,
    member_starts: Any,
    algorithm: Any,
    share: Any,
    factor: Any,
    most_blocks: Any,
    query_starts: Any,
    query_terms: Any,
    query_weights: Any,
    floors: Any,
    accumulator: Any,
    bounds: Any,
    tops: Any,
    scores: Any,
    documents: Any,
    figures: Any,
) -> None:
    """Answer queries one after the other.

    Row i of `figures` receives the hits of query i, the postings touched, and the blocks scored, -1 for
    exhaustive search.
    """
    run_count = np.int64(len(run_windows))
    longest = np.int64(0)
    for i in range(len(query_starts) - 1):
        longest = max(longest, np.int64(query_starts[i + 1] - query_starts[i]))
    all_lists = np.empty((longest, 3), np.int64)
    all_weights = np.empty(longest, np.float32)
    for i in range(len(query_starts) - 1):
        terms = read_query(
            query_terms, query_weights, query_starts[i], query_starts[i + 1], term_runs, run_count,
            all_lists, all_weights,
        )  # fmt: skip
        lists = all_lists[:terms]
        weights = all_weights[:terms]
        size = touched = wasted = np.int64(0)
        blocks = np.int64(-1)
        try_blocks = algorithm != EXHAUSTIVE and terms > 0 and scores.shape[1] > 0
        most_cost = np.inf
        if algorithm == AUTO and try_blocks:
            most_cost, cost = _costs(
                lists, run_starts, row_numbers, document_count, scores.shape[1], most_blocks
            )
            try_blocks = cost < most_cost
        if try_blocks:
            size, touched, blocks = search_blocks(
                offsets, codes, run_windows, run_starts, lists, weights, document_count, step,
                row_numbers, largest, rows, places, place_starts, shifts, filtered, allowed, floors[i],
                share, factor, most_blocks, most_cost, bounds, tops, scores[i], documents[i],
            )  # fmt: skip
        if blocks < 0:
            wasted = touched
            size, touched = search_exhaustively(
                offsets, codes, run_windows, run_starts, lists, weights, document_count, step, filtered,
                allowed, counts, members, member_starts, floors[i], accumulator, scores[i], documents[i],
            )  # fmt: skip
        figures[i, 0] = size
        figures[i, 1] = touched + wasted
        figures[i, 2] = blocks


class _Scratch(threading.local):
    """One accumulator and one set of bounds a thread; the accumulator is all zero between calls."""

    def __init__(self) -> None:
        self.accumulator = np.zeros(WINDOW, np.float32)
        self._bounds = np.empty(0, np.uint16)
        self._tops = np.empty(0, np.uint16)

    def bounds(self, tiles: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Return room for a segment's bounds, and for the highest of every 64, filled up to 64 of those."""
        padded = -(-tiles // TILE) * TILE
        if len(self._tops) < padded:
            self._bounds = np.empty(padded * TILE, np.uint16)
            self._tops = np.empty(padded, np.uint16)
        return self._bounds[: tiles * TILE], self._tops[:padded]


_scratch = _Scratch()
_NO_BLOCKS = Blocks.none()


def answer(
    postings: Postings,
    blocks: Blocks | None,
    query_starts: NDArray[np.int32],
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    *,
    algorithm: int = AUTO,
    approximation: Approximation = SAFE,
    floors: NDArray[np.float32] | None = None,
) -> tuple[list[Hits], NDArray[np.int64]]:
    """Return the k best documents of each query of a batch, local to the segment.

    A batch is given as CSR parts: query i has the terms and weights at
    ``query_starts[i]:query_starts[i + 1]``, ascending in term id, weights finite and at least 0. Runs
    without the interpreter lock, single-threaded, in scratch memory of the calling thread.

    Args:
        blocks: the segment's block maxima; without them all queries are searched exhaustively.
        allowed: True where a document may be returned, shape (documents of the segment,).
        algorithm: EXHAUSTIVE, BLOCKMAX or AUTO.
        approximation: what block-max search may leave out.
        floors: only scores above ``floors[i]`` are hits of query i, shape (queries,); 0 if left out.

    Returns:
        One `Hits` a query, and an array of shape (queries, 3): hits, postings touched, and blocks
        scored, -1 for a query that was searched exhaustively.
    """
    k = min(k, postings.document_count)
    queries = len(query_starts) - 1
    scores = np.empty((queries, k), np.float32)
    documents = np.empty((queries, k), np.int64)
    figures = np.empty((queries, 3), np.int64)
    chosen = listed(allowed, postings.document_count)
    if blocks is None:
        blocks, algorithm = _NO_BLOCKS, EXHAUSTIVE
    _answer(
        postings.offsets,
        postings.codes,
        postings.run_windows,
        postings.run_starts,
        postings.term_runs,
        postings.document_count,
        postings.grid.step,
        blocks.row_numbers,
        blocks.largest,
        blocks.rows,
        blocks.places,
        blocks.place_starts,
        blocks.shifts,
        allowed is not None,
        *chosen,
        algorithm,
        float(approximation.share),  # one type, one compilation
        float(approximation.factor),
        float(approximation.blocks),
        query_starts,
        query_terms,
        query_weights,
        np.zeros(queries, np.float32) if floors is None else floors,
        _scratch.accumulator,
        *_scratch.bounds(blocks.tiles),
        scores,
        documents,
        figures,
    )
    hits = [Hits(documents[i, :size], scores[i, :size]) for i, size in enumerate(figures[:, 0].tolist())]
    return hits, figures
