"""Writing the arrays of a segment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.index.block_writer import write_blocks
from lsr.index.calibration import write_recalls
from lsr.index.cutting import cut_runs
from lsr.index.files import ArrayWriter, map_array, write_array
from lsr.index.grid import ImpactGrid
from lsr.index.manifest import SegmentEntry
from lsr.index.postings import WINDOW, Postings
from lsr.index.segment import FREQUENCIES, FREQUENCY_TYPE, LENGTHS
from lsr.index.spill import PostingSpill
from lsr.index.weighting import Bm25Weighting


@dataclass
class QuantisationError:
    """How far impact values are from the float weights they stand for."""

    largest: float = 0.0
    total: float = 0.0
    total_weight: float = 0.0
    saturated: int = 0

    def add(self, weights: NDArray[np.float32], values: NDArray[np.float32], saturated: int) -> None:
        """Count in some postings."""
        if len(weights):
            errors = np.abs(weights.astype(np.float64) - values)
            self.largest = max(self.largest, float(errors.max()))
            self.total += float(errors.sum())
            self.total_weight += float(weights.sum(dtype=np.float64))
            self.saturated += saturated

    def add_stated(self, stated: dict[str, float], postings: int) -> None:
        """Count in postings of which only `as_dict` is known."""
        total = stated["mean_error"] * postings
        self.largest = max(self.largest, stated["largest_error"])
        self.total += total
        self.total_weight += total / stated["relative_error"] if stated["relative_error"] else 0.0
        self.saturated += int(stated["saturated"])

    def as_dict(self, postings: int) -> dict[str, float]:
        """Return the largest and mean absolute error, the mean as a part of the mean weight, and saturations."""
        return {
            "largest_error": self.largest,
            "mean_error": self.total / max(postings, 1),
            "relative_error": self.total / self.total_weight if self.total_weight else 0.0,
            "saturated": self.saturated,
        }


class PostingsWriter:
    """Writes the posting arrays of a segment, some terms after the other.

    What stays in memory grows with runs, not with postings.
    """

    def __init__(self, folder: Path, grid: ImpactGrid, document_count: int, *, frequencies: bool) -> None:
        self._folder = folder
        self._grid = grid
        self._document_count = document_count
        self._window_count = (document_count + WINDOW - 1) // WINDOW
        types = Postings.array_types(grid)
        self._writers = {key: ArrayWriter(folder / f"{key}.npy", types[key]) for key in ("offsets", "codes")}
        if frequencies:
            self._writers["frequencies"] = ArrayWriter(folder / FREQUENCIES, FREQUENCY_TYPE)
        self._run_windows = [np.empty(0, np.uint32)]
        self._run_starts = [np.empty(0, np.int64)]
        self._term_runs = [np.empty(0, np.int64)]
        self._runs = 0
        self.posting_count = 0

    def write(
        self,
        counts: NDArray[np.int64],
        documents: NDArray[np.uint32],
        codes: NDArray[Any],
        frequencies: NDArray[Any] | None = None,
    ) -> None:
        """Append the postings of the next terms.

        Args:
            counts: postings of each term, shape (terms,).
            documents: local numbers in term order, rising within a term, shape (postings,).
            codes: impacts on the grid, shape (postings,).
            frequencies: term frequencies under BM25, shape (postings,).
        """
        offsets, windows, starts, first_runs = cut_runs(
            counts, documents, self.posting_count, self._window_count
        )
        self._writers["offsets"].write(offsets)
        self._writers["codes"].write(codes)
        if frequencies is not None:
            self._writers["frequencies"].write(frequencies)
        self._run_windows.append(windows)
        self._run_starts.append(starts)
        self._term_runs.append(first_runs + self._runs)
        self._runs += len(windows)
        self.posting_count += len(offsets)

    def finish(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()
        starts = np.concatenate([*self._run_starts, [self.posting_count]]).astype(np.int64)
        write_array(self._folder / "run_windows.npy", np.concatenate(self._run_windows))
        write_array(self._folder / "run_starts.npy", starts)
        term_runs = np.concatenate([*self._term_runs, [self._runs]]).astype(np.int64)
        write_array(self._folder / "term_runs.npy", term_runs)
        # Block maxima are read off the finished arrays, which are still in memory as files are.
        arrays = {
            name: map_array(self._folder / f"{name}.npy", dtype)
            for name, dtype in Postings.array_types(self._grid).items()
        }
        postings = Postings(**arrays, document_count=self._document_count, grid=self._grid)
        write_blocks(self._folder, postings)
        write_recalls(self._folder, postings)

    def abort(self) -> None:
        """Close files, finished or not."""
        for writer in self._writers.values():
            writer.abort()


def write_segment(
    folder: Path,
    name: str,
    spill: PostingSpill,
    term_count: int,
    grid: ImpactGrid,
    weighting: Bm25Weighting | None,
    lengths: NDArray[np.uint32] | None,
) -> SegmentEntry:
    """Merge spilled postings into the arrays of a segment, in `folder`.

    Under BM25 the spilled values are term frequencies; they and the documents' lengths are kept
    beside the impacts, so that a refresh can weigh them anew.
    """
    error = QuantisationError()
    writer = PostingsWriter(folder, grid, spill.document_count, frequencies=lengths is not None)
    try:
        if lengths is not None:
            write_array(folder / LENGTHS, lengths)
        for part in spill.merge(term_count):
            weights, frequencies = part.values, None
            if weighting is not None and lengths is not None:
                # What is kept is what counts, so that weighing anew gives the same impacts.
                frequencies = np.minimum(weights, np.float32(65_535))
                weights = weighting.impacts(frequencies, lengths[part.documents])
            codes = grid.encode(weights)
            error.add(weights, grid.decode(codes), grid.saturated(weights))
            writer.write(part.counts, part.documents, codes, frequencies)
        writer.finish()
    finally:
        writer.abort()
    total = writer.posting_count
    return SegmentEntry(name, spill.document_count, total, error.as_dict(total))
