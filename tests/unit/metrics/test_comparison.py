"""Two models on the same samples: differences, their intervals and the words for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from headstart.errors import DataError
from headstart.metrics.comparison import compare_predictions, paired_gain, tango


def right(n: int, wrong: list[int]) -> np.ndarray:
    marks = np.ones(n, dtype=bool)
    marks[wrong] = False
    return marks


def predictions(is_right: np.ndarray, truth: np.ndarray, *, sure: float = 0.8) -> np.ndarray:
    said = np.where(is_right, truth, 1 - truth)
    return np.where(np.eye(2)[said] > 0, sure, 1 - sure)


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(12, 2, 14), (9, 1, 54), (3, 0, 100), (7, 7, 30)]
)
def test_the_interval_ends_where_the_score_test_begins_to_refuse(
    gained: int, lost: int, n: int
) -> None:
    for delta in tango(gained, lost, n, z=1.959964):

        def surprise(share_lost: float, delta: float = delta) -> float:
            shares = np.array([share_lost + delta, share_lost, 1 - 2 * share_lost - delta])
            return -float((np.array([gained, lost, n - gained - lost]) * np.log(shares)).sum())

        bounds = (max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12)
        share = minimize_scalar(surprise, bounds=bounds, method="bounded").x
        z = (gained - lost - n * delta) / np.sqrt(n * (2 * share + delta - delta**2))
        assert abs(z) == pytest.approx(1.96, abs=0.01)


def test_answers_that_are_all_alike_still_leave_room() -> None:
    marks = right(80, [3, 9])
    gain = paired_gain(marks, marks)
    assert gain.value == 0
    assert gain.low is not None
    assert gain.high is not None
    assert -0.1 < gain.low < -0.01
    assert 0.01 < gain.high < 0.1


def test_few_differing_answers_are_no_proof() -> None:
    gain = paired_gain(right(100, [0, 1, 2]), right(100, []))
    assert gain.low is not None
    assert gain.low < 0 < gain.value
    gain = paired_gain(right(100, list(range(9))), right(100, []))
    assert gain.low is not None
    assert gain.low > 0


def test_swapping_the_models_turns_the_interval_around() -> None:
    a, b = right(60, [1, 2, 3, 4, 5]), right(60, [1, 9])
    one, other = paired_gain(a, b), paired_gain(b, a)
    assert (one.value, one.low, one.high) == pytest.approx(
        (-other.value, -other.high, -other.low),
        abs=1e-9,  # type: ignore[operator]
    )


def test_the_gain_is_held_about_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        kinds = rng.choice(4, p=[0.75, 0.12, 0.05, 0.08], size=60)
        gain = paired_gain(np.isin(kinds, (0, 2)), np.isin(kinds, (0, 1)))
        assert gain.low is not None
        assert gain.high is not None
        held += gain.low <= 0.07 <= gain.high
    assert 0.92 <= held / 500 <= 0.98


def test_repeating_samples_in_groups_proves_nothing_more() -> None:
    a, b = right(40, [0, 1, 2, 3, 4, 5, 6]), right(40, [7])
    alone = paired_gain(a, b)
    repeated = paired_gain(np.repeat(a, 6), np.repeat(b, 6), groups=np.repeat(np.arange(40), 6))
    naive = paired_gain(np.repeat(a, 6), np.repeat(b, 6))
    for gain in (alone, repeated, naive):
        assert gain.value == pytest.approx(0.15)
    widths = [gain.high - gain.low for gain in (alone, repeated, naive)]  # type: ignore[operator]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert widths[2] < 0.6 * widths[0]


def test_one_group_proves_nothing() -> None:
    gain = paired_gain(right(9, [1]), right(9, []), groups=np.zeros(9, dtype=int))
    assert (gain.low, gain.high) == (-1.0, 1.0)


@pytest.mark.parametrize("lengths", [(0, 0), (3, 4)])
def test_answers_that_do_not_pair_are_refused(lengths: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        paired_gain(np.ones(lengths[0]), np.ones(lengths[1]))


def test_every_difference_holds_its_value_and_is_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=120)
    a = predictions(rng.random(120) < 0.8, truth)
    b = predictions(rng.random(120) < 0.9, truth, sure=0.9)
    found = compare_predictions(a, b, truth)
    assert set(found.metrics) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"}
    for difference in found.metrics.values():
        assert difference.low <= difference.value <= difference.high
        assert difference.value == pytest.approx(difference.value_b - difference.value_a)
    assert found.n == 120
    gain = found.metrics["accuracy"].value * 120
    assert found.num_only_b - found.num_only_a == pytest.approx(gain)


def test_a_model_less_itself_is_zero_and_not_certain() -> None:
    truth = np.arange(40) % 2
    a = predictions(right(40, [0, 1, 2]), truth)
    found = compare_predictions(a, a, truth)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert found.metrics[name].value == 0
        assert found.metrics[name].low < 0 < found.metrics[name].high
    assert found.metrics["log_loss"].low == found.metrics["log_loss"].high == 0
    assert "No difference could be shown" in found.verdict


def test_the_verdict_names_the_better_model_with_figures() -> None:
    truth = np.arange(200) % 2
    worse, better = (
        predictions(right(200, list(range(30))), truth),
        predictions(right(200, [0, 1]), truth),
    )
    for models, names in (((worse, better), ("old", "new")), ((better, worse), ("new", "old"))):
        verdict = compare_predictions(*models, truth, names=names).verdict
        assert verdict.startswith("new is right more often than old: +14.0 points (95% +9.")
        assert verdict.endswith("n=200).")


def test_two_right_answers_more_are_shown_by_no_metric() -> None:
    truth = np.arange(150) % 2
    a, b = predictions(right(150, [3, 4, 5]), truth), predictions(right(150, [3]), truth)
    found = compare_predictions(a, b, truth)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert not found.metrics[name].is_shown


def test_multilabel_models_are_compared_by_macro_f1_and_map() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((150, 3)) < 0.4).astype(int)
    noise = rng.normal(size=(2, 150, 3))
    a, b = (
        1 / (1 + np.exp(-(s * (2 * truth - 1) + e))) for s, e in zip((0.5, 2.5), noise, strict=True)
    )
    found = compare_predictions(a, b, truth)
    assert found.headline == "macro_f1"
    assert found.metrics["map"].is_shown
    assert found.verdict.startswith("B has a higher macro F1 than A: +")


def test_predictions_of_other_classes_are_refused() -> None:
    with pytest.raises(DataError, match="same samples in the same classes"):
        compare_predictions(np.eye(2), np.eye(3)[:2], np.array([0, 1]))
