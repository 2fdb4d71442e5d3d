"""How like real documents grown ones are: frequencies, maxima, what pruning sees, near-copies.

Everything is brute force, over all documents and a sample of the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

K = 10
BLOCK = 8
QUERIES = 200
NEIGHBOURS_OF = 300
_PERCENTILES = (5, 25, 50, 75, 95)


def block_maxima(documents: sparse.csr_array, size: int = BLOCK) -> sparse.csr_array:
    """Return the largest impact of each term in each block of `size` consecutive documents, float32."""
    count, vocabulary = documents.shape
    blocks = np.repeat(np.arange(count, dtype=np.int64) // size, np.diff(documents.indptr))
    keys = blocks * vocabulary + documents.indices
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    maxima = np.maximum.reduceat(documents.data[order], first).astype(np.float32)
    rows, terms = np.divmod(keys[first], vocabulary)
    return sparse.csr_array((maxima, (rows, terms)), shape=(-(-count // size), vocabulary))


def pruning(documents: sparse.csr_array, maxima: sparse.csr_array, queries: sparse.csr_array) -> list[float]:
    """Return percent of blocks whose bound beats the 10th score, and mean scores at ranks 1, 10, 100, 1000."""
    sample = queries[:QUERIES].T.tocsc()
    scores = (documents.astype(np.float32) @ sample).toarray()
    best = -np.sort(-np.partition(scores, -1000, axis=0)[-1000:], axis=0)
    beating = (maxima @ sample).toarray() > best[K - 1]
    return [100 * float(beating.mean()), *best[[0, 9, 99, 999]].mean(axis=1).tolist()]


def nearest(documents: sparse.csr_array) -> NDArray[np.float32]:
    """Return the cosine of a sample of documents with the nearest other one, shape (sample,)."""
    wide = documents.astype(np.float32)
    lengths = np.maximum(np.sqrt(wide.multiply(wide).sum(axis=1)), 1e-9)
    sample = np.random.default_rng(1).choice(wide.shape[0], NEIGHBOURS_OF, replace=False)
    cosines = (wide[sample] @ wide.T.tocsr()).toarray() / lengths[sample][:, None] / lengths
    cosines[np.arange(len(sample)), sample] = 0
    return cosines.max(axis=1)


def _spread(values: NDArray[np.generic], digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in np.percentile(values, _PERCENTILES))


def print_likeness(
    corpora: Mapping[str, Callable[[], sparse.csr_array]], queries: Mapping[str, sparse.csr_array]
) -> None:
    """Print Markdown tables with a row for each corpus; spreads are percentiles 5, 25, 50, 75, 95."""
    shapes, prunings = [], []
    for name, make in corpora.items():
        documents = make()
        frequencies = np.bincount(documents.indices, minlength=documents.shape[1])
        seen = frequencies > 0
        by_term = documents.tocsc()
        maxima = np.maximum.reduceat(by_term.data, by_term.indptr[:-1][seen])
        blocks = block_maxima(documents)
        shapes.append([
            name,
            f"{documents.nnz / documents.shape[0]:.1f}",
            _spread(frequencies / documents.shape[0] * 1e4, 1),
            f"{int((~seen).sum()):,}",
            _spread(documents.data, 0),
            _spread(maxima, 0),
            f"{blocks.nnz / blocks.shape[0]:.0f}",
            _spread(blocks.data, 0),
            _spread(nearest(documents), 2),
        ])  # fmt: skip
        for kind, sample in queries.items():
            share, *scores = pruning(documents, blocks, sample)
            touched = frequencies[sample.indices].sum() / sample.shape[0]
            prunings.append(
                [name, kind, f"{touched:,.0f}", f"{share:.2f}", *(f"{score:.0f}" for score in scores)]
            )
        print(f"{name}: done", flush=True)
    heads = ["documents", "terms each", "frequency, of 10,000", "unseen terms", "impacts",
             "maxima of terms", f"terms a block of {BLOCK}", "maxima in blocks", "cosine of the nearest"]  # fmt: skip
    _table(heads, shapes)
    heads = ["documents", "queries", "postings touched", "blocks beating the 10th score, %",
             "1st score", "10th", "100th", "1000th"]  # fmt: skip
    _table(heads, prunings)


def _table(heads: list[str], rows: list[list[str]]) -> None:
    print("\n| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")
