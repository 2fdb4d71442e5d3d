"""One immutable segment: posting arrays and a store of documents and terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lsr.index.files import map_array
from lsr.index.grid import ImpactGrid
from lsr.index.manifest import SegmentEntry
from lsr.index.postings import Postings
from lsr.index.store import Store

STORE = "documents.sqlite"


@dataclass(frozen=True)
class Segment:
    """An open segment; its documents are numbered from `base` in the index."""

    folder: Path
    base: int
    postings: Postings
    store: Store

    @classmethod
    def open(cls, folder: Path, entry: SegmentEntry, base: int, grid: ImpactGrid) -> Segment:
        """Map the arrays of a segment and check that they fit together.

        Raises:
            IndexProblem: where a file is missing, cut short, or does not fit the others.
        """
        arrays = {
            name: map_array(folder / f"{name}.npy", dtype)
            for name, dtype in Postings.array_types(grid).items()
        }
        postings = Postings(**arrays, document_count=entry.documents, grid=grid)
        postings.check(str(folder))
        return cls(folder, base, postings, Store(folder / STORE))
