"""Safe block-max search: exact, and it scores only blocks that can hold one of the k best documents.

After Block-Max Pruning (Mallia et al., SIGIR 2024, arXiv 2405.01117). A query goes through three steps:

1. Bound every block of 8 documents. Terms with a row of half-byte maxima are added in bulk, in 16-bit
   integers; the others from their postings. Weights are scaled so that no sum exceeds 16 bits and
   rounded up, so a bound is never too low.
2. Score the blocks of highest bound first, enough of them for k documents.
3. Score the blocks whose bound reaches the k-th best score so far, which rises meanwhile.

A block is scored exactly: its documents' postings are reached through the places stored with a row
(or, for a term without one, by galloping in its run), and added in ascending term id, as exhaustive
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
from lsr.index.blocks import (
    BLOCK,
    GROUP,
    LEVELS,
    TILE,
    TILE_BYTES,
    TILES_A_WINDOW,
    Blocks,
)
from lsr.index.exhaustive import search_exhaustive
from lsr.index.heap import bits as bits_of
from lsr.index.heap import offer, sort_heap
from lsr.index.hits import Hits
from lsr.index.postings import WINDOW, Postings

# What steps cost, in nanoseconds; measured on 250,000 to 4,000,000 documents.
_NS_A_POSTING = 1.0
_NS_A_DOCUMENT = 0.06
_NS_A_LOOKUP = 12.0  # a term in a block
_NS_A_FAR_LOOKUP = 25.0  # the same where postings do not stay in the caches

_SPARSE = -1  # stands for a row where a term has none
_BLOCKS_A_WINDOW = WINDOW // BLOCK
_TOP = 65_535
_SEEDS = 6  # sets of blocks whose best is scored first, times k
_SPAN = 256  # blocks looked through at once
_CACHED = 500_000  # documents whose postings may lie in the caches
_TOGETHER = 16  # blocks whose postings are fetched together


@nb.njit(nogil=True, cache=True)
def _add_row(row: Any, weight: Any, low: Any, high: Any) -> None:
    """Add a term's row of a window, weighted, to the bounds of the window's two halves."""
    # Two plain loops over 8 and 16 bits: what the compiler turns into vector instructions.
    for i in range(len(row)):
        low[i] += weight * (row[i] & np.uint8(15))
    for i in range(len(row)):
        high[i] += weight * (row[i] >> np.uint8(4))


@nb.njit(nogil=True, cache=True)
def _add_rows(row_0: Any, row_1: Any, row_2: Any, row_3: Any, weights: Any, low: Any, high: Any) -> None:
    """Add four terms' rows at once, which reads and writes the bounds once instead of four times."""
    weight_0, weight_1, weight_2, weight_3 = weights[0], weights[1], weights[2], weights[3]
    mask = np.uint8(15)
    shift = np.uint8(4)
    for i in range(len(row_0)):
        low[i] += (
            weight_0 * (row_0[i] & mask)
            + weight_1 * (row_1[i] & mask)
            + weight_2 * (row_2[i] & mask)
            + weight_3 * (row_3[i] & mask)
        )
    for i in range(len(row_0)):
        high[i] += (
            weight_0 * (row_0[i] >> shift)
            + weight_1 * (row_1[i] >> shift)
            + weight_2 * (row_2[i] >> shift)
            + weight_3 * (row_3[i] >> shift)
        )


@nb.njit(nogil=True, cache=True)
def _add_run(offsets: Any, codes: Any, start: Any, stop: Any, unit: Any, bounds: Any) -> None:
    """Add a run's postings, weighted, to the bounds of their blocks, at most up to 65,535.

    `unit` is what code 1 counts for, times 65,536.
    """
    past = len(bounds)
    for p in range(start, stop):
        block = np.int64(offsets[p]) >> 3
        if block >= past:
            break
        bound = np.int64(bounds[block]) + ((np.int64(codes[p]) * unit) >> 16) + 1
        bounds[block] = np.uint16(min(bound, _TOP))


@nb.njit(nogil=True, cache=True)
def _highest(bounds: Any, tops: Any) -> None:
    """Write the highest bound of each of `len(tops)` sets of blocks, every so many blocks apart."""
    sets = len(tops)
    tops[:] = np.uint16(0)
    for j in range(0, len(bounds), 4 * sets):
        part_0 = bounds[j : j + sets]
        part_1 = bounds[j + sets : j + 2 * sets]
        part_2 = bounds[j + 2 * sets : j + 3 * sets]
        part_3 = bounds[j + 3 * sets : j + 4 * sets]
        for i in range(sets):
            a = part_0[i] if part_0[i] > part_1[i] else part_1[i]
            b = part_2[i] if part_2[i] > part_3[i] else part_3[i]
            c = a if a > b else b
            tops[i] = c if c > tops[i] else tops[i]


@nb.njit(nogil=True, cache=True)
def _gather(bounds: Any, block: Any, least: Any, below: Any, waiting: Any, count: Any) -> Any:
    """Append blocks with a bound in ``least:below``, from a block on; return where it stopped and the count."""
    low = np.uint16(least)
    while block < len(bounds) and count + _SPAN <= len(waiting):
        part = bounds[block : min(block + _SPAN, len(bounds))]
        above = np.uint16(0)
        for i in range(len(part)):
            above += np.uint16(part[i] >= low)
        if above > 0:
            for start in range(0, len(part), 32):
                lanes = part[start : start + 32]
                above = np.uint16(0)
                for i in range(32):
                    above += np.uint16(lanes[i] >= low)
                if above > 0:
                    for i in range(32):
                        if lanes[i] >= low and np.int64(lanes[i]) < below:
                            waiting[count] = block + start + i
                            count += 1
        block += _SPAN
    return block, count


@nb.njit(nogil=True, cache=True)
def _count(bounds: Any, least: Any) -> Any:
    """Count the blocks with a bound of at least `least`."""
    low = np.uint16(least)
    total = np.int64(0)
    for start in range(0, len(bounds), 4096):
        part = bounds[start : start + 4096]
        above = np.uint16(0)
        for i in range(len(part)):
            above += np.uint16(part[i] >= low)
        total += np.int64(above)
    return total


@nb.njit(nogil=True, cache=True)
def _row_part(block_rows: Any, row: Any, tiles: Any, first_tile: Any, last_tile: Any) -> Any:
    """Return the part of a row that belongs to the given tiles."""
    return block_rows[(row * tiles + first_tile) * TILE_BYTES : (row * tiles + last_tile) * TILE_BYTES]


@nb.njit(nogil=True, cache=True)
def _bound(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    block_rows: Any,
    lists: Any,
    scaled: Any,
    units: Any,
    runs: Any,
    bounds: Any,
    tops: Any,
) -> Any:
    """Bound all blocks; note each term's run of each window in `runs`; return the postings touched."""
    posting_count = np.int64(len(codes))
    tiles = len(bounds) // TILE
    touched = np.int64(0)
    present = np.empty(len(lists), np.int64)
    row_weights = np.empty(len(lists), np.uint16)
    for window in range(runs.shape[1]):
        first_tile = window * TILES_A_WINDOW
        last_tile = min(first_tile + TILES_A_WINDOW, tiles)
        part = bounds[first_tile * TILE : last_tile * TILE]
        half = len(part) // 2
        part[:] = np.uint16(0)
        rows = 0
        for j in range(len(lists)):
            run = lists[j, 1]
            if run >= lists[j, 2] or np.int64(run_windows[run]) != window:
                runs[j, window, 0] = 0
                runs[j, window, 1] = 0
                continue
            lists[j, 1] = run + 1
            start = min(max(run_starts[run], np.int64(0)), posting_count)
            stop = min(max(run_starts[run + 1], start), posting_count)
            runs[j, window, 0] = start
            runs[j, window, 1] = stop
            row = lists[j, 0]
            if row >= 0:
                present[rows] = row
                row_weights[rows] = scaled[j]
                rows += 1
        j = 0
        while j < rows:
            row_0 = _row_part(block_rows, present[j], tiles, first_tile, last_tile)
            if j + 4 <= rows:
                _add_rows(
                    row_0,
                    _row_part(block_rows, present[j + 1], tiles, first_tile, last_tile),
                    _row_part(block_rows, present[j + 2], tiles, first_tile, last_tile),
                    _row_part(block_rows, present[j + 3], tiles, first_tile, last_tile),
                    row_weights[j : j + 4],
                    part[:half],
                    part[half:],
                )
                j += 4
            else:
                _add_row(row_0, row_weights[j], part[:half], part[half:])
                j += 1
        # Rows cannot exceed 16 bits together; these can, where one term is often in a block, and stop there.
        for j in range(len(lists)):
            if lists[j, 0] == _SPARSE and runs[j, window, 1] > runs[j, window, 0]:
                touched += runs[j, window, 1] - runs[j, window, 0]
                _add_run(offsets, codes, runs[j, window, 0], runs[j, window, 1], units[j], part)
        _highest(part, tops[first_tile:last_tile])
    return touched


@nb.njit(nogil=True, cache=True)
def _touch(batch: Any, offsets: Any, codes: Any, lists: Any, runs: Any, tiles: Any, places: Any) -> Any:
    """Load what scoring these blocks will look at first, and return a number that depends on it.

    The loads do not depend on each other, so the processor waits for memory once, not once a posting
    list. Pays where an index is larger than the caches.
    """
    seen = np.int64(0)
    for block in batch:
        window = block // _BLOCKS_A_WINDOW
        group = block * BLOCK // GROUP
        for j in range(len(lists)):
            if lists[j, 0] >= 0:
                place = runs[j, window, 0] + np.int64(places[lists[j, 0] * tiles * 2 + group])
                if place < runs[j, window, 1]:
                    seen += np.int64(offsets[place]) + np.int64(codes[place])
    return seen


@nb.njit(nogil=True, cache=True)
def _score_blocks(
    batch: Any,
    offsets: Any,
    codes: Any,
    step: Any,
    lists: Any,
    weights: Any,
    runs: Any,
    tiles: Any,
    block_rows: Any,
    places: Any,
    scores: Any,
) -> Any:
    """Score the documents of some blocks exactly, a row each; return the postings added.

    Wrongly predicted branches would cost more than the additions: a place is found by counting the
    smaller ones of 16 offsets at once, or by halving without a branch.
    """
    touched = np.int64(0)
    posting_count = len(offsets)
    for number in range(len(batch)):
        block = batch[number]
        row_scores = scores[number]
        row_scores[:] = np.float32(0)
        window = block // _BLOCKS_A_WINDOW
        first = np.int64((block % _BLOCKS_A_WINDOW) * BLOCK)
        wanted = np.uint16(first)
        tile = window * TILES_A_WINDOW
        half = min(TILES_A_WINDOW, tiles - tile) * TILE_BYTES
        byte = tile * TILE_BYTES + block % _BLOCKS_A_WINDOW
        mask = 15
        if block % _BLOCKS_A_WINDOW >= half:
            byte -= half
            mask = 240
        group = block * BLOCK // GROUP
        for j in range(len(weights)):
            row = lists[j, 0]
            place = runs[j, window, 0]
            stop = runs[j, window, 1]
            if row >= 0:
                if np.int64(block_rows[row * tiles * TILE_BYTES + byte]) & mask == 0:
                    continue
                place += np.int64(places[row * tiles * 2 + group])
                if place + 16 <= posting_count:
                    some = offsets[place : place + 16]
                    room = np.uint16(min(stop - place, 16)) if stop > place else np.uint16(0)
                    before = np.uint16(0)
                    for i in range(16):
                        before += np.uint16((some[i] < wanted) & (np.uint16(i) < room))
                    place += np.int64(before)
                while place < stop and offsets[place] < wanted:
                    place += 1
            elif place < stop:
                left = stop - place
                while left > 1:
                    middle = left >> 1
                    place += middle * np.int64(offsets[place + middle - 1] < wanted)
                    left -= middle
                place += np.int64(offsets[place] < wanted)
            weight = weights[j]
            while place < stop:
                offset = np.int64(offsets[place]) - first
                if offset >= BLOCK or offset < 0:
                    break
                row_scores[offset] += weight * (np.float32(codes[place]) * step)
                place += 1
                touched += 1
    return touched


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
    waiting = np.empty(4096, np.int64)
    ordered = np.empty(4096, np.int64)
    batch = np.empty(_TOGETHER, np.int64)
    blind = np.int64(0)
    lookups = _NS_A_LOOKUP if document_count <= _CACHED else _NS_A_FAR_LOOKUP

    for i in range(len(query_starts) - 1):
        first = query_starts[i]
        longest = query_starts[i + 1] - first
        lists = np.empty((longest, 3), np.int64)
        weights = np.empty(longest, np.float32)
        tallest = np.empty(longest, np.float64)
        lengths = np.empty(longest, np.float64)
        terms = np.int64(0)
        total = 0.0
        exhaustive = document_count * _NS_A_DOCUMENT
        for j in range(first, query_starts[i + 1]):
            term = np.int64(query_terms[j])
            if term < 0 or term >= len(term_runs) - 1:
                continue
            low = max(np.int64(0), term_runs[term])
            high = min(run_count, term_runs[term + 1])
            if low >= high:
                continue
            row = np.searchsorted(block_terms, term)
            if row >= len(block_terms) or np.int64(block_terms[row]) != term:
                row = _SPARSE
            code = np.int64(largest[term])
            lists[terms, 0] = row
            lists[terms, 1] = low
            lists[terms, 2] = high
            lengths[terms] = run_starts[high] - run_starts[low]
            exhaustive += lengths[terms] * _NS_A_POSTING
            weights[terms] = query_weights[j]
            tallest[terms] = np.float64(query_weights[j]) * code * np.float64(step)
            total += tallest[terms]
            terms += 1
        sizes[i] = 0
        costs[i, 0] = 0
        costs[i, 1] = 0
        if terms == 0 or k == 0:
            continue
        if terms > 1024 or not (1e-30 < total < 1e37):
            costs[i, 1] = -1
            continue

        # A half byte of the row counts for tallest / 15; rounding up costs at most 16 in all a term.
        scale = (_TOP - 64 - 16 * terms) / total
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
        touched = _bound(
            offsets, codes, run_windows, run_starts, block_rows, lists, scaled, units, runs, bounds, tops
        )

        # Scores are float32 sums: off by half a unit in the last place for every addition and product.
        margin = scale * factor * (1 - (terms + 8) * 2.0**-23)
        histogram[:] = 0
        for tile in range(tiles):
            histogram[tops[tile] >> 6] += 1
        wanted = max(np.int64(16), _SEEDS * k)
        cutoff = 1023
        seen = histogram[cutoff]
        while cutoff > 0 and seen < wanted:
            cutoff -= 1
            seen += histogram[cutoff]
        cut = max(cutoff << 6, 1)

        scores = best_scores[i]
        documents = best_documents[i]
        size = np.int64(0)
        threshold = np.int32(1)
        needed = np.int64(1)
        scored = np.int64(0)
        # The first pass takes the tiles' highest blocks, the second what is left.
        for phase in range(2):
            if adaptive and phase == 1 and lookups * _count(bounds, needed) * terms > exhaustive:
                scored = np.int64(-1)
                break
            count = np.int64(0)
            block = np.int64(0)
            while block < len(bounds):
                least = cut if phase == 0 else needed
                below = np.int64(_TOP + 1) if phase == 0 else cut
                block, count = _gather(bounds, block, least, below, waiting, count)
                # Highest bound first.
                histogram[:] = 0
                for w in range(count):
                    histogram[bounds[waiting[w]] >> 6] += 1
                place = np.int64(0)
                for b in range(1023, -1, -1):
                    blocks = histogram[b]
                    histogram[b] = place
                    place += blocks
                for w in range(count):
                    b = bounds[waiting[w]] >> 6
                    ordered[histogram[b]] = waiting[w]
                    histogram[b] += 1
                w = 0
                while w < count:
                    together = 0
                    while w < count and together < _TOGETHER:
                        if np.int64(bounds[ordered[w]]) >= needed:
                            batch[together] = ordered[w]
                            together += 1
                        w += 1
                    if document_count > _CACHED:
                        blind += _touch(batch[:together], offsets, codes, lists, runs, tiles, places)
                    touched += _score_blocks(
                        batch[:together], offsets, codes, step, lists, weights, runs, tiles, block_rows,
                        places, block_scores,
                    )  # fmt: skip
                    scored += together
                    for t in range(together):
                        number = batch[t]
                        changed = False
                        for d in range(BLOCK):
                            document = number * BLOCK + d
                            if score_bits[t, d] >= threshold and document < document_count:
                                if filtered and not allowed[document]:
                                    continue
                                size = offer(scores, documents, size, block_scores[t, d], document)
                                changed = True
                        if changed and size == k:
                            threshold = max(bits_of(scores[0]), np.int32(1))
                            reach = np.float64(scores[0]) * margin
                            needed = min(max(np.int64(reach) - 1, np.int64(1)), np.int64(_TOP))
                count = np.int64(0)
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
