"""An open index: one snapshot of segments, searched as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.approximation import Approximation, wanted_recall
from lsr.index.errors import IndexProblem
from lsr.index.fields import FieldType, common_type
from lsr.index.hits import Hits
from lsr.index.manifest import MANIFEST, Manifest, verify_files
from lsr.index.planner import Algorithm as Algorithm
from lsr.index.planner import Plan, SearchCost
from lsr.index.postings import Postings
from lsr.index.queries import read_queries
from lsr.index.searching import Mask, masks_of, search_costs, search_segments
from lsr.index.segment import Segment, open_segments
from lsr.index.store import StoredDocument

_FILTERS_REMEMBERED = 8


class Contribution(NamedTuple):
    """What one term earned a document: weight * impact = score, all float32 values."""

    term_id: int
    weight: float
    impact: float
    score: float


class Index:
    """A snapshot of an index, opened from its folder. Safe to use from several threads.

    Opening maps files and checks that they fit together; it does not read postings. `verify`
    checks every byte.

    Raises:
        IndexProblem: where the folder is missing, is no index, is newer than this program, or is
            damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self._open(Path(folder), {})

    def _open(self, folder: Path, known: Mapping[str, Segment]) -> None:
        """Open the newest snapshot; segments that are open already, by name, are shared."""
        self.folder = folder
        manifest = Manifest.read(folder)
        while True:
            try:
                self._segments = open_segments(folder, manifest, known)
                break
            except IndexProblem:
                # A writer may have removed files of this snapshot meanwhile: then there is a newer one.
                newer = Manifest.read(folder)
                if newer == manifest:
                    raise
                manifest = newer
        self._take_up(manifest)

    def _take_up(self, manifest: Manifest) -> None:
        """Set what follows from the manifest."""
        self.manifest = manifest
        self._closed = False
        self.vocabulary_size = manifest.vocabulary_size
        self.document_count = sum(entry.live for entry in manifest.segments)
        """Documents that are not deleted."""
        self.number_bound = sum(entry.documents for entry in manifest.segments)
        """Document numbers lie below this; deleted documents keep theirs until segments are merged."""

    def refresh(self) -> Index:
        """Return the newest snapshot: this one where nothing changed, otherwise a new one.

        Segments that both have are shared, so this costs what opening the new ones costs. The old
        snapshot stays as it is until it is closed; each is closed on its own.

        Raises:
            IndexProblem: as opening does.
        """
        if Manifest.read(self.folder) == self.manifest:
            return self
        newer = Index.__new__(Index)
        newer._open(self.folder, {segment.entry.name: segment for segment in self._segments})
        return newer

    # Statistics

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order of document numbers."""
        return tuple(self._segments)

    @property
    def postings(self) -> list[Postings]:
        """The posting arrays of each segment."""
        return [segment.postings for segment in self._segments]

    @property
    def terms_with_block_maxima(self) -> list[int]:
        """How many terms of each segment have block maxima; 0 where it can only be searched exhaustively."""
        return [0 if s.blocks is None else len(s.blocks.terms) for s in self._segments]

    @property
    def posting_count(self) -> int:
        """Postings in all segments."""
        return sum(postings.posting_count for postings in self.postings)

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of live documents that hold each term, shape (terms,)."""
        total = np.zeros(len(term_ids), np.int64)
        for segment in self._segments:
            total += segment.document_frequencies(np.asarray(term_ids, np.int64))
        return total

    def text_document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of live documents whose own text holds each term, shape (terms,).

        This is what a corpus IDF is computed from. Where the encoder that filled the index did not
        count its texts' own terms, it equals `document_frequencies`.
        """
        total = np.zeros(len(term_ids), np.int64)
        for segment in self._segments:
            total += segment.text_document_frequencies(np.asarray(term_ids, np.int64))
        return total

    def average_length(self) -> float | None:
        """Return the mean length of live documents under BM25, None under other weights.

        Impacts go by the one in the manifest, which a refresh sets to this.
        """
        if self.manifest.weighting is None:
            return None
        lengths = [segment.live_lengths() for segment in self._segments]
        total = sum(int(part.sum(dtype=np.int64)) for part in lengths)
        return total / max(self.document_count, 1)

    def sizes(self) -> dict[str, int]:
        """Return the bytes on disk of postings, of documents and terms, of the rest, and of all."""
        sizes = {"postings": 0, "texts": 0, "other": self._manifest_bytes()}
        for file in self.manifest.files:
            if file.path.endswith(".sqlite") or "/text_term" in file.path:
                sizes["texts"] += file.bytes
            elif "/segments/" in f"/{file.path}":
                sizes["postings"] += file.bytes
            else:
                sizes["other"] += file.bytes
        sizes["total"] = sum(sizes.values())
        return sizes

    def _manifest_bytes(self) -> int:
        return (self.folder / MANIFEST).stat().st_size

    # Searching

    def search(
        self,
        queries: sparse.csr_array,
        k: int = 10,
        *,
        threads: int = 1,
        algorithm: Algorithm = "auto",
        allowed: NDArray[np.bool_] | NDArray[np.integer[Any]] | None = None,
        recall: float = 1.0,
        approximation: Approximation | None = None,
    ) -> list[Hits]:
        """Return the k best documents of each query, exactly unless `recall` is below 1.

        The score of a document is the float32 sum, in ascending term id, of
        float32(weight * impact). Every algorithm and thread count returns the same documents,
        scores and order; equal scores are ordered by the earlier document.

        Args:
            queries: query weights, shape (queries, vocabulary), finite and at least 0.
            k: hits wanted, at least 1; more than there are documents is allowed.
            threads: queries are spread over this many threads.
            algorithm: ``exhaustive``, ``blockmax`` (safe block-max search), ``vectorised``
                (exhaustive in NumPy, for a cold start), or ``auto``, the fastest for the query.
            allowed: the documents to search within, the same for all queries: booleans of shape
                (number_bound,), or document numbers. Deleted documents are never found.
            recall: the share of the k best documents that is enough, in the mean over queries. Where
                segments are large, block-max search is cut short by as much as left this share in the
                calibration made when a segment was written (see `lsr.index.calibration`). Scores of
                documents that are found are exact all the same.
            approximation: what to leave out, for experts; overrides `recall`.

        Raises:
            IndexProblem: for a weight below 0, NaN or infinite, k below 1, a recall that is none, or a
                filter that does not fit the index.
        """
        if k < 1:
            raise IndexProblem(f"k is the number of results wanted and at least 1, not {k}.")
        plan = Plan(k, algorithm, wanted_recall(recall), approximation)
        masks = masks_of(self._segments, allowed, self.number_bound)
        return search_segments(self._segments, read_queries(queries), plan, masks, threads)

    def costs(
        self,
        queries: sparse.csr_array,
        k: int = 10,
        *,
        algorithm: Algorithm = "auto",
        allowed: NDArray[np.bool_] | NDArray[np.integer[Any]] | None = None,
        recall: float = 1.0,
        approximation: Approximation | None = None,
    ) -> list[list[SearchCost]]:
        """Return for each query what `search` does to answer it, a `SearchCost` for each segment."""
        plan = Plan(k, algorithm, wanted_recall(recall), approximation)
        masks = masks_of(self._segments, allowed, self.number_bound)
        return search_costs(self._segments, read_queries(queries), plan, masks)

    @cached_property
    def fields(self) -> dict[str, FieldType]:
        """The fields that filters can ask about, with their types; see `lsr.index.fields`."""
        kinds: dict[str, list[FieldType]] = {}
        for segment in self._segments:
            for name, kind in segment.store.fields.items():
                kinds.setdefault(name, []).append(kind)
        return {name: common_type(found) for name, found in kinds.items()}

    def matching(self, where: str, seconds: float | None = None) -> Mask:
        """Return which documents a filter such as ``year >= 2020`` holds for, shape (number_bound,).

        Give it to `search` as `allowed`. The last filters' answers are remembered; don't write to
        what is returned. `seconds` is how long each segment may take, None for
        `lsr.index.filters.MOST_SECONDS`.

        Raises:
            FilterProblem: for a mistake in the filter; see `lsr.index.filters`.
        """
        found = self._answers.get(where)
        if found is None:
            from lsr.index.filters import Filter

            condition = Filter.parse(where, self.fields)
            parts = [s.store.matching(condition, s.postings.document_count, seconds) for s in self._segments]
            found = np.concatenate([*parts, np.empty(0, np.bool_)])
            found.flags.writeable = False
            if len(self._answers) >= _FILTERS_REMEMBERED:
                self._answers.clear()
            self._answers[where] = found
        return found

    @cached_property
    def _answers(self) -> dict[str, Mask]:
        return {}

    def explain(self, query: sparse.csr_array, document: int) -> list[Contribution]:
        """Return what each query term earned a document, in ascending term id, for a query of one row.

        The float32 sum of the contributions, in this order, is the document's score.
        """
        _, terms, weights = read_queries(query)
        segment = self._segment_of(document)
        parts = []
        for term, weight in zip(terms.tolist(), weights, strict=True):
            impact = np.float32(segment.postings.impact(term, document - segment.base))
            if impact > 0 and weight > 0:
                parts.append(Contribution(term, float(weight), float(impact), float(weight * impact)))
        return parts

    # Documents and terms

    def _segment_of(self, document: int) -> Segment:
        for segment in reversed(self._segments):
            if segment.base <= document < self.number_bound:
                return segment
        raise IndexError(f"document {document} of {self.number_bound}")

    def _by_segment(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[tuple[Segment, list[int]]]:
        """Yield the segments that hold some documents, with their local numbers, rising.

        Raises:
            IndexError: for a number that no document has.
        """
        wanted = np.unique(np.asarray(numbers, np.int64))
        if len(wanted) and not (wanted[0] >= 0 and wanted[-1] < self.number_bound):
            raise IndexError(f"document {wanted[0] if wanted[0] < 0 else wanted[-1]} of {self.number_bound}")
        for segment in self._segments:
            low, high = np.searchsorted(wanted, [segment.base, segment.base + segment.entry.documents])
            local = wanted[low:high] - segment.base
            if len(local):
                yield segment, local.tolist()

    def documents(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[StoredDocument]:
        """Return stored documents, in the order asked for."""
        found: dict[int, StoredDocument] = {}
        for segment, local in self._by_segment(numbers):
            for number, document in segment.store.documents(local).items():
                found[number + segment.base] = document._replace(number=number + segment.base)
        return [found[int(number)] for number in numbers]

    def document_ids(self, numbers: NDArray[np.int64]) -> list[str]:
        """Return the ids of documents, in the order asked for."""
        found: dict[int, str] = {}
        for segment, local in self._by_segment(numbers):
            found.update((n + segment.base, id_) for n, id_ in segment.store.ids(local).items())
        return [found[int(number)] for number in numbers]

    def document_numbers(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of documents by id, -1 for an id that no live document has, shape (ids,)."""
        found: dict[str, int] = {}
        for segment in self._segments:
            for id_, number in segment.store.numbers(list(ids)).items():
                if segment.live is None or segment.live[number]:
                    found[id_] = number + segment.base
        return np.array([found.get(id_, -1) for id_ in ids], np.int64)

    @property
    def _segments_with_terms(self) -> Sequence[Segment]:
        """Segments whose stores together know every term."""
        return self._segments

    def vocabulary(self) -> list[str]:
        """Return the term of every id."""
        stored = {
            number: term
            for segment in self._segments_with_terms
            for number, term in segment.store.all_terms()
        }
        return [stored.get(number, f"#{number}") for number in range(self.vocabulary_size)]

    def terms(self, term_ids: NDArray[np.int64]) -> list[str]:
        """Return the strings of term ids, in the order asked for; ``#ID`` for one that has no string."""
        found: dict[int, str] = {}
        for segment in self._segments_with_terms:
            found.update(segment.store.terms(np.asarray(term_ids, np.int64)))
        return [found.get(term, f"#{term}") for term in np.asarray(term_ids).tolist()]

    def term_ids(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """Return the ids of term strings, -1 for one that is unknown, shape (terms,)."""
        found: dict[str, int] = {}
        for segment in self._segments_with_terms:
            for term, term_id in segment.store.term_ids(list(dict.fromkeys(terms))).items():
                found.setdefault(term, term_id)
        return np.array([found.get(term, -1) for term in terms], np.int64)

    # Upkeep

    @property
    def encoder_folder(self) -> Path:
        """Where the query side of the index's encoder is kept."""
        return self.folder / str(self.manifest.encoder["folder"])

    def verify(self) -> int:
        """Compare every byte with its checksum and return the number of bytes read.

        Raises:
            IndexProblem: naming the first file that changed.
        """
        try:
            verify_files(self.folder, self.manifest.files)
        except IndexProblem:
            if Manifest.read(self.folder) != self.manifest:
                raise IndexProblem(f"{self.folder} was changed meanwhile; verify it again.") from None
            raise
        return sum(file.bytes for file in self.manifest.files)

    def close(self) -> None:
        """Close the stores. Arrays stay mapped until the last reference to them is gone."""
        if not self._closed:
            self._closed = True
            for segment in self._segments:
                segment.store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
