"""Fusions against ranx's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsr.errors import UserError
from lsr.eval.cache import Cache
from lsr.eval.checksums import checksums
from lsr.eval.datasets import load_dataset
from lsr.eval.metrics import score_rankings
from lsr.eval.rankings import Rankings, RankingsBuilder
from lsr.eval.systems.base import Workspace
from lsr.eval.systems.fusion import FusedSystem, Pools, Tuning, tune_weights, weight_grid

QUERIES = [f"q{i}" for i in range(12)]


def _rankings(seed: int, documents: int = 60, depth: int = 30) -> Rankings:
    random = np.random.default_rng(seed)
    builder = RankingsBuilder()
    for place, query in enumerate(QUERIES):
        found = random.permutation(documents)[: depth - place]
        scores = np.sort(random.random(len(found)).astype(np.float32) * 9)[::-1]
        builder.add(query, [f"d{number}" for number in found], scores)
    return builder.build()


def _qrels(seed: int) -> dict[str, dict[str, int]]:
    random = np.random.default_rng(seed)
    return {
        query: {f"d{n}": int(random.integers(0, 3)) for n in random.permutation(60)[:12]} for query in QUERIES
    }


@pytest.fixture
def workspace(write_beir: object, tmp_path: Path) -> Workspace:
    dataset = load_dataset(write_beir())  # type: ignore[operator]
    return Workspace(dataset, checksums(dataset), Cache(tmp_path / "cache"))


def _as_ranx(rankings: Rankings) -> object:
    import ranx

    return ranx.Run({query: dict(zip(ids, scores.tolist(), strict=True)) for query, ids, scores in rankings})


def _scores(rankings: Rankings) -> dict[str, dict[str, float]]:
    return {query: dict(zip(ids, scores.tolist(), strict=True)) for query, ids, scores in rankings}


def test_by_plain_python(workspace: Workspace) -> None:
    parts = [_rankings(1), _rankings(2)]
    fused = FusedSystem("f", "rrf", ["a", "b"]).derive(workspace, parts, 1000)
    pools = list(Pools(parts))
    for place, query in enumerate(QUERIES):
        expected: dict[str, float] = {}
        weighted: dict[str, float] = {}
        for part, weight in zip(parts, (0.3, 0.7), strict=True):
            ids, scores = part.ranking(place)
            low, high = float(scores.min()), float(scores.max())
            for rank, (name, score) in enumerate(zip(ids, scores.tolist(), strict=True), 1):
                expected[name] = expected.get(name, 0.0) + 1 / (60 + rank)
                weighted[name] = weighted.get(name, 0.0) + weight * (score - low) / (high - low)
        assert _scores(fused.rankings)[query] == pytest.approx(expected, abs=1e-12)
        found = pools[place].weighted(np.array([0.3, 0.7])).tolist()
        names = Pools(parts).names(pools[place].documents)
        assert dict(zip(names, found, strict=True)) == pytest.approx(weighted, abs=1e-12)
    assert all((np.diff(scores) <= 0).all() for _, _, scores in fused.rankings)


@pytest.mark.slow  # ranx compiles its kernels for half a minute.
def test_equal_to_ranx(workspace: Workspace) -> None:
    import ranx

    parts = [_rankings(1), _rankings(2)]
    fused = FusedSystem("f", "rrf", ["a", "b"]).derive(workspace, parts, 1000)
    theirs = ranx.fuse([_as_ranx(part) for part in parts], norm=None, method="rrf").to_dict()
    for query, found in _scores(fused.rankings).items():
        assert found == pytest.approx(theirs[query], abs=1e-12)
    for weights in ([0.3, 0.7], [1.0, 0.0]):
        theirs = ranx.fuse(
            [_as_ranx(part) for part in parts], norm="min-max", method="wsum", params={"weights": weights}
        ).to_dict()
        pools = Pools(parts)
        for query, pool in zip(QUERIES, pools, strict=True):
            ours = dict(
                zip(pools.names(pool.documents), pool.weighted(np.array(weights)).tolist(), strict=True)
            )
            assert ours == pytest.approx(theirs[query], abs=1e-6)


def test_equal_scores_are_in_the_first_systems_order(workspace: Workspace) -> None:
    first, second = RankingsBuilder(), RankingsBuilder()
    first.add("q1", ["b", "c"], np.array([2, 1], np.float32))
    second.add("q1", ["a", "d"], np.array([9, 8], np.float32))
    parts = [first.build(), second.build()]
    assert FusedSystem("f", "rrf", ["x", "y"]).derive(workspace, parts, 9).rankings.ranking(0)[0] == list(
        "bacd"
    )
    parts = parts[::-1]
    assert FusedSystem("f", "rrf", ["y", "x"]).derive(workspace, parts, 3).rankings.ranking(0)[0] == list(
        "abd"
    )


def test_tuned_weights_are_the_best_of_the_grid() -> None:
    parts = [_rankings(1), _rankings(2)]
    qrels = _qrels(3)
    tuning = Tuning(qrels, parts)
    fused = FusedSystem("f", "weighted", ["a", "b"]).derive(None, parts, 10, tuning)  # type: ignore[arg-type]
    weights = [fused.parameters["weights"][label][0] for label in ("a", "b")]
    pools = Pools(parts)

    def quality(chosen: np.ndarray) -> float:
        found = {
            query: pools.names(pool.documents[np.argsort(-pool.weighted(chosen), kind="stable")])
            for query, pool in zip(QUERIES, pools, strict=True)
        }
        return score_rankings(qrels, found, ["ndcg@10"]).mean()["ndcg@10"]

    best = max(quality(row) for row in weight_grid(2))
    assert quality(np.array(weights)) == pytest.approx(best)
    assert len(weight_grid(3)) == 66
    assert weight_grid(2)[0].tolist() == [0.5, 0.5]
    assert tune_weights(np.zeros((0, 0)), 2).tolist() == [0.5, 0.5]


def test_no_query_is_fused_with_weights_that_it_tuned(workspace: Workspace) -> None:
    parts = [_rankings(1), _rankings(2)]
    qrels = _qrels(4)
    object.__setattr__(workspace.dataset, "qrels", qrels)
    system = FusedSystem("f", "weighted", ["a", "b"])
    before = system.derive(workspace, parts, 30).rankings
    # Whatever its own judgements are, a query's fused ranking is the same.
    for place, query in enumerate(QUERIES):
        object.__setattr__(workspace.dataset, "qrels", {**qrels, query: {"d1": 1}})
        after = system.derive(workspace, parts, 30).rankings
        assert after.ranking(place)[0] == before.ranking(place)[0]


def test_rankings_without_results_can_be_fused(workspace: Workspace) -> None:
    first, second = RankingsBuilder(), RankingsBuilder()
    for builder in (first, second):
        builder.add("q1", [], np.empty(0, np.float32))
    second.add("q2", ["a"], np.ones(1, np.float32))
    first.add("q2", [], np.empty(0, np.float32))
    parts = [first.build(), second.build()]
    for method in ("rrf", "weighted"):
        fused = FusedSystem("f", method, ["x", "y"]).derive(workspace, parts, 9).rankings  # type: ignore[arg-type]
        assert [fused.ranking(place)[0] for place in (0, 1)] == [[], ["a"]]


def test_one_system_is_no_fusion() -> None:
    with pytest.raises(UserError, match="name two or more"):
        FusedSystem("f", "rrf", ["a"], "rrf:a")
