from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.strategies.logistic import fit_logistic_on_parts
from headstart.trust.learning_curve import trace_learning_curve


def made_up(
    floor: float, scale: float, exponent: float, *, num_judged: int = 1000
) -> tuple[list[NDArray[np.int64]], object]:
    """A `score` whose error follows a power law, and the indices it was asked for."""
    asked: list[NDArray[np.int64]] = []
    ease = (np.random.default_rng(0).permutation(num_judged) + 0.5) / num_judged

    def score(parts: Sequence[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
        asked.extend(parts)
        return [ease > floor + scale * len(part) ** -exponent for part in parts]

    return asked, score


def test_a_power_law_is_found_and_read_off_beyond_the_samples() -> None:
    _, score = made_up(0.05, 2.0, 0.6)
    curve = trace_learning_curve(score, np.arange(500) % 2)
    for number in (500, 1000, 2000):
        foreseen, true = curve.predict_at(number), 1 - 0.05 - 2.0 * number**-0.6
        assert foreseen.low is not None
        assert foreseen.high is not None
        assert abs(foreseen.value - true) < 0.01
        assert foreseen.low < true < foreseen.high
    true_gain = 2.0 * (500**-0.6 - 1000**-0.6)
    gain = curve.gain()
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < true_gain < gain.high
    assert curve.sentence.startswith("Twice the labels are worth about 1.")
    assert "points (95% " in curve.sentence


def test_intervals_hold_what_they_promise() -> None:
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ease = rng.random(200)

        def score(parts, ease=ease, rng=rng):
            for part in parts:
                error = 0.08 + len(part) ** -0.5 + rng.normal(0, 0.2 / len(part) ** 0.5)
                yield (ease + rng.normal(0, 0.03, len(ease))) % 1.0 > error

        curve = trace_learning_curve(score, np.arange(300) % 2, seed=seed)
        gain = curve.gain()
        assert gain.low is not None
        assert gain.high is not None
        held += gain.low <= 300**-0.5 - 600**-0.5 <= gain.high
    assert held >= 34


def test_parts_are_nested_and_stratified() -> None:
    asked, score = made_up(0.1, 1.0, 0.5)
    targets = np.array([0] * 80 + [1] * 20)
    trace_learning_curve(score, targets)
    by_size: dict[int, list[NDArray[np.int64]]] = {}
    for indices in asked:
        assert indices.tolist() == sorted(set(indices.tolist()))
        by_size.setdefault(len(indices), []).append(indices)
    assert {size: len(parts) for size, parts in by_size.items()} == {
        10: 3,
        20: 3,
        40: 2,
        80: 1,
        100: 1,
    }
    for size, parts in by_size.items():
        for part in parts:
            assert abs((targets[part] == 1).sum() - 0.2 * size) <= 1
    assert set(by_size[10][0]) < set(by_size[20][0]) < set(by_size[40][0]) < set(by_size[80][0])
    assert set(by_size[10][0]) != set(by_size[10][1])


def test_groups_enter_one_by_one() -> None:
    asked, score = made_up(0.1, 1.0, 0.5)
    groups = np.arange(200) // 8
    trace_learning_curve(score, np.arange(200) // 100, groups=groups)
    for indices in asked:
        counts = np.bincount(groups[indices], minlength=25)
        assert ((counts > 0) & (counts < 8)).sum() <= 1


def test_shares_with_too_few_samples_are_left_out_and_named() -> None:
    asked, score = made_up(0.1, 1.0, 0.5)
    curve = trace_learning_curve(score, np.arange(100) % 8)
    assert min(map(len, asked)) == 20
    assert "10% of the 100 training samples were left out: with 8 classes" in curve.notes[0]
    assert curve.predict_at(200).value > 0.8


def test_too_few_samples_give_points_but_no_curve() -> None:
    _, score = made_up(0.1, 1.0, 0.5)
    curve = trace_learning_curve(score, np.arange(24) % 6)
    assert [point.num_samples for point in curve.points] == [19, 24]
    assert "could not be told" in curve.sentence
    assert "too few to draw a curve" in curve.sentence
    assert curve.to_json()["curve"] == []
    with pytest.raises(DataError, match="no learning curve"):
        curve.predict_at(30)


def test_the_curve_is_not_stretched_beyond_four_times_the_samples() -> None:
    _, score = made_up(0.1, 1.0, 0.5)
    curve = trace_learning_curve(score, np.arange(100) % 2)
    assert curve.predict_at(400).value < 1
    with pytest.raises(DataError, match="says nothing about 401"):
        curve.predict_at(401)


def test_a_flat_curve_says_that_more_labels_bring_nothing() -> None:
    _, score = made_up(0.2, 0.0, 1.0)
    curve = trace_learning_curve(score, np.arange(400) % 2)
    assert curve.sentence.startswith("Twice the labels would change next to nothing")


def test_where_all_is_right_it_says_that_nothing_can_be_measured() -> None:
    _, score = made_up(0.0, 0.0, 1.0)
    curve = trace_learning_curve(score, np.arange(400) % 2)
    assert curve.sentence.startswith("All of 1,000 samples are right as it is")


def test_the_record_is_plain_json_with_the_keys_of_the_report() -> None:
    _, score = made_up(0.1, 1.0, 0.5)
    record = trace_learning_curve(score, np.arange(300) % 3).to_json()
    assert json.loads(json.dumps(record)) == record
    assert record["metric"] == "accuracy"
    assert record["now"] == 300
    assert [p["num_samples"] for p in record["points"]] == [30, 60, 120, 240, 300]
    assert record["curve"][0]["num_samples"] == 30
    assert record["curve"][-1]["num_samples"] == 600
    for point in (*record["points"], *record["curve"]):
        assert point["low"] <= point["value"] <= point["high"]


def test_refits_of_a_logistic_regression_get_better_with_more_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(600) % 3
    features = torch.randn(600, 40, generator=generator) + 1.5 * torch.eye(3, 40)[targets]
    train, judged = slice(0, 400), slice(400, None)

    def score(parts: Sequence[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
        indices = [torch.from_numpy(part) for part in parts]
        fits = fit_logistic_on_parts(
            features[train], targets[train], indices, num_classes=3, C=0.01
        )
        answers = [fit.logits(features[judged]).argmax(dim=1) for fit in fits]
        return [(answer == targets[judged]).numpy() for answer in answers]

    curve = trace_learning_curve(score, targets[train].numpy())
    assert curve.points[0].value + 0.05 < curve.points[-1].value
    assert curve.predict_at(400).value < curve.predict_at(800).value < 1
    assert curve.num_judged == 200


def test_multi_label_targets_are_stratified_by_their_combinations() -> None:
    asked, score = made_up(0.1, 1.0, 0.5)
    targets = np.zeros((100, 3))
    targets[:50, 0] = 1
    targets[25:75, 1] = 1
    trace_learning_curve(score, targets)
    shares = [targets[indices].mean(axis=0) for indices in asked]
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0.0]] * len(shares), atol=0.12)


def test_the_seed_decides_the_result() -> None:
    _, score = made_up(0.1, 1.0, 0.5)
    first, same = (trace_learning_curve(score, np.arange(100) % 2).to_json() for _ in range(2))
    assert first == same


def test_losses_can_be_traced_as_what_they_leave_to_one() -> None:
    def score(parts: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
        return [np.full(50, 1 - 0.1 - len(part) ** -0.5) for part in parts]

    curve = trace_learning_curve(score, np.arange(100) % 2, metric="1 - Brier score")
    assert curve.metric == "1 - Brier score"
    assert curve.points[-1].value == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("values", "told"),
    [(np.array([0.5, 2.0]), "between 0 and 1"), (np.ones((2, 2)), "one number")],
)
def test_scores_that_are_none_are_refused(values: NDArray[np.float64], told: str) -> None:
    with pytest.raises(DataError, match=told):
        trace_learning_curve(lambda parts: [values] * len(parts), np.arange(100) % 2)


def test_refits_must_be_judged_on_the_same_samples() -> None:
    with pytest.raises(DataError, match="same ones"):
        trace_learning_curve(lambda parts: [np.ones(len(p)) for p in parts], np.arange(100) % 2)


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(DataError, match="up to 1"):
        trace_learning_curve(lambda parts: [], np.arange(100) % 2, shares=(0.5, 1.5))
