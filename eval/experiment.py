"""Several systems on several data sets: what each found, what it took, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from lsr.eval.checksums import Checksums
from lsr.eval.comparison import Comparison, compare_scores
from lsr.eval.conventions import Conventions
from lsr.eval.datasets import Dataset
from lsr.eval.evaluation import Evaluation
from lsr.eval.explanations import ExplainedMove
from lsr.eval.significance import Interval, holm, mean_interval


@dataclass(frozen=True)
class DatasetRecord:
    """What was evaluated on."""

    name: str
    source: str
    split: str | None
    group: str | None
    catalogue_id: str | None
    checksums: Checksums
    conventions: Conventions
    all_queries: int | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset, checksums: Checksums, rules: Conventions) -> DatasetRecord:
        """Return the record of a loaded data set, evaluated by the rules given."""
        return cls(
            name=dataset.name,
            source=dataset.source,
            split=dataset.split,
            group=dataset.group,
            catalogue_id=dataset.catalogue_id,
            checksums=checksums,
            conventions=rules,
            all_queries=dataset.all_queries,
            notes=dataset.notes,
        )


@dataclass(frozen=True)
class Row:
    """A line of a table: a data set, or several that are averaged to one."""

    name: str
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A system against the baseline on a row, or on the mean of all rows.

    `corrected` and `t_corrected` are p-values after Holm's correction: of the randomisation test of the
    first metric, and of each metric's t-test. A family is all of a metric's differences on single rows;
    those of the means are a family of their own.
    """

    row: str | None
    """None is the mean over rows."""
    system: str
    comparison: Comparison
    corrected: float
    t_tests: dict[str, float | None]
    t_corrected: dict[str, float | None]
    moves: tuple[ExplainedMove, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether the first metric differs at the 5 % level after correction."""
        return self.corrected < 0.05


@dataclass
class Experiment:
    """Evaluations of systems on data sets, complete rows alone, with what follows from them."""

    systems: list[str]
    baseline: str
    metrics: tuple[str, ...]
    k: int
    datasets: list[DatasetRecord] = field(default_factory=list)
    evaluations: dict[tuple[str, str], Evaluation] = field(default_factory=dict)
    """By data set and system."""
    moves: dict[tuple[str, str], tuple[ExplainedMove, ...]] = field(default_factory=dict)
    """By data set and system: the queries that moved most from the baseline."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What was asked for, so that it can be asked for again."""
    environment: dict[str, Any] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Data sets that could not be evaluated, and why."""
    interrupted: bool = False
    """Whether the user stopped it."""
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))

    _tested: tuple[int, list[Difference]] | None = field(default=None, repr=False)

    @property
    def rows(self) -> list[Row]:
        """The data sets, those of a group as one."""
        found: dict[str, list[str]] = {}
        for record in self.datasets:
            found.setdefault(record.group or record.name, []).append(record.name)
        return [Row(name, tuple(names)) for name, names in found.items()]

    @property
    def others(self) -> list[str]:
        """The systems but the baseline."""
        return [system for system in self.systems if system != self.baseline]

    def of(self, system: str, row: Row | None = None) -> list[Evaluation]:
        """Return a system's evaluations on a row's data sets, or on all."""
        names = row.datasets if row else [record.name for record in self.datasets]
        return [self.evaluations[name, system] for name in names]

    def value(self, system: str, row: Row | None, metric: str) -> float:
        """Return a metric's mean on a row, or over all rows."""
        if row is None:
            return _mean([self.value(system, one, metric) for one in self.rows])
        return _mean([one.metrics[metric] for one in self.of(system, row)])

    def unjudged(self, system: str, row: Row | None) -> float:
        """Return the share of unjudged documents among the first ten on a row, or over all rows."""
        if row is None:
            return _mean([self.unjudged(system, one) for one in self.rows])
        return _mean([one.scores.unjudged_share for one in self.of(system, row)])

    def cost(self, system: str, row: Row | None, take: Callable[[Evaluation], float | None]) -> float | None:
        """Return a cost's mean on a row, or over all rows; None where a data set has none."""
        if row is None:
            means = [self.cost(system, one, take) for one in self.rows]
        else:
            means = [take(one) for one in self.of(system, row)]
        known = [mean for mean in means if mean is not None]
        return _mean(known) if len(known) == len(means) and known else None

    def interval(self, system: str, row: Row | None, metric: str) -> Interval:
        """Return the interval of a metric's mean on a row, or over all rows."""
        strata = [one.scores.values[metric] for one in self.of(system, row)]
        return mean_interval(strata, self._weights(row))

    def differences(self) -> list[Difference]:
        """Return every system against the baseline, on every row and on the mean of several."""
        # Resampling takes seconds on large sets, and every report asks.
        if self._tested is None or self._tested[0] != len(self.datasets):
            rows: list[Row | None] = list(self.rows)
            found = self._family(rows) if len(rows) < 2 else [*self._family(rows), *self._family([None])]
            self._tested = len(self.datasets), found
        return self._tested[1]

    def _family(self, rows: Sequence[Row | None]) -> list[Difference]:
        cells = [(row, system) for row in rows for system in self.others]
        compared: list[Comparison] = []
        t_tests: list[dict[str, float | None]] = []
        for row, system in cells:
            first, second = self.of(self.baseline, row), self.of(system, row)
            scores = [one.scores for one in first], [one.scores for one in second]
            compared.append(compare_scores(*scores, self.metrics[0], weights=self._weights(row)))
            t_tests.append({name: self._t_test(first, second, name, row) for name in self.metrics})
        corrected = holm([one.test.randomisation for one in compared])
        t_corrected = {name: _holm_of([one[name] for one in t_tests]) for name in self.metrics}
        return [
            Difference(
                row=row.name if row else None,
                system=system,
                comparison=compared[place],
                corrected=corrected[place],
                t_tests=t_tests[place],
                t_corrected={name: t_corrected[name][place] for name in self.metrics},
                moves=self._moves(row, system),
            )
            for place, (row, system) in enumerate(cells)
        ]

    def _t_test(
        self, first: list[Evaluation], second: list[Evaluation], metric: str, row: Row | None
    ) -> float | None:
        from lsr.eval.significance import t_test

        pairs = zip(first, second, strict=True)
        differences = [b.scores.values[metric] - a.scores.values[metric] for a, b in pairs]
        return t_test(differences, self._weights(row))

    def _moves(self, row: Row | None, system: str) -> tuple[ExplainedMove, ...]:
        if row is None or len(row.datasets) > 1:
            return ()
        return self.moves.get((row.datasets[0], system), ())

    def _weights(self, row: Row | None) -> list[float]:
        """Return what each data set counts in a mean, in the order of `of`."""
        if row is not None:
            return [1 / len(row.datasets)] * len(row.datasets)
        rows = self.rows
        share = {name: 1 / (len(rows) * len(one.datasets)) for one in rows for name in one.datasets}
        return [share[record.name] for record in self.datasets]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _holm_of(values: Sequence[float | None]) -> list[float | None]:
    known = [value for value in values if value is not None]
    corrected = iter(holm(known))
    return [None if value is None else next(corrected) for value in values]
