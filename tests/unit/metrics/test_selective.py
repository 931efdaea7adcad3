"""Accuracy against coverage."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.metrics.intervals import wilson
from headstart.metrics.selective import area_under_risk_coverage, coverage_curve


def sorted_answers(n: int = 100, *, num_wrong: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Confidences from 0.99 down, the least confident wrong."""
    sure = np.linspace(0.99, 0.51, n)
    truth = np.zeros(n, dtype=int)
    truth[n - num_wrong :] = 1
    return np.column_stack([sure, 1 - sure]), truth


def test_the_curve_has_the_grid_and_where_targets_are_reached() -> None:
    rows = coverage_curve(*sorted_answers())
    assert [row["n"] for row in rows] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 94, 100]
    assert rows[-1]["accuracy"] == pytest.approx(0.9)
    at_95 = rows[-2]
    assert at_95["accuracy"] == pytest.approx(90 / 94)
    assert at_95["min_confidence"] == pytest.approx(np.linspace(0.99, 0.51, 100)[93])
    assert (at_95["low"], at_95["high"]) == wilson(90, 94)


def test_each_row_can_be_had_by_its_confidence() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], size=200).round(2)
    truth = rng.integers(3, size=200)
    for row in coverage_curve(p, truth):
        kept = p.max(axis=1) >= row["min_confidence"]
        assert kept.sum() == row["n"] == round(row["coverage"] * 200)
        assert (p.argmax(axis=1) == truth)[kept].mean() == pytest.approx(row["accuracy"])


def test_samples_of_equal_confidence_are_answered_together() -> None:
    rows = coverage_curve(np.tile([0.7, 0.3], (50, 1)), np.zeros(50, dtype=int))
    assert [row["n"] for row in rows] == [50]


def test_groups_widen_the_intervals() -> None:
    p, truth = sorted_answers()
    alone, grouped = (
        coverage_curve(p, truth)[-1],
        coverage_curve(p, truth, groups=np.arange(100) // 10)[-1],
    )
    assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])


def test_multilabel_samples_are_as_sure_as_their_least_sure_decision() -> None:
    rows = coverage_curve(np.array([[0.9, 0.6], [0.2, 0.1]]), np.array([[1, 0], [0, 0]]))
    assert [(row["min_confidence"], row["accuracy"]) for row in rows] == [(0.8, 1.0), (0.6, 0.5)]


def test_the_area_is_the_mean_risk_over_all_coverages() -> None:
    p, truth = sorted_answers(20, num_wrong=4)
    expected = np.mean([(max(0, k - 16)) / k for k in range(1, 21)])
    assert area_under_risk_coverage(p, truth) == pytest.approx(expected)
    assert area_under_risk_coverage(p, 1 - truth) > area_under_risk_coverage(p, truth)


def test_the_area_of_equal_confidences_does_not_depend_on_their_order() -> None:
    p = np.tile([0.7, 0.3], (10, 1))
    truth = np.array([0] * 7 + [1] * 3)
    for order in (np.arange(10), np.arange(10)[::-1]):
        assert area_under_risk_coverage(p, truth[order]) == pytest.approx(0.3)
