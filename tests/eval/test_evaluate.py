"""The whole path on small collections made here, with the bm25 encoder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsr.errors import UserError
from lsr.eval import evaluate, load_dataset, read_run, score_rankings

WriteBeir = Callable[..., Path]


def test_figures(write_beir: WriteBeir, tmp_path: Path) -> None:
    run = tmp_path / "tiny.trec"
    evaluation = evaluate(write_beir(), "bm25", run=run, threads=1)
    assert (evaluation.dataset, evaluation.encoder) == ("tiny", "bm25")
    assert (evaluation.documents, evaluation.queries) == (5, 3)
    # q1 finds d1 and d3, q2 finds d2 first or d5 (judged 0) first, q3 finds nothing.
    ranking = read_run(run)
    assert set(ranking) == {"q1", "q2"}
    assert set(ranking["q1"]) == {"d1", "d3"}
    assert set(ranking["q2"]) == {"d2", "d5"}
    assert evaluation.metrics["recall@100"] == pytest.approx(2 / 3)
    expected = score_rankings(load_dataset(tmp_path / "tiny").qrels, {q: list(r) for q, r in ranking.items()})
    assert evaluation.metrics == expected.mean()
    assert evaluation.scores.query_ids == ("q1", "q2", "q3")
    # The terms of q3 are in no document. Those of q1 and q2 are each in two.
    assert evaluation.cost.mean_query_terms == pytest.approx(4 / 3)
    assert evaluation.cost.flops == pytest.approx(4 * 2 / (5 * 3))
    assert evaluation.cost.index_bytes > 0
    assert evaluation.cost.encode_seconds is not None
    assert evaluation.cost.latency is not None
    assert evaluation.cost.latency.queries == 3
    assert evaluation.cost.postings == pytest.approx(4 * 2 / 3)
    assert evaluation.cost.algorithm == "exhaustive"


def test_json_record(write_beir: WriteBeir) -> None:
    record = evaluate(write_beir(), "bm25").as_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert {"dataset", "encoder", "ndcg@10", "mrr@10", "map", "recall@100", "recall@1000"} <= set(record)
    assert {"mean_document_terms", "mean_query_terms", "flops", "index_bytes", "encode_seconds"} <= set(
        record
    )
    assert all(math.isfinite(value) for value in record.values() if isinstance(value, float))


def test_index_is_kept_and_used_again(write_beir: WriteBeir, tmp_path: Path) -> None:
    folder, index = write_beir(), tmp_path / "kept" / "tiny.index"
    first = evaluate(folder, "bm25", index=index)
    stamp = (index / "manifest.json").stat().st_mtime_ns
    second = evaluate(folder, "bm25", index=index)
    assert (index / "manifest.json").stat().st_mtime_ns == stamp
    assert second.metrics == first.metrics == evaluate(folder, "bm25").metrics
    assert second.cost.index_bytes == first.cost.index_bytes == evaluate(folder, "bm25").cost.index_bytes
    assert second.encoder == "bm25"
    assert second.cost.encode_seconds is None
    assert second.encode_documents_per_second is None


def test_index_of_another_corpus_is_noted(write_beir: WriteBeir, tmp_path: Path) -> None:
    index = tmp_path / "index"
    evaluate(write_beir("one"), "bm25", index=index)
    other = write_beir("two", qrels={"test": "q1\telsewhere\t1\n"})
    assert "is it an index" not in str(evaluate(tmp_path / "one", "bm25", index=index).notes)
    assert "an index of two?" in evaluate(other, "bm25", index=index).notes[-1]


def test_no_index_is_left_behind(
    write_beir: WriteBeir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    evaluate(write_beir(), "bm25")
    assert list(scratch.iterdir()) == []


def test_a_failure_leaves_neither_index_nor_run(write_beir: WriteBeir, tmp_path: Path) -> None:
    folder = write_beir()
    with (folder / "corpus.jsonl").open("a") as file:
        file.write("{broken\n")
    run, index = tmp_path / "out.trec", tmp_path / "index"
    with pytest.raises(UserError, match=r"corpus\.jsonl:6"):
        evaluate(folder, "bm25", run=run, index=index)
    assert not run.exists()
    assert not index.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_queries_that_are_documents(write_beir: WriteBeir) -> None:
    documents = [{"_id": f"t{i}", "title": "", "text": f"topic {i} about cheese and wine"} for i in range(4)]
    queries = [{"_id": "t0", "text": documents[0]["text"]}]
    data = {"documents": documents, "queries": queries, "qrels": {"test": "t0\tt1\t1\n"}}
    plain, arguana = write_beir("plain", **data), write_beir("arguana", **data)
    assert evaluate(plain, "bm25").metrics["mrr@10"] == 0.5
    assert evaluate(plain, "bm25", drop_query_document=True).metrics["mrr@10"] == 1
    assert evaluate(arguana, "bm25").metrics["mrr@10"] == 1
    assert evaluate(arguana, "bm25", drop_query_document=False).metrics["mrr@10"] == 0.5


@pytest.mark.parametrize("drop", [False, True])
def test_depth(write_beir: WriteBeir, tmp_path: Path, drop: bool) -> None:
    documents = [{"_id": f"t{i}", "title": "", "text": "cheese"} for i in range(30)]
    queries = [{"_id": "t3", "text": "cheese"}]
    folder = write_beir(documents=documents, queries=queries, qrels={"test": "t3\tt9\t1\n"})
    evaluation = evaluate(folder, "bm25", k=20, run=tmp_path / "out", drop_query_document=drop)
    expected = [f"t{i}" for i in range(21) if not (drop and i == 3)][:20]
    assert list(read_run(tmp_path / "out")["t3"]) == expected
    assert list(evaluation.metrics) == ["ndcg@10", "mrr@10", "map"]
    with pytest.raises(UserError, match="at least 1"):
        evaluate(folder, "bm25", k=0)


def test_threads_change_nothing(write_beir: WriteBeir, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = [f"word{i}" for i in range(50)]
    text = [" ".join(random.choice(words, 12)) for _ in range(300)]
    documents = [{"_id": f"d{i}", "title": "", "text": line} for i, line in enumerate(text[:200])]
    queries = [{"_id": f"q{i}", "text": line} for i, line in enumerate(text[200:])]
    qrels = "".join(f"q{i}\td{i}\t1\n" for i in range(100))
    folder = write_beir(documents=documents, queries=queries, qrels={"test": qrels})
    one = evaluate(folder, "bm25", run=tmp_path / "one", threads=1)
    two = evaluate(folder, "bm25", run=tmp_path / "two", threads=2)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert one.metrics == two.metrics
    assert (one.cost.threads, two.cost.threads) == (1, 2)


def test_judgements_without_a_relevant_document(write_beir: WriteBeir) -> None:
    with pytest.raises(UserError, match="no relevant document"):
        evaluate(write_beir(qrels={"test": "q1\td1\t0\n"}), "bm25")


def test_scifact(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "collections" / "scifact"
    evaluation = evaluate(folder, "bm25", run=tmp_path / "run")
    assert (evaluation.documents, evaluation.queries) == (5183, 300)
    # BEIR publishes .665 to .679 for BM25, and words are split by each system's own rules.
    assert 0.66 <= evaluation.metrics["ndcg@10"] <= 0.69
    # The same from the files alone, in plain Python; judgements there are all 1.
    relevant: dict[str, set[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, _ = line.split("\t")
        relevant.setdefault(query, set()).add(document)
    ranked = {query: list(scores)[:10] for query, scores in read_run(tmp_path / "run").items()}
    total = 0.0
    for query, wanted in relevant.items():
        gains = [
            1 / math.log2(i + 2) for i, document in enumerate(ranked.get(query, [])) if document in wanted
        ]
        total += sum(gains) / sum(1 / math.log2(i + 2) for i in range(min(10, len(wanted))))
    assert evaluation.metrics["ndcg@10"] == pytest.approx(total / len(relevant))
