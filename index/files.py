"""Files of an index: arrays on disk, checksums, and writes that happen whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem


def _header(dtype: np.dtype[Any], length: int) -> bytes:
    """Return how the ``.npy`` file of a one-dimensional array begins."""
    buffer = io.BytesIO()
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    npy.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


class ArrayWriter:
    """Writes a one-dimensional ``.npy`` file piece by piece."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self.length = 0
        self._file = path.open("wb")
        # NumPy leaves room in the header for the length, which is known when the file is finished.
        self._file.write(_header(dtype, 0))

    def write(self, piece: NDArray[Any]) -> None:
        """Append values."""
        self.length += len(piece)
        # Not ndarray.tofile: it reports a full disk without saying that it was that.
        self._file.write(np.ascontiguousarray(piece, self._dtype).data)

    def close(self) -> None:
        """Finish the file."""
        self._file.seek(0)
        self._file.write(_header(self._dtype, self.length))
        self._file.close()

    def abort(self) -> None:
        """Close the file, finished or not."""
        with contextlib.suppress(OSError):
            self._file.close()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a whole one-dimensional array."""
    writer = ArrayWriter(path, array.dtype)
    try:
        writer.write(array)
        writer.close()
    finally:
        writer.abort()


def map_array(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Map a one-dimensional array of a known type into memory, read-only.

    Raises:
        IndexProblem: where the file is missing, cut short, or of another type or shape.
    """
    # The header is not parsed but compared with what it must be: nothing in the file is trusted.
    start = len(_header(dtype, 0))
    try:
        length, rest = divmod(path.stat().st_size - start, dtype.itemsize)
        with path.open("rb") as file:
            head = file.read(start)
        if length < 0 or rest or head != _header(dtype, length):
            raise IndexProblem(f"{path} is damaged: it is no array of {dtype}; build the index again.")
        if length == 0:  # An empty file part cannot be mapped.
            return np.empty(0, dtype)
        return np.asarray(np.memmap(path, dtype, "r", start, (length,)))
    except OSError as error:
        raise IndexProblem(
            f"{path} cannot be read ({error.strerror or error}); build the index again."
        ) from None


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if _HAS_FILE_DIGEST else _digest(file)


def _digest(file: Any) -> str:
    """``hashlib.file_digest`` for Python 3.10."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


_HAS_FILE_DIGEST = hasattr(hashlib, "file_digest")


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its sub-folders, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path


def synchronise(path: Path) -> None:
    """Have the operating system put a file, or a folder's entries, on the disk itself."""
    flags = os.O_RDONLY
    if path.is_dir():
        if os.name == "nt":  # Windows cannot open folders, and needs no such call.
            return
        flags |= getattr(os, "O_DIRECTORY", 0)
    elif os.name == "nt":
        flags = os.O_RDWR
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synchronise_all(folder: Path) -> None:
    """Put a folder, everything in it and its own name on the disk itself."""
    for path in sorted(folder.rglob("*")):
        synchronise(path)
    synchronise(folder)
    synchronise(folder.parent)


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    With `durable` it is on the disk itself on return, and so are the names of its neighbours.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        synchronise(path.parent)
