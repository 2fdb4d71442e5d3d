"""Bytes and lines out of files, plain or compressed, with the bytes on disk counted.

Compression is told by the first bytes, not by the name, so that piped input works as well.
"""

from __future__ import annotations

import codecs
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from lsr.corpus.report import ReadReport
from lsr.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STANDARD_INPUT = "-"

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 18
# A decompressed piece is held whole. Text shrinks some ten times; the worst case of the format,
# 32,768 times, stays at half a gigabyte with pieces of this size.
_ZSTD_PIECE = 1 << 14
# `zstd --long=31` is the widest window the format's tools write.
_ZSTD_WINDOW = 1 << 31


class _Counted(io.RawIOBase):
    """A raw byte stream that adds what is read from it to a report."""

    def __init__(self, inner: IO[bytes], report: ReadReport) -> None:
        # Standard input is buffered: its read() would wait for a full buffer, read1() takes what is there.
        self._read: Callable[[int], bytes] = getattr(inner, "read1", inner.read)
        self._report = report

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self._read(len(view))
        view[: len(data)] = data
        self._report.bytes_read += len(data)
        return len(data)


class _Limited(io.RawIOBase):
    """A raw byte stream that ends after so many bytes."""

    def __init__(self, inner: io.FileIO, left: int) -> None:
        self._inner = inner
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = self._inner.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count


class _ZstdReader(io.RawIOBase):
    """Zstandard frames, one after another; unlike zstandard's own reader it notices a cut-off file."""

    def __init__(self, inner: IO[bytes]) -> None:
        import zstandard

        self._inner = inner
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._frame = self._context.decompressobj()
        self._in_frame = False
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        while not self._ready:
            if not self._compressed:
                self._compressed = self._inner.read(_ZSTD_PIECE)
                if not self._compressed:
                    if self._in_frame:
                        raise EOFError("the last frame is incomplete")
                    return 0
            self._in_frame = True
            self._ready = memoryview(self._frame.decompress(self._compressed))
            self._compressed = b""
            if self._frame.eof:
                self._compressed = self._frame.unused_data
                self._frame = self._context.decompressobj()
                self._in_frame = False
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def cannot_read(name: str, error: OSError) -> UserError:
    """Return the error for a file that the system would not give."""
    return UserError(f"{name}: cannot be read: {error.strerror or error}.")


@contextmanager
def open_bytes(path: Path | str, report: ReadReport) -> Iterator[IO[bytes]]:
    """Open `path` (``-`` for standard input), decompressed, for the length of a ``with`` block.

    System errors and damaged compression met inside the block become `UserError`.
    """
    name = "standard input" if path == STANDARD_INPUT else str(path)
    try:
        if path == STANDARD_INPUT:
            yield _decompressed(sys.stdin.buffer, report)
        else:
            with open(path, "rb", buffering=0) as raw:
                yield _decompressed(raw, report)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(name, error) from error
    except OSError as error:
        raise cannot_read(name, error) from error
    except Exception as error:
        # zstandard is imported only for such files, so its error cannot be named above.
        if type(error).__module__.partition(".")[0] != "zstandard":
            raise
        raise _damaged(name, error) from error


@contextmanager
def open_range(path: Path | str, start: int, stop: int, report: ReadReport) -> Iterator[IO[bytes]]:
    """Open the bytes `start` to `stop` of an uncompressed file for the length of a ``with`` block."""
    try:
        with open(path, "rb", buffering=0) as raw:
            raw.seek(start)
            limited = io.BufferedReader(_Limited(raw, stop - start), _BUFFER)
            yield io.BufferedReader(_Counted(limited, report), _BUFFER)
    except OSError as error:
        raise cannot_read(str(path), error) from error


def is_compressed(path: Path) -> bool:
    """Tell by its first bytes whether a file is compressed."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise cannot_read(str(path), error) from error
    return start.startswith(_GZIP) or start == _ZSTD


def _damaged(name: str, error: Exception) -> UserError:
    return UserError(f"{name}: its compression is damaged or cut off ({error}); make or fetch it again.")


def _decompressed(raw: IO[bytes], report: ReadReport) -> IO[bytes]:
    counted = io.BufferedReader(_Counted(raw, report), _BUFFER)
    start = counted.peek(4)[:4]
    if start.startswith(_GZIP):
        return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=counted)), _BUFFER)
    if start == _ZSTD:
        return io.BufferedReader(_ZstdReader(cast("IO[bytes]", counted)), _BUFFER)
    return cast("IO[bytes]", counted)


def describe_decode_error(error: UnicodeDecodeError, encoding: str) -> str:
    """Say which byte is at fault and what to do about it."""
    byte = error.object[error.start] if error.start < len(error.object) else 0
    return (
        f"byte {error.start} (0x{byte:02x}) is not {encoding}; "
        "name the file's encoding with --encoding, for example --encoding cp1252"
    )


def read_lines(stream: IO[bytes], encoding: str, name: str) -> Iterator[tuple[int, str | UnicodeDecodeError]]:
    """Yield (line number from 1, line with its ending) of `stream`.

    A line that cannot be decoded is yielded as its error, so that one bad line does not end the
    file. A byte order mark is taken off. In encodings whose line ends are not the byte ``\\n``
    (UTF-16, UTF-32) nothing after an undecodable place can be trusted, and `UserError` is raised.
    """
    codec = codecs.lookup(encoding).name
    if codec.startswith(("utf-16", "utf-32")):
        yield from _read_wide_lines(stream, encoding, name)
        return
    for number, data in enumerate(stream, 1):
        if number == 1 and codec == "utf-8":
            data = data.removeprefix(codecs.BOM_UTF8)
        try:
            yield number, data.decode(encoding)
        except UnicodeDecodeError as error:
            yield number, error


def _read_wide_lines(stream: IO[bytes], encoding: str, name: str) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        # newline="\n" splits at \n only and translates nothing, as iterating over bytes does.
        for number, line in enumerate(io.TextIOWrapper(stream, encoding=encoding, newline="\n"), 1):
            yield number, line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError as error:
        reason = f"is not {encoding} from here on ({error})"
        raise UserError(f"{name}:{number + 1}: {reason}; name its encoding with --encoding.") from error
