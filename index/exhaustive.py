"""Exhaustive exact search: every posting of every query term is scored, term at a time.

Postings of a term are cut into runs, one a window of 65,536 consecutive documents, and hold the
document's place in its window in 16 bits. A query walks the windows; within one it adds the terms'
contributions, in ascending term id, into an accumulator of 65,536 floats, which stays in the
second-level cache, and then scans that accumulator for scores above the k-th best so far. (The
layout is that of SINDI, arXiv 2509.08395, with wider windows; scores here are exact.)

Two measures make the scan cheap. Scores are at least 0, and float32 values of that kind are ordered
as their bits are, so the scan compares integers; and it counts, 64 documents at a time, how many
are above the threshold, a sum that the compiler turns into vector instructions where it would not
do so for a maximum.

An offset of 16 bits cannot leave an accumulator of 65,536 entries, a code of 8 bits cannot leave a
row of 256, and run bounds are clamped to the postings: no file content makes the kernel read or
write outside its arrays.
"""

from __future__ import annotations

import threading
from typing import Any

import llvmlite.ir
import numba as nb
import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

from lsr.index.hits import Hits
from lsr.index.postings import WINDOW, Postings

_LANE = 64


@intrinsic
def _bits(typing_context: Any, value: Any) -> Any:
    """Reinterpret a float32 as an int32."""
    signature = nb.types.int32(nb.types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], llvmlite.ir.IntType(32))

    return signature, generate


@nb.njit(nogil=True, cache=True)
def _worse(score: Any, document: Any, other_score: Any, other_document: Any) -> Any:
    """Tell whether the first of two hits ranks after the second."""
    return score < other_score or (score == other_score and document > other_document)


@nb.njit(nogil=True, cache=True)
def _sift_down(scores: Any, documents: Any, place: Any, size: Any) -> None:
    """Restore the heap (worst hit on top) below `place`."""
    score = scores[place]
    document = documents[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _worse(scores[right], documents[right], scores[child], documents[child]):
            child = right
        if not _worse(scores[child], documents[child], score, document):
            break
        scores[place] = scores[child]
        documents[place] = documents[child]
        place = child
    scores[place] = score
    documents[place] = document


@nb.njit(nogil=True, cache=True)
def _sift_up(scores: Any, documents: Any, place: Any) -> None:
    """Restore the heap (worst hit on top) above `place`."""
    score = scores[place]
    document = documents[place]
    while place > 0:
        parent = (place - 1) // 2
        if not _worse(score, document, scores[parent], documents[parent]):
            break
        scores[place] = scores[parent]
        documents[place] = documents[parent]
        place = parent
    scores[place] = score
    documents[place] = document


@nb.njit(nogil=True, cache=True)
def _sort_heap(scores: Any, documents: Any, size: Any) -> None:
    """Turn a heap with the worst hit on top into a list with the best hit first."""
    while size > 1:
        size -= 1
        score = scores[size]
        document = documents[size]
        scores[size] = scores[0]
        documents[size] = documents[0]
        scores[0] = score
        documents[0] = document
        _sift_down(scores, documents, 0, size)


@nb.njit(nogil=True, cache=True)
def _exhaustive(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    term_runs: Any,
    document_count: Any,
    step: Any,
    query_starts: Any,
    query_terms: Any,
    query_weights: Any,
    accumulator: Any,
    best_scores: Any,
    best_documents: Any,
    sizes: Any,
) -> Any:
    """Score queries `query_starts` one after the other; return the number of postings touched.

    Row i of `best_scores` and `best_documents` receives the hits of query i, `sizes[i]` how many.
    The accumulator is all zero on entry and on return.
    """
    posting_count = np.int64(len(codes))
    run_count = np.int64(len(run_windows))
    k = best_scores.shape[1]
    bits = accumulator.view(np.int32)
    eight = codes.itemsize == 1
    touched = np.int64(0)
    longest = 1
    for i in range(len(query_starts) - 1):
        longest = max(longest, query_starts[i + 1] - query_starts[i])
    next_run = np.empty(longest, np.int64)
    last_run = np.empty(longest, np.int64)
    contributions = np.empty((longest, 256), np.float32)

    for i in range(len(query_starts) - 1):
        first = query_starts[i]
        terms = np.int64(0)
        for j in range(first, query_starts[i + 1]):
            term = np.int64(query_terms[j])
            if term < 0 or term >= len(term_runs) - 1:
                continue
            low = max(np.int64(0), term_runs[term])
            high = min(run_count, term_runs[term + 1])
            if low >= high:
                continue
            next_run[terms] = low
            last_run[terms] = high
            weight = query_weights[j]
            for code in range(256):
                contributions[terms, code] = weight * (np.float32(code) * step)
            # 16-bit codes are multiplied out posting by posting; the weight rides in column 1.
            if not eight:
                contributions[terms, 0] = weight
            terms += 1

        scores = best_scores[i]
        documents = best_documents[i]
        size = np.int64(0)
        threshold = np.int32(0)
        while k > 0:
            # The next window that holds a posting of any term; windows without one cost nothing.
            window = np.int64(-1)
            for j in range(terms):
                if next_run[j] < last_run[j]:
                    candidate = np.int64(run_windows[next_run[j]])
                    if window < 0 or candidate < window:
                        window = candidate
            base = window * WINDOW
            if window < 0 or base >= document_count:
                break
            for j in range(terms):
                run = next_run[j]
                if run >= last_run[j] or np.int64(run_windows[run]) != window:
                    continue
                next_run[j] = run + 1
                start = min(max(run_starts[run], np.int64(0)), posting_count)
                stop = min(max(run_starts[run + 1], start), posting_count)
                touched += stop - start
                row = contributions[j]
                if eight:
                    for p in range(start, stop):
                        accumulator[offsets[p]] += row[np.uint8(codes[p])]
                else:
                    weight = row[0]
                    for p in range(start, stop):
                        accumulator[offsets[p]] += weight * (np.float32(codes[p]) * step)

            filled = min(np.int64(WINDOW), document_count - base)
            lanes = (filled + _LANE - 1) // _LANE
            for lane in range(lanes):
                block = bits[lane * _LANE : lane * _LANE + _LANE]
                above = np.int32(0)
                for t in range(_LANE):
                    above += np.int32(block[t] > threshold)
                if above > 0:
                    for t in range(_LANE):
                        if block[t] <= threshold:
                            continue
                        place = np.int64(lane * _LANE + t)
                        if place >= filled:
                            break
                        if size < k:
                            scores[size] = accumulator[place]
                            documents[size] = base + place
                            size += 1
                            _sift_up(scores, documents, size - 1)
                        else:
                            scores[0] = accumulator[place]
                            documents[0] = base + place
                            _sift_down(scores, documents, 0, size)
                        if size == k:
                            threshold = _bits(scores[0])  # type: ignore[call-arg]
                # Cleared while it is in the first-level cache: a pass of its own costs a fifth more.
                for t in range(_LANE):
                    block[t] = np.int32(0)
            # Nothing but a damaged file writes here; the next query must not see it.
            accumulator[lanes * _LANE :] = np.float32(0)
        _sort_heap(scores, documents, size)
        sizes[i] = size
    return touched


class _Scratch(threading.local):
    """One accumulator a thread, all zero between calls."""

    def __init__(self) -> None:
        self.accumulator = np.zeros(WINDOW, np.float32)


_scratch = _Scratch()


def search_exhaustive(
    postings: Postings,
    query_starts: NDArray[np.int64],
    query_terms: NDArray[np.int64],
    query_weights: NDArray[np.float32],
    k: int,
) -> tuple[list[Hits], int]:
    """Score every posting of every query term and return the k best documents of each query.

    A batch is given as CSR parts: query i has the terms and weights at
    ``query_starts[i]:query_starts[i + 1]``, ascending in term id, weights finite and above 0. A
    score is the float32 sum, in that order, of float32(weight * value(code)), without fastmath.
    Runs without the interpreter lock, single-threaded, in scratch memory of the calling thread.

    Returns:
        One `Hits` a query, document numbers local to the segment, and the postings touched.
    """
    queries = len(query_starts) - 1
    k = min(k, postings.document_count)
    scores = np.empty((queries, k), np.float32)
    documents = np.empty((queries, k), np.int64)
    sizes = np.zeros(queries, np.int64)
    touched = _exhaustive(
        postings.offsets,
        postings.codes,
        postings.run_windows,
        postings.run_starts,
        postings.term_runs,
        postings.document_count,
        postings.grid.step,
        query_starts,
        query_terms,
        query_weights,
        _scratch.accumulator,
        scores,
        documents,
        sizes,
    )
    hits = [Hits(documents[i, :size], scores[i, :size]) for i, size in enumerate(sizes.tolist())]
    return hits, int(touched)
