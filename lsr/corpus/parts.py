"""A corpus divided into parts that are read apart, by several processes or machines.

The documents of all parts, one part after the other, are those that `read_corpus` yields, with the
same locations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lsr.corpus import folder as prose
from lsr.corpus.document import Document
from lsr.corpus.jsonl import read_jsonl_range
from lsr.corpus.options import ReadOptions
from lsr.corpus.report import ReadReport
from lsr.corpus.sources import beir_corpus, check_sources, is_json_lines, read_corpus
from lsr.corpus.streams import cannot_read, is_compressed

PART_BYTES = 256_000_000
_BLOCK = 1 << 23


@dataclass(frozen=True, slots=True)
class SourcePart:
    """Something of a corpus that is read on its own.

    Attributes:
        kind: ``source``, all of a source; ``lines``, a range of a file of JSON Lines; ``files``, some
            files of a folder of texts; ``here``, a source that only the process knows which was given
            the corpus (standard input, an ir_datasets id, python-docs).
        path: the source, or the file or folder it stands for.
        start: first byte, for ``lines``.
        stop: the byte after the last one, for ``lines``.
        first_line: number of the first line, for ``lines``.
        files: paths, for ``files``.
        others: files of other kinds that were passed over in the folder, for ``files``.
    """

    kind: Literal["source", "lines", "files", "here"]
    path: str
    start: int = 0
    stop: int = 0
    first_line: int = 1
    files: tuple[str, ...] = ()
    others: int = 0


def divide_corpus(sources: Sequence[str | Path], part_bytes: int = PART_BYTES) -> list[SourcePart]:
    """Return the parts of a corpus in order, about `part_bytes` each where a source can be divided.

    Compressed files, tables and Parquet files are one part each. The numbers of first lines are left
    to `number_lines`.

    Raises:
        UserError: for a source that does not exist or is of no known kind.
    """
    check_sources(sources)
    parts: list[SourcePart] = []
    for source in sources:
        path = Path(source).expanduser()
        if not path.exists():
            parts.append(SourcePart("here", str(source)))
            continue
        file = beir_corpus(path) if path.is_dir() else path
        if file is None:
            parts += _divide_folder(path, part_bytes)
        elif is_json_lines(file) and not is_compressed(file):
            parts += _divide_lines(file, part_bytes)
        else:
            parts.append(SourcePart("source", str(source)))
    return parts


def _divide_folder(path: Path, part_bytes: int) -> Iterator[SourcePart]:
    files, others = prose.list_files(path)
    group: list[str] = []
    size = 0
    for file in files:
        group.append(str(file))
        size += prose.total_size([file])
        if size >= part_bytes:
            yield SourcePart("files", str(path), files=tuple(group), others=others)
            group, size, others = [], 0, 0
    if group:
        yield SourcePart("files", str(path), files=tuple(group), others=others)


def _divide_lines(path: Path, part_bytes: int) -> Iterator[SourcePart]:
    """Cut a file after the lines that reach beyond multiples of `part_bytes`."""
    size = path.stat().st_size
    start = 0
    try:
        with path.open("rb") as file:
            while start < size:
                stop = size
                if start + part_bytes < size:
                    file.seek(start + part_bytes - 1)
                    file.readline()
                    stop = file.tell()
                yield SourcePart("lines", str(path), start, stop)
                start = stop
    except OSError as error:
        raise cannot_read(str(path), error) from error
    if not size:
        yield SourcePart("lines", str(path))


def count_lines(part: SourcePart) -> int:
    """Return the number of line ends in a part of kind ``lines``."""
    count = 0
    left = part.stop - part.start
    try:
        with open(part.path, "rb") as file:
            file.seek(part.start)
            while left and (block := file.read(min(left, _BLOCK))):
                count += block.count(b"\n")
                left -= len(block)
    except OSError as error:
        raise cannot_read(part.path, error) from error
    return count


def number_lines(parts: Sequence[SourcePart], counts: Sequence[int]) -> list[SourcePart]:
    """Return the parts with the numbers of their first lines, from the line ends counted in each."""
    numbered: list[SourcePart] = []
    line = 1
    for part, count in zip(parts, counts, strict=True):
        if part.kind == "lines" and part.start == 0:
            line = 1
        numbered.append(replace(part, first_line=line) if part.kind == "lines" else part)
        line += count
    return numbered


def state_of(source: str | Path) -> tuple[int, int, int]:
    """Return the number, the bytes and the newest change (in ns) of a source's files; zeros for none.

    Another corpus under the same name is told by them.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        file = beir_corpus(path)
        files = prose.list_files(path)[0] if file is None else [file]
    else:
        files = [path] if path.is_file() else []
    states = [file.stat() for file in files]
    newest = max((state.st_mtime_ns for state in states), default=0)
    return len(states), sum(state.st_size for state in states), newest


def read_part(part: SourcePart, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    """Yield the documents of a part; raises and counts as `read_corpus` does."""
    if part.kind in ("source", "here"):
        yield from read_corpus([part.path], options, report)
        return
    if part.kind == "files":
        files = [Path(path) for path in part.files]
        documents = prose.read_folder(Path(part.path), files, part.others, options, report)
    else:
        documents = read_jsonl_range(part.path, part.start, part.stop, part.first_line, options, report)
    for document in documents:
        report.documents += 1
        yield document
