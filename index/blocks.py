"""Block maxima: what block-max search knows of 8 consecutive documents at once.

Documents are taken in blocks of 8 (Block-Max Pruning, Mallia et al., SIGIR 2024). A frequent term has
a row with half a byte a block: its largest impact among the block's documents, as fifteenths of the
term's largest impact, rounded up; 0 where no document of the block holds it. Rows are bounded in
bulk by SIMD, which reads a block of a term faster than a posting can be added. A row is worth its
bytes only for terms in more than about one document in a hundred; rarer terms have none, and a
search bounds them from their postings.

Beside its row a term has the place in its run of the first posting of every group of documents, so that
a block's postings are reached without searching. A group has as many documents, a power of 2, as hold about
ten postings of the term.

A row has a part for each window of 65,536 documents, half a byte a block. Read as 16-bit words, word w
holds the window's blocks w, w + q, w + 2 q and w + 3 q from its lowest half byte to its highest, q being a
quarter of the window's blocks: a word masked and shifted is a 16-bit number as it stands, and all four go
to consecutive sums. The last window is filled up to a tile of 64 blocks.

(Format 2 laid rows out in halves of bytes, in a file of another name. Its indexes are searched
exhaustively.)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem
from lsr.index.files import map_array
from lsr.index.postings import WINDOW, Postings

BLOCK = 8
TILE = 64  # blocks
LEVELS = 15
A_GROUP = 12  # postings between two stored places, at most in the mean
GROUP_SHIFTS = (6, 16)  # a group has from 64 to 65,536 documents
TILE_BYTES = TILE // 2
BLOCKS_A_WINDOW = WINDOW // BLOCK
TILES_A_WINDOW = BLOCKS_A_WINDOW // TILE

FILES: dict[str, tuple[str, np.dtype[Any]]] = {
    "terms": ("block_terms.npy", np.dtype(np.int32)),
    "largest": ("block_largest.npy", np.dtype(np.uint16)),
    "rows": ("block_maxima.npy", np.dtype(np.uint8)),
    "places": ("block_places.npy", np.dtype(np.uint16)),
    "shifts": ("block_shifts.npy", np.dtype(np.uint8)),
}


@dataclass(frozen=True)
class Blocks:
    """Block maxima of a segment's frequent terms.

    Attributes:
        terms: int32 [rows], the terms that have a row, rising.
        largest: uint16 [terms of the segment], the largest code of each.
        rows: uint8 [rows * tiles * 32], half bytes as described above.
        places: uint16, row after row, for every group of documents how many postings of the term's run
            of that window come before it.
        shifts: uint8 [rows], the documents of a row's groups are 2 to this power.
        tiles: tiles of 512 documents.
    """

    terms: NDArray[np.int32]
    largest: NDArray[np.uint16]
    rows: NDArray[np.uint8]
    places: NDArray[np.uint16]
    shifts: NDArray[np.uint8]
    tiles: int

    def __post_init__(self) -> None:
        # One type of array, one compilation.
        for field in fields(self):
            array = getattr(self, field.name)
            if isinstance(array, np.ndarray) and array.flags.writeable:
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, field.name, view)

    @classmethod
    def none(cls) -> Blocks:
        """Return what stands for the block maxima of a segment that has none."""
        return cls(**{key: np.empty(0, dtype) for key, (_, dtype) in FILES.items()}, tiles=0)

    @cached_property
    def row_numbers(self) -> NDArray[np.int32]:
        """The row of each term, -1 for a term without one, shape (terms of the segment,)."""
        numbers = np.full(len(self.largest), -1, np.int32)
        numbers[self.terms] = np.arange(len(self.terms))
        numbers.flags.writeable = False
        return numbers

    @cached_property
    def place_starts(self) -> NDArray[np.int64]:
        """Where the places of each row start, shape (rows,)."""
        counts = group_counts(self.tiles, self.shifts)
        starts = np.cumsum(counts) - counts
        starts.flags.writeable = False
        return starts

    @classmethod
    def open(cls, folder: Path, postings: Postings) -> Blocks | None:
        """Map a segment's block maxima, None where it has none.

        Raises:
            IndexProblem: where a file is missing or does not fit the postings.
        """
        if not (folder / FILES["rows"][0]).exists():
            return None
        arrays: dict[str, NDArray[Any]] = {
            key: map_array(folder / name, dtype) for key, (name, dtype) in FILES.items()
        }
        tiles = tile_count(postings.document_count)
        rows = len(arrays["terms"])
        sizes = {
            "largest": postings.term_count,
            "rows": rows * tiles * TILE_BYTES,
            "shifts": rows,
        }
        broken = [FILES[key][0] for key, size in sizes.items() if len(arrays[key]) != size]
        if not broken and rows:
            shifts = arrays["shifts"]
            if shifts.min() < GROUP_SHIFTS[0] or shifts.max() > GROUP_SHIFTS[1]:
                broken = [FILES["shifts"][0]]
            elif len(arrays["places"]) != group_counts(tiles, shifts).sum():
                broken = [FILES["places"][0]]
        if not broken and rows:
            terms = arrays["terms"]
            if terms[0] < 0 or terms[-1] >= postings.term_count or np.any(terms[1:] <= terms[:-1]):
                broken = [FILES["terms"][0]]
        if broken:
            raise IndexProblem(
                f"{folder} is damaged: {broken[0]} does not fit its neighbours; build the index again."
            )
        return cls(**arrays, tiles=tiles)


def group_counts(tiles: int, shifts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many groups each row has."""
    sizes = np.int64(1) << shifts.astype(np.int64)
    return -(-tiles * BLOCK * TILE // sizes)


def group_shift(postings: int, document_count: int) -> int:
    """Return the power of 2 that is the size of a term's groups."""
    shift = int(np.log2(max(A_GROUP * document_count / postings, 1)))
    return min(max(shift, GROUP_SHIFTS[0]), GROUP_SHIFTS[1])


def tile_count(document_count: int) -> int:
    """Return the number of tiles of a segment."""
    return (document_count + BLOCK * TILE - 1) // (BLOCK * TILE)
