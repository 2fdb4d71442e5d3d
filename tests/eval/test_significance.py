from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from lsr.eval.comparison import compare_scores
from lsr.eval.metrics import Scores
from lsr.eval.significance import compare_values, holm, mean_interval, t_test


def test_randomisation_goes_through_all_ways_where_they_are_few() -> None:
    first, second = np.array([0.1, 0.5, 0.3, 0.9, 0.2]), np.array([0.4, 0.6, 0.35, 0.8, 0.7])
    differences = second - first
    observed = abs(differences.mean())
    ways = [abs(np.mean(differences * signs)) for signs in product((1, -1), repeat=5)]
    expected = np.mean([way >= observed - 1e-12 for way in ways])
    test = compare_values([first], [second])
    assert test.randomisation == pytest.approx(expected)
    assert test.difference == pytest.approx(differences.mean())
    assert test.t_test == pytest.approx(stats.ttest_rel(second, first).pvalue)


def test_randomisation_agrees_with_the_t_test_on_many_queries() -> None:
    random = np.random.default_rng(0)
    for shift in (0.0, 0.02, 0.05):
        first = random.random(400)
        second = first + random.normal(shift, 0.3, 400)
        test = compare_values([first], [second])
        assert test.t_test is not None
        assert test.randomisation == pytest.approx(test.t_test, abs=0.02)
        # Repeated, it gives the same: the seed is fixed.
        assert compare_values([first], [second]) == test


def test_queries_that_do_not_move_change_no_randomisation_test() -> None:
    first, second = np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.35])
    padded = np.concatenate([first, np.ones(50)]), np.concatenate([second, np.ones(50)])
    alone, among = compare_values([first], [second]), compare_values([padded[0]], [padded[1]])
    assert alone.randomisation == among.randomisation


def test_systems_that_are_the_same() -> None:
    values = np.array([0.2, 0.4, 1.0])
    test = compare_values([values], [values.copy()])
    assert (test.difference, test.randomisation, test.t_test) == (0, 1, 1)
    assert (test.interval.low, test.interval.high) == (0, 0)
    one_moves = np.array([0.2, 0.4, 0.9])
    assert compare_values([values], [one_moves]).randomisation == 1
    assert t_test([np.array([0.5])]) is None
    assert t_test([np.array([0.5, 0.5])]) == 0


def test_data_sets_count_alike_whatever_their_size() -> None:
    small, large = np.full(10, 0.5), np.zeros(1000)
    base = [np.zeros(10), np.zeros(1000)]
    assert compare_values(base, [small, large]).difference == pytest.approx(0.25)
    assert compare_values(base, [small, large], [0.9, 0.1]).difference == pytest.approx(0.45)


def test_the_t_test_over_data_sets_is_welchs_of_their_means() -> None:
    random = np.random.default_rng(3)
    one, two = random.normal(0.05, 0.2, 40), random.normal(0.02, 0.4, 70)
    # The mean of two independent means differs from 0 as their difference from each other's negative.
    assert t_test([one, two]) == pytest.approx(stats.ttest_ind(one, -two, equal_var=False).pvalue)


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(120):
        interval = mean_interval([random.beta(2, 3, 60)])
        covered += interval.low <= 2 / 5 <= interval.high
    assert covered >= 105  # Of 114 expected.


def test_intervals_of_several_data_sets() -> None:
    random = np.random.default_rng(2)
    one, two = random.random(300), random.random(30)
    interval = mean_interval([one, two])
    error = np.sqrt(one.var(ddof=1) / 300 + two.var(ddof=1) / 30) / 2
    centre = (one.mean() + two.mean()) / 2
    assert interval.low == pytest.approx(centre - 1.96 * error, abs=0.01)
    assert interval.high == pytest.approx(centre + 1.96 * error, abs=0.01)


def test_holm_by_hand() -> None:
    # Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1, and never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert holm([]) == []


def _scores(values: dict[str, float]) -> Scores:
    array = np.array(list(values.values()))
    return Scores(tuple(values), {"map": array}, np.zeros(len(array)))


def test_wins_losses_and_the_queries_that_moved() -> None:
    first = _scores({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.1})
    second = _scores({"a": 0.9, "b": 0.5, "c": 0.2, "d": 0.2})
    compared = compare_scores([first], [second], "map", moved=1)
    assert (compared.wins, compared.ties, compared.losses) == (2, 1, 1)
    assert [moved.query_id for moved in compared.gained] == ["a"]
    assert [moved.query_id for moved in compared.lost] == ["c"]
    assert compared.gained[0].difference == pytest.approx(0.4)
    with pytest.raises(ValueError, match="different queries"):
        compare_scores([first], [_scores({"a": 1.0})], "map")
