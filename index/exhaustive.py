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

With a filter, a window that holds few allowed documents is scored for those alone: their postings are
looked up in each run by galloping, unless the run is so short that scoring all of it is less work.
Windows without an allowed document are passed over.

An offset of 16 bits cannot leave an accumulator of 65,536 entries, a code of 8 bits cannot leave a
row of 256, and run bounds are clamped to the postings: no file content makes the kernel read or
write outside its arrays.
"""

from __future__ import annotations

import threading
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from lsr.index.allowed import find, listed
from lsr.index.heap import bits as bits_of
from lsr.index.heap import offer, sift_down, sift_up, sort_heap
from lsr.index.hits import Hits
from lsr.index.postings import WINDOW, Postings

_LANE = 64


@nb.njit(nogil=True, cache=True)
def _exhaustive(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    term_runs: Any,
    document_count: Any,
    step: Any,
    filtered: Any,
    allowed: Any,
    counts: Any,
    members: Any,
    member_starts: Any,
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
    The accumulator is all zero on entry and on return. `allowed` and the three arrays after it are
    those of an `Allowed`, and read only where `filtered`.
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
            few = first_member = np.int64(0)
            if filtered:
                first_member = member_starts[window]
                few = member_starts[window + 1] - first_member
                if counts[window] == 0:
                    for j in range(terms):
                        if next_run[j] < last_run[j] and np.int64(run_windows[next_run[j]]) == window:
                            next_run[j] += 1
                    continue
            listed_members = members[first_member : first_member + few]
            whole = few == 0
            for j in range(terms):
                run = next_run[j]
                if run >= last_run[j] or np.int64(run_windows[run]) != window:
                    continue
                next_run[j] = run + 1
                start = min(max(run_starts[run], np.int64(0)), posting_count)
                stop = min(max(run_starts[run + 1], start), posting_count)
                row = contributions[j]
                # A look-up costs about as much as scoring eight postings.
                if 8 * few < stop - start and few > 0:
                    touched += few
                    place = start
                    for m in range(few):
                        place = find(offsets, place, stop, listed_members[m])
                        if place >= stop:
                            break
                        if offsets[place] == listed_members[m]:
                            if eight:
                                accumulator[offsets[place]] += row[np.uint8(codes[place])]
                            else:
                                accumulator[offsets[place]] += row[0] * (np.float32(codes[place]) * step)
                    continue
                whole = True
                touched += stop - start
                if eight:
                    for p in range(start, stop):
                        accumulator[offsets[p]] += row[np.uint8(codes[p])]
                else:
                    weight = row[0]
                    for p in range(start, stop):
                        accumulator[offsets[p]] += weight * (np.float32(codes[p]) * step)

            if few > 0:
                for m in range(few):
                    place = np.int64(listed_members[m])
                    if bits[place] > threshold:
                        size = offer(scores, documents, size, accumulator[place], base + place)
                        if size == k:
                            threshold = bits_of(scores[0])
                    accumulator[place] = np.float32(0)
                if whole:
                    accumulator[:] = np.float32(0)
                continue

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
                        if filtered and not allowed[base + place]:
                            continue
                        if size < k:
                            scores[size] = accumulator[place]
                            documents[size] = base + place
                            size += 1
                            sift_up(scores, documents, size - 1)
                        else:
                            scores[0] = accumulator[place]
                            documents[0] = base + place
                            sift_down(scores, documents, 0, size)
                        if size == k:
                            threshold = bits_of(scores[0])
                # Cleared while it is in the first-level cache: a pass of its own costs a fifth more.
                for t in range(_LANE):
                    block[t] = np.int32(0)
            # Nothing but a damaged file writes here; the next query must not see it.
            accumulator[lanes * _LANE :] = np.float32(0)
        sort_heap(scores, documents, size)
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
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[list[Hits], int]:
    """Score every posting of every query term and return the k best documents of each query.

    A batch is given as CSR parts: query i has the terms and weights at
    ``query_starts[i]:query_starts[i + 1]``, ascending in term id, weights finite and above 0. A
    score is the float32 sum, in that order, of float32(weight * value(code)), without fastmath.
    `allowed`, of shape (documents of the segment,), is True where a document may be returned.
    Runs without the interpreter lock, single-threaded, in scratch memory of the calling thread.

    Returns:
        One `Hits` a query, document numbers local to the segment, and the postings touched.
    """
    queries = len(query_starts) - 1
    k = min(k, postings.document_count)
    scores = np.empty((queries, k), np.float32)
    documents = np.empty((queries, k), np.int64)
    sizes = np.zeros(queries, np.int64)
    chosen = listed(allowed, postings.document_count)
    touched = _exhaustive(
        postings.offsets,
        postings.codes,
        postings.run_windows,
        postings.run_starts,
        postings.term_runs,
        postings.document_count,
        postings.grid.step,
        allowed is not None,
        *chosen,
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
