from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsr.errors import UserError
from lsr.eval import RunWriter, read_run


def test_six_columns(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.trec"
    with RunWriter(path) as run:
        run.write("q1", ["d7", "d2"], np.array([2.5, 1.25], np.float32))
        run.write("q2", [], np.empty(0, np.float32))
    assert path.read_text() == "q1 Q0 d7 1 2.5 lsr\nq1 Q0 d2 2 1.25 lsr\n"
    assert read_run(path) == {"q1": {"d7": 2.5, "d2": 1.25}}
    assert [file.name for file in path.parent.iterdir()] == ["out.trec"]


@given(st.lists(st.floats(0, 2.0**99, width=32), min_size=1, max_size=20))
def test_scores_and_ties_come_back(tmp_path_factory: pytest.TempPathFactory, scores: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.trec"
    ranked = np.array(sorted(scores, reverse=True), np.float32)
    ids = [f"d{i}" for i in range(len(ranked))]
    with RunWriter(path) as run:
        run.write("q", ids, ranked)
    back = read_run(path)["q"]
    assert list(back) == ids
    assert np.array_equal(np.array(list(back.values()), np.float32), ranked)


def test_a_failure_leaves_the_older_run(tmp_path: Path) -> None:
    path = tmp_path / "out.trec"
    path.write_text("older\n")
    with pytest.raises(ValueError, match="shorter"), RunWriter(path) as run:
        run.write("q", ["d", "e"], np.ones(1, np.float32))
    assert path.read_text() == "older\n"
    assert [file.name for file in tmp_path.iterdir()] == ["out.trec"]


def test_a_failure_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError), RunWriter(tmp_path / "new" / "folder" / "out.trec") as run:
        run.write("q", [""], np.ones(1, np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", ["a b", "", "a\tb", "a\u2003b"])
def test_ids_that_break_the_columns_are_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(UserError, match="--no-run"), RunWriter(tmp_path / "out.trec") as run:
        run.write("q", [bad], np.ones(1, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"), RunWriter(tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), RunWriter(tmp_path / "file" / "out.trec"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RunWriter(tmp_path / "out.trec")
    writer._part = tmp_path / "part"
    writer._part.symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"), writer as run:
        run.write("q", ["d"], np.ones(1, np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q1 Q0 d1 1 2.0 t\nq1 Q0 d2 2 1.0\n", r"run\.trec:2: .*6 columns"),
        ("q1 Q0 d1 1 high t\n", r"run\.trec:1: the score 'high'"),
        ("q1 Q0 d1 1 nan t\n", r"run\.trec:1: the score 'nan'"),
        ("q1 Q0 d1 1 2 t\n\nq1 Q0 d1 2 1 t\n", r"run\.trec:3: document 'd1' occurs twice"),
    ],
)
def test_broken_runs(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.trec"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_run(path)


def test_order_is_by_score_then_by_line(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    path.write_text("q Q0 low 1 1 t\nq Q0 b 2 3 t\nq Q0 a 3 3 t\n")
    assert list(read_run(path)["q"]) == ["b", "a", "low"]


def test_missing_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent"):
        read_run(tmp_path / "absent.trec")
