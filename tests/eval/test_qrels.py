from __future__ import annotations

from pathlib import Path

import pytest

from lsr.errors import UserError
from lsr.eval.qrels import read_qrels


@pytest.mark.parametrize(
    "content",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td 2\t0\n",
        "q1\td1\t2\nq2\td 2\t0",
        "\ufeffq1\td1\t2\r\n\r\nq2\td 2\t0\r\n",
        "q1\t0\td1\t2\nq2\t0\td 2\t0\n",
    ],
)
def test_beir_and_trec_columns(tmp_path: Path, content: str) -> None:
    path = tmp_path / "test.tsv"
    path.write_bytes(content.encode())
    assert read_qrels(path) == {"q1": {"d1": 2}, "q2": {"d 2": 0}}


def test_trec_columns_by_spaces(tmp_path: Path) -> None:
    path = tmp_path / "qrels.txt"
    path.write_text("1 0 d1 1\n1 0 d2 -1\n")
    assert read_qrels(path) == {"1": {"d1": 1, "d2": -1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("query-id\tcorpus-id\tscore\nq1\td1\n", r"test\.tsv:2: .*has 2"),
        ("q1\td1\t1\nq1\td2\t0.5\n", r"test\.tsv:2: the score '0\.5' is not a whole number"),
        ("q1\td1\tyes\n", r"test\.tsv:1: the score 'yes'"),
        ("q1\td1\t1\nquery-id\tcorpus-id\tscore\n", r"test\.tsv:2: the score 'score'"),
        ("\td1\t1\n", r"test\.tsv:1: the query id or the document id is empty"),
        ("query-id\tcorpus-id\tscore\n", "holds no judgements"),
    ],
)
def test_broken_judgements(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_qrels(path)


def test_unreadable_judgements(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_qrels(tmp_path / "absent.tsv")
    (tmp_path / "latin.tsv").write_bytes(b"q1\td\xe9\t1\n")
    with pytest.raises(UserError, match="UTF-8"):
        read_qrels(tmp_path / "latin.tsv")
