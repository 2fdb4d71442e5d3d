"""Scoring single blocks exactly, for block-max search: kernels.

Blocks come in batches. What scoring them reads lies all over the index, so it is asked for ahead of its
use: for the whole batch first the rows and places of frequent terms, then the postings that these lead
to, and the processor waits for memory a few times a batch instead of several times a posting.

A batch is scored in two steps. First come the terms with a row, whose postings of a block are known to
exist and are reached through the place stored for every group of documents. What they really are is mostly
well below what their rows promised, so few blocks are left that could still hold a hit; only in those
are the other terms looked up, where they would be if a term's documents were evenly spread.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from lsr.index.allowed import find
from lsr.index.blocks import A_GROUP, BLOCK, BLOCKS_A_WINDOW, TILE_BYTES, TILES_A_WINDOW
from lsr.index.bounding import MOST, contribution
from lsr.index.lanes import at_least, lowest_bit, prefetch, seek
from lsr.index.postings import WINDOW

BATCH = 32  # blocks
FIRST = 3  # terms looked up before a block is judged
_NEAR = 28  # postings


@nb.njit(nogil=True, cache=True)
def _half_byte(block: Any, tiles: Any) -> Any:
    """Return where in a row a block's half byte is, counted in half bytes."""
    within = block % BLOCKS_A_WINDOW
    first_tile = block // BLOCKS_A_WINDOW * TILES_A_WINDOW
    if tiles - first_tile >= TILES_A_WINDOW:
        quarter = np.int64(BLOCKS_A_WINDOW // 4)
        part = within // (BLOCKS_A_WINDOW // 4)
    else:
        quarter = (tiles - first_tile) * TILE_BYTES // 2
        part = within // quarter
    return 2 * (first_tile * TILE_BYTES + 2 * (within - part * quarter)) + part


@nb.njit(nogil=True, cache=True)
def _guess(start: Any, stop: Any, first: Any) -> Any:
    """Return a place of a run below which there probably are only offsets below `first`, but not many others."""
    return start + min(
        max((stop - start) * first // WINDOW - _NEAR, np.int64(0)), max(stop - start - 2 * _NEAR, np.int64(0))
    )


@nb.njit(nogil=True, cache=True)
def _seek_far(offsets: Any, start: Any, low: Any, stop: Any, wanted: Any) -> Any:
    """Return the first place of a run whose offset is not below `wanted`, looking first from `low` on."""
    if start >= stop:
        return stop
    if low > start and offsets[low - 1] >= wanted:
        return find(offsets, start, low, wanted)
    if low + 64 > len(offsets):
        return find(offsets, low, stop, wanted)
    reached = at_least(offsets, low, wanted)
    if reached == 0:
        return find(offsets, min(low + 64, stop), stop, wanted)
    return min(low + lowest_bit(reached), stop)


@nb.njit(nogil=True, cache=True)
def _add_postings(
    offsets: Any,
    codes: Any,
    place: Any,
    stop: Any,
    first: Any,
    weight: Any,
    step: Any,
    b: Any,
    j: Any,
    parts: Any,
    scores: Any,
) -> Any:
    """Add what a term's postings from `place` on earn a block's documents; return the place after them."""
    while place < stop:
        offset = np.int64(offsets[place]) - first
        if offset >= BLOCK or offset < 0:
            break
        value = weight * (np.float32(codes[place]) * step)
        parts[b, j, offset] += value
        scores[b, offset] += value
        place += 1
    return place


@nb.njit(nogil=True, cache=True)
def _within_reach(scores: Any, b: Any, left: Any, scale: Any, least: Any) -> Any:
    """Tell whether a document of a block can reach `least`, if what is `left` of the bound were all its own."""
    top = np.float32(0)
    for d in range(BLOCK):
        top = max(top, scores[b, d])
    return np.float64(top) * scale + left >= least


@nb.njit(nogil=True, cache=True)
def score_batch(
    batch: Any,
    left: Any,
    count: Any,
    offsets: Any,
    codes: Any,
    step: Any,
    weights: Any,
    frequent: Any,
    rare: Any,
    scaled: Any,
    units: Any,
    runs: Any,
    tiles: Any,
    rows: Any,
    places: Any,
    scale: Any,
    least: Any,
    alive: Any,
    held: Any,
    found: Any,
    parts: Any,
    scores: Any,
) -> Any:
    """Score the documents of `count` blocks, a row of `scores` each; return the postings added.

    Rows of blocks that no document of can reach `least`, in units of bounds, are filled with zeros.

    Args:
        left: the bounds of the blocks; changed.
        frequent: the terms with a row, int64 [terms, 5], those that can earn most first: a term's place in
            the query, where its row starts, where its places start, the power of 2 that its groups have
            documents, and 1 if bounds contain it.
        rare: the others, int64 [terms, 2]: a term's place in the query, and 1 if bounds contain it.
        alive: int64 [BATCH], scratch memory, as what follows.
        held, found: int64 [BATCH, 1 + terms].
        parts: float32 [BATCH, terms, BLOCK].
    """
    terms = len(weights)
    all_bounded = rare[:, 1].all()
    for b in range(count):
        byte = _half_byte(batch[b], tiles) // 2
        for i in range(len(frequent)):
            prefetch(rows, frequent[i, 1] + byte)
    for b in range(count):
        half_byte = _half_byte(batch[b], tiles)
        byte = half_byte // 2
        shift = 4 * (half_byte & 1)
        holding = unbounded = np.int64(0)
        for i in range(len(frequent)):
            level = np.int64(rows[frequent[i, 1] + byte]) >> shift & 15
            held[b, 1 + holding] = i << 4 | level
            holding += np.int64(level > 0)
            unbounded += level * np.int64(scaled[frequent[i, 0]]) * (1 - frequent[i, 4])
        held[b, 0] = holding
        # Such a bound may have been higher.
        left[b] = left[b] + unbounded if left[b] < MOST else 2**62
        for j in range(terms):
            for d in range(BLOCK):
                parts[b, j, d] = np.float32(0)
        for d in range(BLOCK):
            scores[b, d] = np.float32(0)
        alive[b] = b

    touched = np.int64(0)
    living = count
    first_wave = np.int64(FIRST)
    # First a few terms, which settle it for most blocks, then the others.
    for wave in range(2):
        for a in range(living):
            b = alive[a]
            document = batch[b] * BLOCK
            past = held[b, 0] if wave else min(held[b, 0], first_wave)
            for h in range(1 + wave * first_wave, 1 + past):
                i = held[b, h] >> 4
                prefetch(places, frequent[i, 2] + (document >> frequent[i, 3]))
        for a in range(living):
            b = alive[a]
            document = batch[b] * BLOCK
            window = document // WINDOW
            past = held[b, 0] if wave else min(held[b, 0], first_wave)
            for h in range(1 + wave * first_wave, 1 + past):
                i = held[b, h] >> 4
                place = runs[window, frequent[i, 0], 0]
                place += np.int64(places[frequent[i, 2] + (document >> frequent[i, 3])])
                found[b, h] = place
                prefetch(offsets, place)
                prefetch(offsets, place + 15)
                within = document & (np.int64(1) << frequent[i, 3]) - 1
                prefetch(codes, place + (within * A_GROUP >> frequent[i, 3]))
        still = np.int64(0)
        for a in range(living):
            b = alive[a]
            window = batch[b] // BLOCKS_A_WINDOW
            first = batch[b] % BLOCKS_A_WINDOW * BLOCK
            past = held[b, 0] if wave else min(held[b, 0], first_wave)
            open_bound = left[b]
            for h in range(1 + wave * first_wave, 1 + past):
                j = frequent[held[b, h] >> 4, 0]
                open_bound -= (held[b, h] & 15) * np.int64(scaled[j])
                stop = runs[window, j, 1]
                place = seek(offsets, found[b, h], stop, np.uint16(first))
                weight = weights[j]
                while place < stop:
                    offset = np.int64(offsets[place]) - first
                    if offset >= BLOCK or offset < 0:
                        break
                    value = weight * (np.float32(codes[place]) * step)
                    parts[b, j, offset] += value
                    scores[b, offset] += value
                    place += 1
                    touched += 1
            left[b] = open_bound
            alive[still] = b
            still += np.int64(_within_reach(scores, b, open_bound, scale, least))
        living = still

    for a in range(living):
        b = alive[a]
        if left[b] <= 0 and all_bounded:
            continue
        window = batch[b] // BLOCKS_A_WINDOW
        first = batch[b] % BLOCKS_A_WINDOW * BLOCK
        for i in range(len(rare)):
            j = rare[i, 0]
            found[b, i] = _guess(runs[window, j, 0], runs[window, j, 1], first)
            prefetch(offsets, found[b, i])
            prefetch(offsets, found[b, i] + 32)
            prefetch(offsets, found[b, i] + 63)
    for a in range(living):
        b = alive[a]
        window = batch[b] // BLOCKS_A_WINDOW
        first = batch[b] % BLOCKS_A_WINDOW * BLOCK
        for i in range(len(rare)):
            j = rare[i, 0]
            if left[b] <= 0 and rare[i, 1]:
                continue
            stop = runs[window, j, 1]
            place = _seek_far(offsets, runs[window, j, 0], found[b, i], stop, np.uint16(first))
            past = _add_postings(offsets, codes, place, stop, first, weights[j], step, b, j, parts, scores)
            touched += past - place
            for p in range(place, past):
                left[b] -= contribution(codes[p], units[j]) * rare[i, 1]
    for b in range(count):
        for d in range(BLOCK):
            scores[b, d] = np.float32(0)
    # The sum that counts goes by ascending term.
    for a in range(living):
        b = alive[a]
        for j in range(terms):
            for d in range(BLOCK):
                scores[b, d] += parts[b, j, d]
    return touched
