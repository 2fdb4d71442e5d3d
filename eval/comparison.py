"""Two systems on the same queries: how often which one wins, and where most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsr.eval.metrics import Scores
from lsr.eval.significance import PairedTest, compare_values

# Smaller differences of a metric are rounding.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Moved:
    """A query on which two systems differ."""

    query_id: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """The second system's value less the first's."""
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two systems, by data set: `PairedTest`, and the queries that won, tied and lost."""

    metric: str
    first: float
    second: float
    test: PairedTest
    wins: int
    ties: int
    losses: int
    gained: tuple[Moved, ...]
    """The queries that the second system gains most on, the most first; of one data set alone."""
    lost: tuple[Moved, ...]


def compare_scores(
    first: Sequence[Scores],
    second: Sequence[Scores],
    metric: str,
    *,
    moved: int = 5,
    weights: Sequence[float] | None = None,
) -> Comparison:
    """Compare two systems by a metric on the same data sets, each a `Scores` of the same queries.

    Means are those over data sets, all alike unless there are `weights`, of means over queries.
    `moved` queries each way are named, for one data set alone.
    """
    for one, other in zip(first, second, strict=True):
        if one.query_ids != other.query_ids:
            raise ValueError("the systems were scored on different queries")
    a, b = [one.values[metric] for one in first], [one.values[metric] for one in second]
    differences = np.concatenate([y - x for x, y in zip(a, b, strict=True)])
    gained, lost = moved_queries(first[0], second[0], metric, moved) if len(first) == 1 else ((), ())
    return Comparison(
        metric=metric,
        first=_mean(a, weights),
        second=_mean(b, weights),
        test=compare_values(a, b, weights),
        wins=int((differences > _SAME).sum()),
        ties=int((np.abs(differences) <= _SAME).sum()),
        losses=int((differences < -_SAME).sum()),
        gained=gained,
        lost=lost,
    )


def moved_queries(
    first: Scores, second: Scores, metric: str, count: int
) -> tuple[tuple[Moved, ...], tuple[Moved, ...]]:
    """Return the queries that the second system gains most on, and those it loses most on, `count` of each."""
    query_ids, a, b = first.query_ids, first.values[metric], second.values[metric]
    differences = b - a
    order = np.argsort(differences, kind="stable")
    lost = [place for place in order[:count].tolist() if differences[place] < -_SAME]
    gained = [place for place in order[::-1][:count].tolist() if differences[place] > _SAME]

    def named(places: list[int]) -> tuple[Moved, ...]:
        return tuple(Moved(query_ids[place], float(a[place]), float(b[place])) for place in places)

    return named(gained), named(lost)


def _mean(values: Sequence[NDArray[np.float64]], weights: Sequence[float] | None) -> float:
    return float(np.average([part.mean() for part in values], weights=weights)) if values else 0.0
