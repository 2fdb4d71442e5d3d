"""Damage for tests: bytes of an index flipped, files cut, removed, swapped; and what must come of it.

A damaged index is refused with one sentence when it is opened or used, or it gives answers, perhaps
wrong ones, without a crash; `verify` always tells. Damage is looked at in forked processes, so that
a crash is noticed and the next one tried.
"""

from __future__ import annotations

import os
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import small_changes

from lsr.index import Index, IndexEditor, IndexProblem, block_writer
from lsr.index.manifest import MANIFEST
from lsr.index.planner import Algorithm

_ALGORITHMS: tuple[Algorithm, ...] = ("vectorised", "exhaustive", "blockmax")
_CHUNK = 500


def small_index(folder: Path, *, bm25: bool = False) -> Path:
    """Build an index of two segments with deleted documents, fields, terms of texts and block maxima."""
    least, block_writer.LEAST_DOCUMENTS = block_writer.LEAST_DOCUMENTS, 0
    try:
        small_changes.create(folder, bm25=bm25)
        small_changes.prepare(folder)
    finally:
        block_writer.LEAST_DOCUMENTS = least
    return folder


def outcome(folder: Path) -> str:
    """Open and use a damaged index every way there is, and verify it.

    Returns:
        ``refused`` (not opened), ``told`` (when used), ``answered`` with ``verify`` telling of the
        damage, or what is wrong, beginning with ``WRONG``.
    """
    try:
        index = Index(folder)
    except IndexProblem as problem:
        return _checked("refused", problem)
    except BaseException:
        return f"WRONG, opening: {traceback.format_exc()}"
    with index:
        try:
            index.verify()
        except IndexProblem as problem:
            if "\n" in str(problem):
                return f"WRONG, not one sentence: {problem}"
        except BaseException:
            return f"WRONG, verify: {traceback.format_exc()}"
        else:
            return "WRONG: verify did not notice"
        result = "answered"
        for use in _uses(index):
            try:
                use()
            except IndexProblem as problem:
                result = _checked("told", problem)
            except BaseException:
                return f"WRONG, using: {traceback.format_exc()}"
    return result


def _checked(result: str, problem: IndexProblem) -> str:
    return f"WRONG, not one sentence: {problem}" if "\n" in str(problem) else result


def _uses(index: Index) -> Iterator[Callable[[], object]]:
    numbers = np.arange(index.number_bound)
    terms = np.arange(-1, index.vocabulary_size + 2)
    for algorithm in _ALGORITHMS:
        yield lambda a=algorithm: index.search(small_changes.ALL_TERMS, 30, algorithm=a)
        yield lambda a=algorithm: index.search(
            small_changes.ALL_TERMS, 3, algorithm=a, allowed=index.matching("year > 2002")
        )
    yield lambda: index.matching("form = 'first' or title like '%1' or has(id, 'd3')")
    yield lambda: index.documents(index.document_numbers([f"d{i}" for i in range(20)]).clip(0))
    yield lambda: index.document_ids(numbers)
    yield lambda: index.terms(terms)
    yield lambda: index.term_ids(small_changes.VOCABULARY)
    yield lambda: index.document_frequencies(terms)
    yield lambda: index.text_document_frequencies(terms)
    yield lambda: [
        index.explain(small_changes.ALL_TERMS, number) for number in range(0, index.number_bound, 3)
    ]
    yield index.refresh
    yield index.sizes
    yield lambda: index.fields


def edit(folder: Path) -> str:
    """Change a damaged index: done, or told in one sentence."""
    try:
        with IndexEditor(folder) as editor:
            editor.update(
                small_changes.rows(2, 3), small_changes.records(2, 3, " again"), small_changes.rows(3, 3)
            )
            editor.compact()
    except IndexProblem as problem:
        return _checked("told", problem)
    except BaseException:
        return f"WRONG, changing: {traceback.format_exc()}"
    return "changed"


def files(folder: Path) -> list[Path]:
    """Return the files that make up an index."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def flip(folder: Path, path: Path, places: Iterable[int], mask: int = 0xFF) -> tuple[Counter[str], list[str]]:
    """Flip bytes of one file, one after the other, and count what comes of it."""
    places = list(places)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    content = path.read_bytes()
    for start in range(0, len(places), _CHUNK):
        chunk = places[start : start + _CHUNK]
        status, lines = forked(lambda chunk=chunk: _flip_each(folder, path, content, chunk, mask))
        path.write_bytes(content)
        for line in lines:
            counts[line.split(",")[0].split(":")[0]] += 1
            if line.startswith("WRONG"):
                problems.append(f"{path.name}, byte {chunk[lines.index(line)]}: {line}")
        if status != 0:
            problems.append(
                f"{path.name}, byte {chunk[min(len(lines), len(chunk) - 1)]}: ended with {status}"
            )
    return counts, problems


def _flip_each(folder: Path, path: Path, content: bytes, places: list[int], mask: int) -> Iterator[str]:
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= mask
        path.write_bytes(damaged)
        yield outcome(folder)


def forked(work: Callable[[], Iterator[str]]) -> tuple[int, list[str]]:
    """Run `work` in a forked process; return its exit status and what it yielded until then."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(receive)
            with os.fdopen(send, "w") as stream:
                for line in work():
                    stream.write(line.replace("\n", "\\n") + "\n")
                    stream.flush()
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    with os.fdopen(receive) as stream:
        lines = stream.read().splitlines()
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended), lines


def file_damages(folder: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield names and functions that damage a copy of an index: files cut, grown, removed, swapped."""
    paths = [path.relative_to(folder) for path in files(folder)]
    for path in paths:
        size = (folder / path).stat().st_size
        for length in sorted({0, 1, size // 2, size - 1} - {size}):
            yield f"{path} cut to {length}", lambda copy, p=path, n=length: os.truncate(copy / p, n)
        yield f"{path} grown", lambda copy, p=path, n=size: os.truncate(copy / p, n + 8)
        yield f"{path} removed", lambda copy, p=path: (copy / p).unlink()
        yield f"{path} a folder", lambda copy, p=path: _make_folder(copy / p)
        yield f"{path} zeros", lambda copy, p=path, n=size: (copy / p).write_bytes(bytes(n)) and None
    for one in paths:
        for other in paths:
            alike = one.name == other.name or one.parent == other.parent
            if one < other and alike and (folder / one).read_bytes() != (folder / other).read_bytes():
                yield f"{one} and {other} swapped", lambda copy, a=one, b=other: _swap(copy / a, copy / b)


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _swap(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def damage_files(folder: Path, work: Path, *, step: int = 1) -> tuple[Counter[str], list[str]]:
    """Do every `step`-th damage to files, each to its own copy, and count what comes of it."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for name, damage in islice(file_damages(folder), 0, None, step):
        copy = work / "damaged.index"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        damage(copy)

        def look(copy: Path = copy) -> Iterator[str]:
            yield outcome(copy)
            yield edit(copy)

        status, lines = forked(look)
        counts.update(line.split(",")[0].split(":")[0] for line in lines[:1])
        problems += [f"{name}: {line}" for line in lines if line.startswith("WRONG")]
        if status != 0 or len(lines) != 2:
            problems.append(f"{name}: ended with {status}")
        if (
            MANIFEST not in name
            and lines[:1] == ["answered"]
            and "swapped" not in name
            and "zeros" not in name
        ):
            problems.append(f"{name}: opened")
    return counts, problems
