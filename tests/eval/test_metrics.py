"""Metrics against hand-computed values, a plain Python reference, and ranx's own Run and Qrels."""

from __future__ import annotations

import math
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsr.errors import UserError
from lsr.eval import RunWriter, evaluate, read_run
from lsr.eval.metrics import METRICS, Judge, check_metrics, metrics_at_depth, score_rankings
from lsr.eval.qrels import read_qrels


def reference(judged: dict[str, int], ranking: list[str]) -> dict[str, float]:
    """Compute the metrics as trec_eval defines them."""
    relevant = {document for document, score in judged.items() if score >= 1}
    gains = [max(judged.get(document, 0), 0) for document in ranking[:10]]
    ideal = sorted((score for score in judged.values() if score >= 1), reverse=True)[:10]
    dcg = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
    ideal_dcg = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(ideal, 1))
    ranks = [rank for rank, document in enumerate(ranking, 1) if document in relevant]
    count = len(relevant)
    return {
        "ndcg@10": dcg / ideal_dcg if ideal_dcg else 0.0,
        "mrr@10": 1 / ranks[0] if ranks and ranks[0] <= 10 else 0.0,
        "map": sum(i / rank for i, rank in enumerate(ranks, 1)) / count if count else 0.0,
        "recall@100": sum(rank <= 100 for rank in ranks) / count if count else 0.0,
        "recall@1000": sum(rank <= 1000 for rank in ranks) / count if count else 0.0,
    }


def test_hand_computed_with_graded_judgements() -> None:
    # Gains by rank: 0, 2, 1; ideal 3, 2, 1. Linear gain, not 2^gain - 1.
    scores = score_rankings({"q": {"a": 3, "b": 2, "c": 1, "z": 0}}, {"q": ["z", "b", "c"]}).mean()
    dcg = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 3 + 2 / math.log2(3) + 1 / math.log2(4)
    assert scores["ndcg@10"] == pytest.approx(dcg / ideal)
    assert scores["mrr@10"] == pytest.approx(1 / 2)
    assert scores["map"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert scores["recall@100"] == pytest.approx(2 / 3)


def test_depths_cut_the_ranking() -> None:
    others = [f"x{i}" for i in range(2000)]
    for rank, expected in [
        (10, (True, True, True, True)),
        (11, (False, False, True, True)),
        (100, (False, False, True, True)),
        (101, (False, False, False, True)),
        (1000, (False, False, False, True)),
        (1001, (False, False, False, False)),
    ]:
        ranking = [*others[: rank - 1], "relevant", *others[rank - 1 :]]
        scores = score_rankings({"q": {"relevant": 1}}, {"q": ranking}).mean()
        seen = tuple(scores[name] > 0 for name in ("ndcg@10", "mrr@10", "recall@100", "recall@1000"))
        assert seen == expected, rank
        assert scores["map"] == pytest.approx(1 / rank)


# Ids that trip hashing, fixed-width strings or number parsing.
_IDS = st.one_of(
    st.sampled_from(["0", "-1", "1.0", "nan", " ", "a b", "é", "\x00", "a\x00", "日本", "x" * 300]),
    st.text(max_size=3),
)
_JUDGED = st.dictionaries(_IDS, st.integers(-2, 4), min_size=1, max_size=15)
_RANKING = st.lists(_IDS, unique=True, max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_IDS, st.tuples(_JUDGED, st.none() | _RANKING), min_size=1, max_size=12))
def test_equals_the_reference(data: dict[str, tuple[dict[str, int], list[str] | None]]) -> None:
    qrels = {query: judged for query, (judged, _) in data.items()}
    rankings = {query: ranking for query, (_, ranking) in data.items() if ranking is not None}
    scores = score_rankings(qrels, rankings)
    assert scores.query_ids == tuple(qrels)
    for place, query in enumerate(scores.query_ids):
        expected = reference(qrels[query], rankings.get(query, []))
        for name in METRICS:
            assert scores.values[name][place] == pytest.approx(expected[name], abs=1e-12), (name, query)
    for name in METRICS:
        assert scores.mean()[name] == pytest.approx(float(np.mean(scores.values[name])))


def test_equals_ranx_run_and_qrels() -> None:
    import ranx

    random = np.random.default_rng(5)
    documents = [f"d{i}" for i in range(400)]
    qrels, rankings, run = {}, {}, {}
    for query in (f"q{i}" for i in range(12)):
        judged = random.choice(documents, 20, replace=False).tolist()
        qrels[query] = {
            document: int(score) for document, score in zip(judged, random.integers(1, 4, 20), strict=True)
        }
        rankings[query] = random.permutation(documents)[:150].tolist()
        run[query] = {document: float(-rank) for rank, document in enumerate(rankings[query])}
    expected = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(METRICS))
    assert score_rankings(qrels, rankings).mean() == pytest.approx(expected)


def test_queries_without_results_count_as_zero() -> None:
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 0}}
    assert score_rankings(qrels, {}).mean() == dict.fromkeys(METRICS, 0.0)
    assert score_rankings(qrels, {"q1": [], "q2": []}).mean() == dict.fromkeys(METRICS, 0.0)
    scores = score_rankings(qrels, {"q1": ["a"], "q3": ["a"], "unjudged": ["a"]})
    assert scores.mean() == pytest.approx(dict.fromkeys(METRICS, 1 / 3))
    assert scores.values["map"].tolist() == [1.0, 0.0, 0.0]


def test_no_queries() -> None:
    assert score_rankings({}, {"q": ["a"]}).mean() == dict.fromkeys(METRICS, 0.0)


def test_one_metric_alone() -> None:
    assert score_rankings({"q": {"a": 1}}, {"q": ["b", "a"]}, ["mrr@10"]).mean() == {"mrr@10": 0.5}


def test_a_document_twice_is_refused() -> None:
    judge = Judge({"q": {"a": 1}})
    with pytest.raises(ValueError, match="twice"):
        judge.add("q", ["a", "b", "a"])
    judge.add("q", ["a"])
    with pytest.raises(ValueError, match="ranked twice"):
        judge.add("q", ["a"])


@pytest.mark.skipif(numba.get_num_threads() < 2, reason="one thread cannot be told from one thread")
def test_numba_keeps_its_threads() -> None:
    numba.set_num_threads(2)
    score_rankings({"q": {"a": 1}}, {"q": ["a"]})
    assert numba.get_num_threads() == 2


def test_shallow_rankings_answer_fewer_metrics() -> None:
    assert metrics_at_depth(1000) == METRICS
    assert metrics_at_depth(999) == ("ndcg@10", "mrr@10", "map", "recall@100")
    assert metrics_at_depth(10) == ("ndcg@10", "mrr@10", "map")
    assert metrics_at_depth(9) == ("map",)


def _written_and_judged(
    folder: Path, qrels: dict[str, dict[str, int]], rankings: dict[str, tuple[list[str], list[float]]]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return trec_eval's values, from the run as it is written, and ours, from the rankings."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    with RunWriter(folder / "run.trec") as run:
        for query, (ids, scores) in rankings.items():
            run.write(query, ids, np.array(scores, np.float32))
    names = {"ndcg_cut_10": "ndcg@10", "map": "map", "recall_100": "recall@100", "recall_1000": "recall@1000"}
    names |= {"P_10": "precision@10", "Rprec": "r-precision"}
    measures = {"ndcg_cut.10", "map", "recall.100,1000", "P.10", "Rprec", "recip_rank"}
    judge = pytrec_eval.RelevanceEvaluator(qrels, measures)
    back = read_run(folder / "run.trec")
    theirs = {
        query: {ours: found[name] for name, ours in names.items()}
        for query, found in judge.evaluate(back).items()
    }
    # trec_eval's reciprocal rank has no depth of its own: it is given ten documents.
    first_ten = {query: dict(list(found.items())[:10]) for query, found in back.items()}
    for query, found in judge.evaluate(first_ten).items():
        theirs[query]["mrr@10"] = found["recip_rank"]
    metrics = [*names.values(), "mrr@10"]
    scores_ = score_rankings(qrels, {query: ids for query, (ids, _) in rankings.items()}, metrics)
    ours = {
        query: {name: float(scores_.values[name][place]) for name in metrics}
        for place, query in enumerate(scores_.query_ids)
    }
    return theirs, ours


@st.composite
def _judged_runs(
    draw: st.DrawFn,
) -> tuple[dict[str, dict[str, int]], dict[str, tuple[list[str], list[float]]]]:
    ids = [f"d{i}" for i in range(40)]
    qrels, rankings = {}, {}
    for query in ("q1", "q2", "q3"):
        qrels[query] = draw(
            st.dictionaries(st.sampled_from(ids), st.integers(-1, 3), min_size=1, max_size=20)
        )
        found = draw(st.lists(st.sampled_from(ids), unique=True, min_size=1, max_size=40))
        # Few different scores: most of them tie.
        scores = draw(st.lists(st.integers(0, 3), min_size=len(found), max_size=len(found)))
        rankings[query] = found, [float(score) for score in sorted(scores, reverse=True)]
    return qrels, rankings


@settings(max_examples=40, deadline=None)
@given(_judged_runs())
def test_equals_trec_eval_on_runs_full_of_ties(
    tmp_path_factory: pytest.TempPathFactory,
    data: tuple[dict[str, dict[str, int]], dict[str, tuple[list[str], list[float]]]],
) -> None:
    theirs, ours = _written_and_judged(tmp_path_factory.getbasetemp(), *data)
    for query, found in theirs.items():
        assert ours[query] == pytest.approx(found, abs=1e-12), query


def test_equals_trec_eval_on_scifact(shared: Path, tmp_path: Path) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    run = tmp_path / "run.trec"
    evaluation = evaluate(shared / "data" / "collections" / "scifact", "bm25", run=run)
    qrels = read_qrels(shared / "data" / "collections" / "scifact" / "qrels" / "test.tsv")
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "map", "recall.100,1000"}).evaluate(
        read_run(run)
    )
    names = {"ndcg@10": "ndcg_cut_10", "map": "map", "recall@100": "recall_100", "recall@1000": "recall_1000"}
    for ours, theirs in names.items():
        mean = sum(found.get(query, {}).get(theirs, 0.0) for query in qrels) / len(qrels)
        assert evaluation.metrics[ours] == pytest.approx(mean, abs=1e-12)


def test_levels_of_relevance() -> None:
    qrels = {"q": {"a": 1, "b": 2, "c": 3}}
    plain = score_rankings(qrels, {"q": ["a", "x", "b"]}).mean()
    strict = score_rankings(qrels, {"q": ["a", "x", "b"]}, relevant_from=2).mean()
    assert plain["ndcg@10"] == strict["ndcg@10"]
    assert (plain["mrr@10"], strict["mrr@10"]) == (1, pytest.approx(1 / 3))
    assert (plain["recall@100"], strict["recall@100"]) == (pytest.approx(2 / 3), 1 / 2)
    assert strict["map"] == pytest.approx(1 / 3 / 2)


def test_share_unjudged() -> None:
    ranking = ["a", "x", "y", "b", *(f"z{i}" for i in range(20))]
    scores = score_rankings(
        {"q": {"a": 1, "b": 0}, "r": {"a": 1}, "s": {"a": 1}}, {"q": ranking, "r": ["a", "x"]}
    )
    assert scores.unjudged[0] == pytest.approx(8 / 10)
    assert scores.unjudged[1] == pytest.approx(1 / 2)
    assert np.isnan(scores.unjudged[2])
    assert scores.unjudged_share == pytest.approx(0.65)


def test_names_of_metrics_are_checked() -> None:
    assert check_metrics(["nDCG@10", " map", "ndcg@10"], 100) == ("ndcg@10", "map")
    for bad in ("accuracy@10", "ndcg@x", "ndcg@0", "precision", "ndcg@"):
        with pytest.raises(UserError, match="no metric"):
            check_metrics([bad], 100)
    with pytest.raises(UserError, match="raise -k"):
        check_metrics(["recall@1000"], 100)
