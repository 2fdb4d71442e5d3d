"""Which pairs stand in which batch: a plan made from a seed alone, before the first step.

With the plan in hand a run can start anywhere in it, which is what makes resuming exact, and every
process can work out the whole batch, which is what lets them share its columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Streams of random numbers that must not run into each other.
_SOURCES, _ORDER = 0, 1


class SamplingPlan:
    """The pairs of every batch.

    Every pair is drawn with a probability in proportion to its source's weight, and within a source all
    pairs pass, in an order of their own each time, before one comes again.

    Args:
        sizes: number of pairs of each source.
        weights: of each source; 1 draws its pairs as often as any other pair.
        batch_size: pairs a batch.
        batches: number of batches.
        one_source: whether a batch comes from one source.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[float],
        batch_size: int,
        batches: int,
        *,
        one_source: bool = False,
        seed: int = 0,
    ) -> None:
        shares = np.asarray(sizes, np.float64) * np.asarray(weights, np.float64)
        random = np.random.default_rng((seed, _SOURCES))
        total = batch_size * batches
        if one_source:
            drawn = np.repeat(random.choice(len(sizes), size=batches, p=shares / shares.sum()), batch_size)
        elif len(sizes) == 1 or np.ptp(np.asarray(weights, np.float64)) == 0:
            # Equal weights: one order over all pairs, so that an epoch is an epoch.
            drawn = _in_turn(np.repeat(np.arange(len(sizes)), sizes), total, (seed, _SOURCES, 1))
        else:
            drawn = random.choice(len(sizes), size=total, p=shares / shares.sum())
        rows = np.empty(total, np.int64)
        for source, size in enumerate(sizes):
            places = np.flatnonzero(drawn == source)
            rows[places] = _in_turn(np.arange(size), len(places), (seed, _ORDER, source))
        self._sources = drawn.astype(np.int32).reshape(batches, batch_size)
        self._rows = rows.reshape(batches, batch_size)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, number: int) -> list[tuple[int, int]]:
        """Return the pairs of a batch as (source, row)."""
        return list(zip(self._sources[number].tolist(), self._rows[number].tolist(), strict=True))


def _in_turn(values: NDArray[np.int64], count: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """Return `count` of `values`: all of them, shuffled, again and again."""
    passes = -(-count // len(values))
    random = np.random.default_rng(seed)
    return (
        np.concatenate([random.permutation(values) for _ in range(passes)])[:count] if passes else values[:0]
    )
