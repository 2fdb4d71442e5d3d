"""One immutable segment: posting arrays and a store of documents and terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsr.index.files import map_array
from lsr.index.grid import ImpactGrid
from lsr.index.manifest import SegmentEntry
from lsr.index.postings import Postings
from lsr.index.store import Store

STORE = "documents.sqlite"
TEXT_FREQUENCIES = "text_frequencies.npy"


@dataclass(frozen=True)
class Segment:
    """An open segment; its documents are numbered from `base` in the index.

    `live` is None, or of shape (documents,) and False where a document was deleted.
    """

    folder: Path
    base: int
    postings: Postings
    store: Store
    text_frequencies: NDArray[np.int64] | None
    live: NDArray[np.bool_] | None = None

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
        text_frequencies = None
        if (folder / TEXT_FREQUENCIES).exists():
            text_frequencies = map_array(folder / TEXT_FREQUENCIES, np.dtype(np.int64))
        return cls(folder, base, postings, Store(folder / STORE), text_frequencies)

    def text_document_frequencies(self, terms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of documents whose own text holds each term, shape (terms,).

        Where the encoder did not count them, these are the documents that hold a posting of it.
        """
        if self.text_frequencies is None:
            return self.postings.document_frequencies(terms)
        known = (terms >= 0) & (terms < len(self.text_frequencies))
        found = np.zeros(len(terms), np.int64)
        found[known] = self.text_frequencies[terms[known]]
        return found
