"""What a text says itself, added to what a model makes of it.

A learned encoder weighs the pieces of a text well on average and some of them badly; the frequency of a
piece never errs that way. Added to the learned weights before the heaviest terms are kept, BM25's saturated
term frequency gives one vector, and one index, what a fusion of two rankings gives: both scores are sums
over the same query terms with the same query weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# BM25's constants (Robertson and Zaragoza, 2009). Lengths are fixed, of a text in pieces and in words without
# stop words: a corpus' own average would make vectors depend on the other documents.
_K1 = 1.2
_B, _PIECES = 0.4, 128
_WORD_B, _WORDS = 0.75, 100


def counted_pieces(
    owners: list[int], pieces: list[NDArray[np.int32]], owner_count: int, width: int
) -> sparse.csr_array:
    """Return how often each text holds each piece, float32, shape (owner_count, width).

    `owners` holds the text of each entry of `pieces`; ids of `width` or more are left out.
    """
    owner = np.repeat(np.asarray(owners, dtype=np.int64), [len(ids) for ids in pieces])
    flat = np.concatenate([np.zeros(0, np.int64), *pieces]).astype(np.int64)
    pairs, counts = np.unique((owner * width + flat)[flat < width], return_counts=True)
    indptr = np.zeros(owner_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs // width, minlength=owner_count), out=indptr[1:])
    return sparse.csr_array(
        (counts.astype(np.float32), (pairs % width).astype(np.int32), indptr), shape=(owner_count, width)
    )


def with_lexical_weights(
    weights: sparse.csr_array, counts: sparse.csr_array, factor: float, left_out: NDArray[np.int64]
) -> sparse.csr_array:
    """Return ``weights + factor * tf / (tf + k1 (1 - b + b length / 128))``, k1 1.2 and b .4.

    `counts` holds the term frequencies, shape as `weights`; pieces in `left_out` neither count as length nor
    get a weight.
    """
    kept = ~np.isin(counts.indices, left_out)
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))[kept]
    own = sparse.csr_array((counts.data[kept], (rows, counts.indices[kept])), shape=counts.shape)
    return _added(weights, _saturated(own, factor, _B, _PIECES))


def with_word_weights(weights: sparse.csr_array, counts: sparse.csr_array, factor: float) -> sparse.csr_array:
    """Return ``weights + factor * tf / (tf + k1 (1 - b + b length / 100))``, k1 1.2 and b .75.

    `counts` holds how often texts hold words, shape as `weights`.
    """
    return _added(weights, _saturated(counts, factor, _WORD_B, _WORDS))


def _saturated(counts: sparse.csr_array, factor: float, b: float, length: float) -> sparse.csr_array:
    lengths = np.asarray(counts.sum(axis=1), dtype=np.float64)
    norms = np.repeat(_K1 * (1 - b + b * lengths / length), np.diff(counts.indptr))
    data = (factor * counts.data / (counts.data + norms)).astype(np.float32)
    return sparse.csr_array((data, counts.indices, counts.indptr), shape=counts.shape)


def _added(weights: sparse.csr_array, more: sparse.csr_array) -> sparse.csr_array:
    total = sparse.csr_array(weights + more)
    total.sort_indices()
    return total
