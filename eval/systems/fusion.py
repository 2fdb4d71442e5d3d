"""Fusions of rankings: reciprocal rank fusion and weighted sums of min-max scores.

Both are ranx's ``rrf`` and ``wsum`` after ``min-max``, in NumPy: `tests/eval/test_fusion.py` holds them
equal. ranx puts every document id of every ranking into typed dictionaries; measured on two runs of 500
queries and 1,000 documents each, one fusion took it 11 s and tuning a weight 45 s, these take .2 and .5 s.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lsr.errors import UserError
from lsr.eval.qrels import Qrels
from lsr.eval.rankings import Rankings, RankingsBuilder
from lsr.eval.systems.base import Derived, Workspace

Method = Literal["rrf", "weighted"]

RRF_K = 60
FOLDS = 5
TUNED_DEPTH = 10
_STEPS = 10


class FusedSystem:
    """A fusion of several systems' rankings.

    - ``rrf``: the sum over systems of 1 / (60 + rank), ranks from 1: Cormack, Clarke & Büttcher 2009
      (doi:10.1145/1571941.1572114).
    - ``weighted``: the weighted sum of scores, each system's mapped to 0 to 1 between the least and the
      best that it returned for the query; 0 where it did not return a document. Weights, in steps of .1,
      are those of the best nDCG@10 on other queries: those of `split`, such as ``dev``; without one,
      each of five folds of the queries is fused with the weights of the other four.

    Equal scores are in the order of the first system, then of the second.
    """

    def __init__(
        self,
        label: str,
        method: Method,
        parts: Sequence[str],
        spec: str | None = None,
        *,
        k: int = RRF_K,
        split: str | None = None,
    ) -> None:
        if len(parts) < 2:
            raise UserError(
                f"The fusion {spec or label} has one system; name two or more, as in rrf:bm25,default."
            )
        self.label = label
        self.spec = spec or f"{method}:{','.join(parts)}"
        self.parts = tuple(parts)
        self.method: Method = method
        self.k = k
        self.split = split

    @property
    def _tuned_on(self) -> str:
        return f"nDCG@10 on {self.split}" if self.split else f"nDCG@10, {FOLDS} folds of the queries"

    def identity(self) -> dict[str, Any]:
        """Return the method and its parameters."""
        if self.method == "rrf":
            return {"kind": "fusion", "method": "rrf", "k": self.k}
        return {
            "kind": "fusion",
            "method": "weighted sum of min-max scores",
            "tuned": self._tuned_on,
        }

    def derive(
        self, workspace: Workspace, parts: Sequence[Rankings], k: int, tuning: Tuning | None = None
    ) -> Derived:
        """Return the fused rankings; weights are tuned on `tuning` where it is given."""
        start = time.perf_counter()
        pools = Pools(parts)
        parameters: dict[str, Any] = {}
        if self.method == "rrf":
            fused = [pool.reciprocal_ranks(self.k) for pool in pools]
        else:
            query_ids = parts[0].query_ids
            if tuning is None:
                gains = _gains_by_query(query_ids, pools, workspace.dataset.qrels)
                folds = np.array([_fold(query_id) for query_id in query_ids])
                weights = [tune_weights(gains[folds != fold], len(parts)) for fold in range(FOLDS)]
                chosen = [weights[fold] for fold in folds.tolist()]
            else:
                gains = _gains_by_query(tuning.rankings[0].query_ids, Pools(tuning.rankings), tuning.qrels)
                weights = [tune_weights(gains, len(parts))]
                chosen = weights * len(query_ids)
            fused = [pool.weighted(one) for pool, one in zip(pools, chosen, strict=True)]
            parameters["weights"] = {
                label: [round(float(one[place]), 2) for one in weights]
                for place, label in enumerate(self.parts)
            }
        builder = RankingsBuilder()
        for query_id, pool, scores in zip(parts[0].query_ids, pools, fused, strict=True):
            # Stable: equal scores stay in the order of the pool.
            best = np.argsort(-scores, kind="stable")[:k]
            builder.add(query_id, pools.names(pool.documents[best]), scores[best])
        return Derived(builder.build(), parameters, time.perf_counter() - start)


@dataclass(frozen=True)
class Tuning:
    """Other queries to tune weights on: their judgements, and what each part found for them."""

    qrels: Qrels
    rankings: list[Rankings]


@dataclass(frozen=True)
class Pool:
    """What several systems found for one query.

    `documents` are numbers, each once, in the order of the first system, then what the second adds.
    `ranks` and `scores` have the shape (systems, documents): ranks from 1, 0 where a system did not
    find a document; scores mapped to 0 to 1, and 0 there.
    """

    documents: NDArray[np.int64]
    ranks: NDArray[np.int64]
    scores: NDArray[np.float64]

    def reciprocal_ranks(self, k: int) -> NDArray[np.float64]:
        """Return the fused scores of reciprocal rank fusion, shape (documents,)."""
        shares: NDArray[np.float64] = np.where(self.ranks > 0, 1.0 / (k + self.ranks), 0.0).sum(axis=0)
        return shares

    def weighted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted sum of scores, shape (documents,); or (weights, documents) for many weights."""
        fused: NDArray[np.float64] = weights @ self.scores
        return fused


class Pools:
    """The pools of all queries, documents numbered across the systems."""

    def __init__(self, parts: Sequence[Rankings]) -> None:
        numbers: dict[str, int] = {}
        self._parts = []
        for rankings in parts:
            if rankings.query_ids != parts[0].query_ids:
                raise ValueError("the rankings to fuse are of different queries")
            table = np.array(
                [numbers.setdefault(name, len(numbers)) for name in rankings.document_ids], np.int64
            )
            self._parts.append((rankings, table))
        self._names = list(numbers)
        self._pools = [self._pool(place) for place in range(len(parts[0]))]

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools)

    def names(self, documents: NDArray[np.int64]) -> list[str]:
        """Return the ids of documents by number."""
        return [self._names[number] for number in documents.tolist()]

    def _pool(self, place: int) -> Pool:
        found = []
        for rankings, table in self._parts:
            part = slice(int(rankings.starts[place]), int(rankings.starts[place + 1]))
            found.append((table[rankings.documents[part]], rankings.scores[part].astype(np.float64)))
        everything = np.concatenate([documents for documents, _ in found])
        distinct, first = np.unique(everything, return_index=True)
        order = np.argsort(first)
        places = np.empty(len(distinct), np.int64)
        places[order] = np.arange(len(distinct))
        ranks = np.zeros((len(found), len(distinct)), np.int64)
        scores = np.zeros((len(found), len(distinct)))
        for system, (documents, values) in enumerate(found):
            columns = places[np.searchsorted(distinct, documents)]
            ranks[system, columns] = np.arange(1, len(documents) + 1)
            if len(values):
                span = max(float(values.max() - values.min()), 1e-9)
                scores[system, columns] = (values - values.min()) / span
        return Pool(distinct[order], ranks, scores)


def weight_grid(systems: int) -> NDArray[np.float64]:
    """Return weights in steps of .1 that add up to 1, shape (weights, systems), the most even first."""
    grid = np.array(
        [row for row in product(range(_STEPS + 1), repeat=systems) if sum(row) == _STEPS], np.float64
    )
    grid /= _STEPS
    return grid[np.argsort(((grid - 1 / systems) ** 2).sum(axis=1), kind="stable")]


def tune_weights(gains: NDArray[np.float64], systems: int) -> NDArray[np.float64]:
    """Return the weights of the best mean nDCG@10, shape (systems,); equal ones: the most even.

    `gains` holds the nDCG@10 of every query at every weight of `weight_grid`, shape (queries, weights).
    """
    grid = weight_grid(systems)
    best: NDArray[np.float64] = grid[int(np.argmax(gains.mean(axis=0).round(6)))] if len(gains) else grid[0]
    return best


def _gains_by_query(query_ids: Sequence[str], pools: Pools, qrels: Qrels) -> NDArray[np.float64]:
    """Return nDCG@10 of every query at every weight, shape (queries, weights)."""
    discounts = 1 / np.log2(np.arange(2, TUNED_DEPTH + 2))
    rows = []
    for query_id, pool in zip(query_ids, pools, strict=True):
        judged = qrels.get(query_id, {})
        weights = weight_grid(len(pool.ranks))
        ideal = np.sort(np.maximum(np.array(list(judged.values()), np.float64), 0))[::-1][:TUNED_DEPTH]
        ideal_gain = float(ideal @ discounts[: len(ideal)]) if len(ideal) else 0.0
        if not ideal_gain or not len(pool.documents):
            rows.append(np.zeros(len(weights)))
            continue
        gains = np.maximum([judged.get(name, 0) for name in pools.names(pool.documents)], 0)
        depth = min(TUNED_DEPTH, len(gains))
        top = np.argsort(-pool.weighted(weights), axis=1, kind="stable")[:, :depth]
        rows.append((gains[top] * discounts[:depth]).sum(axis=1) / ideal_gain)
    return np.array(rows).reshape(len(rows), -1)


def _fold(query_id: str) -> int:
    """Return which fifth of the queries one belongs to, whatever the others are."""
    return int.from_bytes(hashlib.sha256(query_id.encode()).digest()[:4], "big") % FOLDS
