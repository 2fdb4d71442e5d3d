"""``lsr eval`` with several systems, and ``lsr compare``, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lsr.cli.main import main
from lsr.eval import read_run

WriteBeir = Callable[..., Path]


@pytest.fixture
def folder(write_beir: WriteBeir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_beir("tiny")
    write_beir("other")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_systems_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "tiny", "other", "--system", "bm25", "--system", "flat=bm25,k1=0.1,b=0"]
    assert main([*command, "--fuse", "rrf:bm25,flat", "-o", "out"]) == 0
    shown = capsys.readouterr()
    for part in (
        "bm25",
        "flat",
        "rrf",
        "mean",
        "against bm25",
        "95 % interval",
        "won",
        "FLOPS",
        "p99",
        "unjudged",
    ):
        assert part in shown.out
    assert "Fisher's randomisation test" in " ".join(shown.out.split())
    assert shown.err == ""
    files = {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()}
    assert {"result.json", "tables.md", "tables.tex", "report.html", "plots/datasets-ndcg-10.svg"} <= files
    assert "runs/tiny.rrf-bm25-flat.trec" in files
    assert not Path("runs").exists()
    assert list(read_run("out/runs/tiny.bm25.trec")) == ["q1", "q2"]


def test_json_has_a_line_for_each_system_and_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "tiny", "other", "--system", "bm25", "--system", "bm25+rm3", "--json", "--no-run"]
    assert main([*command, "--metrics", "map,precision@10"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["dataset"], one["system"]) for one in records] == [
        ("tiny", "bm25"), ("tiny", "bm25+rm3"), ("other", "bm25"), ("other", "bm25+rm3"),
    ]  # fmt: skip
    assert "ndcg@10" not in records[0]
    assert 0 < records[0]["precision@10"] < records[0]["map"] < 1


def test_a_result_is_repeated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["eval", "tiny", "--system", "bm25,k1=0.9", "--limit", "2", "--no-run", "-o", "out", "-k", "10"])
        == 0
    )
    capsys.readouterr()
    assert main(["eval", "--from", "out/result.json", "--no-run", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "tiny (2 of 3 queries)" in shown
    assert "repeated out/result.json: 3 of 3 figures are the same." in shown
    corpus = Path("tiny/corpus.jsonl")
    corpus.write_text(corpus.read_text().replace("Phones", "").replace("phone", "set").replace("battery", ""))
    assert main(["eval", "--from", "out/result.json", "--no-run", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "other documents now" in shown
    assert "ndcg@10 was" in shown


def test_a_second_run_takes_what_the_first_measured(
    folder: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "tiny", "--no-run", "--encoder", "bm25"]) == 0
    assert "earlier runs" not in capsys.readouterr().out
    assert main(["eval", "tiny", "--no-run", "--encoder", "bm25"]) == 0
    assert "1 of 1 results, times included, are of earlier runs" in capsys.readouterr().out
    assert main(["eval", "tiny", "--no-run", "--fresh", "--encoder", "bm25"]) == 0
    assert "earlier runs" not in capsys.readouterr().out
    assert main(["eval", "tiny", "--no-run", "--no-cache", "--encoder", "bm25"]) == 0
    assert "earlier runs" not in capsys.readouterr().out
    assert {path.name for path in (cache / "eval").iterdir()} == {"checksums", "indexes", "results"}


def test_sets_that_are_not_there_are_told_and_passed_over(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite with one set in a folder, the others out of reach, as on a machine without network."""
    import requests

    def offline(*arguments: object, **options: object) -> object:
        raise requests.exceptions.ConnectionError("Failed to resolve host")

    monkeypatch.setattr("requests.Session.request", offline)
    monkeypatch.setattr("requests.get", offline)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("IR_DATASETS_HOME", str(folder / "home"))
    Path("tiny").rename("scifact")
    assert main(["eval", "beir-small", "--data", ".", "--no-run", "--encoder", "bm25"]) == 2
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert len(lines) == 5, lines
    for name, line in zip(("nfcorpus/test", "arguana", "scidocs", "fiqa/test"), lines, strict=False):
        assert f"ir_datasets could not provide the data set 'beir/{name}'" in line
        assert "BEIR layout" in line
    assert "4 of 5 data sets could not be evaluated" in lines[-1]
    assert "scifact" in shown.out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "Name a data set"),
        (["tiny", "--system", "bm25", "--system", "bm25"], "Two systems are called 'bm25'"),
        (["tiny", "--system", "a=bm25", "--fuse", "rrf:a,b"], "there is no system 'b'"),
        (["tiny", "--system", "a=bm25", "--fuse", "sum:a,b"], "not of the form rrf:SYSTEM"),
        (["tiny", "--system", "a=bm25", "--fuse", "rrf:a,a"], "names a system twice"),
        (["tiny", "--rerank", "bm25"], "not of the form SYSTEM:CROSS_ENCODER"),
        (["tiny", "--system", "bm25,passages=x"], "not WORDS or WORDS/STRIDE"),
        (["tiny", "--system", "bm25,aggregate=sum"], "add passages=150/75"),
        (["tiny", "--system", "bm25,passages=10/5,aggregate=mean"], "not among max, first, sum"),
        (["tiny", "--system", "bm25,idf=mine"], "not among training, corpus"),
        (["tiny", "--system", "bm25,stuff"], "'stuff' is no option"),
        (["tiny", "--system", "bm25,max_length=long"], "not a whole number"),
        (["tiny", "--baseline", "other"], "--baseline other is no system"),
        (["tiny", "--metrics", "accuracy"], "no metric"),
        (["tiny", "--index", "i", "--system", "bm25", "--system", "x=bm25"], "--index is for one system"),
        (["tiny", "--report", "."], "is a folder"),
        (["tiny", "--report", "tiny/corpus.jsonl/x.html"], "no folder to write to"),
        (["tiny", "--from", "absent.json"], "cannot be read"),
        (["tiny", "nowhere/"], "no data set 'nowhere/'"),
    ],
)
def test_mistakes_are_told_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    before = sorted(folder.rglob("*"))
    assert main(["eval", *arguments]) == 2
    shown = capsys.readouterr()
    assert part in shown.err
    assert len(shown.err.splitlines()) == 1
    assert shown.out == ""
    assert sorted(folder.rglob("*")) == before


QRELS = "q1 0 a 1\nq2 0 b 2\nq3 0 c 1\n"
FIRST = "q1 Q0 a 1 3 x\nq1 Q0 z 2 2 x\nq2 Q0 z 1 2 x\nq2 Q0 b 2 1 x\n"
SECOND = "q1 Q0 z 1 3 x\nq1 Q0 a 2 2 x\nq2 Q0 b 1 2 x\nq3 Q0 c 1 2 x\n"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "qrels").write_text(QRELS)
    (tmp_path / "one.trec").write_text(FIRST)
    (tmp_path / "two.trec").write_text(SECOND)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_are_compared(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "one.trec", "two.trec", "--qrels", "qrels"]
    assert main([*command, "--metrics", "mrr@10,map", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["queries"] == 3
    assert [run["mrr@10"] for run in found["runs"]] == pytest.approx([1.5 / 3, 2.5 / 3])
    (against,) = found["against_first"]
    assert against["difference"] == pytest.approx(1 / 3)
    assert (against["wins"], against["ties"], against["losses"]) == (2, 0, 1)
    assert [move["query_id"] for move in against["moved"]] == ["q3", "q2", "q1"]
    assert (against["moved"][1]["first_rank"], against["moved"][1]["second_rank"]) == (2, 1)
    assert "one.trec lacks 1 of 3 judged queries" in found["notes"][0]
    assert main(command) == 0
    shown = capsys.readouterr().out
    for part in (
        "one.trec",
        "two.trec",
        "nDCG@10",
        "queries that moved most",
        "not retrieved to rank 1",
        "p, t",
    ):
        assert part in shown


def test_moves_are_explained_by_an_index(
    write_beir: WriteBeir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_beir("tiny")
    monkeypatch.chdir(tmp_path)
    assert main(["index", "tiny", "-o", "tiny.index", "--quiet", "--encoder", "bm25"]) == 0
    Path("a.trec").write_text("q1 Q0 d5 1 1 x\n")
    Path("b.trec").write_text("q1 Q0 d1 1 1 x\n")
    command = [
        "compare",
        "a.trec",
        "b.trec",
        "--qrels",
        "tiny/qrels/test.tsv",
        "--queries",
        "tiny/queries.jsonl",
    ]
    assert main([*command, "--index", "tiny.index"]) == 0
    shown = capsys.readouterr().out
    assert "phone battery" in shown
    assert "Batteries" in shown
    assert "batteri " in shown


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["one.trec", "--qrels", "qrels"], "at least two runs"),
        (["one.trec", "absent.trec", "--qrels", "qrels"], "absent.trec cannot be read"),
        (["one.trec", "other.trec", "--qrels", "qrels"], "ranks none of the queries"),
        (["one.trec", "two.trec", "--qrels", "qrels", "--index", "i"], "--queries FILE"),
        (["one.trec", "two.trec", "--qrels", "qrels", "--metrics", "x"], "no metric"),
    ],
)
def test_comparisons_that_cannot_be_made(
    runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    (runs / "other.trec").write_text("other Q0 a 1 1 x\n")
    assert main(["compare", *arguments]) == 2
    shown = capsys.readouterr()
    assert part in shown.err
    assert len(shown.err.splitlines()) == 1
