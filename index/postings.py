"""The posting lists of one segment, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem
from lsr.index.grid import ImpactGrid

WINDOW = 65_536


@dataclass(frozen=True)
class Postings:
    """Postings in term order, and within a term in document order.

    A term's postings are cut into runs, one a window of 65,536 consecutive documents; only windows
    that hold a posting have a run.

    Attributes:
        offsets: uint16 [postings], the document's place in its window.
        codes: uint8 or uint16 [postings], the impact on the grid.
        run_windows: uint32 [runs], the window of each run, rising within a term.
        run_starts: int64 [runs + 1], where each run's postings start.
        term_runs: int64 [terms + 1], where each term's runs start.
        document_count: documents of the segment, those without postings included.
        grid: what the codes mean.
    """

    offsets: NDArray[np.uint16]
    codes: NDArray[np.unsignedinteger[Any]]
    run_windows: NDArray[np.uint32]
    run_starts: NDArray[np.int64]
    term_runs: NDArray[np.int64]
    document_count: int
    grid: ImpactGrid

    @staticmethod
    def array_types(grid: ImpactGrid) -> dict[str, np.dtype[Any]]:
        """Return the name and type of each array."""
        return {
            "offsets": np.dtype(np.uint16),
            "codes": grid.dtype,
            "run_windows": np.dtype(np.uint32),
            "run_starts": np.dtype(np.int64),
            "term_runs": np.dtype(np.int64),
        }

    def __post_init__(self) -> None:
        # Read-only arrays are a type of their own to Numba: one type everywhere, one compilation.
        for field in fields(self):
            array = getattr(self, field.name)
            if isinstance(array, np.ndarray) and array.flags.writeable:
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, field.name, view)

    @property
    def posting_count(self) -> int:
        """Number of postings."""
        return len(self.offsets)

    @property
    def term_count(self) -> int:
        """Number of term ids, those without postings included."""
        return len(self.term_runs) - 1

    def check(self, where: str) -> None:
        """Check that the arrays fit together, in time that grows with runs, not with postings.

        Raises:
            IndexProblem: naming `where` and the array that doesn't fit.
        """

        def rises(array: NDArray[np.int64], last: int) -> bool:
            return bool(
                len(array) and array[0] == 0 and array[-1] == last and np.all(array[1:] >= array[:-1])
            )

        broken = None
        if len(self.codes) != self.posting_count:
            broken = "codes"
        elif len(self.run_starts) != len(self.run_windows) + 1 or not rises(
            self.run_starts, self.posting_count
        ):
            broken = "run_starts"
        elif not rises(self.term_runs, len(self.run_windows)):
            broken = "term_runs"
        elif len(self.run_windows) and int(self.run_windows.max()) * WINDOW >= self.document_count:
            broken = "run_windows"
        if broken:
            raise IndexProblem(
                f"{where} is damaged: {broken}.npy does not fit its neighbours; build the index again."
            )

    def document_frequencies(self, terms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of documents that hold each term (0 for ids out of range), shape (terms,)."""
        known = (terms >= 0) & (terms < self.term_count)
        inside = np.where(known, terms, 0)
        if not self.term_count:
            return np.zeros(len(terms), np.int64)
        counts = self.run_starts[self.term_runs[inside + 1]] - self.run_starts[self.term_runs[inside]]
        return np.where(known, counts, 0).astype(np.int64)

    def documents_of(self, term: int) -> tuple[NDArray[np.int64], NDArray[np.unsignedinteger[Any]]]:
        """Return the documents that hold a term, rising, and the codes of their impacts."""
        if not 0 <= term < self.term_count:
            return np.empty(0, np.int64), np.empty(0, self.grid.dtype)
        first, last = int(self.term_runs[term]), int(self.term_runs[term + 1])
        start, stop = int(self.run_starts[first]), int(self.run_starts[last])
        lengths = np.diff(self.run_starts[first : last + 1])
        bases = np.repeat(self.run_windows[first:last].astype(np.int64) * WINDOW, lengths)
        return bases + self.offsets[start:stop], self.codes[start:stop]

    def impact(self, term: int, document: int) -> float:
        """Return the impact value of a term in a document, 0 if the document lacks it."""
        if not 0 <= term < self.term_count:
            return 0.0
        first, last = int(self.term_runs[term]), int(self.term_runs[term + 1])
        window, offset = divmod(document, WINDOW)
        run = first + int(self.run_windows[first:last].searchsorted(window))
        if run == last or int(self.run_windows[run]) != window:
            return 0.0
        start, stop = int(self.run_starts[run]), int(self.run_starts[run + 1])
        place = start + int(self.offsets[start:stop].searchsorted(np.uint16(offset)))
        if place == stop or int(self.offsets[place]) != offset:
            return 0.0
        return float(self.grid.decode(self.codes[place : place + 1])[0])
