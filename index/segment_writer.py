"""Writing the arrays of a segment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsr.index.cutting import cut_runs
from lsr.index.files import ArrayWriter, write_array
from lsr.index.grid import ImpactGrid
from lsr.index.manifest import SegmentEntry
from lsr.index.postings import WINDOW, Postings
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

    def as_dict(self, postings: int) -> dict[str, float]:
        """Return the largest and mean absolute error, the mean as a part of the mean weight, and saturations."""
        return {
            "largest_error": self.largest,
            "mean_error": self.total / max(postings, 1),
            "relative_error": self.total / self.total_weight if self.total_weight else 0.0,
            "saturated": self.saturated,
        }


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
    types = Postings.array_types(grid)
    total = spill.posting_count
    window_count = (spill.document_count + WINDOW - 1) // WINDOW
    run_windows = [np.empty(0, np.uint32)]
    run_starts = [np.empty(0, np.int64)]
    term_runs = [np.empty(0, np.int64)]
    runs = written = 0
    error = QuantisationError()
    writers = {key: ArrayWriter(folder / f"{key}.npy", types[key]) for key in ("offsets", "codes")}
    if lengths is not None:
        writers["frequencies"] = ArrayWriter(folder / "frequencies.npy", np.dtype(np.uint16))
        write_array(folder / "lengths.npy", lengths)
    try:
        for part in spill.merge(term_count):
            weights = part.values
            if weighting is not None and lengths is not None:
                # What is kept is what counts, so that weighing anew gives the same impacts.
                weights = np.minimum(weights, np.float32(65_535))
                writers["frequencies"].write(weights)
                weights = weighting.impacts(weights, lengths[part.documents])
            offsets, windows, starts, first_runs = cut_runs(
                part.counts, part.documents, written, window_count
            )
            codes = grid.encode(weights)
            error.add(weights, grid.decode(codes), grid.saturated(weights))
            writers["offsets"].write(offsets)
            writers["codes"].write(codes)
            run_windows.append(windows)
            run_starts.append(starts)
            term_runs.append(first_runs + runs)
            runs += len(windows)
            written += len(offsets)
        for writer in writers.values():
            writer.close()
    finally:
        for writer in writers.values():
            writer.abort()
    write_array(folder / "run_windows.npy", np.concatenate(run_windows))
    write_array(folder / "run_starts.npy", np.concatenate([*run_starts, [total]]).astype(np.int64))
    write_array(folder / "term_runs.npy", np.concatenate([*term_runs, [runs]]).astype(np.int64))
    return SegmentEntry(name, spill.document_count, total, error.as_dict(total))
