"""Which algorithm answers which query, and what it cost.

Exhaustive search reads every posting of a query, about a nanosecond each, and then all scores. Safe
block-max search bounds blocks for a fraction of that, and then looks up each promising block's
postings. The first wins on small segments and on queries that nothing stands out for; the second on
large ones. Both return the same, so the choice is one of time alone.

A query's cost is estimated from its postings before it starts. Where it turns out after bounding
that too many blocks are left, block-max search gives the query to exhaustive search.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.index.blocks import Blocks
from lsr.index.hits import Hits
from lsr.index.postings import Postings

Algorithm = Literal["auto", "exhaustive", "vectorised", "blockmax"]

# Below this many documents exhaustive search takes no longer than bounding and its preparation.
_LEAST_DOCUMENTS = 400_000
# With fewer documents allowed than this share, exhaustive search looks them up or passes windows over.
_LEAST_ALLOWED = 0.5


class SearchCost(NamedTuple):
    """What answering queries took: by which algorithm, postings read, blocks scored.

    `blocks` is 0 for algorithms that do not work by blocks.
    """

    algorithm: str
    postings: int
    blocks: int


def search_segment(
    postings: Postings,
    blocks: Blocks | None,
    query_starts: NDArray[np.int64],
    query_terms: NDArray[np.int64],
    query_weights: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None,
    algorithm: Algorithm,
    factor: float = 1.0,
) -> tuple[list[Hits], SearchCost]:
    """Search one segment by an algorithm, or by the one that should be fastest.

    A segment without block maxima, because it is small or of an older program, is searched
    exhaustively whatever was asked for. See `lsr.index.exhaustive.search_exhaustive` for the rest.
    """
    parts = query_starts, query_terms, query_weights, k, allowed
    if algorithm == "vectorised":
        from lsr.index.vectorised import search_vectorised

        hits, touched = search_vectorised(postings, *parts)
        return hits, SearchCost("vectorised", touched, 0)
    automatic = algorithm == "auto"
    if blocks is not None and (algorithm == "blockmax" or (automatic and _worth(postings, allowed, factor))):
        from lsr.index.blockmax import search_blockmax

        hits, costs = search_blockmax(postings, blocks, *parts, factor=factor, adaptive=automatic)
        given_up = int(np.count_nonzero(costs[:, 1] < 0))
        name = "exhaustive" if given_up == len(costs) else "blockmax"
        return hits, SearchCost(name, int(costs[:, 0].sum()), int(np.maximum(costs[:, 1], 0).sum()))
    if algorithm not in ("auto", "blockmax", "exhaustive"):
        raise ValueError(f"unknown algorithm {algorithm!r}")
    from lsr.index.exhaustive import search_exhaustive

    hits, touched = search_exhaustive(postings, *parts)
    return hits, SearchCost("exhaustive", touched, 0)


def _worth(postings: Postings, allowed: NDArray[np.bool_] | None, factor: float) -> bool:
    """Tell whether block-max search is worth trying on a segment."""
    if postings.document_count < _LEAST_DOCUMENTS and factor <= 1.0:
        return False
    return allowed is None or bool(np.count_nonzero(allowed) >= _LEAST_ALLOWED * len(allowed))
