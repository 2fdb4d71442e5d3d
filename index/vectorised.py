"""Exhaustive exact search in NumPy, for a process that has not loaded Numba.

Loading Numba takes longer than scoring a query over a million postings; one query from a cold
start is answered sooner this way. The scores are the same bits as those of the Numba kernel: NumPy
multiplies and adds float32 in the same order. It is also the plain reading of what the kernel does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsr.index.hits import Hits
from lsr.index.postings import Postings


def search_vectorised(
    postings: Postings,
    query_starts: NDArray[np.int32],
    query_terms: NDArray[np.int32],
    query_weights: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
) -> list[Hits]:
    """Return the hits that `lsr.index.answering.answer` returns, by plain array operations."""
    hits = []
    scores = np.zeros(postings.document_count, np.float32)
    for first, last in zip(query_starts[:-1].tolist(), query_starts[1:].tolist(), strict=True):
        scores[:] = 0
        for term, weight in zip(query_terms[first:last].tolist(), query_weights[first:last], strict=True):
            documents, codes = postings.documents_of(term)
            # A damaged file may name documents past the end.
            if len(documents) and int(documents.max()) >= postings.document_count:
                inside = documents < postings.document_count
                documents, codes = documents[inside], codes[inside]
            # A document occurs once in a term's postings, so fancy-index addition is safe.
            scores[documents] += weight * postings.grid.decode(codes)
        if allowed is not None:
            scores[~allowed] = 0
        hits.append(best_documents(scores, k))
    return hits


def best_documents(scores: NDArray[np.float32], k: int) -> Hits:
    """Return the k highest scores above 0; equal scores by rising document number."""
    candidates = np.flatnonzero(scores > 0)
    if k <= 0:
        candidates = candidates[:0]
    elif len(candidates) > k:
        values = scores[candidates]
        bound = np.partition(values, len(values) - k)[len(values) - k]
        candidates = candidates[values >= bound]
    order = np.argsort(-scores[candidates], kind="stable")[:k]
    documents = candidates[order]
    return Hits(documents.astype(np.int64), scores[documents])
