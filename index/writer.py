"""Creating an index: documents and their weights stream in, one commit makes them visible."""

from __future__ import annotations

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
from lsr.index.files import files_below, replace_file, synchronise, write_array
from lsr.index.grid import ImpactBits, ImpactGrid
from lsr.index.manifest import MANIFEST, Manifest, file_entries
from lsr.index.segment import STORE, TEXT_FREQUENCIES
from lsr.index.segment_writer import write_segment
from lsr.index.spill import PostingSpill
from lsr.index.store import DocumentRecord, StoreWriter
from lsr.index.weighting import Bm25Weighting

_LOCK = "lock"


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
        overwrite: replace the index at `folder`, which stays searchable until the commit.
        store_texts: keep texts in the index, for snippets.

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
        overwrite: bool = False,
        store_texts: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self._check_target(overwrite)
        self._encoder = encoder
        self._bm25 = bm25
        self._bits: ImpactBits = impact_bits
        self._maximum = impact_maximum
        self._largest = 0.0
        self._overwrite = overwrite
        self._store_texts = store_texts
        self._staging, self._lock = _staging_folder(self.folder)
        try:
            self._segment = secrets.token_hex(6)
            self._segment_folder = self._staging / "segments" / self._segment
            self._segment_folder.mkdir(parents=True)
            self._encoder_name = f"encoder-{self._segment}"
            self.encoder_folder = self._staging / self._encoder_name
            self.encoder_folder.mkdir()
            spill_folder = self._staging / "spill"
            spill_folder.mkdir()
            self._spill = PostingSpill(spill_folder)
            self._store = StoreWriter(self._segment_folder / STORE)
        except BaseException:
            self._discard()
            raise
        self._lengths: list[NDArray[np.uint32]] = []

    def _check_target(self, overwrite: bool) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise IndexProblem(f"{self.folder} exists and is not a folder; choose another place with -o.")
        if not any(self.folder.iterdir()):
            return
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
        return self._store.document_count

    @property
    def posting_count(self) -> int:
        """Postings added so far."""
        return self._spill.posting_count

    def add(self, weights: sparse.csr_array, documents: Sequence[DocumentRecord]) -> None:
        """Append documents with their term weights.

        Args:
            weights: shape (documents, vocabulary); the vocabulary may grow from call to call.
                Explicit zeros are dropped.
            documents: as many as `weights` has rows.

        Raises:
            IndexProblem: for a weight below 0, NaN or infinite, and for an id seen before.
        """
        if weights.shape[0] != len(documents):
            raise ValueError(f"{weights.shape[0]} rows of weights for {len(documents)} documents")
        weights = sparse.csr_array(weights).astype(np.float32, copy=False)
        good = (weights.data >= 0) & (weights.data < np.inf)
        if not good.all():
            place = int(np.flatnonzero(~good)[0])
            document = documents[int(np.searchsorted(weights.indptr, place, side="right")) - 1]
            where = f"{document.location}: " if document.location else ""
            raise IndexProblem(
                f"{where}document {document.id!r} has the term weight {weights.data[place]}; "
                "weights are finite and not below 0."
            )
        if not weights.has_canonical_format or not weights.data.all():
            weights = weights.copy()
            weights.sum_duplicates()
            weights.eliminate_zeros()
        if not self._store_texts:
            documents = [document._replace(text=None) for document in documents]
        self._store.add(documents)
        self._spill.add(weights)
        if weights.nnz:
            self._largest = max(self._largest, float(weights.data.max()))
        if self._bm25:
            self._lengths.append(np.asarray(weights.sum(axis=1)).astype(np.uint32))

    def commit(
        self, vocabulary: Sequence[str], text_frequencies: NDArray[np.int64] | None = None
    ) -> Manifest:
        """Finish the index and put it in place.

        Args:
            vocabulary: the term of every id.
            text_frequencies: number of documents whose own text holds each term, shape
                (vocabulary,), where the encoder adds terms to documents; a corpus IDF needs them.
        """
        weighting = lengths = None
        if self._bm25:
            lengths = np.concatenate([*self._lengths, np.empty(0, np.uint32)])
            average = float(lengths.mean(dtype=np.float64)) if len(lengths) else 0.0
            weighting = Bm25Weighting(*self._bm25, average)
        grid = ImpactGrid(self._bits, self._maximum or (1.0 if self._bm25 else self._largest or 1.0))
        self._store.finish(enumerate(vocabulary))
        entry = write_segment(
            self._segment_folder, self._segment, self._spill, len(vocabulary), grid, weighting, lengths
        )
        if text_frequencies is not None:
            write_array(self._segment_folder / TEXT_FREQUENCIES, text_frequencies.astype(np.int64))
        shutil.rmtree(self._staging / "spill")
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
        for path in [*files_below(segments), *files_below(encoders)]:
            synchronise(path)
        self._publish(manifest)
        return manifest

    def _publish(self, manifest: Manifest) -> None:
        """Put the finished staging folder in the target's place."""
        if self._overwrite and (self.folder / MANIFEST).exists():
            (self.folder / "segments").mkdir(exist_ok=True)
            self._segment_folder.rename(self.folder / "segments" / self._segment)
            self.encoder_folder.rename(self.folder / self._encoder_name)
            replace_file(self.folder / MANIFEST, manifest.to_bytes())
            # Only now is the old index gone; what it leaves behind is unreachable.
            for old in (self.folder / "segments").iterdir():
                if old.name != self._segment:
                    shutil.rmtree(old, ignore_errors=True)
            for old in self.folder.glob("encoder-*"):
                if old.name != self._encoder_name:
                    shutil.rmtree(old, ignore_errors=True)
            self._discard()
            return
        replace_file(self._staging / MANIFEST, manifest.to_bytes())
        self._lock.release()
        (self._staging / _LOCK).unlink(missing_ok=True)
        try:
            if self.folder.exists():  # An empty folder; Windows does not rename onto one.
                self.folder.rmdir()
            self._staging.rename(self.folder)
        except OSError:
            raise IndexProblem(
                f"{self.folder} appeared while its index was being built; choose another folder with -o."
            ) from None
        synchronise(self.folder.parent)

    def _discard(self) -> None:
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
        self._store.abort()
        if self._staging.exists():
            self._discard()
        if isinstance(error, (OSError, sqlite3.OperationalError)):
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            raise IndexProblem(
                f"The index {self.folder} cannot be written ({reason}), and nothing of it was kept; "
                "free some space or choose another place with -o."
            ) from error


def _staging_folder(target: Path) -> tuple[Path, FileLock]:
    """Make a folder beside the target to build in, and remove those that dead processes left.

    A builder holds a lock on a file in its folder for as long as it lives, whatever ends it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.building-"
    for left in target.parent.glob(f"{prefix}*"):
        lock = FileLock(left / _LOCK)
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
    lock = FileLock(staging / _LOCK)
    lock.acquire(timeout=0)
    return staging, lock
