"""What a fault leaves of an index: as before or as after, and fit for the next writer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from small_changes import ALL_TERMS, OPERATIONS, contents, copy, create, prepare, segments
from strikes import DONE, TOLD, Fault, strike

from lsr.index import Index, IndexEditor
from lsr.index.manifest import MANIFEST


@dataclass
class Tally:
    """What came of the points tried."""

    points: int = 0
    before: int = 0
    after: int = 0
    told: int = 0
    problems: list[str] = field(default_factory=list)


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
                if status == DONE and not same:
                    problem = "said done, and did not compact"
            tally.told += status == TOLD
            tally.after += same
            tally.before += not same
            problem = problem or _goes_on(folder, operation, after)
        if reader is not None:
            with reader:
                if reader.search(ALL_TERMS, 100)[0].documents.size != len(before[0]):
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
        problem = _look(folder, before, after, status, "" if status == DONE else told, "fail once")
        tally.told += status == TOLD
        tally.after += status == DONE
        tally.before += contents(folder) == before
        problem = problem or _goes_on(folder, operation, after)
        if problem:
            tally.problems.append(f"{name} with {place * step} bytes left: {problem}")
        if status == DONE:
            break
    return tally


def _used(disk: Path) -> int:
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def _look(folder: Path, before: Any, after: Any, status: int, told: str, fault: Fault) -> str | None:
    """Return what is wrong with an index after a fault, None where nothing is."""
    if status not in (DONE, TOLD, -signal.SIGKILL) or (fault != "kill" and status < 0):
        return f"ended with {status}: {told}"
    try:
        found = contents(folder)
    except Exception:
        return f"cannot be opened: {traceback.format_exc()}"
    if found not in (before, after):
        return "neither as before nor as after"
    if status == DONE and found != after:
        return "said done, and is as before"
    if status == TOLD:
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
