from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.strategies.logistic import answer_by_parts
from headstart.trust.learning_curve import trace_learning_curve


def in_turns(n: int, num_folds: int = 5) -> NDArray[np.int64]:
    """(n,) folds that any two classes in turns share alike."""
    return np.arange(n) // 2 % num_folds


def made_up(
    floor: float, scale: float, exponent: float, *, n: int
) -> tuple[list[NDArray[np.int64]], object]:
    """A `score` of n samples whose error follows a power law, and the indices it was asked for."""
    asked: list[NDArray[np.int64]] = []
    ease = (np.random.default_rng(0).permutation(n) + 0.5) / n

    def score(parts: Sequence[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
        asked.extend(parts)
        return [ease > floor + scale * len(part) ** -exponent for part in parts]

    return asked, score


def test_a_power_law_is_found_and_read_off_beyond_the_samples() -> None:
    _, score = made_up(0.05, 2.0, 0.6, n=1000)
    curve = trace_learning_curve(score, np.arange(1000) % 2, folds=in_turns(1000))
    for number in (500, 1000, 2000):
        foreseen, true = curve.predict_at(number), 1 - 0.05 - 2.0 * number**-0.6
        assert foreseen.low is not None
        assert foreseen.high is not None
        assert abs(foreseen.value - true) < 0.01
        assert foreseen.low < true < foreseen.high
    true_gain = 2.0 * (1000**-0.6 - 2000**-0.6)
    gain = curve.gain()
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < true_gain < gain.high
    assert curve.sentence.startswith("Twice the labels are worth about 1")
    assert "(95% " in curve.sentence


def test_intervals_hold_what_they_promise() -> None:
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ease = rng.random(300)

        def score(parts, ease=ease, rng=rng):
            for part in parts:
                error = 0.08 + len(part) ** -0.5 + rng.normal(0, 0.2 / len(part) ** 0.5)
                yield (ease + rng.normal(0, 0.03, len(ease))) % 1.0 > error

        curve = trace_learning_curve(score, np.arange(300) % 2, folds=in_turns(300), seed=seed)
        gain = curve.gain()
        assert gain.low is not None
        assert gain.high is not None
        held += gain.low <= 300**-0.5 - 600**-0.5 <= gain.high
    assert held >= 34


def test_parts_are_nested_and_stratified_and_lack_their_fold() -> None:
    asked, score = made_up(0.1, 1.0, 0.5, n=100)
    targets = np.array([0] * 80 + [1] * 20)
    folds = np.arange(100) % 5
    trace_learning_curve(score, targets, folds=folds)
    by_size: dict[int, list[NDArray[np.int64]]] = {}
    for indices in asked:
        assert indices.tolist() == sorted(set(indices.tolist()))
        by_size.setdefault(len(indices), []).append(indices)
    num_parts = {size: len(parts) for size, parts in by_size.items()}
    assert num_parts == {10: 15, 20: 15, 40: 10, 80: 5}
    for size, parts in by_size.items():
        for i, part in enumerate(parts):
            assert abs((targets[part] == 1).sum() - 0.2 * size) <= 1
            assert not (folds[part] == i % 5).any()
    for small, large in pairwise(by_size):
        assert set(by_size[small][3]) < set(by_size[large][3])
    assert set(by_size[10][0]) != set(by_size[10][5])


def test_what_a_refit_says_about_samples_of_its_own_does_not_count() -> None:
    folds = in_turns(100)

    def score(parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float64]]:
        for part in parts:
            right = np.full(100, 1 - len(part) ** -0.5)
            right[np.isin(folds, folds[part])] = 1.0
            yield right

    curve = trace_learning_curve(score, np.arange(100) % 2, folds=folds)
    assert [point.value for point in curve.points] == pytest.approx(
        [1 - size**-0.5 for size in (10, 20, 40, 80)]
    )


def test_groups_enter_one_by_one() -> None:
    asked, score = made_up(0.1, 1.0, 0.5, n=200)
    groups = np.arange(200) // 8
    trace_learning_curve(score, np.arange(200) // 100, folds=groups % 5, groups=groups)
    for indices in asked:
        counts = np.bincount(groups[indices], minlength=25)
        assert ((counts > 0) & (counts < 8)).sum() <= 1


def test_no_part_is_larger_than_what_the_folds_leave() -> None:
    asked, score = made_up(0.1, 1.0, 0.5, n=60)
    curve = trace_learning_curve(score, np.arange(60) % 2, folds=in_turns(60, num_folds=2))
    assert [point.num_samples for point in curve.points] == [6, 12, 24, 30]
    assert max(map(len, asked)) == 30


def test_shares_with_too_few_samples_are_left_out_and_named() -> None:
    asked, score = made_up(0.1, 1.0, 0.5, n=100)
    curve = trace_learning_curve(score, np.arange(100) % 8, folds=in_turns(100))
    assert min(map(len, asked)) == 20
    assert "10% of the 100 training samples were left out: with 8 classes" in curve.notes[0]
    assert curve.predict_at(200).value > 0.8


def test_too_few_samples_give_points_but_no_curve() -> None:
    _, score = made_up(0.1, 1.0, 0.5, n=30)
    curve = trace_learning_curve(score, np.arange(30) % 6, folds=in_turns(30))
    assert [point.num_samples for point in curve.points] == [12, 24]
    assert "could not be told" in curve.sentence
    assert "too few to draw a curve" in curve.sentence
    assert curve.to_json()["curve"] == []
    with pytest.raises(DataError, match="no learning curve"):
        curve.predict_at(30)
    few = trace_learning_curve(score, np.arange(4) % 2, folds=np.arange(4) // 2)
    assert few.points == ()
    assert few.sentence.endswith("so label more.")


def test_the_curve_is_not_stretched_beyond_four_times_the_samples() -> None:
    _, score = made_up(0.1, 1.0, 0.5, n=100)
    curve = trace_learning_curve(score, np.arange(100) % 2, folds=in_turns(100))
    assert curve.predict_at(400).value < 1
    with pytest.raises(DataError, match="says nothing about 401"):
        curve.predict_at(401)


def test_a_flat_curve_says_that_more_labels_bring_nothing() -> None:
    _, score = made_up(0.2, 0.0, 1.0, n=400)
    curve = trace_learning_curve(score, np.arange(400) % 2, folds=in_turns(400))
    assert curve.sentence.startswith("Twice the labels would change next to nothing")


def test_where_all_is_right_it_says_that_nothing_can_be_measured() -> None:
    _, score = made_up(0.0, 0.0, 1.0, n=400)
    curve = trace_learning_curve(score, np.arange(400) % 2, folds=in_turns(400))
    assert curve.sentence.startswith("All of 400 samples are right as it is")


def test_the_record_is_plain_json_with_the_keys_of_the_report() -> None:
    _, score = made_up(0.1, 1.0, 0.5, n=300)
    record = trace_learning_curve(score, np.arange(300) % 3, folds=np.arange(300) // 3 % 5)
    record = record.to_json()
    assert json.loads(json.dumps(record)) == record
    assert record["metric"] == "accuracy"
    assert record["now"] == 300
    assert [p["num_samples"] for p in record["points"]] == [30, 60, 120, 240]
    assert record["curve"][0]["num_samples"] == 30
    assert record["curve"][-1]["num_samples"] == 600
    for point in (*record["points"], *record["curve"]):
        assert point["low"] <= point["value"] <= point["high"]


def test_refits_of_a_logistic_regression_get_better_with_more_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(600) % 3
    features = torch.randn(600, 40, generator=generator) + 1.5 * torch.eye(3, 40)[targets]
    folds = torch.arange(600) // 3 % 5

    def score(parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.bool_]]:
        indices = [torch.from_numpy(part) for part in parts]
        for answer in answer_by_parts(features, targets, indices, num_classes=3, C=0.01):
            yield (answer.argmax(dim=1) == targets).numpy()

    curve = trace_learning_curve(score, targets.numpy(), folds=folds.numpy())
    assert curve.points[0].value + 0.05 < curve.points[-1].value
    assert curve.predict_at(600).value < curve.predict_at(1200).value < 1
    assert curve.num_judged == 600


def test_multi_label_targets_are_stratified_by_their_combinations() -> None:
    asked, score = made_up(0.1, 1.0, 0.5, n=100)
    targets = np.zeros((100, 3))
    targets[:50, 0] = 1
    targets[25:75, 1] = 1
    trace_learning_curve(score, targets, folds=np.arange(100) % 5)
    shares = [targets[indices].mean(axis=0) for indices in asked]
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0.0]] * len(shares), atol=0.12)


def test_the_seed_decides_the_result() -> None:
    _, score = made_up(0.1, 1.0, 0.5, n=100)
    first, same = (
        trace_learning_curve(score, np.arange(100) % 2, folds=in_turns(100)).to_json()
        for _ in range(2)
    )
    assert first == same


def test_losses_can_be_traced_as_what_they_leave_to_one() -> None:
    def score(parts: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
        return [np.full(100, 1 - 0.1 - len(part) ** -0.5) for part in parts]

    metric = "1 - Brier score"
    curve = trace_learning_curve(score, np.arange(100) % 2, folds=in_turns(100), metric=metric)
    assert curve.metric == metric
    assert curve.points[-1].value == pytest.approx(0.9 - 80**-0.5)


@pytest.mark.parametrize(
    ("values", "told"),
    [(np.full(100, 2.0), "between 0 and 1"), (np.ones((2, 2)), "one number"), (np.ones(9), "each")],
)
def test_scores_that_are_none_are_refused(values: NDArray[np.float64], told: str) -> None:
    with pytest.raises(DataError, match=told):
        trace_learning_curve(
            lambda parts: [values] * len(parts), np.arange(100) % 2, folds=in_turns(100)
        )


@pytest.mark.parametrize("folds", [np.zeros(100, np.int64), np.arange(99) % 5])
def test_folds_that_judge_nothing_are_refused(folds: NDArray[np.int64]) -> None:
    with pytest.raises(DataError, match="at least two folds"):
        trace_learning_curve(lambda parts: [], np.arange(100) % 2, folds=folds)


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(DataError, match="up to 1"):
        trace_learning_curve(
            lambda parts: [], np.arange(100) % 2, folds=in_turns(100), shares=(0.5, 1.5)
        )
