"""Encoded batches kept on disk, so that an interrupted job need not encode them again.

A job that is to be resumed reads its corpus from the start and does all that it would do anyway, but
takes the term weights of the batches that an earlier run encoded from a folder beside the index.
Whatever instant that run died at, the index comes out the same: a batch's file is complete or not
there, and nothing else is carried over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from scipy import sparse

from lsr.corpus import Document
from lsr.encoders.base import Encoder
from lsr.errors import UserError

Encode = Callable[[Sequence[Document]], sparse.csr_array]

_FORMAT = 2
_JOB = "job.json"
_LOCK = "lock"


def kept_folder(index: Path) -> Path:
    """Return where the encoded batches of a job that builds `index` are kept."""
    return index.parent / f".{index.name}.encoded"


class EncodedBatches:
    """The encoded batches of one job. Open it before encoding, `remove` it when the index is in place.

    Args:
        index: the folder that the job builds an index in.
        encoder: what encodes; its counters and its vocabulary follow the batches that are taken
            from disk as they follow those that it encodes.
        job: JSON values that describe the encoder and all options that change what it puts out.

    Raises:
        UserError: where the batches are another job's, or another process is at them.
    """

    def __init__(self, index: Path, encoder: Encoder, job: dict[str, Any]) -> None:
        self.folder = kept_folder(index)
        self.taken = 0
        """Documents whose weights were taken from disk."""
        self._index = index
        self._encoder = encoder
        self._number = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / _LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{index} is being built by another process with --resume; wait until that is done."
            ) from None
        try:
            self._check_job(json.loads(json.dumps({"format": _FORMAT, **job})))
        except BaseException:
            self._lock.release()
            raise

    def _check_job(self, job: dict[str, Any]) -> None:
        path = self.folder / _JOB
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            _write(path, json.dumps(job, indent=1).encode())
            return
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); {self._way_out}") from None
        if earlier == job:
            return
        other = [name for name in job if not isinstance(earlier, dict) or earlier.get(name) != job[name]]
        differing = ", ".join(_difference(name, earlier, job) for name in other) or "options"
        raise UserError(
            f"--resume: the interrupted job that would build {self._index} was another ({differing}); "
            f"give its options again, or {self._way_out}"
        )

    @property
    def _way_out(self) -> str:
        return f"delete {self.folder} to start anew."

    def encode(self, batch: Sequence[Document], encode: Encode) -> sparse.csr_array:
        """Return the weights of the job's next batch, shape (documents, vocabulary), and keep them.

        Raises:
            UserError: where the batch kept is of other documents.
        """
        path = self.folder / f"batch-{self._number:07}.npz"
        self._number += 1
        digest = _digest(batch)
        arrays = _read(path)
        if arrays is None:
            return self._encode_and_keep(path, digest, batch, encode)
        if arrays["digest"].tobytes() != digest:
            raise UserError(
                f"--resume: the corpus has changed since the job was interrupted, between the documents "
                f"{batch[0].id!r} and {batch[-1].id!r}; {self._way_out}"
            )
        self.taken += len(batch)
        self._follow(arrays)
        return _rows(arrays)

    def _encode_and_keep(
        self, path: Path, digest: bytes, batch: Sequence[Document], encode: Encode
    ) -> sparse.csr_array:
        encoder = self._encoder
        terms = len(encoder.vocabulary)
        cut = int(getattr(encoder, "cut_count", 0))
        weights = encode(batch)
        arrays = {
            "digest": np.frombuffer(digest, np.uint8),
            "data": weights.data,
            "indices": weights.indices,
            "indptr": weights.indptr,
            "width": np.array(weights.shape[1]),
            "new_terms": np.frombuffer(json.dumps(list(encoder.vocabulary[terms:])).encode(), np.uint8),
            "cut": np.array(int(getattr(encoder, "cut_count", 0)) - cut),
        }
        held = getattr(encoder, "text_terms", None)
        if held is not None:
            arrays |= {"text_terms": held.indices, "text_term_starts": held.indptr}
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        return weights

    def _follow(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Do to the encoder what encoding the batch did to it."""
        encoder: Any = self._encoder
        new_terms = json.loads(arrays["new_terms"].tobytes())
        if new_terms:
            encoder.extend_vocabulary(new_terms)
        if hasattr(encoder, "cut_count"):
            encoder.cut_count += int(arrays["cut"])
        if "text_terms" in arrays:
            terms, starts = arrays["text_terms"], arrays["text_term_starts"]
            shape = (len(starts) - 1, len(encoder.text_frequencies))
            encoder.text_terms = sparse.csr_array(
                (np.ones(len(terms), np.float32), terms, starts), shape=shape
            )
            encoder.text_frequencies += np.bincount(terms, minlength=shape[1])

    def close(self) -> None:
        """Let go of the folder; the batches stay."""
        self._lock.release()

    def remove(self) -> None:
        """Remove the batches: the index is in place."""
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def _difference(name: str, earlier: Any, job: dict[str, Any]) -> str:
    """Return which option differs and how, without pages of settings."""
    old, new = (earlier.get(name) if isinstance(earlier, dict) else None), job[name]
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {_short(old.get(key))}, now {_short(new.get(key))}" for key in keys)
    return f"{name.replace('_', ' ')} {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _digest(batch: Sequence[Document]) -> bytes:
    """Return a digest of what an encoder reads of a batch, and of the ids."""
    digest = hashlib.blake2b(digest_size=16)
    for document in batch:
        for part in (document.id, document.full_text):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.digest()


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a kept batch; None where it is missing or damaged, and to be encoded anew."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        _rows(arrays)
        json.loads(arrays["new_terms"].tobytes())
        arrays["digest"], arrays["cut"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return arrays


def _rows(arrays: dict[str, NDArray[Any]]) -> sparse.csr_array:
    shape = (len(arrays["indptr"]) - 1, int(arrays["width"]))
    return sparse.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole, on the disk itself."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
