"""Safe block-max search: exact, and it scores only blocks that can hold one of the k best documents.

After Block-Max Pruning (Mallia et al., SIGIR 2024, arXiv 2405.01117). A query goes through three steps:

1. Bound every block of 8 documents. Terms with a row of half-byte maxima are added in bulk, in 16-bit
   integers; the others from their postings. Weights are scaled so that no sum exceeds 16 bits and
   rounded up, so a bound is never too low.
2. Sort sets of 64 blocks by their highest bound.
3. Set by set, score the blocks whose bound reaches the k-th best score so far, which rises meanwhile.

A block is scored exactly: its documents' postings are reached through the places stored with a row
(or, for a term without one, found in its run), and added in ascending term id, as exhaustive
search does. A bound is compared with the k-th score lowered by a margin that covers the rounding of a
float32 sum, and a block that could tie is scored, so documents, scores and order are those of
exhaustive search.

File contents can spoil results but not memory: places are clamped to their run, offsets and half bytes
are narrower than what they index.
"""

from __future__ import annotations

import threading
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from lsr.index.allowed import listed
from lsr.index.block_scoring import score_blocks, touch_blocks
from lsr.index.blocks import BLOCK, LEVELS, TILE, TILES_A_WINDOW, Blocks
from lsr.index.bounding import MOST, SPARSE, bound_blocks
from lsr.index.exhaustive import search_exhaustive
from lsr.index.heap import bits as bits_of
from lsr.index.heap import offer, sort_heap
from lsr.index.hits import Hits
from lsr.index.postings import WINDOW, Postings

_CACHED = 500_000  # documents whose postings may lie in the caches
_TOGETHER = 16  # blocks scored together
_BIN = 6  # sets are sorted by the upper ten of sixteen bits

# What steps cost, in nanoseconds; measured on 250,000 to 4,000,000 documents.
_NS_A_POSTING = 1.0
_NS_A_DOCUMENT = 0.06
_NS_A_BOUNDED_POSTING = 2.2
_NS_A_BOUNDED_DOCUMENT = 0.003  # for each term with a row
_BLOCKS_AT_LEAST = 25.0  # scored for a typical query, times k to the power of 3/4
_WORTH = 0.6  # of exhaustive search's cost, or the estimate is too close to call
_NS_A_LOOKUP = 18.0  # a term in a block
_NS_A_DOUBLING = 12.0  # added with each doubling past `_CACHED`: postings leave the caches


@nb.njit(nogil=True, cache=True)
def _sort_sets(tops: Any, low: Any, high: Any, firsts: Any, order: Any) -> None:
    """Put the sets of bins ``low:high`` in order; `firsts[b]` is where those of bin b begin."""
    for tile in range(len(tops)):
        b = tops[tile] >> _BIN
        if b >= low and b < high:
            order[firsts[b]] = tile
            firsts[b] += 1


@nb.njit(nogil=True, cache=True)
def _collect(bounds: Any, tops: Any, tile: Any, least: Any, below: Any, waiting: Any, count: Any) -> Any:
    """Append a set's blocks with a bound in ``least:below`` to `count` others; return how many there are."""
    if np.int64(tops[tile]) < least:
        return count
    first = tile // TILES_A_WINDOW * TILES_A_WINDOW
    sets = min(np.int64(TILES_A_WINDOW), len(tops) - first)
    block = first * TILE + tile - first
    for _ in range(TILE):
        bound = np.int64(bounds[block])
        if bound >= least and bound < below:
            waiting[count] = block
            count += 1
        block += sets
    return count


@nb.njit(nogil=True, cache=True)
def _blockmax(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    term_runs: Any,
    document_count: Any,
    step: Any,
    block_terms: Any,
    largest: Any,
    block_rows: Any,
    places: Any,
    filtered: Any,
    allowed: Any,
    factor: Any,
    adaptive: Any,
    query_starts: Any,
    query_terms: Any,
    query_weights: Any,
    bounds: Any,
    tops: Any,
    best_scores: Any,
    best_documents: Any,
    sizes: Any,
    costs: Any,
) -> None:
    """Answer queries one after the other.

    Row i of `costs` receives the postings touched and the blocks scored; the latter is -1 where query i
    is to be searched exhaustively: because it cannot be bounded in 16 bits or, if `adaptive`, because
    that is less work.
    """
    run_count = np.int64(len(run_windows))
    windows = (document_count + WINDOW - 1) // WINDOW
    tiles = len(tops)
    k = best_scores.shape[1]
    block_scores = np.empty((_TOGETHER, BLOCK), np.float32)
    score_bits = block_scores.view(np.int32)
    histogram = np.empty(1024, np.int64)
    firsts = np.empty(1024, np.int64)
    order = np.empty(tiles, np.int32)
    waiting = np.empty(_TOGETHER + TILE, np.int64)
    blind = np.int64(0)
    lookups = _NS_A_LOOKUP + _NS_A_DOUBLING * max(0.0, np.log2(document_count / _CACHED))

    for i in range(len(query_starts) - 1):
        first = query_starts[i]
        longest = query_starts[i + 1] - first
        lists = np.empty((longest, 3), np.int64)
        weights = np.empty(longest, np.float32)
        tallest = np.empty(longest, np.float64)
        terms = np.int64(0)
        total = 0.0
        exhaustive = document_count * _NS_A_DOCUMENT
        estimate = 0.0
        for j in range(first, query_starts[i + 1]):
            term = np.int64(query_terms[j])
            if term < 0 or term >= len(term_runs) - 1:
                continue
            low = max(np.int64(0), term_runs[term])
            high = min(run_count, term_runs[term + 1])
            if low >= high:
                continue
            row: Any = np.searchsorted(block_terms, term)
            if row >= len(block_terms) or np.int64(block_terms[row]) != term:
                row = SPARSE
            code = np.int64(largest[term])
            lists[terms, 0] = row
            lists[terms, 1] = low
            lists[terms, 2] = high
            postings = np.float64(run_starts[high] - run_starts[low])
            exhaustive += postings * _NS_A_POSTING
            if row < 0:
                estimate += postings * _NS_A_BOUNDED_POSTING
            else:
                estimate += document_count * _NS_A_BOUNDED_DOCUMENT
            weights[terms] = query_weights[j]
            tallest[terms] = np.float64(query_weights[j]) * code * np.float64(step)
            total += tallest[terms]
            terms += 1
        sizes[i] = 0
        costs[i, 0] = 0
        costs[i, 1] = 0
        if terms == 0 or k == 0:
            continue
        estimate += _BLOCKS_AT_LEAST * k**0.75 * terms * lookups
        hopeless = adaptive and estimate > _WORTH * exhaustive
        if hopeless or terms > 1024 or not (1e-30 < total < 1e37):
            costs[i, 1] = -1
            continue

        # A half byte of the row counts for tallest / 15; rounding up costs at most 16 in all a term.
        scale = (MOST - 64 - 16 * terms) / total
        scaled = np.empty(terms, np.uint16)
        units = np.empty(terms, np.int64)
        for j in range(terms):
            scaled[j] = np.uint16(np.ceil(tallest[j] * scale * (1 + 1e-9) / LEVELS))
            units[j] = np.int64(
                np.ceil(np.float64(weights[j]) * np.float64(step) * scale * (1 + 1e-9) * 65536)
            )
        lists = lists[:terms]
        weights = weights[:terms]
        runs = np.empty((terms, windows, 2), np.int64)
        touched = bound_blocks(
            offsets, codes, run_windows, run_starts, block_rows, lists, scaled, units, runs, bounds, tops
        )

        # Scores are float32 sums: off by half a unit in the last place for every addition and product.
        margin = scale * factor * (1 - (terms + 8) * 2.0**-23)
        histogram[:] = 0
        for tile in range(tiles):
            histogram[tops[tile] >> _BIN] += 1

        scores = best_scores[i]
        documents = best_documents[i]
        size = np.int64(0)
        threshold = np.int32(1)
        needed = np.int64(1)
        scored = np.int64(0)
        # Few sets of blocks at first, those of highest bounds, then twice as many, and so on: by
        # the time that most would come up, the k-th score tells that few of them are needed.
        wanted = max(np.int64(16), 6 * k)
        high = np.int64(1024)
        cut = np.int64(0)
        again = np.int64(0)
        while high << _BIN > needed or again > 0:
            if adaptive and high < 1024:
                left = np.int64(0)
                for b in range(needed >> _BIN, high):
                    left += histogram[b]
                if left * terms * lookups > exhaustive:
                    scored = np.int64(-1)
                    break
            low = high
            chosen = again
            while low << _BIN > needed and chosen - again < wanted:
                low -= 1
                firsts[low] = chosen
                chosen += histogram[low]
            _sort_sets(tops, low, high, firsts, order)
            # While nothing is known of the k-th score only the very blocks of high bounds are taken;
            # the second round comes back to their sets for the others.
            first_round = high == 1024
            if first_round:
                cut = max(low << _BIN, np.int64(1))
            high = low
            wanted *= 2
            w = 0
            while w < chosen:
                count = np.int64(0)
                while w < chosen and count < _TOGETHER:
                    least = max(needed, cut) if first_round else needed
                    below = cut if w < again else np.int64(MOST + 1)
                    count = _collect(bounds, tops, np.int64(order[w]), least, below, waiting, count)
                    w += 1
                for start in range(0, count, _TOGETHER):
                    batch = waiting[start : min(start + _TOGETHER, count)]
                    if document_count > _CACHED:
                        blind += touch_blocks(batch, offsets, codes, lists, runs, tiles, places)
                    touched += score_blocks(
                        batch, offsets, codes, step, lists, weights, scaled, units, runs, tiles,
                        block_rows, places, bounds, block_scores,
                    )  # fmt: skip
                    scored += len(batch)
                    for t in range(len(batch)):
                        changed = False
                        for d in range(BLOCK):
                            document = batch[t] * BLOCK + d
                            if score_bits[t, d] >= threshold and document < document_count:
                                if filtered and not allowed[document]:
                                    continue
                                size = offer(scores, documents, size, block_scores[t, d], document)
                                changed = True
                        if changed and size == k:
                            threshold = max(bits_of(scores[0]), np.int32(1))
                            reach = np.float64(scores[0]) * margin
                            needed = min(max(np.int64(reach) - 1, np.int64(1)), np.int64(MOST))
            again = chosen if first_round else np.int64(0)
        if scored < 0:
            costs[i, 0] = touched
            costs[i, 1] = -1
            continue
        sort_heap(scores, documents, size)
        sizes[i] = size
        costs[i, 0] = touched
        costs[i, 1] = scored
        costs[i, 2] = blind  # or the loads it stands for would be left out


class _Scratch(threading.local):
    """Bounds of all blocks, one set a thread."""

    def __init__(self) -> None:
        self._bounds = np.empty(0, np.uint16)
        self._tops = np.empty(0, np.uint16)

    def arrays(self, tiles: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Return room for a segment's bounds and highest bounds."""
        if len(self._tops) < tiles:
            self._bounds = np.empty(tiles * TILE, np.uint16)
            self._tops = np.empty(tiles, np.uint16)
        return self._bounds[: tiles * TILE], self._tops[:tiles]


_scratch = _Scratch()


def search_blockmax(
    postings: Postings,
    blocks: Blocks,
    query_starts: NDArray[np.int64],
    query_terms: NDArray[np.int64],
    query_weights: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    *,
    factor: float = 1.0,
    adaptive: bool = False,
) -> tuple[list[Hits], NDArray[np.int64]]:
    """Return what `lsr.index.exhaustive.search_exhaustive` returns, by scoring fewer documents.

    Args:
        blocks: the segment's block maxima.
        factor: 1 is safe. A larger one passes over blocks whose bound is below `factor` times the k-th
            best score so far: faster, and some of the k best may be missed.
        adaptive: leave queries to exhaustive search where that should take less time.

    Returns:
        One `Hits` a query, and an array of shape (queries, 2): postings touched and blocks scored; for
        blocks -1 where a query was searched exhaustively.
    """
    k = min(k, postings.document_count)
    queries = len(query_starts) - 1
    scores = np.empty((queries, k), np.float32)
    documents = np.empty((queries, k), np.int64)
    sizes = np.zeros(queries, np.int64)
    costs = np.zeros((queries, 3), np.int64)
    chosen = listed(allowed, postings.document_count)
    _blockmax(
        postings.offsets,
        postings.codes,
        postings.run_windows,
        postings.run_starts,
        postings.term_runs,
        postings.document_count,
        postings.grid.step,
        blocks.terms,
        blocks.largest,
        blocks.rows,
        blocks.places,
        allowed is not None,
        chosen.mask,
        factor,
        adaptive,
        query_starts,
        query_terms,
        query_weights,
        *_scratch.arrays(blocks.tiles),
        scores,
        documents,
        sizes,
        costs,
    )
    hits = [Hits(documents[i, :size], scores[i, :size]) for i, size in enumerate(sizes.tolist())]
    for i in np.flatnonzero(costs[:, 1] < 0).tolist():
        part = slice(query_starts[i], query_starts[i + 1])
        alone = np.array([0, query_starts[i + 1] - query_starts[i]], np.int64)
        (hits[i],), touched = search_exhaustive(
            postings, alone, query_terms[part], query_weights[part], k, allowed
        )
        costs[i, 0] += touched
    return hits, costs[:, :2]
