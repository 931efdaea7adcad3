"""Intervals against scipy, and against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from headstart.metrics.intervals import bootstrap, mean_of_proportions, resamples, tally, wilson


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


def test_the_mean_of_one_proportion_has_its_wilson_interval() -> None:
    ends = mean_of_proportions(np.array([7.0]), np.array([9.0]))
    assert ends == pytest.approx(wilson(7, 9))


def test_the_mean_of_proportions_is_held_about_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    true, n = np.array([0.95, 0.7, 0.85]), np.array([20.0, 40.0, 15.0])
    ends = np.array([mean_of_proportions(rng.binomial(n.astype(int), true), n) for _ in range(600)])
    held = np.mean((ends[:, 0] <= true.mean()) & (true.mean() <= ends[:, 1]))
    assert 0.92 <= held <= 0.99


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
