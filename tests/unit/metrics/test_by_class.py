"""Figures of each class and their means: intervals that know of groups and of few samples."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.metrics import by_class
from headstart.metrics.classification import evaluate_multilabel, evaluate_single_label
from headstart.metrics.intervals import wilson

KEYS = ("precision", "recall", "f1")


def answers(n: int, *, accuracy: float, num_classes: int = 3, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    truth = rng.integers(num_classes, size=n)
    shift = rng.integers(1, num_classes, size=n) * (rng.random(n) > accuracy)
    return truth, (truth + shift) % num_classes


def cells_of(truth: np.ndarray, said: np.ndarray, units: np.ndarray | None = None):
    units = np.arange(len(truth)) if units is None else units
    return by_class.exclusive_cells(truth, said, num_classes=3, units=units)


def test_without_groups_each_class_has_wilsons_intervals() -> None:
    truth, said = answers(80, accuracy=0.8)
    cells = cells_of(truth, said)
    for k in range(3):
        hits, called, n = ((a == k).sum() for a in (truth[truth == said], said, truth))
        found = by_class.precision(cells), by_class.recall(cells)
        assert (found[0].low[k], found[0].high[k]) == pytest.approx(wilson(hits, called))
        assert (found[1].low[k], found[1].high[k]) == pytest.approx(wilson(hits, n))


def test_samples_repeated_in_groups_do_not_narrow_the_intervals_of_classes() -> None:
    truth, said = answers(60, accuracy=0.8)
    classes = ["a", "b", "c"]
    alone = evaluate_single_label(np.eye(3)[said], truth, classes)
    repeated = evaluate_single_label(
        np.eye(3)[np.repeat(said, 5)],
        np.repeat(truth, 5),
        classes,
        groups=np.repeat(np.arange(60), 5),
    )
    for name in classes:
        for key in KEYS:
            narrow = [
                row[name][f"{key}_high"] - row[name][f"{key}_low"]
                for row in (alone.per_class, repeated.per_class)
            ]
            assert narrow[1] > 0.95 * narrow[0]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        one, other = alone.metrics[name], repeated.metrics[name]
        assert one.value == pytest.approx(other.value)
        assert other.high - other.low > 0.95 * (one.high - one.low)  # type: ignore[operator]


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(20), 3)])
def test_every_figure_of_a_class_has_an_interval_that_holds_it(groups: np.ndarray | None) -> None:
    truth, said = answers(60, accuracy=0.7)
    single = evaluate_single_label(np.eye(3)[said], truth, list("abc"), groups=groups)
    marks = np.eye(3, dtype=int)[truth]
    several = evaluate_multilabel(np.eye(3)[said] * 0.9, marks, list("abc"), groups=groups)
    for found in (single, several):
        for row in found.per_class.values():
            for key in KEYS:
                assert 0 <= row[f"{key}_low"] <= row[key] <= row[f"{key}_high"] <= 1
                assert row[f"{key}_low"] < row[f"{key}_high"]


def test_the_variance_of_macro_f1_is_that_of_its_bootstrap() -> None:
    truth, said = answers(400, accuracy=0.8)
    cells = cells_of(truth, said)
    low, high = by_class.mean_interval(cells, [(by_class.f1(cells), np.full(3, 1 / 3))])
    rng = np.random.default_rng(0)
    values = []
    for _ in range(800):
        draw = rng.integers(400, size=400)
        again = cells_of(truth[draw], said[draw])
        values.append(by_class.f1(again).values.mean())
    assert (high - low) / 3.92 == pytest.approx(np.std(values), rel=0.08)


@pytest.mark.parametrize("size", [1, 3])
def test_macro_f1_of_few_samples_is_held_about_as_often_as_said(size: int) -> None:
    held, repeats = 0, 400
    for seed in range(repeats):
        truth, said = answers(50, accuracy=0.85, seed=seed)
        if size > 1:  # each sample three times over, so that 50 samples are worth 17
            truth, said = np.repeat(truth[:17], 3)[:50], np.repeat(said[:17], 3)[:50]
        cells = cells_of(truth, said, np.arange(50) // size)
        is_there = cells.total(cells.true) > 0
        ends = by_class.mean_interval(cells, [(by_class.f1(cells), is_there / is_there.sum())])
        held += ends[0] <= 0.85 <= ends[1]
    assert 0.92 <= held / repeats <= 0.98


def test_a_rare_class_without_an_error_keeps_macro_f1_uncertain() -> None:
    truth = np.repeat([0, 1], [195, 5])
    measure = evaluate_single_label(np.eye(2)[truth], truth, ["a", "b"]).metrics["macro_f1"]
    assert measure.value == 1.0
    assert measure.low is not None
    assert measure.low < 0.9


def test_cells_of_groups_sum_to_the_counts_of_samples() -> None:
    truth, said = answers(90, accuracy=0.6)
    marks_true, marks_said = np.eye(3)[truth], np.eye(3)[said]
    units = np.arange(90) // 4
    for cells in (
        cells_of(truth, said, units),
        by_class.independent_cells(marks_true, marks_said, units=units),
    ):
        np.testing.assert_array_equal(cells.total(cells.true), marks_true.sum(axis=0))
        np.testing.assert_array_equal(cells.total(cells.predicted), marks_said.sum(axis=0))
        hits = (marks_true * marks_said).sum(axis=0)
        np.testing.assert_array_equal(cells.total(cells.hits), hits)
