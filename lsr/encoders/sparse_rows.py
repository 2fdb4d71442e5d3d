"""Rows of term weights: from dense to CSR, keeping the heaviest terms, the maximum of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def from_dense(weights: NDArray[np.float32]) -> sparse.csr_array:
    """Return the positive entries of `weights`, shape (texts, vocabulary), as float32 CSR."""
    rows, columns = np.nonzero(weights > 0)
    indptr = np.zeros(weights.shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=weights.shape[0]), out=indptr[1:])
    return _csr(weights[rows, columns], columns, indptr, weights.shape[1])


def from_lists(
    indices: list[NDArray[np.int64]], values: list[NDArray[np.float32]], width: int
) -> sparse.csr_array:
    """Return one row per list entry; indices ascend within a row, values at or below 0 are dropped."""
    kept = [value > 0 for value in values]
    indptr = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum([int(k.sum()) for k in kept], out=indptr[1:])
    empty_i, empty_v = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    columns = np.concatenate([empty_i, *(i[k] for i, k in zip(indices, kept, strict=True))])
    data = np.concatenate([empty_v, *(v[k] for v, k in zip(values, kept, strict=True))])
    return _csr(data, columns, indptr, width)


def keep_heaviest(
    weights: sparse.csr_array, limit: int | None, precedence: NDArray[np.int64] | None = None
) -> sparse.csr_array:
    """Keep the `limit` largest weights of each row; among equal ones the lower term id stays.

    `precedence`, shape (vocabulary,), goes before ids: the term with the lower number stays.
    """
    lengths = np.diff(weights.indptr)
    if limit is None or not lengths.size or lengths.max() <= limit:
        return weights
    rows = np.repeat(np.arange(weights.shape[0]), lengths)
    first = () if precedence is None else (precedence[weights.indices],)
    order = np.lexsort((weights.indices, *first, -weights.data, rows))
    rank = np.arange(order.size) - weights.indptr[rows]
    chosen = np.sort(order[rank < limit])
    indptr = np.zeros(weights.shape[0] + 1, dtype=np.int64)
    np.cumsum(np.minimum(lengths, limit), out=indptr[1:])
    return _csr(weights.data[chosen], weights.indices[chosen], indptr, weights.shape[1])


def maximum_by_owner(
    weights: sparse.csr_array, owners: NDArray[np.int64], owner_count: int
) -> sparse.csr_array:
    """Return, for each owner, every term's maximum over the rows that it owns.

    `owners` holds an owner below `owner_count` for each row of `weights`, in any order.
    """
    if np.unique(owners).size == owners.size:
        return _placed(weights, owners, owner_count)
    rows = np.repeat(owners, np.diff(weights.indptr))
    return maximum_by_term(rows, weights.indices, weights.data, (owner_count, weights.shape[1]))


def maximum_by_term(
    rows: NDArray[np.int64], terms: NDArray[Any], values: NDArray[np.float32], shape: tuple[int, int]
) -> sparse.csr_array:
    """Return the matrix of `shape` whose entries are the largest of `values` at the same row and term."""
    order = np.lexsort((terms, rows))
    rows, terms, values = rows[order], terms[order], values[order]
    if rows.size:
        starts = np.flatnonzero(np.r_[True, (np.diff(rows) != 0) | (np.diff(terms) != 0)])
        rows, terms, values = rows[starts], terms[starts], np.maximum.reduceat(values, starts)
    indptr = np.zeros(shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
    return _csr(values, terms, indptr, shape[1])


def renamed(weights: sparse.csr_array, term_of: NDArray[np.int64], width: int) -> sparse.csr_array:
    """Return `weights` with every term replaced by ``term_of[term]``; of terms that meet the heaviest stays."""
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    return maximum_by_term(rows, term_of[weights.indices], weights.data, (weights.shape[0], width))


def _placed(weights: sparse.csr_array, owners: NDArray[np.int64], owner_count: int) -> sparse.csr_array:
    """Return every row at its own owner's place; owners without one are empty."""
    lengths = np.zeros(owner_count, dtype=np.int64)
    lengths[owners] = np.diff(weights.indptr)
    indptr = np.zeros(owner_count + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    sorted_rows = weights[np.argsort(owners)]
    return _csr(sorted_rows.data, sorted_rows.indices, indptr, weights.shape[1])


def terms_held(
    owners: list[int], pieces: Sequence[NDArray[Any] | list[int]], owner_count: int, width: int
) -> sparse.csr_array:
    """Return 1 for every distinct term that an owner holds, shape (owner_count, width).

    `owners` holds the owner of each entry of `pieces`; ids of `width` or more are left out.
    """
    owner = np.repeat(np.asarray(owners, dtype=np.int64), [len(ids) for ids in pieces])
    flat = np.concatenate([np.zeros(0, np.int64), *pieces]).astype(np.int64)
    pairs = np.unique((owner * width + flat)[flat < width])
    indptr = np.zeros(owner_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs // width, minlength=owner_count), out=indptr[1:])
    return _csr(np.ones(len(pairs), np.float32), pairs % width, indptr, width)


def stacked(parts: list[sparse.csr_array], width: int) -> sparse.csr_array:
    """Return the rows of all `parts` one below another; with no parts, shape (0, width)."""
    if not parts:
        return _csr(np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(1, np.int64), width)
    rows: Any = sparse.vstack(parts, format="csr", dtype=np.float32)
    return _csr(rows.data, rows.indices, rows.indptr, width)


def _csr(
    data: NDArray[np.float32], indices: NDArray[Any], indptr: NDArray[np.int64], width: int
) -> sparse.csr_array:
    matrix = sparse.csr_array(
        (data.astype(np.float32, copy=False), indices.astype(np.int32, copy=False), indptr),
        shape=(indptr.size - 1, width),
    )
    matrix.has_sorted_indices = True
    return matrix
