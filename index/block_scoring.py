"""Scoring single blocks exactly, for block-max search: kernels.

A block's postings of a term are reached through the place stored for every 256 documents, or by looking
where they would be if the term's documents were evenly spread. Wrongly predicted branches would cost
more than the additions, so a place is found by counting the smaller ones of several offsets at once.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from lsr.index.allowed import find
from lsr.index.blocks import BLOCK, GROUP, TILE_BYTES, TILES_A_WINDOW
from lsr.index.bounding import MOST
from lsr.index.postings import WINDOW

_BLOCKS_A_WINDOW = WINDOW // BLOCK


@nb.njit(nogil=True, cache=True)
def touch_blocks(batch: Any, offsets: Any, codes: Any, lists: Any, runs: Any, tiles: Any, places: Any) -> Any:
    """Load what scoring these blocks will look at first, and return a number that depends on it.

    The loads do not depend on each other, so the processor waits for memory once, not once a posting
    list. Pays where an index is larger than the caches.
    """
    seen = np.int64(0)
    for block in batch:
        window = block // _BLOCKS_A_WINDOW
        group = block * BLOCK // GROUP
        for j in range(len(lists)):
            place = runs[j, window, 0]
            stop = runs[j, window, 1]
            if lists[j, 0] >= 0:
                place += np.int64(places[lists[j, 0] * tiles * 2 + group])
            else:
                place += (stop - place) * (block % _BLOCKS_A_WINDOW) // _BLOCKS_A_WINDOW
            if place < stop:
                seen += np.int64(offsets[place]) + np.int64(codes[place])
    return seen


@nb.njit(nogil=True, cache=True)
def _seek(offsets: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """Return the first place of a run whose offset is not below `wanted`.

    Looks first where it would be if the run's documents were evenly spread, and counts the smaller ones
    of 64 offsets there at once.
    """
    length = stop - start
    low = start + min(
        max(length * np.int64(wanted) // WINDOW - 32, np.int64(0)), max(length - 64, np.int64(0))
    )
    if low + 64 <= len(offsets) and (low == start or offsets[low - 1] < wanted):
        room = np.uint16(min(stop - low, np.int64(64)))
        some = offsets[low : low + 64]
        before = np.uint16(0)
        for i in range(64):
            before += np.uint16((some[i] < wanted) & (np.uint16(i) < room))
        if np.int64(before) < 64 or low + 64 == stop:
            return low + np.int64(before)
    return find(offsets, start, stop, wanted)


@nb.njit(nogil=True, cache=True)
def score_blocks(
    batch: Any,
    offsets: Any,
    codes: Any,
    step: Any,
    lists: Any,
    weights: Any,
    scaled: Any,
    units: Any,
    runs: Any,
    tiles: Any,
    block_rows: Any,
    places: Any,
    bounds: Any,
    scores: Any,
) -> Any:
    """Score the documents of some blocks exactly, a row each; return the postings added."""
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
        # What terms without a row added to the block's bound: where it is used up, none is left to find.
        rest = np.int64(bounds[block])
        if rest == MOST:
            rest = np.int64(2**62)
        else:
            for j in range(len(weights)):
                if lists[j, 0] >= 0 and runs[j, window, 1] > runs[j, window, 0]:
                    level = np.int64(block_rows[lists[j, 0] * tiles * TILE_BYTES + byte]) & mask
                    rest -= np.int64(scaled[j]) * (level if mask == 15 else level >> 4)
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
            elif place < stop and rest > 0:
                place = _seek(offsets, place, stop, wanted)
            else:
                continue
            weight = weights[j]
            while place < stop:
                offset = np.int64(offsets[place]) - first
                if offset >= BLOCK or offset < 0:
                    break
                row_scores[offset] += weight * (np.float32(codes[place]) * step)
                if row < 0:
                    rest -= ((np.int64(codes[place]) * units[j]) >> 16) + 1
                place += 1
                touched += 1
    return touched
