"""Batches of query weights in the form that searching wants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.errors import IndexProblem
from lsr.index.warming import warming


class Queries(NamedTuple):
    """Query weights as CSR parts: query i has the terms and weights at ``starts[i]:starts[i + 1]``.

    Terms ascend within a query; weights are finite and at least 0.
    """

    starts: NDArray[np.int32]
    terms: NDArray[np.int32]
    weights: NDArray[np.float32]

    @property
    def number(self) -> int:
        """How many queries there are."""
        return len(self.starts) - 1

    def part(self, first: int, past: int) -> Queries:
        """Return the queries ``first:past``."""
        low, high = self.starts[first], self.starts[past]
        return Queries(self.starts[first : past + 1] - low, self.terms[low:high], self.weights[low:high])


def read_queries(queries: sparse.csr_array) -> Queries:
    """Check query weights, shape (queries, vocabulary), and put each query's terms in order.

    Raises:
        IndexProblem: for a weight below 0, NaN or infinite.
    """
    # This runs for every single query; conversions and checks of SciPy's cost as much as some searches.
    if not isinstance(queries, sparse.csr_array) or queries.dtype != np.float32:
        queries = sparse.csr_array(queries).astype(np.float32)
    parts = _parts(queries)
    problem = _check(parts)
    if problem == 2:
        worst = parts.weights[~((parts.weights >= 0) & (parts.weights < np.inf))][0]
        raise IndexProblem(f"A query has the term weight {worst}; weights are finite and not below 0.")
    if problem == 1:
        queries = queries.copy()
        queries.sum_duplicates()
        parts = _parts(queries)
    return parts


def _parts(queries: sparse.csr_array) -> Queries:
    starts, terms = queries.indptr, queries.indices
    if starts.dtype != np.int32 or terms.dtype != np.int32:
        starts, terms = starts.astype(np.int32), terms.astype(np.int32)
    return Queries(starts, terms, queries.data)


def _check(parts: Queries) -> int:
    """Return 0 where all is well, 1 where terms do not ascend, 2 for a weight that is none."""
    if warming.ready:
        from lsr.index.reading import check_queries

        return int(check_queries(*parts))
    if not ((parts.weights >= 0) & (parts.weights < np.inf)).all():
        return 2
    rises = parts.terms[1:] > parts.terms[:-1]
    inner = parts.starts[1:-1]
    rises[inner[(inner > 0) & (inner < len(parts.terms))] - 1] = True
    return 0 if rises.all() else 1
