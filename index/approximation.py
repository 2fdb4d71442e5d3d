"""What block-max search may leave out where a wanted recall is enough."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem


class Approximation(NamedTuple):
    """How block-max search is cut short; see `lsr.index.blockmax.search_blocks`.

    Attributes:
        share: bounds are made of the terms that can earn most, up to this share of what all can earn.
        factor: blocks are passed over whose bound is below this many times the k-th best score so far.
        blocks: most blocks that are scored for a query.
    """

    share: float = 1.0
    factor: float = 1.0
    blocks: float = float("inf")


SAFE = Approximation()
"""Nothing: the k best documents are found."""

LEVELS = 7
"""Ways to cut a search short that are calibrated, from none to the boldest."""

DEPTHS = 10, 100
"""Numbers of results that levels are calibrated for."""


def wanted_recall(recall: float) -> float:
    """Check a recall that is asked for, and return it.

    Raises:
        IndexProblem: where it is not above 0 and at most 1.
    """
    if not 0 < recall <= 1:
        raise IndexProblem(f"A wanted recall is above 0 and at most 1 (all results), not {recall}.")
    return recall


def level_for(number: int, k: int) -> Approximation:
    """Return a level of approximation for k results; 0 is safe."""
    if number == 0:
        return SAFE
    return Approximation(share=1 - 0.01 * number, blocks=k * 400 / 2**number)


def approximation_for(wanted: float, k: int, recalls: NDArray[np.float32] | None) -> Approximation:
    """Return the boldest level that found the wanted share of the k best documents.

    Args:
        recalls: what each level found of a segment, shape (LEVELS * len(DEPTHS),), see
            `lsr.index.calibration`; None where that was not measured, and nothing is left out.
    """
    if recalls is None:
        return SAFE
    found = recalls.reshape(LEVELS, len(DEPTHS))[:, 0 if k**2 < DEPTHS[0] * DEPTHS[1] else 1]
    return level_for(int(np.flatnonzero(found >= wanted)[-1]), k)
