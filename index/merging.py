"""Merging segments into one: posting arrays are copied, nothing is encoded again.

Documents keep their order and deleted ones are left out, so the merged segment is what one build of
the live documents would have given. Memory grows with documents (eight bytes each) and terms, not
with postings or texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsr.index.files import map_array, write_array
from lsr.index.grid import ImpactGrid
from lsr.index.manifest import SegmentEntry
from lsr.index.renumbering import copy_postings, live_counts, new_numbers
from lsr.index.segment import FREQUENCIES, FREQUENCY_TYPE, LENGTHS, STORE, TEXT_FREQUENCIES, Segment
from lsr.index.segment_writer import PostingsWriter, QuantisationError
from lsr.index.spill import MERGE_POSTINGS
from lsr.index.store_writer import StoreWriter
from lsr.index.text_terms import TextTerms, TextTermsWriter
from lsr.index.weighting import Bm25Weighting

_DOCUMENTS_AT_ONCE = 20_000


def merge_segments(
    folder: Path,
    segments: Sequence[Segment],
    term_count: int,
    grid: ImpactGrid,
    weighting: Bm25Weighting | None,
    *,
    weigh_anew: bool = False,
    merge_postings: int = MERGE_POSTINGS,
) -> SegmentEntry:
    """Write the live documents of consecutive segments as one segment.

    Args:
        folder: is made; its name is the segment's. The caller removes it if this fails.
        weighting: that of the index, under BM25.
        weigh_anew: compute impacts from term frequencies under `weighting`, instead of copying them.
    """
    folder.mkdir(parents=True)
    _copy_stores(folder, segments)
    lengths = None
    if weighting is not None:
        lengths = np.concatenate([segment.live_lengths() for segment in segments])
        write_array(folder / LENGTHS, lengths)
    merged = _MergedPostings(segments, term_count, merge_postings)
    writer = PostingsWriter(folder, grid, merged.document_count, frequencies=lengths is not None)
    error = QuantisationError()
    try:
        for part in merged.term_ranges(grid):
            codes = part.codes
            if weigh_anew and weighting is not None and lengths is not None and part.frequencies is not None:
                weights = weighting.impacts(part.frequencies.astype(np.float32), lengths[part.documents])
                codes = grid.encode(weights)
                error.add(weights, grid.decode(codes), grid.saturated(weights))
            writer.write(part.counts, part.documents, codes, part.frequencies)
        writer.finish()
    finally:
        writer.abort()
    if not weigh_anew:
        # The float weights are gone; deleted documents count on in what quantisation cost.
        for segment in segments:
            error.add_stated(segment.entry.quantisation, segment.entry.postings)
    _write_text_terms(folder, segments, term_count)
    postings = sum(segment.entry.postings for segment in segments)
    quantisation = error.as_dict(writer.posting_count if weigh_anew else postings)
    return SegmentEntry(folder.name, merged.document_count, writer.posting_count, quantisation)


class _Part:
    """The merged postings of some consecutive terms."""

    def __init__(self, counts: NDArray[np.int64], grid: ImpactGrid, frequencies: bool) -> None:
        total = int(counts.sum())
        self.counts = counts
        self.documents = np.empty(total, np.uint32)
        self.codes = np.empty(total, grid.dtype)
        self.frequencies = np.empty(total, FREQUENCY_TYPE) if frequencies else None


class _MergedPostings:
    """The postings of several segments, by ranges of terms."""

    def __init__(self, segments: Sequence[Segment], term_count: int, merge_postings: int) -> None:
        self._segments = segments
        self._merge_postings = merge_postings
        self._numbers: list[NDArray[np.uint32]] = []
        self._counts: list[NDArray[np.int64]] = []
        self.document_count = 0
        for segment in segments:
            numbers = new_numbers(segment.live, segment.entry.documents, self.document_count)
            counts = np.zeros(term_count, np.int64)
            counts[: segment.postings.term_count] = live_counts(segment.postings, numbers)
            self._numbers.append(numbers)
            self._counts.append(counts)
            self.document_count += segment.entry.live
        self._totals: NDArray[np.int64] = np.sum(self._counts, axis=0, dtype=np.int64)

    def term_ranges(self, grid: ImpactGrid) -> Iterator[_Part]:
        """Yield all postings in term order; a part holds `merge_postings` or a single term's."""
        ends = np.cumsum(self._totals)
        first = 0
        while first < len(self._totals):
            before = int(ends[first - 1]) if first else 0
            past = int(np.searchsorted(ends, before + self._merge_postings, side="right"))
            past = min(max(past, first + 1), len(ends))
            yield self._part(range(first, past), grid)
            first = past

    def _part(self, terms: range, grid: ImpactGrid) -> _Part:
        counts = self._totals[terms.start : terms.stop]
        kept = [segment.folder / FREQUENCIES for segment in self._segments]
        frequencies = all(path.exists() for path in kept)
        part = _Part(counts, grid, frequencies)
        places = np.cumsum(counts) - counts
        for segment, numbers, own, path in zip(
            self._segments, self._numbers, self._counts, kept, strict=True
        ):
            arguments = (numbers, terms, places, part.documents)
            copy_postings(segment.postings, segment.postings.codes, *arguments, part.codes)
            if part.frequencies is not None:
                values = map_array(path, FREQUENCY_TYPE)
                copy_postings(segment.postings, values, *arguments, part.frequencies)
            places = places + own[terms.start : terms.stop]
        return part


def _copy_stores(folder: Path, segments: Sequence[Segment]) -> None:
    writer = StoreWriter(folder / STORE)
    try:
        for segment in segments:
            writer.copy(segment.store, segment.live)
        terms: Iterable[tuple[int, str]] = chain.from_iterable(
            segment.store.all_terms() for segment in segments
        )
        writer.finish(terms)
    finally:
        writer.abort()


def _write_text_terms(folder: Path, segments: Sequence[Segment], term_count: int) -> None:
    """Carry over the terms of texts by document, or where a segment lacks them, their counts."""
    if all(segment.text_frequencies is None for segment in segments):
        return
    frequencies = np.zeros(term_count, np.int64)
    for segment in segments:
        frequencies += segment.text_document_frequencies(np.arange(term_count))
    write_array(folder / TEXT_FREQUENCIES, frequencies)
    own = [TextTerms.open(segment.folder) for segment in segments]
    if not all(own):
        return
    writer = TextTermsWriter(folder)
    try:
        for segment, terms in zip(segments, own, strict=True):
            assert terms is not None
            kept = np.flatnonzero(segment.live) if segment.live is not None else None
            kept = np.arange(segment.entry.documents) if kept is None else kept
            for start in range(0, len(kept), _DOCUMENTS_AT_ONCE):
                writer.add_rows(*terms.rows(kept[start : start + _DOCUMENTS_AT_ONCE]))
        writer.finish()
    finally:
        writer.abort()
