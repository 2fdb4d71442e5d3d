"""Lines written to numbered files of bounded size."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO

# Engines refuse request bodies above some size: 100 MB in OpenSearch and Elasticsearch.
PART_BYTES = 32_000_000


class PartWriter:
    """Writes lines to ``STEM-00000.SUFFIX``, ``STEM-00001.SUFFIX``, ...; a group of lines stays together."""

    def __init__(self, folder: Path, stem: str, suffix: str, part_bytes: int = PART_BYTES) -> None:
        self._folder = folder
        self._stem = stem
        self._suffix = suffix
        self._part_bytes = part_bytes
        self._file: IO[bytes] | None = None
        self._written = 0
        self.parts = 0

    def write(self, *lines: str) -> None:
        """Append lines, a line break after each."""
        content = ("\n".join(lines) + "\n").encode()
        if self._file is None or (self._written and self._written + len(content) > self._part_bytes):
            self._open_next()
        assert self._file is not None
        self._file.write(content)
        self._written += len(content)

    def _open_next(self) -> None:
        self.close()
        self._file = (self._folder / f"{self._stem}-{self.parts:05}.{self._suffix}").open("wb")
        self._written = 0
        self.parts += 1

    def close(self) -> None:
        """Close the file being written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
