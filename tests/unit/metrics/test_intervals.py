"""Intervals against scipy, and against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import t as student_t

from headstart.metrics.intervals import (
    bootstrap,
    critical_value,
    ratio_interval,
    resamples,
    share_interval,
    tally,
    wilson,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (3, 10), (145, 153), (700, 1000)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_perfect_score_on_few_samples_is_not_certain() -> None:
    low, high = wilson(10, 10)
    assert low < 0.75
    assert high == 1.0


def test_without_trials_everything_is_possible() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("num_units", [2, 3, 4, 5, 6, 8, 11, 17, 31, 101, 5000])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_critical_values_are_those_of_student(num_units: int, level: float) -> None:
    expected = student_t.ppf(0.5 + level / 2, num_units - 1)
    assert critical_value(level, num_units=num_units) == pytest.approx(expected, rel=1e-3)


def test_units_of_one_trial_get_wilsons_interval() -> None:
    parts = np.array([1.0] * 30 + [0.0] * 6)
    assert ratio_interval(parts, np.ones(36)) == wilson(30, 36)


def test_trials_that_go_together_count_as_one() -> None:
    parts = np.repeat([4.0, 0.0], [30, 6])
    low, high = ratio_interval(parts, np.full(36, 4.0))
    alone_low, alone_high = wilson(30, 36)
    assert low == pytest.approx(alone_low, abs=0.02)
    assert high == pytest.approx(alone_high, abs=0.02)


def test_units_that_are_more_even_than_chance_are_no_better_than_single_trials() -> None:
    low, high = ratio_interval(np.full(200, 3.0), np.full(200, 4.0))
    alone_low, alone_high = wilson(600, 800)
    assert low <= alone_low
    assert high >= alone_high


def test_one_unit_tells_nothing() -> None:
    assert ratio_interval(np.array([3.0]), np.array([5.0])) == (0.0, 1.0)
    assert ratio_interval(np.array([]), np.array([])) == (0.0, 1.0)


def test_units_that_are_all_right_are_not_certain() -> None:
    assert ratio_interval(np.full(9, 5.0), np.full(9, 5.0)) == wilson(9, 9)


def test_the_share_of_grouped_trials_is_held_about_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        rates = rng.beta(4, 1, size=25)  # of each unit; 0.8 on average
        low, high = ratio_interval(rng.binomial(4, rates).astype(float), np.full(25, 4.0))
        held += low <= 0.8 <= high
    assert 0.92 <= held / 600 <= 0.98


def test_an_interval_from_a_variance_is_wilsons_where_trials_are_independent() -> None:
    assert share_interval(0.8, 0.8 * 0.2 / 50) == pytest.approx(wilson(40, 50))


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    low, high = bootstrap(lambda w: (w @ values / w.sum(axis=1))[:, None], 400, num_resamples=4000)
    half = 1.96 * values.std() / 20
    assert low[0] == pytest.approx(values.mean() - half, abs=0.03)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.03)


def test_the_same_seed_gives_the_same_resamples() -> None:
    first, second = (
        np.concatenate(list(resamples(7, groups=None, num_resamples=5, seed=3))) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first.sum(axis=1) == 7).all()


def test_samples_of_a_group_are_drawn_together() -> None:
    groups = np.array([5, 5, 9, 9, 9, 2])
    counts = np.concatenate(list(resamples(6, groups=groups, num_resamples=50, seed=0)))
    np.testing.assert_array_equal(counts[:, 0], counts[:, 1])
    np.testing.assert_array_equal(counts[:, 2], counts[:, 4])
    assert (counts[:, 0] + counts[:, 2] + counts[:, 5] == 3).all()


def test_equal_samples_in_a_group_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=40), 5)
    groups = np.repeat(np.arange(40), 5)

    def mean(weights: np.ndarray) -> np.ndarray:
        return (weights @ values / weights.sum(axis=1))[:, None]

    alone_low, alone_high = bootstrap(mean, 200)
    low, high = bootstrap(mean, 200, groups=groups)
    assert (high - low)[0] > 1.8 * (alone_high - alone_low)[0]


def test_many_samples_are_resampled_in_small_chunks() -> None:
    chunks = list(resamples(300_000, groups=None, num_resamples=7, seed=0))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]


def test_a_tally_sums_counts_by_code() -> None:
    counts = np.array([[1.0, 2.0, 3.0], [0.0, 5.0, 1.0]])
    sums = tally(counts, np.array([2, 0, 2]), width=4)
    np.testing.assert_array_equal(sums, [[2, 0, 4, 0], [5, 0, 1, 0]])
