"""What a search returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Hits(NamedTuple):
    """The best documents of one query, by falling score; equal scores by rising document number.

    Both arrays have the same length, at most k: only documents with a score above 0 are hits.
    """

    documents: NDArray[np.int64]
    scores: NDArray[np.float32]


def merge_hits(parts: list[Hits], k: int) -> Hits:
    """Return the k best of several hit lists over disjoint documents.

    The lists must come in rising order of document numbers (segment by segment), so that a stable
    sort by score alone keeps equal scores in document order.
    """
    if len(parts) == 1:
        return parts[0]
    documents = np.concatenate([part.documents for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    best = np.argsort(-scores, kind="stable")[:k]
    return Hits(documents[best], scores[best])
