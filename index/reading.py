"""A query's terms as a segment knows them: a kernel that every algorithm starts with."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np


@nb.njit(nogil=True, cache=True)
def read_query(
    terms: Any,
    weights: Any,
    first: Any,
    past: Any,
    term_runs: Any,
    run_count: Any,
    lists: Any,
    own_weights: Any,
) -> Any:
    """Write down those terms of a query that a segment holds, in their order, and return how many.

    Args:
        terms, weights: those of a batch; the query's lie at ``first:past``.
        lists: int64 [terms, 3], receives the term, its first run, and the run after its last.
        own_weights: float32 [terms], receives the weights, which are above 0.
    """
    count = np.int64(0)
    for j in range(first, past):
        term = np.int64(terms[j])
        if term < 0 or term >= len(term_runs) - 1 or not weights[j] > 0:
            continue
        low = max(np.int64(0), term_runs[term])
        high = min(run_count, term_runs[term + 1])
        if low < high:
            lists[count, 0] = term
            lists[count, 1] = low
            lists[count, 2] = high
            own_weights[count] = weights[j]
            count += 1
    return count


@nb.njit(nogil=True, cache=True)
def check_queries(starts: Any, terms: Any, weights: Any) -> Any:
    """Return 0 for a batch as kernels want it, 1 where terms do not ascend, 2 for a weight that is none."""
    problem = np.int64(0)
    for i in range(len(starts) - 1):
        before = np.int64(-1)
        for j in range(starts[i], starts[i + 1]):
            if not (weights[j] >= 0 and weights[j] < np.inf):
                return np.int64(2)
            if terms[j] <= before:
                problem = np.int64(1)
            before = np.int64(terms[j])
    return problem
