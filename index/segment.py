"""One immutable segment: posting arrays and a store of documents and terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsr.index.approximation import DEPTHS, LEVELS
from lsr.index.blocks import Blocks
from lsr.index.deletions import read_live, text_frequencies_path
from lsr.index.errors import IndexProblem
from lsr.index.files import map_array
from lsr.index.grid import ImpactGrid
from lsr.index.manifest import MANIFEST, Manifest, SegmentEntry
from lsr.index.postings import Postings
from lsr.index.store import Store

STORE = "documents.sqlite"
RECALLS = "recalls.npy"
TEXT_FREQUENCIES = "text_frequencies.npy"
# Under BM25: the term frequency of each posting, the length of each document.
FREQUENCIES = "frequencies.npy"
LENGTHS = "lengths.npy"
FREQUENCY_TYPE = np.dtype(np.uint16)
LENGTH_TYPE = np.dtype(np.uint32)


@dataclass(frozen=True)
class Segment:
    """An open segment; its documents are numbered from `base` in the index.

    `live` is None, or of shape (documents,) and False where a document was deleted.
    `blocks` is None where the segment has no block maxima, `recalls` where approximations were not
    calibrated. `text_frequencies` are those of live documents.
    """

    folder: Path
    entry: SegmentEntry
    base: int
    postings: Postings
    store: Store
    text_frequencies: NDArray[np.int64] | None
    live: NDArray[np.bool_] | None = None
    blocks: Blocks | None = None
    recalls: NDArray[np.float32] | None = None
    _deleted_frequencies: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        if postings.posting_count != entry.postings:
            raise IndexProblem(f"{folder} is damaged: it does not hold what {MANIFEST} says.")
        text_frequencies = _read_text_frequencies(folder, entry)
        live = read_live(folder, entry)
        store = Store(folder / STORE, entry.documents)
        blocks = Blocks.open(folder, postings)
        recalls = _read_recalls(folder)
        return cls(folder, entry, base, postings, store, text_frequencies, live, blocks, recalls)

    def share(self, entry: SegmentEntry, base: int) -> Segment:
        """Return the same segment as a newer snapshot has it: other deleted documents, another place."""
        text_frequencies, live = self.text_frequencies, self.live
        if entry.deletions != self.entry.deletions:
            text_frequencies = _read_text_frequencies(self.folder, entry)
            live = read_live(self.folder, entry)
        store = self.store.share()
        return replace(
            self, entry=entry, base=base, store=store, text_frequencies=text_frequencies, live=live
        )

    @cached_property
    def deleted(self) -> NDArray[np.int64]:
        """The local numbers of deleted documents, rising."""
        return np.empty(0, np.int64) if self.live is None else np.flatnonzero(~self.live)

    def live_lengths(self) -> NDArray[np.uint32]:
        """Return the length of each live document under BM25, shape (live documents,).

        Raises:
            IndexProblem: where the lengths do not fit the documents.
        """
        lengths = map_array(self.folder / LENGTHS, LENGTH_TYPE)
        if len(lengths) != self.entry.documents:
            raise IndexProblem(
                f"{self.folder / LENGTHS} is damaged: it does not fit its neighbours; build the index again."
            )
        return np.asarray(lengths if self.live is None else lengths[self.live])

    def document_frequencies(self, terms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of live documents that hold each term, shape (terms,)."""
        counts = self.postings.document_frequencies(terms)
        if self.live is None:
            return counts
        return counts - np.array([self._deleted_with(term) for term in terms.tolist()], np.int64)

    def _deleted_with(self, term: int) -> int:
        """Return the number of deleted documents that hold a term, counted when it is first asked for."""
        count = self._deleted_frequencies.get(term)
        if count is None:
            documents, _ = self.postings.documents_of(term)
            places = np.searchsorted(documents, self.deleted)
            inside = places < len(documents)
            count = int(np.count_nonzero(documents[places[inside]] == self.deleted[inside]))
            self._deleted_frequencies[term] = count
        return count

    def text_document_frequencies(self, terms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of live documents whose own text holds each term, shape (terms,).

        Where the encoder did not count them, these are the documents that hold a posting of it.
        """
        if self.text_frequencies is None:
            return self.document_frequencies(terms)
        known = (terms >= 0) & (terms < len(self.text_frequencies))
        found = np.zeros(len(terms), np.int64)
        found[known] = self.text_frequencies[terms[known]]
        return found


def _read_recalls(folder: Path) -> NDArray[np.float32] | None:
    if not (folder / RECALLS).exists():
        return None
    recalls = map_array(folder / RECALLS, np.dtype(np.float32))
    if len(recalls) != LEVELS * len(DEPTHS) or not recalls[: len(DEPTHS)].min() >= 1:
        raise IndexProblem(
            f"{folder / RECALLS} is damaged: it does not say what searches find; build the index again."
        )
    return recalls


def _read_text_frequencies(folder: Path, entry: SegmentEntry) -> NDArray[np.int64] | None:
    if not (folder / TEXT_FREQUENCIES).exists():
        return None
    return map_array(text_frequencies_path(folder, entry), np.dtype(np.int64))


def open_segments(
    folder: Path, manifest: Manifest, known: Mapping[str, Segment], base: int = 0
) -> list[Segment]:
    """Open the segments of an index, sharing those that are `known` by name; documents count from `base`.

    Raises:
        IndexProblem: where a file is missing, has another size than the manifest says, or does not
            fit the others.
    """
    for file in manifest.files:
        path = folder / file.path
        try:
            size = path.stat().st_size
        except OSError:
            raise IndexProblem(f"{path} is missing; build the index again.") from None
        if size != file.bytes:
            raise IndexProblem(
                f"{path} is damaged: it has {size:,} bytes instead of {file.bytes:,}; build the index again."
            )
    segments: list[Segment] = []
    try:
        for entry in manifest.segments:
            shared = known.get(entry.name)
            if shared is not None:
                segments.append(shared.share(entry, base))
            else:
                segments.append(Segment.open(folder / "segments" / entry.name, entry, base, manifest.grid))
            base += entry.documents
    except BaseException:
        for segment in segments:
            segment.store.close()
        raise
    return segments
