"""Which algorithm answers which query of a segment, and what it cost."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.index.blocks import Blocks
from lsr.index.hits import Hits
from lsr.index.postings import Postings
from lsr.index.queries import Queries

Algorithm = Literal["auto", "exhaustive", "vectorised", "blockmax"]

# With fewer documents allowed than this share, exhaustive search looks them up or passes windows over.
_LEAST_ALLOWED = 0.5


class SearchCost(NamedTuple):
    """What answering a query took: by which algorithm, postings read, blocks scored.

    `blocks` is 0 for algorithms that do not work by blocks.
    """

    algorithm: str
    postings: int
    blocks: int


def search_segment(
    postings: Postings,
    blocks: Blocks | None,
    queries: Queries,
    k: int,
    allowed: NDArray[np.bool_] | None,
    algorithm: Algorithm,
    *,
    factor: float = 1.0,
    floors: NDArray[np.float32] | None = None,
) -> tuple[list[Hits], NDArray[np.int64] | None]:
    """Search one segment by an algorithm, or query by query by the one that should be fastest.

    A segment without block maxima, because it is small or of an older program, is searched
    exhaustively whatever was asked for. See `lsr.index.answering.answer`.

    Returns:
        Hits, and what each query took: figures for `cost_of`, None for ``vectorised``.
    """
    if algorithm == "vectorised":
        from lsr.index.vectorised import search_vectorised

        return search_vectorised(postings, *queries, k, allowed), None
    from lsr.index import answering

    if algorithm == "exhaustive":
        chosen = answering.EXHAUSTIVE
    elif algorithm == "blockmax":
        chosen = answering.BLOCKMAX
    elif algorithm == "auto":
        chosen = answering.AUTO
        if allowed is not None and np.count_nonzero(allowed) < _LEAST_ALLOWED * len(allowed):
            chosen = answering.EXHAUSTIVE
    else:
        raise ValueError(f"unknown algorithm {algorithm!r}")
    return answering.answer(
        postings, blocks, *queries, k, allowed, algorithm=chosen, factor=factor, floors=floors
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
