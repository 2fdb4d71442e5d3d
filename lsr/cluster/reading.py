"""Reading: every part of a corpus becomes chunks of documents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.cluster.chunks import in_chunks, write_chunk
from lsr.cluster.executors import Work
from lsr.cluster.work_folder import read_json, write_json, write_whole
from lsr.corpus import Document, ReadOptions, ReadReport
from lsr.corpus.parts import SourcePart, count_lines, read_part

DIGEST = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u4")])


class Chunk(NamedTuple):
    """A chunk of documents: the stem of its files, and how many there are."""

    stem: str
    documents: int


@dataclass(frozen=True)
class CountStage:
    """Counts line ends, so that messages name the lines of a divided file."""

    folder: str  # that sources are named from

    def open(self) -> Work:
        """Return what counts one part's."""
        go_to(self.folder)
        return lambda part: count_lines(part) if part.kind == "lines" else 0


@dataclass(frozen=True)
class ReadStage:
    """Reads parts of a corpus.

    A part leaves ``chunk-PART-NUMBER.parquet``, digests of ids (and of texts) beside it, the number
    of characters of each text, and in the end ``part-PART.json``, which says that it is done.
    """

    work: str
    folder: str
    options: ReadOptions
    digest_texts: bool

    def open(self) -> Work:
        """Return what reads one part, given with its number."""
        go_to(self.folder)
        return lambda piece: self.read(*piece)

    def read(self, number: int, part: SourcePart) -> dict[str, Any]:
        """Read a part unless that is done, and return what came of it."""
        path = Path(self.work) / f"part-{number:05}.json"
        done: dict[str, Any] | None = read_json(path)
        if done is not None:
            return done
        report = ReadReport()
        chunks = []
        first_has_vector = None
        for place, documents in enumerate(in_chunks(read_part(part, self.options, report))):
            if first_has_vector is None:
                first_has_vector = documents[0].vector is not None
            stem = f"chunk-{number:05}-{place:05}"
            self._write(stem, documents)
            chunks.append([stem, len(documents)])
        done = {
            "chunks": chunks,
            "first_has_vector": first_has_vector,
            "bad": report.bad,
            "bad_examples": report.bad_examples,
            "passed_over": report.passed_over,
            "bytes": report.bytes_read,
        }
        write_json(path, done)
        return done

    def _write(self, stem: str, documents: Sequence[Document]) -> None:
        folder = Path(self.work)
        write_chunk(folder / f"{stem}.parquet", documents)
        lengths = np.array([len(document.text) for document in documents], np.uint32)
        _save(folder / f"{stem}.lengths.npy", lengths)
        _save(folder / f"{stem}.ids.npy", digests([d.id for d in documents], b"id"))
        if self.digest_texts:
            # A document without text is nobody's copy.
            texts = [" ".join(d.full_text.split()) if d.text else None for d in documents]
            _save(folder / f"{stem}.texts.npy", digests(texts, b"text"))


def digests(texts: Sequence[str | None], kind: bytes) -> NDArray[Any]:
    """Return 128-bit digests of strings with their rows, sorted; None has none."""
    rows = [row for row, text in enumerate(texts) if text is not None]
    found = np.empty(len(rows), DIGEST)
    content = b"".join(
        hashlib.blake2b(
            (texts[row] or "").encode("utf-8", "surrogatepass"), digest_size=16, person=kind
        ).digest()
        for row in rows
    )
    halves = np.frombuffer(content, "<u8").reshape(-1, 2)
    found["high"], found["low"], found["row"] = halves[:, 0], halves[:, 1], rows
    return np.sort(found, order=("high", "low", "row"))


def go_to(folder: str) -> None:
    """Work where the job was started, where there is such a folder here: sources may be named from it."""
    if os.path.isdir(folder):
        os.chdir(folder)


def _save(path: Path, array: NDArray[Any]) -> None:
    write_whole(path, lambda file: np.save(file, array, allow_pickle=False))
