"""Faults for tests: a writer that dies, or whose disk fails, at its n-th file operation.

The writer runs in a forked process, which counts what it does to files: opening them for writing,
writing arrays, renaming, removing, making folders, locking, fsync, and every statement and commit
of SQLite. Forking keeps a point at some ten milliseconds, so that hundreds can be tried.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexProblem, IndexWriter, merge_policy
from lsr.index import files as index_files
from lsr.index.manifest import MANIFEST, Manifest

Fault = Literal["kill", "fail once", "fail from then on", "fail fsync", "fail rename"]
FAULTS: tuple[Fault, ...] = ("kill", "fail once", "fail from then on", "fail fsync", "fail rename")

VOCABULARY = [f"t{i}" for i in range(12)]
_ALL = sparse.csr_array(np.ones((1, len(VOCABULARY)), np.float32))
_RENAMES = {"os.rename"}
_EVENTS = {"open", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod", "fcntl.flock", *_RENAMES}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# What the forked writer says by its exit status.
_DONE, _TOLD, _WRONG = 0, 2, 3


def rows(first: int, count: int) -> sparse.csr_array:
    """Return weights that are told apart by document number, shape (count, vocabulary)."""
    weights = np.zeros((count, len(VOCABULARY)), np.float32)
    for row in range(count):
        for step in range(4):
            weights[row, ((first + row) * (step + 1) + step) % len(VOCABULARY)] = 1 + (first + row) % 7 + step
    return sparse.csr_array(weights)


def records(first: int, count: int, form: str = "") -> list[DocumentRecord]:
    """Return as many documents, with fields."""
    return [
        DocumentRecord(f"d{i}", f"title {i}", f"text {i}{form}", {"year": 2000 + i, "form": form or "first"})
        for i in range(first, first + count)
    ]


def create(folder: Path, *, count: int = 9, overwrite: bool = False, bm25: bool = False) -> None:
    """Build an index."""
    with IndexWriter(
        folder,
        encoder={"name": "test"},
        bm25=(1.2, 0.75) if bm25 else None,
        impact_maximum=None if bm25 else 16.0,
        overwrite=overwrite,
    ) as writer:
        (writer.encoder_folder / "query_encoder.json").write_text('{"kind": "test"}')
        for first in range(0, count, 5):
            part = min(5, count - first)
            writer.add(rows(first, part), records(first, part), rows(first + 1, part))
        writer.commit(VOCABULARY)


def _edit(folder: Path, change: Callable[[IndexEditor], object], *, merge: bool = False) -> None:
    with IndexEditor(folder, merge=merge) as editor:
        change(editor)
        editor.commit()


def add(folder: Path) -> None:
    """Add documents in two batches, without merging."""

    def change(editor: IndexEditor) -> None:
        editor.add(rows(20, 4), records(20, 4), rows(21, 4))
        editor.add(rows(24, 3), records(24, 3), rows(25, 3))

    _edit(folder, change)


def delete(folder: Path) -> None:
    """Delete documents."""
    _edit(folder, lambda editor: editor.delete(["d1", "d4", "d6"]))


def update(folder: Path) -> None:
    """Replace documents, and add one that is new."""
    _edit(folder, lambda editor: editor.update(rows(2, 3), records(2, 3, " again"), rows(3, 3)))


def everything(folder: Path) -> None:
    """Add, delete and replace in one commit."""

    def change(editor: IndexEditor) -> None:
        editor.delete(["d0", "d7"])
        editor.add(rows(30, 3), records(30, 3), rows(31, 3))
        editor.update(rows(3, 2), records(3, 2, " anew"), rows(4, 2))
        editor.delete(["d31"])

    _edit(folder, change)


def add_and_merge(folder: Path) -> None:
    """Add documents, after which small segments are merged, as few as two of them."""
    factor, merge_policy.FACTOR = merge_policy.FACTOR, 2
    try:
        _edit(folder, lambda editor: editor.add(rows(20, 4), records(20, 4), rows(21, 4)), merge=True)
    finally:
        merge_policy.FACTOR = factor


def compact(folder: Path) -> None:
    """Make all segments one, without deleted documents."""
    with IndexEditor(folder) as editor:
        editor.compact()


def refresh(folder: Path) -> None:
    """Compact and weigh anew, under BM25."""
    with IndexEditor(folder) as editor:
        editor.compact(refresh=True)


OPERATIONS: dict[str, Callable[[Path], None]] = {
    "create": create,
    "overwrite": lambda folder: create(folder, count=5, overwrite=True),
    "add": add,
    "delete": delete,
    "update": update,
    "everything": everything,
    "add and merge": add_and_merge,
    "compact": compact,
    "refresh": refresh,
}


def contents(folder: Path) -> Any:
    """Return all that readers can know of an index, and None where there is none; every byte is verified."""
    if not (folder / MANIFEST).exists():
        return None
    with Index(folder) as index:
        index.verify()
        numbers = index.document_numbers([f"d{i}" for i in range(40)])
        live = np.sort(numbers[numbers >= 0])
        assert len(live) == index.document_count
        terms = np.arange(index.vocabulary_size)
        found = index.search(sparse.eye_array(len(VOCABULARY), dtype=np.float32, format="csr"), 100)
        ids = {
            number: document.id for number, document in zip(live.tolist(), index.documents(live), strict=True)
        }
        return (
            [document._replace(number=0) for document in index.documents(live)],
            [([ids[number] for number in hits.documents.tolist()], hits.scores.tobytes()) for hits in found],
            index.document_frequencies(terms).tolist(),
            index.text_document_frequencies(terms).tolist(),
            [
                ids[number]
                for number in live.tolist()
                if index.matching("year > 2003 and form = 'first'")[number]
            ],
            index.terms(terms),
        )


@dataclass
class Tally:
    """What came of the points tried."""

    points: int = 0
    before: int = 0
    after: int = 0
    told: int = 0
    problems: list[str] = field(default_factory=list)


class _Counter:
    """Counts operations in the forked writer and strikes at the n-th."""

    def __init__(self, folder: Path, fault: Fault, place: int) -> None:
        self._folder = str(folder)
        self._fault = fault
        self._left = place
        self._struck = False
        self.count = 0

    def install(self) -> None:
        sys.addaudithook(self._heard)
        sync = os.fsync

        def fsync(descriptor: int) -> None:
            self._operation("fsync")
            sync(descriptor)

        os.fsync = fsync
        for name in ("write", "close"):
            self._wrap_array_writer(name)
        self._wrap_sqlite()

    def _wrap_array_writer(self, name: str) -> None:
        original = getattr(index_files.ArrayWriter, name)

        def counted(writer: Any, *arguments: Any) -> Any:
            self._operation("write")
            return original(writer, *arguments)

        setattr(index_files.ArrayWriter, name, counted)

    def _wrap_sqlite(self) -> None:
        counter = self

        class Connection(sqlite3.Connection):
            def execute(self, *arguments: Any) -> Any:
                counter._operation("sqlite")
                return super().execute(*arguments)

            def executemany(self, *arguments: Any) -> Any:
                counter._operation("sqlite")
                return super().executemany(*arguments)

        connect = sqlite3.connect

        def connect_counted(database: Any, *arguments: Any, **options: Any) -> Any:
            # Stores being read are opened by URI; their statements change nothing.
            if str(database).startswith("file:"):
                return connect(database, *arguments, **options)
            return connect(database, *arguments, factory=Connection, **options)

        sqlite3.connect = connect_counted  # type: ignore[assignment]

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        if event == "open":
            path, mode, flags = arguments
            writing = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & _WRITING
            if not writing:
                return
        else:
            path = arguments[0]
        # Names without a folder are those that shutil.rmtree removes.
        if isinstance(path, (str, bytes, os.PathLike)):
            name = os.fsdecode(path)
            if os.path.isabs(name) and not name.startswith(self._folder):
                return
        self._operation(
            "rename" if event in _RENAMES else "write" if event in ("open", "os.mkdir") else event
        )

    def _operation(self, kind: str) -> None:
        if self._fault == "fail fsync" and kind != "fsync":
            return
        if self._fault == "fail rename" and kind != "rename":
            return
        self.count += 1
        self._left -= 1
        if self._left >= 0 or (self._struck and self._fault != "fail from then on"):
            return
        self._struck = True
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        # A full disk lets go of what it has.
        if kind in ("os.remove", "os.rmdir", "fcntl.flock", "os.chmod"):
            self._struck = self._fault == "fail from then on"
            return
        if kind == "sqlite":
            raise sqlite3.OperationalError("database or disk is full")
        number = errno.EIO if kind == "fsync" else errno.ENOSPC
        raise OSError(number, os.strerror(number))


def strike(
    operation: Callable[[Path], None], folder: Path, fault: Fault, place: int | None
) -> tuple[int, str]:
    """Run an operation in a forked process with a fault at its operation `place`, counted from 0.

    Returns:
        The exit status (0: done, 2: one sentence told, minus a signal), and the sentence; where
        `place` is None, nothing is struck and the number of operations returned as text.
    """
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        status, told = _WRONG, ""
        try:
            os.close(receive)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            counter = _Counter(folder.parent, fault, 1 << 40 if place is None else place)
            counter.install()
            operation(folder)
            status, told = _DONE, str(counter.count) if place is None else ""
        except IndexProblem as problem:
            status, told = _TOLD, str(problem)
        except BaseException:
            told = traceback.format_exc()
        finally:
            os.write(send, told.encode()[-60_000:])
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        told = stream.read().decode()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), told


def segments(folder: Path) -> int:
    """Return the number of segments of an index, 0 where there is none."""
    return len(Manifest.read(folder).segments) if (folder / MANIFEST).exists() else 0


def try_operation(name: str, fault: Fault, work: Path, *, first: int = 0, step: int = 1) -> Tally:
    """Strike an operation at every `step`-th of its file operations, and look at what is left.

    After each, the index must be as it was before or as it is after the operation; the snapshot
    that a reader had open must answer as before; another writer must find the index free, and leave
    no file that the manifest does not name.
    """
    operation = OPERATIONS[name]
    before_folder, after_folder = work / "before.index", work / "after.index"
    if name != "create":
        create(before_folder, bm25=name == "refresh")
        prepare(before_folder)
    copy(before_folder, after_folder)
    operation(after_folder)
    before, after = contents(before_folder), contents(after_folder)
    assert before != after or name == "compact"
    expected_segments = segments(after_folder)
    tally = Tally()
    folder = work / "struck" / "an.index"

    def fresh() -> None:
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.parent.mkdir()
        copy(before_folder, folder)

    fresh()
    _, told = strike(operation, folder, fault, None)
    for place in range(first, int(told), step):
        fresh()
        reader = Index(folder) if before is not None else None
        status, told = strike(operation, folder, fault, place)
        tally.points += 1
        problem = _look(folder, before, after, status, told, fault)
        if not problem:
            same = contents(folder) == after
            if name == "compact":  # Documents, scores and order stay; it's the segments that change.
                same = segments(folder) == expected_segments
                if status == _DONE and not same:
                    problem = "said done, and did not compact"
            tally.told += status == _TOLD
            tally.after += same
            tally.before += not same
            problem = problem or _goes_on(folder, operation, after)
        if reader is not None:
            with reader:
                if reader.search(_ALL, 100)[0].documents.size != len(before[0]):
                    problem = f"an open snapshot changed; {problem}"
        if problem:
            tally.problems.append(f"{name}, {fault}, operation {place}: {problem}")
    return tally


def fill_disk(name: str, source: Path, disk: Path, work: Path, *, step: int) -> Tally:
    """Do an operation on a file system with ever more space left, until there is enough of it.

    `disk` is where a tmpfs is mounted; `step` bytes more are given each time.
    """
    operation = OPERATIONS[name]
    after_folder = work / "after.index"
    copy(source, after_folder)
    operation(after_folder)
    before, after = contents(source), contents(after_folder)
    folder = disk / "an.index"
    tally = Tally()
    for place in range(10_000):
        shutil.rmtree(folder, ignore_errors=True)
        _resize(disk, 1 << 22)
        copy(source, folder)
        (folder / "lock").touch()
        _resize(disk, _used(disk) + place * step)
        status, told = strike(operation, folder, "kill", None)
        _resize(disk, 1 << 24)
        tally.points += 1
        problem = _look(folder, before, after, status, "" if status == _DONE else told, "fail once")
        tally.told += status == _TOLD
        tally.after += status == _DONE
        tally.before += contents(folder) == before
        problem = problem or _goes_on(folder, operation, after)
        if problem:
            tally.problems.append(f"{name} with {place * step} bytes left: {problem}")
        if status == _DONE:
            break
    return tally


def _used(disk: Path) -> int:
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def prepare(folder: Path) -> None:
    """Give an index a second segment, and both of them deleted documents."""
    _edit(folder, lambda editor: editor.add(rows(10, 5), records(10, 5), rows(11, 5)))
    _edit(folder, lambda editor: editor.delete(["d8", "d12"]))


def _look(folder: Path, before: Any, after: Any, status: int, told: str, fault: Fault) -> str | None:
    """Return what is wrong with an index after a fault, None where nothing is."""
    if status not in (_DONE, _TOLD, -signal.SIGKILL) or (fault != "kill" and status < 0):
        return f"ended with {status}: {told}"
    try:
        found = contents(folder)
    except Exception:
        return f"cannot be opened: {traceback.format_exc()}"
    if found not in (before, after):
        return "neither as before nor as after"
    if status == _DONE and found != after:
        return "said done, and is as before"
    if status == _TOLD:
        if "\n" in told:
            return f"not one sentence: {told}"
        if found == after != before and "in place" not in told:
            return f"said failed, and is as after: {told}"
    return None


def _goes_on(folder: Path, operation: Callable[[Path], None], after: Any) -> str | None:
    """Do the operation where it was not done, and see that nothing superfluous is left."""
    try:
        if contents(folder) != after:
            operation(folder)
        elif any(folder.parent.glob(".*")):  # What a dead builder left; the next one removes it.
            create(folder, overwrite=True)
            after = contents(folder)
        else:
            with IndexEditor(folder):
                pass
        if contents(folder) != after:
            return "the next writer does not get it done"
        with Index(folder) as index:
            known = {folder / file.path for file in index.manifest.files} | {
                folder / MANIFEST,
                folder / "lock",
            }
        left = {path for path in folder.parent.rglob("*") if path.is_file()} - known
    except Exception:
        return f"the next writer fails: {traceback.format_exc()}"
    return f"left behind: {sorted(map(str, left))}" if left else None


def copy(source: Path, target: Path) -> None:
    """Make `target` a copy of an index, or nothing where there is none."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)
