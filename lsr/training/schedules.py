"""Weights of a loss over the steps of training.

A sparsity loss at full weight from the first step empties the vectors before ranking has shaped
them, so its weight grows. Most schedules depend on the step alone; `TargetTerms` watches the number
of terms and looks for the weight that holds it where it is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from lsr.errors import UserError

State = dict[str, float | int]


class Schedule:
    """The weight of a loss at each step, counted from 0."""

    def value(self, step: int) -> float:
        """Return the weight at a step."""
        raise NotImplementedError

    def observe(self, step: int, mean_terms: float) -> None:
        """Take the mean number of active terms of the texts at a step; most schedules ignore it."""

    def state_dict(self) -> State:
        """Return what an exact resume needs beyond the settings."""
        return {}

    def load_state_dict(self, state: Mapping[str, float | int]) -> None:
        """Go on from a state."""


class Constant(Schedule):
    """The full weight from step `delay` on, 0 before."""

    def __init__(self, weight: float, delay: int = 0) -> None:
        self.weight = _weight(weight)
        self.delay = _steps("delay", delay, least=0)

    def value(self, step: int) -> float:
        """Return the weight at a step."""
        return self.weight if step >= self.delay else 0.0


class Linear(Schedule):
    """weight * min(max(t - delay, 0), T) / T, with T = `steps`."""

    def __init__(self, weight: float, steps: int, delay: int = 0) -> None:
        self.weight = _weight(weight)
        self.steps = _steps("steps", steps, least=1)
        self.delay = _steps("delay", delay, least=0)

    def value(self, step: int) -> float:
        """Return the weight at a step."""
        return self.weight * self._progress(step)

    def _progress(self, step: int) -> float:
        return min(max(step - self.delay, 0), self.steps) / self.steps


class Quadratic(Linear):
    """weight * (min(max(t - delay, 0), T) / T)^2, SPLADE's (arXiv 2107.05720), with T = `steps`.

    naver/splade takes T = 50,000 of 150,000 steps, sentence-transformers a third of all, OpenSearch
    40,000 of 100,000.
    """

    def value(self, step: int) -> float:
        """Return the weight at a step."""
        return self.weight * self._progress(step) ** 2


class TargetTerms(Schedule):
    """The weight that brings the texts to `terms` active terms on average, found while training.

    A proportional-integral controller on the logarithm of the weight. At each observed step, with
    e = ln(smoothed mean terms / terms), cut to [-1, 1]:

        integral += gain e,        weight = exp(integral + damping e).

    The error is a ratio because the weight's effect is: doubling it takes away about the same share of
    the terms wherever one is. `start` is the weight of step 0. From an untrained model's tens of
    thousands of terms, where e is cut to 1, the weight grows by the factor e every 1 / `gain` steps;
    once e falls below 1 the number closes in with a time constant of about `damping` / `gain` steps (100
    by default). That has to be slower than terms answer to the weight, or they swing about the
    target: lower `gain` then. `smoothing` is the share of the old mean that the moving average of
    terms keeps. The weight stays between `least` and `most`, and the integral near them.

    All processes must observe the same number: the mean over the gathered batch.
    """

    def __init__(
        self,
        terms: float,
        start: float = 1e-4,
        gain: float = 0.04,
        damping: float = 4.0,
        smoothing: float = 0.9,
        least: float = 1e-8,
        most: float = 1e4,
    ) -> None:
        if not terms > 0:
            raise UserError(f"terms is {terms}; it must be above 0.")
        if not 0 < least <= start <= most:
            raise UserError(
                f"start is {start}; it must lie between least ({least}, above 0) and most ({most})."
            )
        if not gain > 0 or not damping >= 0:
            raise UserError(f"gain is {gain}, damping {damping}; gain must be above 0, damping at least 0.")
        if not 0 <= smoothing < 1:
            raise UserError(f"smoothing is {smoothing}; it must be at least 0 and below 1.")
        self.terms = terms
        self.gain = gain
        self.damping = damping
        self.smoothing = smoothing
        self._low, self._high = math.log(least), math.log(most)
        self._integral = math.log(start)
        self._mean_terms = math.nan

    def value(self, step: int) -> float:
        """Return the weight found so far; it changes by `observe` alone."""
        return math.exp(min(max(self._integral + self.damping * self._error(), self._low), self._high))

    def observe(self, step: int, mean_terms: float) -> None:
        """Take the mean number of active terms at a step and move the weight."""
        if math.isnan(mean_terms):
            return
        if math.isnan(self._mean_terms):
            self._mean_terms = mean_terms
            # The first error must not make the weight jump from where it starts.
            self._integral -= self.damping * self._error()
        self._mean_terms = self.smoothing * self._mean_terms + (1 - self.smoothing) * mean_terms
        moved = self._integral + self.gain * self._error()
        # As far beyond the bounds as the damping reaches, so that both can be held, and no farther.
        self._integral = min(max(moved, self._low - self.damping), self._high + self.damping)

    def _error(self) -> float:
        if math.isnan(self._mean_terms):
            return 0.0
        # No terms at all is as wrong as the cut error can say.
        return min(math.log(max(self._mean_terms / self.terms, math.exp(-1))), 1.0)

    def state_dict(self) -> State:
        """Return what an exact resume needs beyond the settings."""
        return {"integral": self._integral, "mean_terms": self._mean_terms}

    def load_state_dict(self, state: Mapping[str, float | int]) -> None:
        """Go on from a state."""
        self._integral = float(state["integral"])
        self._mean_terms = float(state["mean_terms"])


def _weight(weight: float) -> float:
    if not 0 <= weight < math.inf:
        raise UserError(f"the weight of a loss is {weight}; it must be finite and at least 0.")
    return weight


def _steps(name: str, steps: int, *, least: int) -> int:
    if steps < least:
        raise UserError(f"{name} is {steps}; it must be {least} or more steps.")
    return steps
