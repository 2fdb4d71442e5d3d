"""How sparse encoded texts are, and what that costs at search time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


class PostingCounts(Protocol):
    """What sparsity needs to know of an index; `lsr.index.Index` is one."""

    @property
    def document_count(self) -> int:
        """Number of live documents."""

    @property
    def posting_count(self) -> int:
        """Number of stored term weights."""

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of documents that hold each term, shape (terms,)."""


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Means over the documents of an index and over a set of queries."""

    mean_document_terms: float
    mean_query_terms: float
    flops: float
    """Expected number of terms that a query and a document share."""


def measure_sparsity(index: PostingCounts, queries: sparse.csr_array) -> Sparsity:
    """Return mean terms a document and a query, and FLOPS.

    FLOPS = sum over terms j of p_q(j) p_d(j), where p(j) is the share of queries (documents) that
    hold term j: Paria et al. 2020, "Minimizing FLOPs to Learn Efficient Sparse Representations"
    (arXiv 2004.05665), with both shares counted, not estimated from activations, and the queries
    apart from the documents, as in SPLADE. Times the number of documents it is the number of
    postings that an exhaustive search reads for a query.
    """
    documents, query_count = index.document_count, queries.shape[0]
    term_ids, counts = np.unique(queries.indices, return_counts=True)
    frequencies = index.document_frequencies(term_ids.astype(np.int64)).astype(np.float64)
    # A query and a document drawn at random: average their shared terms over all pairs.
    pairs = float(documents) * query_count
    return Sparsity(
        mean_document_terms=index.posting_count / documents if documents else 0.0,
        mean_query_terms=queries.nnz / query_count if query_count else 0.0,
        flops=float(counts @ frequencies) / pairs if pairs else 0.0,
    )
