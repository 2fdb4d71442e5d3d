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

Offsets are cut to the bits that the accumulator has room for, a code of 8 bits cannot leave a row of
256, and run bounds are clamped to the postings: no file content makes the kernel read or write outside
its arrays.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from lsr.index.allowed import find
from lsr.index.heap import bits as bits_of
from lsr.index.heap import offer, sort_heap
from lsr.index.lanes import ask_for
from lsr.index.postings import WINDOW

_LANE = 64


@nb.njit(nogil=True, cache=True)
def _add_run(offsets: Any, codes: Any, contributions: Any, room: Any, accumulator: Any) -> None:
    """Add what a term's postings of a window earn, looked up by code; `room` is a power of 2."""
    mask = np.uint16(room - 1)
    for p in range(len(offsets)):
        accumulator[offsets[p] & mask] += contributions[np.uint8(codes[p])]


@nb.njit(nogil=True, cache=True)
def _add_wide_run(offsets: Any, codes: Any, weight: Any, step: Any, room: Any, accumulator: Any) -> None:
    """Do the same for codes of 16 bits, multiplied out one by one."""
    mask = np.uint16(room - 1)
    for p in range(len(offsets)):
        accumulator[offsets[p] & mask] += weight * (np.float32(codes[p]) * step)


@nb.njit(nogil=True, cache=True)
def _add_members(
    offsets: Any, codes: Any, weight: Any, step: Any, members: Any, room: Any, accumulator: Any
) -> None:
    """Add what a term's postings of a window earn some documents, looked up one after the other."""
    mask = np.uint16(room - 1)
    place = np.int64(0)
    for member in members:
        place = find(offsets, place, len(offsets), member)
        if place >= len(offsets):
            break
        if offsets[place] == member:
            accumulator[member & mask] += weight * (np.float32(codes[place]) * step)


@nb.njit(nogil=True, cache=True)
def _collect(
    accumulator: Any,
    filled: Any,
    base: Any,
    filtered: Any,
    allowed: Any,
    threshold: Any,
    size: Any,
    scores: Any,
    documents: Any,
) -> Any:
    """Move scores above `threshold` to the heap of hits and clear the accumulator; return size and threshold."""
    bits = accumulator.view(np.int32)
    k = len(scores)
    for lane in range((filled + _LANE - 1) // _LANE):
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
                size = offer(scores, documents, size, accumulator[place], base + place)
                if size == k:
                    threshold = max(threshold, bits_of(scores[0]))
        # Cleared while it is in the first-level cache: a pass of its own costs a fifth more.
        for t in range(_LANE):
            block[t] = np.int32(0)
    return size, threshold


@nb.njit(nogil=True, cache=True)
def search_exhaustively(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    lists: Any,
    weights: Any,
    document_count: Any,
    step: Any,
    filtered: Any,
    allowed: Any,
    counts: Any,
    members: Any,
    member_starts: Any,
    floor: Any,
    accumulator: Any,
    scores: Any,
    documents: Any,
) -> Any:
    """Score every posting of a query's terms; return the number of hits and of postings touched.

    A score is the float32 sum, in ascending term id, of float32(weight * value(code)), without fastmath.

    Args:
        lists, weights: the query's terms, as `lsr.index.reading.read_query` writes them.
        allowed, counts, members, member_starts: those of an `Allowed`; read only where `filtered`.
        floor: only scores above it are hits.
        accumulator: float32 [WINDOW], all zero on entry and on return.
        scores, documents: receive the hits, as many as they have room for, the best first.
    """
    posting_count = np.int64(len(codes))
    k = len(scores)
    terms = len(lists)
    eight = codes.itemsize == 1
    touched = np.int64(0)
    next_run = lists[:, 1].copy()
    contributions = np.empty((terms if eight else 0, 256), np.float32)
    if eight:
        for j in range(terms):
            for code in range(256):
                contributions[j, code] = weights[j] * (np.float32(code) * step)
    size = np.int64(0)
    threshold = bits_of(floor)
    while k > 0:
        # The next window that holds a posting of any term; windows without one cost nothing.
        window = np.int64(-1)
        for j in range(terms):
            if next_run[j] < lists[j, 2]:
                candidate = np.int64(run_windows[next_run[j]])
                if window < 0 or candidate < window:
                    window = candidate
        base = window * WINDOW
        if window < 0 or base >= document_count:
            break
        filled = min(np.int64(WINDOW), document_count - base)
        # What a damaged file may write to, and what is cleared: the documents of the window, filled up.
        room = np.int64(_LANE)
        while room < filled:
            room *= 2
        few = first_member = np.int64(0)
        passed = False
        if filtered:
            first_member = member_starts[window]
            few = member_starts[window + 1] - first_member
            passed = counts[window] == 0
        listed_members = members[first_member : first_member + few]
        whole = few == 0
        for j in range(terms):
            run = next_run[j]
            if run >= lists[j, 2] or np.int64(run_windows[run]) != window:
                continue
            next_run[j] = run + 1
            if passed:
                continue
            start = min(max(run_starts[run], np.int64(0)), posting_count)
            stop = min(max(run_starts[run + 1], start), posting_count)
            if j + 1 < terms and next_run[j + 1] < lists[j + 1, 2] and few == 0:
                following = next_run[j + 1]
                ask_for(offsets, codes, run_starts[following], run_starts[following + 1])
            # A look-up costs about as much as scoring eight postings.
            if 8 * few < stop - start and few > 0:
                touched += few
                _add_members(
                    offsets[start:stop],
                    codes[start:stop],
                    weights[j],
                    step,
                    listed_members,
                    room,
                    accumulator,
                )
                continue
            whole = True
            touched += stop - start
            if eight:
                _add_run(offsets[start:stop], codes[start:stop], contributions[j], room, accumulator)
            else:
                _add_wide_run(offsets[start:stop], codes[start:stop], weights[j], step, room, accumulator)
        if passed:
            continue
        if few > 0:
            for m in range(few):
                place = np.int64(listed_members[m]) & (room - 1)
                if bits_of(accumulator[place]) > threshold:
                    size = offer(scores, documents, size, accumulator[place], base + place)
                    if size == k:
                        threshold = max(threshold, bits_of(scores[0]))
                accumulator[place] = np.float32(0)
            if whole:
                accumulator[:room] = np.float32(0)
            continue
        size, threshold = _collect(
            accumulator, filled, base, filtered, allowed, threshold, size, scores, documents
        )
        # Nothing but a damaged file writes here; the next query must not see it.
        accumulator[(filled + _LANE - 1) // _LANE * _LANE : room] = np.float32(0)
    sort_heap(scores, documents, size)
    return size, touched
