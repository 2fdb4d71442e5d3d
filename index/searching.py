"""Searching the segments of a snapshot as one index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem
from lsr.index.hits import Hits, merge_hits
from lsr.index.planner import Plan, SearchCost, cost_of, search_segment
from lsr.index.queries import Queries
from lsr.index.segment import Segment
from lsr.index.warming import warming

Mask: TypeAlias = NDArray[np.bool_]

_TASKS_A_THREAD = 8
_MOST_QUERIES_A_TASK = 64


def search_segments(
    segments: Sequence[Segment],
    queries: Queries,
    plan: Plan,
    masks: Sequence[Mask | None],
    threads: int,
) -> list[Hits]:
    """Return the k best documents of each query, in all segments.

    Args:
        masks: for each segment the documents that may be returned, None where all may be.
        threads: queries are spread over this many threads.
    """
    plan = _compiled_or_not(segments, queries, plan)
    count = queries.number
    if threads <= 1 or count <= 1:
        return _search(segments, queries, plan, masks)
    size = min(max(count // (threads * _TASKS_A_THREAD), 1), _MOST_QUERIES_A_TASK)
    parts = [queries.part(first, min(first + size, count)) for first in range(0, count, size)]
    found = _pool(threads, os.getpid()).map(lambda part: _search(segments, part, plan, masks), parts)
    return [hits for part in found for hits in part]


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return this process's pool; its threads keep their scratch memory from one batch to the next."""
    return ThreadPoolExecutor(threads, thread_name_prefix="lsr-search")


def search_costs(
    segments: Sequence[Segment],
    queries: Queries,
    plan: Plan,
    masks: Sequence[Mask | None],
) -> list[list[SearchCost]]:
    """Return for each query what `search_segments` does to answer it, a `SearchCost` for each segment."""
    plan = _compiled_or_not(segments, queries, plan)
    costs: list[list[SearchCost]] = []
    _search(segments, queries, plan, masks, costs)
    return [list(of_query) for of_query in zip(*costs, strict=True)] if costs else [[]] * queries.number


def _compiled_or_not(segments: Sequence[Segment], queries: Queries, plan: Plan) -> Plan:
    """Take NumPy for as long as compiled search is not loaded and not worth waiting for."""
    if plan.algorithm != "auto" or warming.ready:
        return plan
    terms = queries.terms.astype(np.int64)
    postings = sum(int(segment.postings.document_frequencies(terms).sum()) for segment in segments)
    return plan._replace(algorithm=warming.choose(postings))


def _search(
    segments: Sequence[Segment],
    queries: Queries,
    plan: Plan,
    masks: Sequence[Mask | None],
    costs: list[list[SearchCost]] | None = None,
) -> list[Hits]:
    best: list[Hits] | None = None
    floors = None
    for segment, mask in zip(segments, masks, strict=True):
        hits, figures = search_segment(segment, queries, plan, mask, floors)
        if costs is not None:
            costs.append(cost_of(segment.postings, queries, figures))
        if segment.base:
            hits = [Hits(found.documents + segment.base, found.scores) for found in hits]
        if best is None:
            best = hits
        else:
            best = [merge_hits(list(pair), plan.k) for pair in zip(best, hits, strict=True)]
        if len(segments) > 1:
            # Later documents lose against equal scores, so only what beats the k-th one is of interest.
            kth = [found.scores[plan.k - 1] if len(found.scores) >= plan.k else 0.0 for found in best]
            floors = np.array(kth, np.float32)
    if best is None:
        return [Hits(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in range(queries.number)]
    return best


def masks_of(
    segments: Sequence[Segment], allowed: NDArray[Any] | None, number_bound: int
) -> list[Mask | None]:
    """Return for each segment the documents that may be returned, None where all may be.

    Args:
        allowed: the documents to search within: booleans of shape (number_bound,), or document
            numbers; None for all.

    Raises:
        IndexProblem: for a filter that does not fit the index.
    """
    if allowed is None:
        return [segment.live for segment in segments]
    chosen = np.asarray(allowed)
    if chosen.dtype != np.bool_:
        chosen = _mask_of(chosen, number_bound)
    elif chosen.shape != (number_bound,):
        raise IndexProblem(
            f"A filter of booleans has the shape {chosen.shape}; the index has {number_bound:,} documents."
        )
    masks: list[Mask | None] = []
    for segment in segments:
        mask = chosen[segment.base : segment.base + segment.postings.document_count]
        masks.append(mask if segment.live is None else mask & segment.live)
    return masks


def _mask_of(numbers: NDArray[Any], number_bound: int) -> Mask:
    """Return a boolean for each document, True for those numbered."""
    mask = np.zeros(number_bound, np.bool_)
    if numbers.size:
        if not np.issubdtype(numbers.dtype, np.integer):
            raise IndexProblem(f"A filter is booleans or document numbers, not {numbers.dtype}.")
        if int(numbers.min()) < 0 or int(numbers.max()) >= number_bound:
            raise IndexProblem(
                f"A filter names the document {int(numbers.max() if numbers.min() >= 0 else numbers.min())}; "
                f"the index has {number_bound:,} documents, numbered from 0."
            )
        mask[numbers] = True
    return mask
