"""Is a difference more than chance? Paired tests, intervals, and correction for many comparisons.

Smucker, Allan & Carterette, "A Comparison of Statistical Significance Tests for Information
Retrieval Evaluation", CIKM 2007 (doi:10.1145/1321440.1321528), find Fisher's randomisation test, the
paired t-test and the bootstrap to agree; Fuhr, "Some Common Mistakes In IR Evaluation", SIGIR Forum
2017, asks for correction where several systems are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BOOTSTRAP_RESAMPLES = 2_000
CONFIDENCE = 0.95
_SEED = 20_07
# Resampled values held at once.
_BATCH_VALUES = 8_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a mean lies with a confidence of 95 %, over samples of queries."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two systems on the same queries: the difference of their means, and how likely chance makes it.

    p-values are two-sided, before correction; None where the t-test has nothing to go by: fewer than
    two queries.
    """

    difference: float
    """The second system's mean less the first's."""
    interval: Interval
    t_test: float | None
    randomisation: float


def mean_interval(strata: Sequence[NDArray[np.float64]], weights: Sequence[float] | None = None) -> Interval:
    """Return the percentile bootstrap interval of a mean, of 2,000 samples with a fixed seed.

    `strata` are the values of each data set's queries: queries are drawn within their data set, and
    the mean is that over data sets of their means, all alike unless there are `weights`, which add up
    to 1. One data set is a list of one.
    """
    means = [_resampled_means(values, seed) for seed, values in enumerate(strata)]
    low, high = np.quantile(
        np.average(means, axis=0, weights=weights), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    )
    return Interval(float(low), float(high))


def _resampled_means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from scipy.stats import bootstrap

    if len(values) < 2 or np.ptp(values) == 0:
        return np.full(BOOTSTRAP_RESAMPLES, values.mean() if len(values) else 0.0)
    result = bootstrap(
        (values,),
        np.mean,
        n_resamples=BOOTSTRAP_RESAMPLES,
        batch=max(1, _BATCH_VALUES // len(values)),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng([_SEED, seed]),
    )
    means: NDArray[np.float64] = result.bootstrap_distribution
    return means


def compare_values(
    first: Sequence[NDArray[np.float64]],
    second: Sequence[NDArray[np.float64]],
    weights: Sequence[float] | None = None,
) -> PairedTest:
    """Test two systems' values of one metric, by data set and query, in the same order.

    The randomisation test (Fisher) swaps the two systems' values of a query at random, 10,000 times
    with a fixed seed, and counts how often the difference of the means is at least the observed
    one; with few queries it goes through all ways instead. The t-test is Student's, paired. Over
    several data sets both test the mean over data sets of the means over queries.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    weights = even_weights(len(differences)) if weights is None else weights
    # Each value's share of the mean over data sets of the means over queries.
    shares = [
        weight * part / len(part) for part, weight in zip(differences, weights, strict=True) if len(part)
    ]
    pooled = np.concatenate([*shares, np.empty(0)])
    return PairedTest(
        difference=float(pooled.sum()),
        interval=mean_interval(differences, weights),
        t_test=t_test(differences, weights),
        randomisation=_randomisation_test(pooled),
    )


def even_weights(count: int) -> list[float]:
    """Return the weights of data sets that count alike."""
    return [1 / count] * count


def t_test(
    differences: Sequence[NDArray[np.float64]], weights: Sequence[float] | None = None
) -> float | None:
    """Return the p-value of Student's t-test that paired differences, by data set, have the mean 0."""
    from scipy import stats

    if any(len(part) < 2 for part in differences):
        return None
    if all(np.ptp(part) == 0 for part in differences):
        return 1.0 if all(part[0] == 0 for part in differences) else 0.0
    if len(differences) == 1:
        return float(stats.ttest_1samp(differences[0], 0.0).pvalue)
    # Means of independent samples: variances add, degrees of freedom after Welch and Satterthwaite.
    scale = np.asarray(even_weights(len(differences)) if weights is None else weights)
    variances = scale**2 * np.array([part.var(ddof=1) / len(part) for part in differences])
    freedoms = np.array([len(part) - 1 for part in differences])
    total = variances.sum()
    freedom = total**2 / (variances**2 / freedoms).sum()
    mean = scale @ np.array([part.mean() for part in differences])
    return float(2 * stats.t.sf(abs(mean) / np.sqrt(total), freedom))


def _randomisation_test(shares: NDArray[np.float64]) -> float:
    from scipy.stats import permutation_test

    # Queries on which both systems do the same stay the same however they are swapped.
    moving = shares[shares != 0]
    if len(moving) < 2:
        return 1.0  # Swapping one query's values turns the sign, which a two-sided test does not see.
    result = permutation_test(
        (moving,),
        np.sum,
        permutation_type="samples",
        n_resamples=RESAMPLES - 1,
        batch=max(1, _BATCH_VALUES // len(moving)),
        vectorized=True,
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for all of them together, by Holm's step-down procedure.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979: the chance that any true null hypothesis of the family is rejected stays below
    the level, whatever the dependence of the tests.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    result = np.empty(len(values))
    result[order] = np.minimum(corrected, 1.0)
    return [float(value) for value in result]
