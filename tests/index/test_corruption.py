"""Damaged files are told in one sentence: a sample of what scripts/inject_faults.py tries."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import corruption
import pytest
import small_changes

from lsr.index import Index, IndexProblem
from lsr.index.manifest import MANIFEST, FileEntry, Manifest, body_checksum, file_entry

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="damage is looked at in a forked process")


@pytest.mark.parametrize("bm25", [False, True])
def test_bytes_flipped(tmp_path: Path, bm25: bool) -> None:
    folder = corruption.small_index(tmp_path / "an.index", bm25=bm25)
    total: Counter[str] = Counter()
    for path in corruption.files(folder):
        size = path.stat().st_size
        step = 17 if size < 1000 else 97 if path.name == MANIFEST else 1999
        counts, problems = corruption.flip(folder, path, range(len(path.name) % step, size, step))
        assert problems == []
        if path.name == MANIFEST:
            assert set(counts) == {"refused"}
        total += counts
    assert total["refused"] > 40
    assert total["answered"] > 20
    assert corruption.outcome(folder).startswith("WRONG: verify did not notice")  # it is whole again


def test_files_cut_removed_and_swapped(tmp_path: Path) -> None:
    folder = corruption.small_index(tmp_path / "an.index")
    counts, problems = corruption.damage_files(folder, tmp_path, step=5)
    assert problems == []
    assert counts["refused"] > 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return corruption.small_index(tmp_path / "an.index")


def _forge(folder: Path, **changes: object) -> None:
    """Change the manifest as a stranger would, with a checksum that fits."""
    body = json.loads((folder / MANIFEST).read_text())
    body.update(changes)
    del body["checksum"]
    body["checksum"] = body_checksum(body)
    (folder / MANIFEST).write_text(json.dumps(body))


@pytest.mark.parametrize(
    "name", ["../other", "/etc", "a/../../b", "..", "a\\..\\b", "c:", "", ".", "x" * 300, "nul\0", 5, None]
)
def test_a_strangers_manifest_cannot_name_files_outside(folder: Path, name: object) -> None:
    body = json.loads((folder / MANIFEST).read_text())
    segments = [{**body["segments"][0], "name": name}, *body["segments"][1:]]
    _forge(folder, segments=segments)
    with pytest.raises(IndexProblem):
        Index(folder)
    _forge(
        folder, segments=body["segments"], files=[*body["files"], {"path": name, "bytes": 0, "sha256": ""}]
    )
    with pytest.raises(IndexProblem):
        Index(folder)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/b", "..", 7, None, ""])
def test_a_strangers_manifest_cannot_name_deletions_or_an_encoder_outside(folder: Path, name: object) -> None:
    body = json.loads((folder / MANIFEST).read_text())
    _forge(folder, segments=[{**body["segments"][0], "deletions": name}, *body["segments"][1:]])
    with pytest.raises(IndexProblem):
        Index(folder)
    _forge(folder, segments=body["segments"], encoder={**body["encoder"], "folder": name})
    with pytest.raises(IndexProblem):
        _ = Index(folder).encoder_folder


@pytest.mark.parametrize(
    "changes",
    [
        {"vocabulary_size": -1},
        {"vocabulary_size": "many"},
        {"vocabulary_size": 1 << 80},
        {"segments": {}},
        {"segments": [5]},
        {"files": None},
        {"grid": {"bits": 8, "maximum": -1.0}},
        {"grid": {"bits": 7, "maximum": 1.0}},
        {"grid": []},
        {"encoder": []},
        {"weighting": {"kind": "other"}},
    ],
)
def test_values_of_a_forged_manifest_are_checked(folder: Path, changes: dict[str, object]) -> None:
    _forge(folder, **changes)
    with pytest.raises(IndexProblem):
        Index(folder)


@pytest.mark.parametrize("field", ["documents", "postings", "deleted"])
@pytest.mark.parametrize("value", [-1, 0, 1, 4, 1 << 40, 1 << 70, "5", 2.5, None])
def test_counts_of_a_forged_manifest_are_checked(folder: Path, field: str, value: object) -> None:
    """What a forged manifest says of a segment is refused, or at least breaks nothing."""
    body = json.loads((folder / MANIFEST).read_text())
    segments = body["segments"]
    assert segments[0]["documents"] > 4
    _forge(folder, segments=[{**segments[0], field: value}, *segments[1:]])
    status, lines = corruption.forked(lambda: iter([corruption.outcome(folder)]))
    assert status == 0
    assert "Traceback" not in lines[0]


def test_a_link_out_of_the_folder_is_not_followed_to_a_folder_of_files(folder: Path, tmp_path: Path) -> None:
    """A manifest that names a file by a link is read, if at all, as that file with its checksum."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    path = next(path for path in corruption.files(folder) if path.name == "codes.npy")
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(IndexProblem) as raised:
        Index(folder)
    assert "secret" not in str(raised.value).replace(str(tmp_path), "")


def _replace_entry(folder: Path, path: Path) -> None:
    """Give a file that was changed the right size and checksum in the manifest, as a stranger could."""
    manifest = Manifest.read(folder)
    new = file_entry(folder, path)
    files = [vars(new if file.path == new.path else file) for file in manifest.files]
    assert all(isinstance(FileEntry(**file), FileEntry) for file in files)
    _forge(folder, files=files)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE documents SET number = number + 1000",
        "UPDATE documents SET number = -5 WHERE number = 3",
        "UPDATE documents SET id = x'ff00' WHERE number = 3",
        "UPDATE documents SET text = 5, title = x'ff'",
        "UPDATE documents SET metadata = '[1, 2]'",
        "UPDATE documents SET metadata = '{'",
        'UPDATE documents SET metadata = \'{"year": "x"}\'',
        "DELETE FROM documents WHERE number = 3",
        "UPDATE terms SET id = id - 100",
        "UPDATE terms SET term = x'ff'",
        "UPDATE field_types SET type = 'integer); DROP TABLE documents'",
        "UPDATE field_types SET name = 'x' || char(0)",
        "UPDATE field_types SET position = position + 100",
        "UPDATE fields SET number = number + 1000",
        "DROP TABLE fields",
        "ALTER TABLE fields RENAME COLUMN c0 TO d0",
    ],
)
def test_a_strangers_store_with_the_right_checksums(folder: Path, change: str) -> None:
    path = next(path for path in corruption.files(folder) if path.suffix == ".sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    _replace_entry(folder, path)
    status, lines = corruption.forked(lambda: iter([corruption.outcome(folder), corruption.edit(folder)]))
    assert status == 0
    # The checksums fit, so that verify may find nothing; but nothing breaks.
    assert "Traceback" not in "".join(lines)


def test_verify_of_an_index_that_is_whole(folder: Path) -> None:
    with Index(folder) as index:
        assert (
            index.verify()
            == sum(path.stat().st_size for path in corruption.files(folder))
            - (folder / MANIFEST).stat().st_size
        )
    shutil.rmtree(folder)
    with pytest.raises(IndexProblem, match="There is no index"):
        Index(folder)
    assert small_changes.segments(folder) == 0
