from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsr.errors import UserError
from lsr.eval import RunWriter, read_run
from lsr.eval.runs import strictly_falling


def test_six_columns(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.trec"
    with RunWriter(path) as run:
        run.write("q1", ["d7", "d2"], np.array([2.5, 1.25], np.float32))
        run.write("q2", [], np.empty(0, np.float32))
    assert path.read_text() == "q1 Q0 d7 1 2.5 lsr\nq1 Q0 d2 2 1.25 lsr\n"
    assert read_run(path) == {"q1": {"d7": 2.5, "d2": 1.25}}
    assert [file.name for file in path.parent.iterdir()] == ["out.trec"]


_SCORES = st.lists(
    st.one_of(st.floats(-(2.0**99), 2.0**99, width=32), st.sampled_from([0.0, -0.0, 1.0, 1e-45])),
    min_size=1,
    max_size=30,
)


@given(_SCORES)
def test_every_reader_sees_the_order_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.trec"
    ranked = np.array(sorted(scores, reverse=True), np.float32)
    # Ids that trec_eval's rule would turn round.
    ids = [f"d{i:02}" for i in range(len(ranked))]
    with RunWriter(path) as run:
        run.write("q", ids, ranked)
    for ties in ("line", "trec_eval"):
        back = read_run(path, ties)["q"]
        assert list(back) == ids
    values = np.array(list(back.values()), np.float32)
    assert (np.diff(values) < 0).all()
    # What does not tie stays as it is.
    if len(set(ranked.tolist())) == len(ranked):
        assert np.array_equal(values, ranked)


@given(_SCORES)
def test_ties_fall_by_the_least_that_float32_can(scores: list[float]) -> None:
    ranked = np.array(sorted(scores, reverse=True), np.float32)
    expected: list[np.float32] = []
    for score in ranked:
        if expected and score >= expected[-1]:
            score = np.nextafter(expected[-1], np.float32(-np.inf))
        expected.append(score)
    assert strictly_falling(ranked).tolist() == np.array(expected, np.float32).tolist()


def test_trec_evals_order_of_ties(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    # 1 and 1 + 1e-9 are one float32; ids are compared by bytes, so Z comes before a, and é after z.
    path.write_text("q Q0 Z 1 1 t\nq Q0 a 2 1.000000001 t\nq Q0 \u00e9 3 1 t\nq Q0 z 4 2 t\n")
    assert list(read_run(path, "trec_eval")["q"]) == ["z", "\u00e9", "a", "Z"]
    assert list(read_run(path)["q"]) == ["z", "a", "Z", "\u00e9"]


def test_compressed_runs(tmp_path: Path) -> None:
    path = tmp_path / "run.trec.gz"
    with RunWriter(path, tag="my tag") as run:
        run.write("q", ["d"], np.ones(1, np.float32))
    assert gzip.decompress(path.read_bytes()) == b"q Q0 d 1 1.0 my-tag\n"
    assert read_run(path) == {"q": {"d": 1.0}}


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
    def full(prefix: str, dir: Path) -> tuple[int, str]:
        draft = Path(dir, prefix)
        draft.symlink_to("/dev/full")
        return os.open(draft, os.O_WRONLY), str(draft)

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(UserError, match="No space left"), RunWriter(tmp_path / "out.trec") as run:
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
