"""Bounding all blocks of a segment, for block-max search: kernels.

Bounds are sums of 16 bits. Terms with a row of block maxima are added in bulk; terms without one, from
their postings, to the blocks that hold them.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from lsr.index.blocks import TILE, TILE_BYTES, TILES_A_WINDOW

MOST = 65_535  # a bound that says nothing
SPARSE = -1  # stands for a row where a term has none


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
        bounds[block] = np.uint16(min(bound, MOST))


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
def _row_part(block_rows: Any, row: Any, tiles: Any, first_tile: Any, last_tile: Any) -> Any:
    """Return the part of a row that belongs to the given tiles."""
    return block_rows[(row * tiles + first_tile) * TILE_BYTES : (row * tiles + last_tile) * TILE_BYTES]


@nb.njit(nogil=True, cache=True)
def bound_blocks(
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
    tiles = len(tops)
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
            if lists[j, 0] == SPARSE and runs[j, window, 1] > runs[j, window, 0]:
                touched += runs[j, window, 1] - runs[j, window, 0]
                _add_run(offsets, codes, runs[j, window, 0], runs[j, window, 1], units[j], part)
        _highest(part, tops[first_tile:last_tile])
    return touched
