"""A heap of the k best hits, for use inside Numba kernels: the worst of them on top.

Hits rank by falling score, equal scores by rising document number. Scores are at least 0, and
float32 values of that kind are ordered as their bits are, so a kernel may compare integers.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir
import numba as nb
from numba.extending import intrinsic


def _bits(typing_context: Any, value: Any) -> Any:
    """Reinterpret a float32 as an int32."""
    signature = nb.types.int32(nb.types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], llvmlite.ir.IntType(32))

    return signature, generate


bits: Any = intrinsic(_bits)


@nb.njit(nogil=True, cache=True)
def worse(score: Any, document: Any, other_score: Any, other_document: Any) -> Any:
    """Tell whether the first of two hits ranks after the second."""
    return score < other_score or (score == other_score and document > other_document)


@nb.njit(nogil=True, cache=True)
def sift_down(scores: Any, documents: Any, place: Any, size: Any) -> None:
    """Restore the heap (worst hit on top) below `place`."""
    score = scores[place]
    document = documents[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        right = child + 1
        if right < size and worse(scores[right], documents[right], scores[child], documents[child]):
            child = right
        if not worse(scores[child], documents[child], score, document):
            break
        scores[place] = scores[child]
        documents[place] = documents[child]
        place = child
    scores[place] = score
    documents[place] = document


@nb.njit(nogil=True, cache=True)
def sift_up(scores: Any, documents: Any, place: Any) -> None:
    """Restore the heap (worst hit on top) above `place`."""
    score = scores[place]
    document = documents[place]
    while place > 0:
        parent = (place - 1) // 2
        if not worse(score, document, scores[parent], documents[parent]):
            break
        scores[place] = scores[parent]
        documents[place] = documents[parent]
        place = parent
    scores[place] = score
    documents[place] = document


@nb.njit(nogil=True, cache=True)
def sort_heap(scores: Any, documents: Any, size: Any) -> None:
    """Turn a heap with the worst hit on top into a list with the best hit first."""
    while size > 1:
        size -= 1
        score = scores[size]
        document = documents[size]
        scores[size] = scores[0]
        documents[size] = documents[0]
        scores[0] = score
        documents[0] = document
        sift_down(scores, documents, 0, size)


@nb.njit(nogil=True, cache=True)
def offer(scores: Any, documents: Any, size: Any, score: Any, document: Any) -> Any:
    """Put a hit into the heap of `size` hits if there is room or it beats the worst; return the size."""
    if size < len(scores):
        scores[size] = score
        documents[size] = document
        sift_up(scores, documents, size)
        return size + 1
    if worse(scores[0], documents[0], score, document):
        scores[0] = score
        documents[0] = document
        sift_down(scores, documents, 0, size)
    return size
