"""Block maxima: what block-max search knows of 8 consecutive documents at once.

Documents are taken in blocks of 8 (Block-Max Pruning, Mallia et al., SIGIR 2024). A frequent term has
a row with half a byte a block: its largest impact among the block's documents, as fifteenths of the
term's largest impact, rounded up; 0 where no document of the block holds it. Rows are bounded in
bulk by SIMD, which reads a block of a term faster than a posting can be added. A row is worth its
bytes only for terms in more than about one document in a hundred; rarer terms have none, and a
search bounds them from their postings.

Beside its row a term has the place in its run of the first posting of every 256 documents, so that
a block's postings are reached without searching.

A row has a part for each window of 65,536 documents, half a byte a block: byte i holds the window's
block i in its low half and block i + n in its high half, n being half the window's blocks, so that
both halves are added to consecutive sums. The last window is filled up to a tile of 64 blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
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
GROUP = 256  # documents between two stored places
TILE_BYTES = TILE // 2
TILES_A_WINDOW = WINDOW // (BLOCK * TILE)
GROUPS_A_WINDOW = WINDOW // GROUP

FILES: dict[str, tuple[str, np.dtype[Any]]] = {
    "terms": ("block_terms.npy", np.dtype(np.int32)),
    "largest": ("block_largest.npy", np.dtype(np.uint16)),
    "rows": ("block_rows.npy", np.dtype(np.uint8)),
    "places": ("block_places.npy", np.dtype(np.uint16)),
}


@dataclass(frozen=True)
class Blocks:
    """Block maxima of a segment's frequent terms.

    Attributes:
        terms: int32 [rows], the terms that have a row, rising.
        largest: uint16 [terms of the segment], the largest code of each.
        rows: uint8 [rows * tiles * 32], half bytes as described above.
        places: uint16 [rows * tiles * 2], for every 256 documents how many postings of the term's
            run of that window come before them.
        tiles: tiles of 512 documents.
    """

    terms: NDArray[np.int32]
    largest: NDArray[np.uint16]
    rows: NDArray[np.uint8]
    places: NDArray[np.uint16]
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
    def open(cls, folder: Path, postings: Postings) -> Blocks | None:
        """Map a segment's block maxima, None where it has none.

        Raises:
            IndexProblem: where a file is missing or does not fit the postings.
        """
        if not (folder / FILES["terms"][0]).exists():
            return None
        arrays: dict[str, NDArray[Any]] = {
            key: map_array(folder / name, dtype) for key, (name, dtype) in FILES.items()
        }
        tiles = tile_count(postings.document_count)
        rows = len(arrays["terms"])
        sizes = {
            "largest": postings.term_count,
            "rows": rows * tiles * TILE_BYTES,
            "places": rows * tiles * 2,
        }
        broken = [FILES[key][0] for key, size in sizes.items() if len(arrays[key]) != size]
        if not broken and rows:
            terms = arrays["terms"]
            if terms[0] < 0 or terms[-1] >= postings.term_count or np.any(terms[1:] <= terms[:-1]):
                broken = [FILES["terms"][0]]
        if broken:
            raise IndexProblem(
                f"{folder} is damaged: {broken[0]} does not fit its neighbours; build the index again."
            )
        return cls(**arrays, tiles=tiles)


def tile_count(document_count: int) -> int:
    """Return the number of tiles of a segment."""
    return (document_count + BLOCK * TILE - 1) // (BLOCK * TILE)
