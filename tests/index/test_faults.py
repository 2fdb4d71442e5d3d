"""A writer that dies or whose disk fails at any moment leaves the index as before or as after.

A sample of the points that scripts/inject_faults.py tries all of.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
import small_changes
import strikes

from lsr.index import Index, IndexEditor, IndexProblem, IndexWriter

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are injected into a forked process")

_STEPS: dict[strikes.Fault, int] = {
    "kill": 23,
    "fail once": 37,
    "fail from then on": 61,
    "fail fsync": 7,
    "fail rename": 1,
}


@pytest.mark.parametrize("name", small_changes.OPERATIONS)
def test_killed_at_a_file_operation(tmp_path: Path, name: str) -> None:
    tally = faults.try_operation(name, "kill", tmp_path, first=len(name), step=_STEPS["kill"])
    assert tally.problems == []
    assert tally.points >= 1
    assert tally.before + tally.after == tally.points


@pytest.mark.parametrize("fault", [fault for fault in strikes.FAULTS if fault != "kill"])
@pytest.mark.parametrize("name", ["create", "overwrite", "everything", "add and merge"])
def test_an_operation_fails(tmp_path: Path, name: str, fault: strikes.Fault) -> None:
    tally = faults.try_operation(name, fault, tmp_path, first=len(name) % 5, step=_STEPS[fault])
    assert tally.problems == []
    assert tally.before + tally.after == tally.points


def test_the_harness_notices_a_writer_that_is_not_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest written in place, not replaced, is what the harness is there to find."""

    def write_in_place(path: Path, content: bytes, *, durable: bool = True) -> None:
        with path.open("wb") as file:
            for start in range(0, len(content), 1000):
                file.write(content[start : start + 1000])
                file.flush()
                os.fsync(file.fileno())

    monkeypatch.setattr("lsr.index.publishing.replace_file", write_in_place)
    assert faults.try_operation("delete", "kill", tmp_path).problems


def test_a_failure_after_the_manifest_is_in_place_keeps_the_new_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsr.index import publishing

    folder = tmp_path / "an.index"
    small_changes.create(folder)
    replace_file = publishing.replace_file

    def interrupted(path: Path, content: bytes, *, durable: bool = True) -> None:
        replace_file(path, content, durable=durable)
        raise KeyboardInterrupt

    with IndexEditor(folder, merge=False) as editor:
        editor.add(small_changes.rows(20, 4), small_changes.records(20, 4), small_changes.rows(21, 4))
        monkeypatch.setattr(publishing, "replace_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            editor.commit()
    with Index(folder) as index:
        index.verify()
        assert index.document_count == 13


@pytest.mark.parametrize("where", ["mkdir", "lock", "sqlite"])
def test_a_disk_that_is_full_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {
        "mkdir": "lsr.index.writer.tempfile.mkdtemp",
        "lock": "lsr.index.writer.FileLock.acquire",
        "sqlite": "lsr.index.segment_builder.StoreWriter",
    }[where]
    monkeypatch.setattr(target, full)
    with pytest.raises(IndexProblem, match=r"cannot be written \(No space left on device\)"):
        IndexWriter(tmp_path / "an.index", encoder={})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of a size that a test gives later; needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small tmpfs can only be mounted by root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up(tmp_path: Path, small_disk: Path) -> None:
    kept = tmp_path / "kept.index"
    small_changes.create(kept)
    small_changes.prepare(kept)
    tally = faults.fill_disk("everything", kept, small_disk, tmp_path, step=16 * 4096)
    assert tally.problems == []
    assert tally.told > 0
    assert tally.after > 0


def test_a_signal_is_told_from_an_exit() -> None:
    status, _ = strikes.strike(
        lambda folder: os.kill(os.getpid(), signal.SIGKILL), Path("/nowhere/x"), "kill", None
    )
    assert status == -signal.SIGKILL
