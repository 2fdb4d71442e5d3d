"""Exact results by brute force: float64 scores of the impacts with the float query weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vectors import KINDS, Vectors

CHECKED = 200
DEPTHS = (10, 100)
# Engines add in float32, so scores this close to the k-th count as equal to it.
_TIE = 1e-6


def write_truth(vectors: Vectors, path: Path) -> None:
    """Write, for each of the first queries, the documents that may stand among the best 100.

    These are all whose score reaches the 100th best one's; of equal scores there can be many.
    """
    arrays = {}
    for kind in KINDS:
        queries = vectors.queries(kind)[:CHECKED].astype(np.float64).T.tocsc()
        kept: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = [
            (np.empty(0, np.int64), np.empty(0, np.float64)) for _ in range(queries.shape[1])
        ]
        base = 0
        for chunk in vectors.chunks():
            scores = (chunk.astype(np.float64) @ queries).toarray()
            for i, (numbers, best) in enumerate(kept):
                least = (
                    np.partition(best, -DEPTHS[-1])[-DEPTHS[-1]] * (1 - _TIE)
                    if len(best) >= DEPTHS[-1]
                    else 0
                )
                found = np.flatnonzero((scores[:, i] > 0) & (scores[:, i] >= least))
                numbers = np.concatenate([numbers, found + base])
                best = np.concatenate([best, scores[found, i]])
                if len(best) > DEPTHS[-1]:
                    least = np.partition(best, -DEPTHS[-1])[-DEPTHS[-1]] * (1 - _TIE)
                    numbers, best = numbers[best >= least], best[best >= least]
                kept[i] = numbers, best
            base += chunk.shape[0]
        arrays[f"{kind}-starts"] = np.cumsum([0, *(len(numbers) for numbers, _ in kept)])
        arrays[f"{kind}-documents"] = np.concatenate([numbers for numbers, _ in kept])
        arrays[f"{kind}-scores"] = np.concatenate([scores for _, scores in kept])
    with path.open("wb") as file:
        np.savez(file, **arrays)


class Truth:
    """Exact results of the first queries of each kind."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self._arrays = dict(arrays)

    def recall(self, kind: str, k: int, found: list[list[int]]) -> float:
        """Return the mean share of the k best that were found, ties at the k-th score allowed.

        A query with fewer than k documents above zero asks for those there are; one with none is left out.
        """
        starts = self._arrays[f"{kind}-starts"]
        shares = []
        for i, numbers in enumerate(found):
            part = slice(starts[i], starts[i + 1])
            documents, scores = self._arrays[f"{kind}-documents"][part], self._arrays[f"{kind}-scores"][part]
            wanted = min(k, len(scores))
            if wanted:
                good = documents[scores >= np.partition(scores, -wanted)[-wanted] * (1 - _TIE)]
                shares.append(len(np.intersect1d(numbers[:k], good)) / wanted)
        return float(np.mean(shares))
