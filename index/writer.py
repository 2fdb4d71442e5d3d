"""Creating an index: documents and their weights stream in, one commit makes them visible."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.errors import IndexProblem
from lsr.index.files import replace_file, synchronise, synchronise_all
from lsr.index.grid import ImpactBits, ImpactGrid
from lsr.index.locking import LOCK, lock_index, remove_unnamed
from lsr.index.manifest import MANIFEST, SHARDS, Manifest, file_entries
from lsr.index.segment_builder import SegmentBuilder
from lsr.index.store import DocumentRecord
from lsr.index.weighting import Bm25Weighting


class IndexWriter:
    """Builds an index of one segment.

    Everything is written to a folder beside the target and moved into place by `commit`, so a job
    that fails or dies leaves the target as it was. Use it as a context manager: leaving the block
    without `commit` throws away what was written.

    Args:
        folder: where the index is to be. Must not exist, or be empty, unless `overwrite` is true
            and it is an index.
        encoder: JSON values that describe the encoder; kept in the manifest.
        bm25: k1 and b. Weights are then term frequencies, and become BM25 impacts at the commit,
            when the average length is known.
        impact_bits: 8 or 16 bits for an impact.
        impact_maximum: top of the impact grid; None takes the largest weight seen (1 for BM25,
            whose impacts are below 1).
        average_length: under BM25, of documents; None takes that of the documents added. Parts of one
            corpus in indexes of their own need that of the whole.
        overwrite: replace the index at `folder`, which stays searchable until the commit.
        store_texts: keep texts in the index, for snippets.
        durable: have the disk itself confirm every file before the index appears. Without, an index
            that appeared may be damaged if the machine (not the process) stops soon after.

    Raises:
        IndexProblem: where the target is taken, or a document or weight is refused.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        encoder: dict[str, Any],
        bm25: tuple[float, float] | None = None,
        impact_bits: ImpactBits = 8,
        impact_maximum: float | None = None,
        average_length: float | None = None,
        overwrite: bool = False,
        store_texts: bool = True,
        durable: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self._check_target(overwrite)
        self._encoder = encoder
        self._bm25 = bm25
        self._bits: ImpactBits = impact_bits
        self._maximum = impact_maximum
        self._average = average_length
        self._store_texts = store_texts
        self._durable = durable
        self._index_lock = self._lock_existing()
        try:
            self._staging, self._lock = _staging_folder(self.folder)
        except OSError as error:
            if self._index_lock is not None:
                self._index_lock.release()
            raise self._not_written(error) from error
        try:
            self._segment = secrets.token_hex(6)
            self._encoder_name = f"encoder-{self._segment}"
            self.encoder_folder = self._staging / self._encoder_name
            self.encoder_folder.mkdir()
            self._builder = SegmentBuilder(
                self._staging / "segments" / self._segment, bm25=bool(bm25), store_texts=store_texts
            )
        except BaseException as error:
            self._discard()
            if isinstance(error, (OSError, sqlite3.OperationalError)):
                raise self._not_written(error) from error
            raise

    def _not_written(self, error: Exception) -> IndexProblem:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return IndexProblem(
            f"The index {self.folder} cannot be written ({reason}), and nothing of it was kept; "
            "free some space or choose another place with -o."
        )

    def _not_confirmed(self, error: OSError) -> IndexProblem:
        return IndexProblem(
            f"The index {self.folder} is in place, but the disk did not confirm it "
            f"({error.strerror or error}): it may be lost if the machine stops now."
        )

    def _lock_existing(self) -> FileLock | None:
        """Keep others from changing an index that is about to be replaced: it would be for nothing."""
        return lock_index(self.folder) if (self.folder / MANIFEST).exists() else None

    def _check_target(self, overwrite: bool) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise IndexProblem(f"{self.folder} exists and is not a folder; choose another place with -o.")
        if not any(self.folder.iterdir()):
            return
        if (self.folder / SHARDS).exists():
            raise IndexProblem(
                f"{self.folder} is a sharded index; choose another folder with -o, or build it again with --ray."
            )
        if not (self.folder / MANIFEST).exists():
            raise IndexProblem(
                f"{self.folder} exists, is not empty and is not an index; choose another folder with -o."
            )
        if not overwrite:
            raise IndexProblem(
                f"{self.folder} exists already; choose another folder with -o, or replace it with --overwrite."
            )

    @property
    def document_count(self) -> int:
        """Documents added so far."""
        return self._builder.document_count

    @property
    def posting_count(self) -> int:
        """Postings added so far."""
        return self._builder.posting_count

    def add(
        self,
        weights: sparse.csr_array,
        documents: Sequence[DocumentRecord],
        text_terms: sparse.csr_array | None = None,
    ) -> None:
        """Append documents with their term weights.

        Args:
            weights: shape (documents, vocabulary); the vocabulary may grow from call to call.
                Explicit zeros are dropped.
            documents: as many as `weights` has rows.
            text_terms: where the encoder adds terms to documents, the terms that each text holds
                itself, same shape, whatever the values; for all documents or for none. A corpus IDF
                is computed from them.

        Raises:
            IndexProblem: for a weight below 0, NaN or infinite, and for an id seen before.
        """
        self._builder.add(weights, documents, text_terms)

    def commit(
        self, vocabulary: Sequence[str], text_frequencies: NDArray[np.int64] | None = None
    ) -> Manifest:
        """Finish the index and put it in place.

        Args:
            vocabulary: the term of every id.
            text_frequencies: number of documents whose own text holds each term, shape
                (vocabulary,), where `add` was not given `text_terms`. Deleting documents needs
                their texts and the tokenizer then.
        """
        weighting = None
        if self._bm25:
            lengths = self._builder.lengths
            average = self._average
            if average is None:
                average = float(lengths.mean(dtype=np.float64)) if len(lengths) else 0.0
            weighting = Bm25Weighting(*self._bm25, average)
        grid = ImpactGrid(self._bits, self._maximum or (1.0 if self._bm25 else self._builder.largest or 1.0))
        entry = self._builder.finish(
            enumerate(vocabulary), len(vocabulary), grid, weighting, text_frequencies
        )
        segments, encoders = self._staging / "segments", self.encoder_folder
        manifest = Manifest(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            vocabulary_size=len(vocabulary),
            grid=grid,
            weighting=weighting,
            encoder={**self._encoder, "folder": self._encoder_name},
            segments=(entry,),
            files=file_entries(self._staging, segments) + file_entries(self._staging, encoders),
            stored_texts=self._store_texts,
        )
        if self._durable:
            synchronise_all(segments)
            synchronise_all(encoders)
        self._publish(manifest)
        return manifest

    def _publish(self, manifest: Manifest) -> None:
        """Put the finished staging folder in the target's place."""
        if self._index_lock is not None:
            (self.folder / "segments").mkdir(exist_ok=True)
            self._builder.folder.rename(self.folder / "segments" / self._segment)
            self.encoder_folder.rename(self.folder / self._encoder_name)
            if self._durable:
                synchronise(self.folder / "segments")
            content = manifest.to_bytes()
            try:
                replace_file(self.folder / MANIFEST, content, durable=self._durable)
            except OSError as error:
                with contextlib.suppress(OSError):
                    if (self.folder / MANIFEST).read_bytes() == content:
                        raise self._not_confirmed(error) from error
                raise
            # Only now is the old index gone; what it leaves behind is unreachable.
            remove_unnamed(self.folder, manifest)
            self._discard()
            return
        replace_file(self._staging / MANIFEST, manifest.to_bytes(), durable=self._durable)
        self._lock.release()
        (self._staging / LOCK).unlink(missing_ok=True)
        try:
            if self.folder.exists():  # An empty folder; Windows does not rename onto one.
                self.folder.rmdir()
            self._staging.rename(self.folder)
        except OSError:
            raise IndexProblem(
                f"{self.folder} appeared while its index was being built; choose another folder with -o."
            ) from None
        if self._durable:
            try:
                synchronise(self.folder.parent)
            except OSError as error:
                raise self._not_confirmed(error) from error

    def _discard(self) -> None:
        if self._index_lock is not None:
            self._index_lock.release()
        self._lock.release()
        shutil.rmtree(self._staging, ignore_errors=True)

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._builder.abort()
        if self._staging.exists():
            self._discard()
        if isinstance(error, (OSError, sqlite3.OperationalError)):
            raise self._not_written(error) from error


def _staging_folder(target: Path) -> tuple[Path, FileLock]:
    """Make a folder beside the target to build in, and remove those that dead processes left.

    A builder holds a lock on a file in its folder for as long as it lives, whatever ends it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.building-"
    for left in target.parent.glob(f"{prefix}*"):
        lock = FileLock(left / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        lock.release()
        shutil.rmtree(left, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    # mkdtemp keeps others out; an index is as readable as any folder its owner makes.
    mask = os.umask(0)
    os.umask(mask)
    staging.chmod(0o777 & ~mask)
    lock = FileLock(staging / LOCK)
    try:
        lock.acquire(timeout=0)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return staging, lock
