"""``lsr eval`` as a user types it, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WriteBeir = Callable[..., Path]


def lsr_eval(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    encoder = [] if {"--system", "--encoder"} & set(arguments) else ["--encoder", "bm25"]
    command = [sys.executable, "-m", "lsr.cli.main", "eval", *arguments, *encoder]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_table_and_default_run(write_beir: WriteBeir, tmp_path: Path) -> None:
    write_beir("tiny")
    write_beir("other", compressed=True)
    done = lsr_eval(tmp_path, "tiny", "other")
    assert done.returncode == 0, done.stderr
    for part in (
        "nDCG@10",
        "MRR@10",
        "MAP",
        "R@100",
        "R@1000",
        "FLOPS",
        "mean",
        "encoder: bm25",
        "tiny",
        "other",
    ):
        assert part in done.stdout
    assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout
    for name in ("tiny", "other"):
        assert f"run: {Path('runs', f'{name}.bm25.trec')}" in done.stdout
        assert (tmp_path / "runs" / f"{name}.bm25.trec").read_text().startswith("q1 Q0 d")
    assert done.stderr == ""


def test_json_is_one_object_a_line(write_beir: WriteBeir, tmp_path: Path) -> None:
    write_beir("tiny")
    write_beir("other")
    done = lsr_eval(tmp_path, "tiny", "other", "--json", "--no-run", "--index", "kept")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["dataset"] for record in records] == ["tiny", "other"]
    assert all(0 < record["ndcg@10"] < 1 and record["run"] is None for record in records)
    assert not (tmp_path / "runs").exists()
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"tiny", "other"}
    again = lsr_eval(tmp_path, "tiny", "--json", "--index", str(Path("kept", "tiny")), "--run", "my.trec")
    assert json.loads(again.stdout)["ndcg@10"] == records[0]["ndcg@10"]
    assert json.loads(again.stdout)["encode_seconds"] is None
    assert (tmp_path / "my.trec").exists()


def test_what_was_measured_before_a_failure_is_printed(write_beir: WriteBeir, tmp_path: Path) -> None:
    write_beir("good")
    bad = write_beir("bad")
    with (bad / "corpus.jsonl").open("a") as file:
        file.write("[1]\n")
    done = lsr_eval(tmp_path, "good", "bad")
    assert done.returncode == 2
    assert "nDCG@10" in done.stdout
    assert not (tmp_path / "runs" / "bad.bm25.trec").exists()


def _break_qrels(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\tgood\n")


def _break_corpus(folder: Path) -> None:
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d1", "text": "twice"}\n')


def _break_queries(folder: Path) -> None:
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "fine"}\n{"_id"\n')


def _drop_qrels(folder: Path) -> None:
    shutil.rmtree(folder / "qrels")


def _nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "arguments", "part"),
    [
        (_break_qrels, ["tiny"], "test.tsv:2"),
        (_break_corpus, ["tiny"], "d1"),
        (_break_queries, ["tiny"], "queries.jsonl:2"),
        (_drop_qrels, ["tiny"], "qrels/test.tsv"),
        (_nothing, ["tinny"], "no data set 'tinny'"),
        (_nothing, ["tiny", "--split", "dev"], "--split: test"),
        (_nothing, ["tiny", "--index", "tiny"], "not an index"),
        (_nothing, ["tiny", "--run", "tiny"], "it is a folder"),
        (_nothing, ["tiny", "./tiny"], "2 of the data sets are called 'tiny'"),
        (_nothing, ["tiny", "--encoder", "./absent"], "absent"),
        (_nothing, ["tiny", "--run", "a", "--no-run"], "not allowed with"),
        (_nothing, ["tiny", "-k", "0"], "at least 1"),
    ],
)
def test_mistakes_are_one_sentence(
    write_beir: WriteBeir,
    tmp_path: Path,
    damage: Callable[[Path], None],
    arguments: list[str],
    part: str,
) -> None:
    damage(write_beir("tiny"))
    before = sorted(tmp_path.rglob("*"))
    done = lsr_eval(tmp_path, *arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or done.stderr.startswith("usage:")
    assert sorted(tmp_path.rglob("*")) == before


def test_help_has_examples(tmp_path: Path) -> None:
    done = lsr_eval(tmp_path, "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert "beir/scifact/test" in done.stdout
