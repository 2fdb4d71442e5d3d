"""The ir_datasets path, on data sets registered here from local files: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lsr.corpus import ReadReport
from lsr.errors import UserError
from lsr.eval import evaluate, load_dataset

ir_datasets = pytest.importorskip("ir_datasets")


class _LocalFile:
    """What ir_datasets' formats read from, without a download."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def path(self, force: bool = True) -> str:
        return str(self._path)

    def stream(self) -> object:
        return self._path.open("rb")


class _NoNetwork(_LocalFile):
    def stream(self) -> object:
        ir_datasets.log.easy().info("[error] opening")
        ir_datasets.log.easy().info("download error: retrying")
        raise ConnectionError("Failed to resolve host")


@pytest.fixture
def registered(tmp_path: Path) -> Iterator[Path]:
    from ir_datasets.formats import TrecQrels, TsvDocs, TsvQueries

    (tmp_path / "docs.tsv").write_text("d1\ta red apple\nd2\ta green pear\nd3\ta yellow lemon\n")
    (tmp_path / "queries.tsv").write_text("q1\tgreen pear\nq2\tred apple\nq3\tunjudged\n")
    (tmp_path / "test.qrels").write_text("q1 0 d2 1\nq2 0 d1 1\nq2 0 d3 0\nq2 0 absent 1\n")
    docs = TsvDocs(_LocalFile(tmp_path / "docs.tsv"))
    queries = TsvQueries(_LocalFile(tmp_path / "queries.tsv"))
    qrels = TrecQrels(_LocalFile(tmp_path / "test.qrels"), {1: "relevant"})
    broken = TrecQrels(_NoNetwork(tmp_path / "test.qrels"), {1: "relevant"})
    made = {
        "lsr-fruit": ir_datasets.Dataset(docs),
        "lsr-fruit/test": ir_datasets.Dataset(docs, queries, qrels),
        "lsr-fruit/offline": ir_datasets.Dataset(docs, queries, broken),
    }
    for name, dataset in made.items():
        ir_datasets.registry.register(name, dataset)
    yield tmp_path
    for name in made:
        del ir_datasets.registry._registered[name]


@pytest.mark.usefixtures("registered")
def test_queries_judgements_and_documents() -> None:
    for dataset in (load_dataset("lsr-fruit/test"), load_dataset("lsr-fruit", "test")):
        assert (dataset.name, dataset.file_name) == ("lsr-fruit/test", "lsr-fruit-test")
        assert [(query.id, query.text) for query in dataset.queries] == [
            ("q1", "green pear"),
            ("q2", "red apple"),
        ]
        assert dataset.qrels == {"q1": {"d2": 1}, "q2": {"d1": 1, "d3": 0, "absent": 1}}
        texts = [(document.id, document.full_text) for document in dataset.documents(ReadReport())]
        assert texts[0] == ("d1", "a red apple")
        assert len(texts) == 3


@pytest.mark.usefixtures("registered")
def test_evaluate_by_id() -> None:
    evaluation = evaluate("lsr-fruit/test", "bm25")
    assert evaluation.metrics["mrr@10"] == 1
    assert evaluation.metrics["recall@100"] == pytest.approx((1 + 1 / 2) / 2)
    assert "1 of 4 judged documents are not in the corpus" in evaluation.notes[0]


@pytest.mark.usefixtures("registered")
def test_an_id_without_judgements_names_those_with() -> None:
    with pytest.raises(UserError, match=r"lacks .*; with judgements: lsr-fruit/offline, lsr-fruit/test"):
        load_dataset("lsr-fruit")


@pytest.mark.usefixtures("registered")
def test_a_failed_download_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        UserError, match=r"'lsr-fruit/offline' \(Failed to resolve host\).*BEIR layout"
    ) as caught:
        load_dataset("lsr-fruit/offline")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    ir_datasets.log.easy().info("[error] elsewhere")
    assert "elsewhere" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["beir/scifakt/test", "no such folder/", "../absent"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UserError, match="no BEIR folder, no id of ir_datasets and no suite"):
        load_dataset(name)


def test_a_near_id_is_suggested() -> None:
    with pytest.raises(UserError, match="near it are beir/scifact/test"):
        load_dataset("beir/scifakt/test")
