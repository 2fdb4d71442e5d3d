"""Changing an index: documents are added, deleted and replaced, and one commit makes it all visible."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.block_writer import deserves_blocks
from lsr.index.errors import DuplicateId, IndexProblem, MissingId
from lsr.index.files import synchronise, synchronise_all
from lsr.index.index import Index
from lsr.index.locking import lock_index, remove_unnamed
from lsr.index.manifest import FileEntry, Manifest, SegmentEntry, file_entries, file_entry, verify_files
from lsr.index.marking import TextTermsOf, mark_deleted
from lsr.index.merge_policy import segments_to_merge
from lsr.index.merging import merge_segments
from lsr.index.publishing import publish
from lsr.index.segment_builder import SegmentBuilder, checked_weights
from lsr.index.store import DocumentRecord
from lsr.index.weighting import Bm25Weighting


class Changes(NamedTuple):
    """What a commit did.

    Attributes:
        added: documents that are new, the new forms of replaced ones included.
        deleted: documents that are gone, the old forms of replaced ones included.
        saturated: weights of new documents above the index's impact grid, stored as its top.
        merged: segments that were merged into others afterwards.
        merge_problem: why that failed, where it did; the changes are in place all the same.
    """

    added: int = 0
    deleted: int = 0
    saturated: int = 0
    merged: int = 0
    merge_problem: str | None = None


class Compaction(NamedTuple):
    """What compacting an index started from.

    Attributes:
        segments: segments there were.
        removed: deleted documents whose traces are gone now.
        frozen_average: under BM25 the average length that impacts went by before.
        average: under BM25 the average length of live documents.
    """

    segments: int
    removed: int
    frozen_average: float | None
    average: float | None


class IndexEditor:
    """An index opened for changing; one process at a time.

    Changes are collected, in files that no reader sees, and become visible together when `commit`
    replaces the manifest. Leaving the block without `commit` throws them away; so does dying, and
    the next editor clears what was left. Readers go on with the snapshot that they opened.

    New documents come last, replaced ones too, and their weights are put on the grid that the index
    was created with: weights above it are stored as its top, and counted.

    Args:
        folder: the index.
        durable: a commit returns when the disk itself has confirmed it. Without, it survives the
            death of the process but perhaps not of the machine.
        merge: merge small segments after a commit, see `lsr.index.merge_policy`.
        text_terms_of: gives the terms that stored documents' own texts hold, as `add` takes them.
            Needed to delete documents from segments that count such terms without keeping them, as
            the first format did.

    Raises:
        IndexBusy: where another process is changing the index.
        IndexProblem: where the folder is no index.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        durable: bool = True,
        merge: bool = True,
        text_terms_of: TextTermsOf | None = None,
    ) -> None:
        self.folder = Path(folder)
        Manifest.read(self.folder)
        self._durable = durable
        self._merge = merge
        self._text_terms_of = text_terms_of
        self._builder: SegmentBuilder | None = None
        self._failed = False
        self._lock = lock_index(self.folder)
        try:
            self._index = Index(self.folder)
            remove_unnamed(self.folder, self._index.manifest)
        except BaseException:
            self._lock.release()
            raise
        self._dead = np.zeros(self._index.number_bound, np.bool_)

    @property
    def index(self) -> Index:
        """The snapshot that is being changed, without the changes; closed with the editor."""
        return self._index

    @property
    def needs_text_terms(self) -> bool:
        """Whether new documents must come with the terms of their texts, as those before did."""
        return any(segment.text_frequencies is not None for segment in self._index.segments)

    # Collecting changes

    def add(
        self,
        weights: sparse.csr_array,
        documents: Sequence[DocumentRecord],
        text_terms: sparse.csr_array | None = None,
    ) -> None:
        """Add documents with their term weights, as `lsr.index.IndexWriter.add` takes them.

        Raises:
            DuplicateId: for an id that a document of the index, or an earlier one here, has.
            IndexProblem: for a weight below 0, NaN or infinite. Nothing of the batch is added then.
        """
        weights = checked_weights(weights, documents)
        ids = [document.id for document in documents]
        pending = self._builder.numbers(ids) if self._builder else {}
        stored = self._live_numbers(ids) >= 0
        seen: set[str] = set()
        for document, known in zip(documents, stored.tolist(), strict=True):
            where = f"{document.location}: " if document.location else ""
            if known:
                raise DuplicateId(
                    f"{where}the document id {document.id!r} is in {self.folder} already; replace the document "
                    "with lsr update, or delete it first."
                )
            if document.id in seen or document.id in pending:
                raise DuplicateId(
                    f"{where}the document id {document.id!r} occurs twice; give every document an id of its own."
                )
            seen.add(document.id)
        self._append(weights, documents, text_terms)

    def update(
        self,
        weights: sparse.csr_array,
        documents: Sequence[DocumentRecord],
        text_terms: sparse.csr_array | None = None,
    ) -> int:
        """Replace documents by id, add those that are new, and return how many were replaced.

        A document given twice counts as replaced by its last form, within a batch as across batches.

        Raises:
            IndexProblem: for a weight below 0, NaN or infinite; nothing of the batch is done then.
        """
        weights = checked_weights(weights, documents)
        last = {document.id: i for i, document in enumerate(documents)}
        repeated = len(documents) - len(last)
        if repeated:
            rows = np.array(sorted(last.values()))
            weights = weights[rows]
            text_terms = None if text_terms is None else text_terms[rows]
            documents = [documents[row] for row in rows.tolist()]
        replaced = self._remove([document.id for document in documents])
        self._append(weights, documents, text_terms)
        return replaced + repeated

    def delete(self, ids: Sequence[str], *, skip_missing: bool = False) -> int:
        """Delete documents by id and return how many there were.

        Raises:
            MissingId: for an id that no document has, unless `skip_missing`; nothing is deleted then.
        """
        ids = list(dict.fromkeys(ids))
        if not skip_missing:
            pending = self._builder.numbers(ids) if self._builder else {}
            known = self._live_numbers(ids) >= 0
            missing = [id_ for id_, there in zip(ids, known.tolist(), strict=True) if not there]
            missing = [id_ for id_ in missing if id_ not in pending]
            if missing:
                more = f" (and {len(missing) - 1:,} more ids)" if len(missing) > 1 else ""
                raise MissingId(
                    f"{self.folder} has no document {missing[0]!r}{more}; nothing was deleted. "
                    "Leave such ids out, or skip them with --skip-missing."
                )
        return self._remove(ids)

    def _live_numbers(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of committed documents that are not deleted by now, -1 elsewhere."""
        numbers = self._index.document_numbers(ids)
        known = numbers >= 0
        numbers[known] = np.where(self._dead[numbers[known]], -1, numbers[known])
        return numbers

    def _remove(self, ids: Sequence[str]) -> int:
        numbers = self._live_numbers(ids)
        numbers = numbers[numbers >= 0]
        self._dead[numbers] = True
        return len(numbers) + (self._builder.remove(ids) if self._builder else 0)

    def _append(
        self,
        weights: sparse.csr_array,
        documents: Sequence[DocumentRecord],
        text_terms: sparse.csr_array | None,
    ) -> None:
        if self.needs_text_terms and text_terms is None:
            raise ValueError("the index counts the terms of texts; text_terms are needed")
        if not documents:
            return
        try:
            if self._builder is None:
                self._builder = SegmentBuilder(
                    self.folder / "segments" / secrets.token_hex(6),
                    bm25=self._index.manifest.weighting is not None,
                    store_texts=self._index.manifest.stored_texts,
                )
            self._builder.add(weights, documents, text_terms)
        except BaseException:
            self._failed = True
            raise

    # Making them visible

    def commit(self, vocabulary: Sequence[str] | None = None) -> Changes:
        """Make all changes since the last commit visible, all at once.

        When it raises, none of them is, unless the message says so; what was collected is lost.

        Args:
            vocabulary: the term of every id, where it has grown; ids never change.
        """
        if self._failed:
            raise RuntimeError("an earlier change failed half-way; open the index again")
        before = self._index.manifest
        vocabulary_size = before.vocabulary_size if vocabulary is None else len(vocabulary)
        if vocabulary_size < before.vocabulary_size:
            raise ValueError(f"{vocabulary_size} terms; the index has {before.vocabulary_size} already")
        added = self._builder.live_count if self._builder else 0
        deleted = int(self._dead.sum())
        saturated = 0
        if self._builder is not None and not added and vocabulary_size == before.vocabulary_size:
            self._drop_builder()
        if self._builder is None and not deleted:
            return self._merge_small()
        try:
            entries: list[SegmentEntry] = []
            written: list[Path] = []
            for segment in self._index.segments:
                dead = self._dead[segment.base : segment.base + segment.entry.documents]
                entry, files = mark_deleted(segment, dead, self._text_terms_of)
                entries.append(entry)
                written += files
            new_files: tuple[FileEntry, ...] = ()
            if self._builder is not None:
                terms = enumerate((vocabulary or ())[before.vocabulary_size :], before.vocabulary_size)
                entry = self._builder.finish(terms, vocabulary_size, before.grid, before.weighting)
                saturated = int(entry.quantisation["saturated"])
                entries.append(entry)
                new_files = file_entries(self.folder, self._builder.folder)
                if self._durable:
                    synchronise_all(self._builder.folder)
            new_files += tuple(file_entry(self.folder, path) for path in written)
            if self._durable:
                for path in [*written, *dict.fromkeys(path.parent for path in written)]:
                    synchronise(path)
            changed = replace(before, segments=tuple(entries), vocabulary_size=vocabulary_size)
            self._publish(changed, new_files)
        except BaseException:
            self._failed = True
            raise
        self._builder = None
        merged = self._merge_small()
        return Changes(added, deleted, saturated, merged.merged, merged.merge_problem)

    def _publish(self, changed: Manifest, new_files: Sequence[FileEntry]) -> None:
        """Replace the manifest, take up the new snapshot and remove what only the old one had.

        `changed` lists the files of the old snapshot still.
        """
        manifest = publish(self.folder, changed, new_files, durable=self._durable)
        try:
            newer = self._index.refresh()
        except OSError as error:
            raise IndexProblem(
                f"The change of {self.folder} is in place, but it cannot be opened "
                f"({error.strerror or error})."
            ) from error
        self._index.close()
        self._index = newer
        self._dead = np.zeros(newer.number_bound, np.bool_)
        remove_unnamed(self.folder, manifest)

    # Merging

    def _merge_small(self) -> Changes:
        """Merge what the policy says; the commit before stands, whatever comes of this."""
        merged = 0
        try:
            while self._merge and (places := segments_to_merge(self._index.manifest.segments)):
                self._merge_places(places)
                merged += len(places)
        except IndexProblem as error:
            return Changes(merged=merged, merge_problem=str(error))
        except OSError as error:
            return Changes(merged=merged, merge_problem=error.strerror or str(error))
        except (sqlite3.OperationalError, KeyboardInterrupt) as error:
            return Changes(merged=merged, merge_problem=str(error) or "interrupted")
        return Changes(merged=merged)

    def _merge_places(self, places: range, weighting: Bm25Weighting | None = None) -> None:
        """Put one segment in the place of consecutive ones, weighed anew where a weighting is given."""
        manifest = self._index.manifest
        weigh_anew = weighting is not None
        weighting = weighting or manifest.weighting
        segments = self._index.segments[places.start : places.stop]
        # What is damaged must not get a new checksum.
        names = tuple(f"segments/{segment.entry.name}/" for segment in segments)
        verify_files(self.folder, (file for file in manifest.files if file.path.startswith(names)))
        folder = self.folder / "segments" / secrets.token_hex(6)
        size, grid = manifest.vocabulary_size, manifest.grid
        try:
            entry = merge_segments(folder, segments, size, grid, weighting, weigh_anew=weigh_anew)
            files = file_entries(self.folder, folder)
            if self._durable:
                synchronise_all(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        entries = [*manifest.segments]
        entries[places.start : places.stop] = [entry]
        try:
            self._publish(replace(manifest, segments=tuple(entries), weighting=weighting), files)
        except BaseException:
            self._failed = True
            raise

    def compact(self, *, refresh: bool = False) -> Compaction:
        """Commit what is pending, then make all segments one, without the deleted documents.

        Args:
            refresh: under BM25, take the average length of the live documents and compute all
                impacts anew from term frequencies.

        Raises:
            IndexProblem: where a file is damaged, or a refresh is asked for that has nothing to do.
        """
        if refresh and self._index.manifest.weighting is None:
            raise IndexProblem(
                f"{self.folder} holds weights of an encoder, which depend on no other document: there is "
                "nothing to refresh; leave out --refresh."
            )
        merge, self._merge = self._merge, False
        self.commit()
        self._merge = merge
        before = self._index
        old = before.manifest.weighting
        average = before.average_length()
        weighting = replace(old, average_length=average) if refresh and old and average is not None else None
        entries = before.manifest.segments
        report = Compaction(
            len(entries),
            sum(entry.deleted for entry in entries),
            old.average_length if old else None,
            average,
        )
        # A segment of an older format has none that can be used, however large it is.
        unbounded = any(s.blocks is None and deserves_blocks(s.entry.documents) for s in before.segments)
        if len(entries) > 1 or report.removed or (weighting and weighting != old) or unbounded:
            self._merge_places(range(len(entries)), weighting)
        return report

    def close(self) -> None:
        """Throw away what was not committed and let others change the index."""
        self._drop_builder()
        self._failed = True
        self._index.close()
        self._lock.release()

    def _drop_builder(self) -> None:
        builder, self._builder = self._builder, None
        if builder is None:
            return
        builder.abort()
        # A commit may have failed, or been interrupted, after the manifest was in place: then the
        # folder is the index's. Where that can't be told, the next editor removes what is not.
        with contextlib.suppress(IndexProblem):
            segments = Manifest.read(self.folder).segments
            if all(entry.name != builder.folder.name for entry in segments):
                shutil.rmtree(builder.folder, ignore_errors=True)

    def __enter__(self) -> IndexEditor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(error, (OSError, sqlite3.OperationalError)):
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            raise IndexProblem(
                f"The index {self.folder} cannot be changed ({reason}), and is as it was; "
                "free some space or mend the disk."
            ) from error
