"""BM25 in two factors, so that an inner product of a query and a document vector is its score.

Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, in the form of
Lucene since version 8 (LUCENE-8563): the constant factor k1 + 1 is left out, lengths are exact, the
IDF is never negative. Kamphuis et al., "Which BM25 Do You Mean? A Large-Scale Reproducibility Study
of Scoring Variants", ECIR 2020, compare the variants; this one is their "Lucene (accurate)".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def inverse_document_frequency(
    document_frequencies: NDArray[np.int64], document_count: int
) -> NDArray[np.float64]:
    """Return ln(1 + (N - df + 0.5) / (df + 0.5)) for each term, shape (terms,); always above 0."""
    frequencies = np.asarray(document_frequencies, dtype=np.float64)
    return np.log1p((document_count - frequencies + 0.5) / (frequencies + 0.5))


def document_part(
    frequencies: sparse.csr_array, k1: float, b: float, average_length: float | None = None
) -> sparse.csr_array:
    """Return tf / (tf + k1 * (1 - b + b * length / average_length)) for every term frequency.

    `frequencies` has shape (documents, vocabulary); a document's length is the sum of its row. The
    average is that of these documents unless it is given.
    """
    lengths = np.asarray(frequencies.sum(axis=1), dtype=np.float64).reshape(-1)
    if average_length is None:
        average_length = float(lengths.mean()) if lengths.size else 0.0
    # Without a single token there is no weight to compute either: any average will do.
    norms = k1 * (1 - b + b * lengths / (average_length or 1.0))
    counts = frequencies.data.astype(np.float64)
    weights = counts / (counts + np.repeat(norms, np.diff(frequencies.indptr)))
    return sparse.csr_array(
        (weights.astype(np.float32), frequencies.indices, frequencies.indptr), shape=frequencies.shape
    )


def count_terms(
    rows: NDArray[np.int64], term_ids: NDArray[np.int64], shape: tuple[int, int]
) -> sparse.csr_array:
    """Count (row, term id) pairs into a float32 CSR of `shape`; pairs with term id -1 are left out."""
    kept = term_ids >= 0
    width = max(1, shape[1])
    pairs, counts = np.unique(rows[kept] * width + term_ids[kept], return_counts=True)
    indptr = np.zeros(shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs // width, minlength=shape[0]), out=indptr[1:])
    return sparse.csr_array(
        (counts.astype(np.float32), (pairs % width).astype(np.int32), indptr), shape=shape
    )
