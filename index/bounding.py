"""Bounding all blocks of a segment, for block-max search: kernels.

Bounds are sums of 16 bits. Terms with a row of block maxima are added in bulk; terms without one, from
their postings, to the blocks that hold them.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from lsr.index.blocks import BLOCKS_A_WINDOW, TILE, TILE_BYTES, TILES_A_WINDOW
from lsr.index.lanes import add_rows, add_saturating, ask_for, highest, prefetch

MOST = 65_535  # a bound that says nothing


@nb.njit(nogil=True, cache=True)
def contribution(code: Any, unit: Any) -> Any:
    """Return what a posting adds to its block's bound; `unit` is what code 1 counts for, times 65,536."""
    return ((np.int64(code) * unit) >> 16) + 1


@nb.njit(nogil=True, cache=True)
def find_runs(run_windows: Any, run_starts: Any, posting_count: Any, lists: Any, runs: Any) -> None:
    """Write where each term's postings of each window start and end, into ``runs[window, term]``."""
    windows = len(runs)
    runs[:] = 0
    for j in range(len(lists)):
        if j + 1 < len(lists):
            prefetch(run_windows, lists[j + 1, 1])
            prefetch(run_starts, lists[j + 1, 1])
        for run in range(lists[j, 1], lists[j, 2]):
            window = np.int64(run_windows[run])
            if window < windows:
                start = min(max(run_starts[run], np.int64(0)), posting_count)
                runs[window, j, 0] = start
                runs[window, j, 1] = min(max(run_starts[run + 1], start), posting_count)


@nb.njit(nogil=True, cache=True)
def _fill_table(unit: Any, largest: Any, table: Any) -> None:
    """Write what each code up to a term's largest adds to a bound; others are of damaged files."""
    # A whole term counts for less than 65,536, so 32 bits suffice.
    unit = np.uint32(unit)
    largest = min(largest, len(table) - 1)
    for code in range(largest + 1):
        table[code] = np.uint16((np.uint32(code) * unit >> np.uint32(16)) + np.uint32(1))
    table[largest + 1 :] = np.uint16(MOST)


@nb.njit(nogil=True, cache=True)
def _add_run(offsets: Any, codes: Any, unit: Any, table: Any, bounds: Any) -> None:
    """Add a run's postings, weighted, to the bounds of their blocks, at most up to 65,535."""
    past = len(bounds)
    if codes.itemsize == 1 and past == BLOCKS_A_WINDOW:
        for p in range(len(offsets)):
            block = offsets[p] >> np.uint16(3)
            bounds[block] = add_saturating(bounds[block], table[codes[p]])
        return
    for p in range(len(offsets)):
        block = np.int64(offsets[p]) >> 3
        if block >= past:
            break
        bounds[block] = np.uint16(min(np.int64(bounds[block]) + contribution(codes[p], unit), MOST))


@nb.njit(nogil=True, cache=True)
def bound_blocks(
    offsets: Any,
    codes: Any,
    rows: Any,
    own_rows: Any,
    bounded: Any,
    largest: Any,
    scaled: Any,
    units: Any,
    runs: Any,
    bounds: Any,
    tops: Any,
) -> Any:
    """Bound all blocks, and every 64 of them together, by the terms that are `bounded`; return the postings touched."""
    tiles = len(bounds) // TILE
    tops[tiles:] = np.uint16(0)
    terms = len(own_rows)
    touched = np.int64(0)
    starts = np.empty(terms, np.int64)
    weights = np.empty(terms, np.uint16)
    sparse = np.empty(terms, np.int64)
    tables = np.empty((terms, 256), np.uint16)
    if codes.itemsize == 1:
        for j in range(terms):
            if own_rows[j] < 0:
                _fill_table(units[j], largest[j], tables[j])
    for window in range(len(runs)):
        first_tile = window * TILES_A_WINDOW
        last_tile = min(first_tile + TILES_A_WINDOW, tiles)
        part = bounds[first_tile * TILE : last_tile * TILE]
        part[:] = np.uint16(0)
        dense = 0
        runless = 0
        for j in range(terms):
            if runs[window, j, 1] <= runs[window, j, 0] or not bounded[j]:
                continue
            row = own_rows[j]
            if row >= 0:
                starts[dense] = (row * tiles + first_tile) * TILE_BYTES
                weights[dense] = scaled[j]
                dense += 1
            else:
                sparse[runless] = j
                runless += 1
        if runless:
            ask_for(offsets, codes, runs[window, sparse[0], 0], runs[window, sparse[0], 1])
        add_rows(rows, starts, weights, dense, part)
        # Rows cannot exceed 16 bits together; these can, where one term is often in a block, and stop there.
        for i in range(runless):
            if i + 1 < runless:
                ask_for(offsets, codes, runs[window, sparse[i + 1], 0], runs[window, sparse[i + 1], 1])
            j = sparse[i]
            start = runs[window, j, 0]
            stop = runs[window, j, 1]
            touched += stop - start
            _add_run(offsets[start:stop], codes[start:stop], units[j], tables[j], part)
        for tile in range(first_tile, last_tile):
            tops[tile] = highest(bounds, tile * TILE)
    return touched
