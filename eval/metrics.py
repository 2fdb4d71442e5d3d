"""Ranking metrics through ranx, with the order of the ranking fixed by us.

ranx is handed arrays, not dictionaries: each judged document is a row number of its query's
judgements and each rank holds that number, or -1 where the document is not judged. So nothing is
hashed, nothing is sorted again, document ids are any strings, and equal scores keep the order of
the ranking. Results after the last judged document change no metric and are not stored.

A document is relevant from a score of 1, or from another level that the data set's own convention
asks for; nDCG takes the scores themselves. A judged query without results, or without a relevant
document, counts as 0 (trec_eval leaves such queries out of its means unless it is given ``-c``).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsr.errors import UserError

METRICS = ("ndcg@10", "mrr@10", "map", "recall@100", "recall@1000")
"""What `lsr eval` reports, in this order, by the names that ranx uses."""

UNJUDGED_DEPTH = 10

_UNJUDGED = -1.0
# Metrics that a level of relevance changes; nDCG takes judgements as they are.
_BINARY = frozenset({"map", "mrr", "recall", "precision", "hit_rate", "r-precision"})
_WITH_DEPTH = frozenset({"precision", "hit_rate"})
_KNOWN = ("ndcg", "mrr", "map", "recall", "precision", "hit_rate", "r-precision")


def metrics_at_depth(k: int) -> tuple[str, ...]:
    """Return those of `METRICS` that rankings of `k` documents can answer.

    Recall@1000 of 100 results would be Recall@100 by a wrong name. MAP is taken over what was
    retrieved, whatever the depth.
    """
    return tuple(name for name in METRICS if _depth(name) <= k)


def check_metrics(names: Sequence[str], k: int) -> tuple[str, ...]:
    """Return metrics as ranx writes them, or raise `UserError` for one unknown or deeper than `k`."""
    checked = []
    for name in names:
        name = name.strip().lower()
        base, at, depth = name.partition("@")
        whole = depth.isdecimal() and int(depth) > 0 if at else base not in _WITH_DEPTH
        if base not in _KNOWN or not whole:
            raise UserError(
                f"{name!r} is no metric; choose among {', '.join(_KNOWN)}, with a depth as in ndcg@10."
            )
        if _depth(name) > k:
            raise UserError(f"{name} looks at {_depth(name)} documents, and rankings hold -k {k}; raise -k.")
        checked.append(name)
    return tuple(dict.fromkeys(checked))


def _depth(name: str) -> int:
    return int(name.partition("@")[2] or 0)


@dataclass(frozen=True, slots=True)
class Scores:
    """The value of each metric for each query."""

    query_ids: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    """By metric; shape (queries,), in the order of `query_ids`."""
    unjudged: NDArray[np.float64]
    """Share of the first ten documents that nobody judged, shape (queries,); NaN where none was found."""

    @property
    def unjudged_share(self) -> float:
        """Mean share of unjudged documents among the first ten, over the queries that found any."""
        known = self.unjudged[~np.isnan(self.unjudged)]
        return float(known.mean()) if len(known) else 0.0

    def mean(self) -> dict[str, float]:
        """Return the mean of each metric over the queries."""
        return {name: float(values.mean()) if len(values) else 0.0 for name, values in self.values.items()}


class Judge:
    """Collects rankings query by query and scores them against judgements.

    - nDCG@k = DCG@k / ideal DCG@k, DCG@k = sum over ranks i <= k of gain_i / log2(i + 1), where the
      gain is the judgement itself: the linear gain of Järvelin and Kekäläinen 2002
      (doi:10.1145/582415.582418), as in trec_eval and BEIR, not 2^gain - 1.
    - MRR@k: 1 / rank of the first relevant document, 0 where it is after k.
    - MAP: mean of the precision at the rank of every relevant document, those not retrieved as 0.
    - Recall@k: relevant documents in the first k / all relevant documents.
    """

    def __init__(self, qrels: Mapping[str, Mapping[str, int]], relevant_from: int = 1) -> None:
        self._relevant_from = relevant_from
        self._unjudged: dict[str, float] = {}
        self._positions: dict[str, dict[str, int]] = {}
        self._judgements: dict[str, NDArray[np.float64]] = {}
        self._rankings: dict[str, NDArray[np.float64]] = {}
        for query_id, judged in qrels.items():
            # ranx takes the ideal ranking from the order of the judgements.
            ordered = sorted(judged.items(), key=lambda item: -item[1])
            self._positions[query_id] = {document_id: i for i, (document_id, _) in enumerate(ordered)}
            scores = np.array([score for _, score in ordered], dtype=np.float64)
            self._judgements[query_id] = np.column_stack((np.arange(len(ordered), dtype=np.float64), scores))

    def add(self, query_id: str, ranking: Sequence[str]) -> None:
        """Take the documents retrieved for a query, best first. Queries without judgements are ignored."""
        positions = self._positions.get(query_id)
        if positions is None:
            return
        if query_id in self._rankings:
            raise ValueError(f"query {query_id!r} was ranked twice")
        places = np.array(
            [positions.get(document_id, _UNJUDGED) for document_id in ranking], dtype=np.float64
        )
        judged = np.flatnonzero(places != _UNJUDGED)
        if len(np.unique(places[judged])) != len(judged):
            raise ValueError(f"the ranking of query {query_id!r} holds a document twice")
        first = places[:UNJUDGED_DEPTH]
        self._unjudged[query_id] = float(np.mean(first == _UNJUDGED)) if len(first) else np.nan
        places = places[: judged[-1] + 1] if len(judged) else places[:0]
        self._rankings[query_id] = np.column_stack((places, np.arange(len(places), 0, -1, dtype=np.float64)))

    def scores(self, metrics: Sequence[str] = METRICS) -> Scores:
        """Return the metrics of every judged query, those without a ranking as 0."""
        query_ids = tuple(self._judgements)
        unjudged = np.array([self._unjudged.get(query_id, np.nan) for query_id in query_ids], np.float64)
        if not query_ids or not metrics:
            return Scores(query_ids, {name: np.zeros(len(query_ids)) for name in metrics}, unjudged)
        empty = np.empty((0, 2), dtype=np.float64)
        rankings = [self._rankings.get(query_id, empty) for query_id in query_ids]
        level = self._relevant_from
        values = _ranx_evaluate(list(self._judgements.values()), rankings, metrics, level)
        return Scores(query_ids, values, unjudged)


def score_rankings(
    qrels: Mapping[str, Mapping[str, int]],
    rankings: Mapping[str, Sequence[str]],
    metrics: Sequence[str] = METRICS,
    relevant_from: int = 1,
) -> Scores:
    """Return the metrics of rankings, each a query's document ids with the best first."""
    judge = Judge(qrels, relevant_from)
    for query_id, ranking in rankings.items():
        judge.add(query_id, ranking)
    return judge.scores(metrics)


def _ranx_evaluate(
    judgements: list[NDArray[np.float64]],
    rankings: list[NDArray[np.float64]],
    metrics: Sequence[str],
    relevant_from: int,
) -> dict[str, NDArray[np.float64]]:
    with warnings.catch_warnings():
        # Numba warns of a cast inside ranx when it compiles ranx's kernels.
        warnings.simplefilter("ignore")
        import ranx
        from numba.typed import List as TypedList

        named = {name: _with_level(name, relevant_from) for name in metrics}
        # Asked for one metric alone, ranx 0.3.20 looks it up without its depth and fails.
        asked = [*named.values(), *METRICS[:2]]
        with _numba_threads_kept():
            values = ranx.evaluate(TypedList(judgements), TypedList(rankings), asked, return_mean=False)
    return {name: np.asarray(values[asked_for], dtype=np.float64) for name, asked_for in named.items()}


def _with_level(metric: str, relevant_from: int) -> str:
    binary = metric.partition("@")[0] in _BINARY
    return f"{metric}-l{relevant_from}" if binary and relevant_from != 1 else metric


@contextmanager
def _numba_threads_kept() -> Iterator[None]:
    """Restore Numba's thread count, which `ranx.evaluate` sets to 1 for fewer than 10 queries."""
    import numba

    threads = numba.get_num_threads()
    try:
        yield
    finally:
        numba.set_num_threads(threads)
