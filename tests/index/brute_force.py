"""Plain readings of what an index promises, to test the fast ones against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index import Hits
from lsr.index.grid import ImpactGrid


def scores_by_hand(stored: sparse.csr_array, query: sparse.csr_array) -> NDArray[np.float32]:
    """Float32 sums in ascending term id of float32(weight * value), one document after the other."""
    weights = dict(zip(query.indices.tolist(), query.data, strict=True))
    scores = np.zeros(stored.shape[0], np.float32)
    for document in range(stored.shape[0]):
        part = slice(stored.indptr[document], stored.indptr[document + 1])
        total = np.float32(0)
        for term, value in sorted(zip(stored.indices[part].tolist(), stored.data[part], strict=True)):
            if term in weights:
                with np.errstate(over="ignore"):
                    total = np.float32(total + np.float32(weights[term] * value))
        scores[document] = total
    return scores


def hits_by_hand(stored: sparse.csr_array, query: sparse.csr_array, k: int) -> Hits:
    """The k best documents: score above 0, falling; equal scores by rising document."""
    scores = scores_by_hand(stored, query)
    ranked = sorted((d for d in range(len(scores)) if scores[d] > 0), key=lambda d: (-scores[d], d))[:k]
    return Hits(np.array(ranked, np.int64), scores[ranked])


def on_grid(weights: sparse.csr_array, grid: ImpactGrid) -> sparse.csr_array:
    """The values that an index keeps for float weights, worked out one by one in Python."""
    stored = weights.copy()
    top = 255 if grid.bits == 8 else 65_535
    step = np.float32(grid.maximum / top)
    values = []
    for weight in weights.data.tolist():
        code = min(max(round(weight / float(step)), 1), top)
        values.append(np.float32(code) * step)
    stored.data = np.array(values, np.float32)
    return stored


def assert_same_hits(found: Hits, expected: Hits) -> None:
    """Same documents, same bits of scores, same order."""
    assert found.documents.tolist() == expected.documents.tolist()
    assert found.scores.tobytes() == expected.scores.tobytes()
