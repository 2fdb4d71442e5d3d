"""Writing the block maxima of a segment; see `lsr.index.blocks`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba as nb
import numpy as np

from lsr.index.blocks import (
    BLOCK,
    FILES,
    LEVELS,
    TILE_BYTES,
    TILES_A_WINDOW,
    group_counts,
    group_shift,
    tile_count,
)
from lsr.index.files import ArrayWriter, write_array
from lsr.index.postings import WINDOW, Postings

# What rows and places may cost. With 3 bytes a posting this keeps an index below 5.
MOST_BYTES_A_POSTING = 1.75
# Smaller segments are searched exhaustively in a few microseconds.
LEAST_DOCUMENTS = 16_384


@nb.njit(nogil=True, cache=True)
def _fill(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    first: Any,
    last: Any,
    largest: Any,
    shift: Any,
    row: Any,
    places: Any,
) -> None:
    """Fill in the row and places of the term with the runs ``first:last`` and the given largest code."""
    groups = WINDOW >> shift
    for run in range(first, last):
        window = np.int64(run_windows[run])
        group: Any = window * groups
        past: Any = min(group + groups, len(places))
        base = group
        bytes_before = window * TILES_A_WINDOW * TILE_BYTES
        window_bytes: Any = min(TILES_A_WINDOW * TILE_BYTES, len(row) - bytes_before)
        quarter = window_bytes // 2
        for p in range(run_starts[run], run_starts[run + 1]):
            offset = np.int64(offsets[p])
            while group < past and group - base <= offset >> shift:
                places[group] = p - run_starts[run]
                group += 1
            level = (np.int64(codes[p]) * LEVELS + largest - 1) // largest
            block: Any = offset // BLOCK
            part = block // quarter
            place = bytes_before + 2 * (block - part * quarter) + (part >> 1)
            half = 4 * (part & 1)
            byte = np.int64(row[place])
            if level > (byte >> half) & 15:
                row[place] = (byte & (15 << (4 - half))) | (level << half)
        while group < past:
            # 65,536 postings before a group are no group's: such a run fills its window.
            places[group] = min(run_starts[run + 1] - run_starts[run], np.int64(65_535))
            group += 1


def deserves_blocks(document_count: int) -> bool:
    """Tell whether a segment of so many documents gets block maxima."""
    return document_count >= LEAST_DOCUMENTS


def write_blocks(folder: Path, postings: Postings) -> None:
    """Write the block maxima of a segment's most frequent terms, as many as their share of bytes allows.

    Takes one pass over their postings, and the memory of one row.
    """
    tiles = tile_count(postings.document_count)
    if not deserves_blocks(postings.document_count):
        return
    frequencies = postings.document_frequencies(np.arange(postings.term_count))
    order = np.argsort(-frequencies, kind="stable")[: int(np.count_nonzero(frequencies))]
    shifts = np.array(
        [group_shift(count, postings.document_count) for count in frequencies[order].tolist()], np.uint8
    )
    sizes = np.cumsum(tiles * TILE_BYTES + 2 * group_counts(tiles, shifts))
    count = int(np.searchsorted(sizes, MOST_BYTES_A_POSTING * postings.posting_count, side="right"))
    terms = np.sort(order[:count]).astype(np.int32)
    shifts = shifts[np.argsort(order[:count])]
    largest = np.zeros(postings.term_count, np.uint16)
    held = np.flatnonzero(frequencies)
    if len(held):
        starts = postings.run_starts[postings.term_runs[held]]
        largest[held] = np.maximum.reduceat(postings.codes, starts)
    rows = ArrayWriter(folder / FILES["rows"][0], np.dtype(np.uint8))
    places = ArrayWriter(folder / FILES["places"][0], np.dtype(np.uint16))
    try:
        for term, shift, groups in zip(
            terms.tolist(), shifts.tolist(), group_counts(tiles, shifts).tolist(), strict=True
        ):
            row = np.zeros(tiles * TILE_BYTES, np.uint8)
            row_places = np.zeros(groups, np.uint16)
            _fill(
                postings.offsets,
                postings.codes,
                postings.run_windows,
                postings.run_starts,
                int(postings.term_runs[term]),
                int(postings.term_runs[term + 1]),
                int(largest[term]),
                shift,
                row,
                row_places,
            )
            rows.write(row)
            places.write(row_places)
        rows.close()
        places.close()
    finally:
        rows.abort()
        places.abort()
    write_array(folder / FILES["terms"][0], terms)
    write_array(folder / FILES["largest"][0], largest)
    write_array(folder / FILES["shifts"][0], shifts)
