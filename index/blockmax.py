"""Safe block-max search: exact, and it scores only blocks that can hold one of the k best documents.

After Block-Max Pruning (Mallia et al., SIGIR 2024, arXiv 2405.01117). A query goes through three steps:

1. Bound every block of 8 documents. Terms with a row of half-byte maxima are added in bulk, in 16-bit
   integers; the others from their postings. Weights are scaled so that no sum exceeds 16 bits and
   rounded up, so a bound is never too low.
2. Score a few blocks, those of highest bounds; then four times as many, and so on.
3. Stop where the blocks left cannot beat the k-th best score so far.

A block is scored exactly: its documents' postings are reached through the places stored with a row
(or, for a term without one, found in its run), and added in ascending term id, as exhaustive
search does. A bound is compared with the k-th score lowered by a margin that covers the rounding of a
float32 sum, and a block that could tie is scored, so documents, scores and order are those of
exhaustive search.

File contents can spoil results but not memory: places are clamped to their run, offsets and half bytes
are narrower than what they index.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from lsr.index.block_scoring import BATCH, score_batch
from lsr.index.blocks import BLOCK, LEVELS, TILE, TILE_BYTES
from lsr.index.bounding import MOST, bound_blocks, find_runs
from lsr.index.heap import bits as bits_of
from lsr.index.heap import offer, sort_heap
from lsr.index.lanes import at_least, lowest_bit, prefetch
from lsr.index.postings import WINDOW

_MARKED = 128  # sets of 64 blocks that are looked at together
_MOST_TERMS = 1024
NS_A_LOOKUP = 30.0  # what looking a term up in a block takes, in nanoseconds


@nb.njit(nogil=True, cache=True)
def _count_sets(tops: Any, limit: Any) -> Any:
    """Count the sets of blocks whose highest bound is at least `limit`."""
    count = np.int64(0)
    for tile in range(len(tops)):
        count += np.int64(tops[tile] >= limit)
    return count


@nb.njit(nogil=True, cache=True)
def _cut(tops: Any, least: Any, below: Any, wanted: Any) -> Any:
    """Return a bound in ``least:below`` that about `wanted` sets of blocks reach, `least` if fewer do."""
    low = least
    high = below
    while high - low > 1 and high - low > low >> 5:
        middle = (low + high) >> 1
        if _count_sets(tops, np.uint16(middle)) >= wanted:
            low = middle
        else:
            high = middle
    return low


@nb.njit(nogil=True, cache=True)
def _collect(bounds: Any, tops: Any, tile: Any, least: Any, below: Any, marked: Any, waiting: Any) -> Any:
    """Write down the blocks with a bound in ``least:below``, from a set of 64 on, as long as there is room.

    `marked` is scratch memory for as many sets as fill `waiting`.

    Returns:
        How many blocks there are, and the first set that was not looked at.
    """
    sets = np.int64(0)
    while tile < len(tops) and sets + TILE <= len(marked):
        bits = at_least(tops, tile, least)
        while bits != 0:
            marked[sets] = tile + lowest_bit(bits)
            prefetch(bounds, marked[sets] * TILE)
            prefetch(bounds, marked[sets] * TILE + TILE // 2)
            bits &= bits - np.uint64(1)
            sets += 1
        tile += TILE
    count = np.int64(0)
    for s in range(sets):
        first = marked[s] * TILE
        bits = at_least(bounds, first, least)
        if below <= MOST:
            bits &= ~at_least(bounds, first, np.uint16(below))
        while bits != 0:
            waiting[count] = first + lowest_bit(bits)
            bits &= bits - np.uint64(1)
            count += 1
    return count, tile


@nb.njit(nogil=True, cache=True)
def _move_up(order: Any, place: Any, worth: Any) -> None:
    """Move the last term of `order`, rows of which begin with a term, up to where its worth belongs."""
    while place > 0 and worth[order[place, 0]] > worth[order[place - 1, 0]]:
        for column in range(order.shape[1]):
            order[place, column], order[place - 1, column] = order[place - 1, column], order[place, column]
        place -= 1


@nb.njit(nogil=True, cache=True)
def _bounded(tallest: Any, total: Any, share: Any) -> Any:
    """Return 1 for terms that bounds are made of: those that can earn most and together `share` of `total`."""
    bounded = np.ones(len(tallest), np.int64)
    if share < 1:
        order = np.argsort(tallest)
        left_out = 0.0
        for j in order[:-1]:
            left_out += tallest[j]
            if left_out > (1 - share) * total:
                break
            bounded[j] = 0
    return bounded


@nb.njit(nogil=True, cache=True)
def search_blocks(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    lists: Any,
    weights: Any,
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
    floor: Any,
    share: Any,
    factor: Any,
    most_blocks: Any,
    most_cost: Any,
    bounds: Any,
    tops: Any,
    scores: Any,
    documents: Any,
) -> Any:
    """Answer a query; return the number of hits, of postings touched and of blocks scored.

    Args:
        lists, weights: the query's terms, as `lsr.index.reading.read_query` writes them.
        row_numbers, largest, rows, places, place_starts, shifts: those of a `Blocks`.
        allowed: uint8 [documents], not 0 where a document may be returned; read only where `filtered`.
        floor: only scores above it are hits.
        share: 1 is safe. With a smaller one, terms that can earn least are left out of bounds, as many
            as leave this share of what all terms can earn.
        factor: 1 is safe. With a larger one, blocks are passed over whose bound is below `factor` times
            the k-th best score so far.
        most_blocks: once so many blocks are scored, the search ends; safe if infinite.
        most_cost: where scoring the blocks that are left would take more nanoseconds, the query is given
            up, and the number of blocks returned is -1; so it is where bounds of 16 bits don't do.
        bounds: uint16 [blocks], scratch memory. Blocks are filled up to whole sets of 64.
        tops: uint16 [sets of 64 blocks], scratch memory. Sets are filled up to a multiple of 64.
        scores, documents: receive the hits, as many as they have room for, the best first.
    """
    k = len(scores)
    terms = len(lists)
    tiles = len(bounds) // TILE
    tallest = np.empty(terms, np.float64)
    tallest_codes = np.empty(terms, np.int64)
    lengths = np.empty(terms, np.int64)
    own_rows = np.empty(terms, np.int64)
    frequent = np.empty((terms, 5), np.int64)
    rare = np.empty((terms, 2), np.int64)
    frequent_count = rare_count = 0
    total = 0.0
    for j in range(terms):
        term = lists[j, 0]
        row = np.int64(row_numbers[term])
        own_rows[j] = row
        lengths[j] = run_starts[lists[j, 2]] - run_starts[lists[j, 1]]
        tallest_codes[j] = largest[term]
        tallest[j] = np.float64(weights[j]) * np.float64(largest[term]) * np.float64(step)
        total += tallest[j]
    if terms > _MOST_TERMS or not (1e-30 < total < 1e37):
        return np.int64(0), np.int64(0), np.int64(-1)
    bounded = _bounded(tallest, total, share)
    for j in range(terms):
        # Looked up first are frequent terms that can earn most, and rare ones that are likeliest there.
        row = own_rows[j]
        if row >= 0:
            frequent[frequent_count, 0] = j
            frequent[frequent_count, 1] = row * tiles * TILE_BYTES
            frequent[frequent_count, 2] = place_starts[row]
            frequent[frequent_count, 3] = shifts[row]
            frequent[frequent_count, 4] = bounded[j]
            _move_up(frequent, frequent_count, tallest)
            frequent_count += 1
        else:
            rare[rare_count, 0] = j
            rare[rare_count, 1] = bounded[j]
            _move_up(rare, rare_count, lengths)
            rare_count += 1

    # A half byte of the row counts for tallest / 15; rounding up costs at most 16 in all a term.
    scale = (MOST - 64 - 16 * terms) / total
    scaled = np.empty(terms, np.uint16)
    units = np.empty(terms, np.int64)
    for j in range(terms):
        scaled[j] = np.uint16(np.ceil(tallest[j] * scale * (1 + 1e-9) / LEVELS))
        units[j] = np.int64(np.ceil(np.float64(weights[j]) * np.float64(step) * scale * (1 + 1e-9) * 65536))
    runs = np.empty(((document_count + WINDOW - 1) // WINDOW, terms, 2), np.int64)
    find_runs(run_windows, run_starts, len(codes), lists, runs)
    touched = bound_blocks(
        offsets, codes, rows, own_rows, bounded, tallest_codes, scaled, units, runs, bounds, tops
    )

    marked = np.empty(_MARKED, np.int64)
    waiting = np.empty(_MARKED * TILE, np.int64)
    batch = np.empty(BATCH, np.int64)
    batch_bounds = np.empty(BATCH, np.int64)
    alive = np.empty(BATCH, np.int64)
    held = np.empty((BATCH, 1 + terms), np.int64)
    found = np.empty((BATCH, 1 + terms), np.int64)
    parts = np.empty((BATCH, terms, BLOCK), np.float32)
    block_scores = np.empty((BATCH, BLOCK), np.float32)
    # Scores are float32 sums: off by half a unit in the last place for every addition and product.
    margin = scale * factor * (1 - (2 * terms + 16) * 2.0**-23)
    size = np.int64(0)
    threshold = bits_of(floor)  # what a score must be above; or, of an earlier document, reach
    least = np.float64(floor) * margin - 1  # what a bound must reach
    needed = max(np.int64(least), np.int64(1))
    scored = np.int64(0)
    wanted = 2 * k + 16
    below = np.int64(MOST + 1)
    while below > needed and scored < most_blocks:
        cut = _cut(tops, needed, below, wanted)
        wanted *= 4
        if below <= MOST and cut == needed:
            left = min(_count_sets(tops, np.uint16(needed)), most_blocks - scored)
            if left * terms * NS_A_LOOKUP > most_cost:
                return np.int64(0), touched, np.int64(-1)
        tile = np.int64(0)
        while tile < tiles and scored < most_blocks:
            count, tile = _collect(bounds, tops, tile, np.uint16(cut), below, marked, waiting)
            w = np.int64(0)
            while w < count and scored < most_blocks:
                chosen = np.int64(0)
                while w < count and chosen < BATCH:
                    block = waiting[w]
                    batch[chosen] = block
                    batch_bounds[chosen] = bounds[block]
                    chosen += np.int64(np.int64(bounds[block]) >= needed)
                    w += 1
                touched += score_batch(
                    batch, batch_bounds, chosen, offsets, codes, step, weights, frequent[:frequent_count],
                    rare[:rare_count], scaled, units, runs, tiles, rows, places, scale, least, alive,
                    held, found, parts, block_scores,
                )  # fmt: skip
                scored += chosen
                for b in range(chosen):
                    for d in range(BLOCK):
                        document = batch[b] * BLOCK + d
                        if bits_of(block_scores[b, d]) >= threshold and document < document_count:
                            if filtered and not allowed[document]:
                                continue
                            if block_scores[b, d] <= floor:
                                continue
                            size = offer(scores, documents, size, block_scores[b, d], document)
                            if size == k:
                                threshold = bits_of(scores[0])
                if size == k:
                    least = max(np.float64(scores[0]) * margin - 1, least)
                    needed = min(max(np.int64(least), np.int64(1)), np.int64(MOST))
        below = cut
    sort_heap(scores, documents, size)
    return size, touched, scored
