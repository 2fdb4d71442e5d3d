"""Writing the block maxima of a segment; see `lsr.index.blocks`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba as nb
import numpy as np

from lsr.index.blocks import (
    BLOCK,
    FILES,
    GROUP,
    GROUPS_A_WINDOW,
    LEVELS,
    TILE_BYTES,
    TILES_A_WINDOW,
    tile_count,
)
from lsr.index.files import ArrayWriter, write_array
from lsr.index.postings import Postings

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
    row: Any,
    places: Any,
) -> None:
    """Fill in the row and places of the term with the runs ``first:last`` and the given largest code."""
    for run in range(first, last):
        window = np.int64(run_windows[run])
        group: Any = window * GROUPS_A_WINDOW
        past: Any = min(group + GROUPS_A_WINDOW, len(places))
        base = group
        half: Any = min(TILES_A_WINDOW * TILE_BYTES, len(row) - window * TILES_A_WINDOW * TILE_BYTES)
        for p in range(run_starts[run], run_starts[run + 1]):
            offset = np.int64(offsets[p])
            while group < past and group - base <= offset // GROUP:
                places[group] = p - run_starts[run]
                group += 1
            level = (np.int64(codes[p]) * LEVELS + largest - 1) // largest
            place = offset // BLOCK
            shift = 0
            if place >= half:
                place -= half
                shift = 4
            place += window * TILES_A_WINDOW * TILE_BYTES
            byte = np.int64(row[place])
            if level > (byte >> shift) & 15:
                row[place] = (byte & (15 << (4 - shift))) | (level << shift)
        while group < past:
            # 65,536 postings before a group are no group's: such a run fills its window.
            places[group] = min(run_starts[run + 1] - run_starts[run], np.int64(65_535))
            group += 1


def write_blocks(folder: Path, postings: Postings) -> None:
    """Write the block maxima of a segment's most frequent terms, as many as their share of bytes allows.

    Takes one pass over their postings, and the memory of one row.
    """
    tiles = tile_count(postings.document_count)
    if postings.document_count < LEAST_DOCUMENTS:
        return
    frequencies = postings.document_frequencies(np.arange(postings.term_count))
    row_bytes = tiles * (TILE_BYTES + 4)
    count = min(
        int(MOST_BYTES_A_POSTING * postings.posting_count) // row_bytes, int(np.count_nonzero(frequencies))
    )
    terms = np.sort(np.argsort(-frequencies, kind="stable")[:count]).astype(np.int32)
    largest = np.zeros(postings.term_count, np.uint16)
    held = np.flatnonzero(frequencies)
    if len(held):
        starts = postings.run_starts[postings.term_runs[held]]
        largest[held] = np.maximum.reduceat(postings.codes, starts)
    rows = ArrayWriter(folder / FILES["rows"][0], np.dtype(np.uint8))
    places = ArrayWriter(folder / FILES["places"][0], np.dtype(np.uint16))
    try:
        for term in terms.tolist():
            row = np.zeros(tiles * TILE_BYTES, np.uint8)
            row_places = np.zeros(tiles * 2, np.uint16)
            _fill(
                postings.offsets,
                postings.codes,
                postings.run_windows,
                postings.run_starts,
                int(postings.term_runs[term]),
                int(postings.term_runs[term + 1]),
                int(largest[term]),
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
