"""Which algorithm answers which query of a segment, and what it cost."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.index.approximation import SAFE, Approximation, approximation_for
from lsr.index.hits import Hits
from lsr.index.postings import Postings
from lsr.index.queries import Queries
from lsr.index.segment import Segment

Algorithm = Literal["auto", "exhaustive", "vectorised", "blockmax"]

# With fewer documents allowed than this share, exhaustive search looks them up or passes windows over.
_LEAST_ALLOWED = 0.5


class Plan(NamedTuple):
    """How a batch of queries is to be searched.

    `approximation` is what to leave out, None for what leaves `recall` of the k best documents.
    """

    k: int
    algorithm: Algorithm = "auto"
    recall: float = 1.0
    approximation: Approximation | None = None


class SearchCost(NamedTuple):
    """What answering a query took: by which algorithm, postings read, blocks scored.

    `blocks` is 0 for algorithms that do not work by blocks.
    """

    algorithm: str
    postings: int
    blocks: int


def search_segment(
    segment: Segment,
    queries: Queries,
    plan: Plan,
    allowed: NDArray[np.bool_] | None,
    floors: NDArray[np.float32] | None = None,
) -> tuple[list[Hits], NDArray[np.int64] | None]:
    """Search one segment by an algorithm, or query by query by the one that should be fastest.

    A segment without block maxima, because it is small or of an older program, is searched
    exhaustively whatever was asked for. See `lsr.index.answering.answer` for the rest.

    Returns:
        Hits with numbers local to the segment, and what each query took: figures for `cost_of`, None
        for ``vectorised``.
    """
    if plan.algorithm == "vectorised":
        from lsr.index.vectorised import search_vectorised

        return search_vectorised(segment.postings, *queries, plan.k, allowed), None
    from lsr.index import answering

    if plan.algorithm == "exhaustive":
        chosen = answering.EXHAUSTIVE
    elif plan.algorithm == "blockmax":
        chosen = answering.BLOCKMAX
    elif plan.algorithm == "auto":
        chosen = answering.AUTO
        if allowed is not None and np.count_nonzero(allowed) < _LEAST_ALLOWED * len(allowed):
            chosen = answering.EXHAUSTIVE
    else:
        raise ValueError(f"unknown algorithm {plan.algorithm!r}")
    approximation = plan.approximation
    if approximation is None:
        approximation = SAFE if plan.recall == 1 else approximation_for(plan.recall, plan.k, segment.recalls)
    return answering.answer(
        segment.postings,
        segment.blocks,
        *queries,
        plan.k,
        allowed,
        algorithm=chosen,
        approximation=approximation,
        floors=floors,
    )


def cost_of(postings: Postings, queries: Queries, figures: NDArray[np.int64] | None) -> list[SearchCost]:
    """Return what each query of a batch took, from what `search_segment` returned beside its hits."""
    if figures is None:
        touched = postings.document_frequencies(queries.terms.astype(np.int64)) * (queries.weights > 0)
        sums = np.concatenate([[0], np.cumsum(touched)])
        each = sums[queries.starts[1:]] - sums[queries.starts[:-1]]
        return [SearchCost("vectorised", count, 0) for count in each.tolist()]
    return [
        SearchCost("exhaustive" if blocks < 0 else "blockmax", touched, max(blocks, 0))
        for _, touched, blocks in figures.tolist()
    ]
