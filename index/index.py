"""An open index: one snapshot of segments, searched as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.errors import IndexProblem
from lsr.index.fields import FieldType, common_type
from lsr.index.hits import Hits, merge_hits
from lsr.index.manifest import MANIFEST, Manifest, verify_files
from lsr.index.planner import Algorithm as Algorithm
from lsr.index.planner import SearchCost, search_segment
from lsr.index.postings import Postings
from lsr.index.segment import Segment, open_segments
from lsr.index.store import StoredDocument
from lsr.index.warming import warming

Mask: TypeAlias = NDArray[np.bool_]

_QUERIES_A_TASK = 16
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
    ) -> list[Hits]:
        """Return the k best documents of each query, exactly.

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

        Raises:
            IndexProblem: for a weight below 0, NaN or infinite, k below 1, or a filter that does
                not fit the index.
        """
        if k < 1:
            raise IndexProblem(f"k is the number of results wanted and at least 1, not {k}.")
        starts, terms, weights = _query_parts(queries)
        if algorithm == "auto":
            algorithm = self._choose(terms)
        count = len(starts) - 1
        masks = self._masks(allowed)

        if threads <= 1 or count <= 1:
            return self._search_part(starts, terms, weights, k, algorithm, masks)[0]

        def run(first: int, last: int) -> list[Hits]:
            low, high = starts[first], starts[last]
            part = (starts[first : last + 1] - low, terms[low:high], weights[low:high])
            return self._search_part(*part, k, algorithm, masks)[0]

        size = max(1, min(_QUERIES_A_TASK, -(-count // threads)))
        bounds = [(first, min(first + size, count)) for first in range(0, count, size)]
        with ThreadPoolExecutor(threads) as pool:
            return [hits for part in pool.map(lambda bound: run(*bound), bounds) for hits in part]

    def costs(
        self,
        queries: sparse.csr_array,
        k: int = 10,
        *,
        algorithm: Algorithm = "auto",
        allowed: NDArray[np.bool_] | NDArray[np.integer[Any]] | None = None,
    ) -> list[list[SearchCost]]:
        """Return for each query what `search` does to answer it, a `SearchCost` for each segment."""
        starts, terms, weights = _query_parts(queries)
        if algorithm == "auto":
            algorithm = self._choose(terms)
        masks = self._masks(allowed)
        costs = []
        for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            alone = np.array([0, last - first], np.int64)
            parts = alone, terms[first:last], weights[first:last]
            costs.append(self._search_part(*parts, k, algorithm, masks)[1])
        return costs

    def _choose(self, terms: NDArray[np.int64]) -> Algorithm:
        """Take NumPy for as long as compiled search is not loaded and not worth waiting for."""
        if warming.ready:
            return "auto"
        return warming.choose(sum(int(p.document_frequencies(terms).sum()) for p in self.postings))

    def _search_part(
        self,
        starts: NDArray[np.int64],
        terms: NDArray[np.int64],
        weights: NDArray[np.float32],
        k: int,
        algorithm: Algorithm,
        masks: list[Mask | None],
    ) -> tuple[list[Hits], list[SearchCost]]:
        per_segment = []
        costs = []
        for segment, mask in zip(self._segments, masks, strict=True):
            hits, cost = search_segment(
                segment.postings, segment.blocks, starts, terms, weights, k, mask, algorithm
            )
            costs.append(cost)
            if len(self._segments) == 1:
                return hits, costs
            per_segment.append([Hits(found.documents + segment.base, found.scores) for found in hits])
        if not per_segment:
            return [Hits(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in starts[1:]], []
        return [merge_hits(list(parts), k) for parts in zip(*per_segment, strict=True)], costs

    def _masks(self, allowed: NDArray[Any] | None) -> list[Mask | None]:
        """Return for each segment the documents that may be returned, None where all may be."""
        if allowed is None:
            return [segment.live for segment in self._segments]
        chosen = np.asarray(allowed)
        if chosen.dtype != np.bool_:
            chosen = self._mask_of(chosen)
        elif chosen.shape != (self.number_bound,):
            raise IndexProblem(
                f"A filter of booleans has the shape {chosen.shape}; the index has {self.number_bound:,} documents."
            )
        masks: list[Mask | None] = []
        for segment in self._segments:
            mask = chosen[segment.base : segment.base + segment.postings.document_count]
            masks.append(mask if segment.live is None else mask & segment.live)
        return masks

    def _mask_of(self, numbers: NDArray[Any]) -> Mask:
        """Return a boolean for each document, True for those numbered."""
        mask = np.zeros(self.number_bound, np.bool_)
        if numbers.size:
            if not np.issubdtype(numbers.dtype, np.integer):
                raise IndexProblem(f"A filter is booleans or document numbers, not {numbers.dtype}.")
            if int(numbers.min()) < 0 or int(numbers.max()) >= self.number_bound:
                raise IndexProblem(
                    f"A filter names the document {int(numbers.max() if numbers.min() >= 0 else numbers.min())}; "
                    f"the index has {self.number_bound:,} documents, numbered from 0."
                )
            mask[numbers] = True
        return mask

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
        _, terms, weights = _query_parts(query)
        segment = self._segment_of(document)
        parts = []
        for term, weight in zip(terms.tolist(), weights, strict=True):
            impact = np.float32(segment.postings.impact(term, document - segment.base))
            if impact > 0:
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


def _query_parts(
    queries: sparse.csr_array,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return a query batch as CSR parts, checked, ascending in term id, without zeros."""
    # This runs for every single query; conversions and checks of SciPy's cost as much as some searches.
    if queries.dtype != np.float32 or not isinstance(queries, sparse.csr_array):
        queries = sparse.csr_array(queries).astype(np.float32)
    data, indices = queries.data, queries.indices
    least, most = (data.min(), data.max()) if data.size else (np.float32(1), np.float32(1))
    if not (least >= 0 and most < np.inf):  # NaN fails both
        worst = data[~((data >= 0) & (data < np.inf))][0]
        raise IndexProblem(f"A query has the term weight {worst}; weights are finite and not below 0.")
    if least > 0 and queries.shape[0] == 1 and (indices[1:] > indices[:-1]).all():
        return queries.indptr.astype(np.int64), indices.astype(np.int64), data
    if least == 0 or not queries.has_canonical_format:
        queries = queries.copy()
        queries.sum_duplicates()
        queries.eliminate_zeros()
    return queries.indptr.astype(np.int64), queries.indices.astype(np.int64), queries.data
