"""Rounds of a race and the parts of the samples they see."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.halving import nested_parts, plan_rounds


@pytest.mark.parametrize("num_racers", [1, 2])
def test_two_racers_see_all_samples_at_once(num_racers: int) -> None:
    assert plan_rounds(num_racers, 10_000, least=10) == [1]


def test_each_round_doubles_the_samples_and_the_last_sees_all() -> None:
    assert plan_rounds(8, 10_000, least=10) == [4, 2, 1]
    assert plan_rounds(9, 10_000, least=10) == [8, 4, 2, 1]


def test_few_samples_make_few_rounds() -> None:
    assert plan_rounds(16, 399, least=100) == [2, 1]
    assert plan_rounds(16, 150, least=100) == [1]


def test_every_part_holds_the_classes_in_their_shares() -> None:
    targets = np.repeat([0, 1, 2], [400, 200, 100])
    numbers = nested_parts(targets, np.arange(700), least=80, seed=3)
    assert numbers.max() == 7
    for end in (1, 2, 4, 8):
        of_part = np.bincount(targets[numbers < end], minlength=3)
        np.testing.assert_allclose(of_part, np.array([50, 25, 12.5]) * end, atol=2)


def test_groups_stay_whole_in_every_part() -> None:
    groups = np.repeat(np.arange(60), 5)
    numbers = nested_parts(groups % 2, groups, least=30, seed=0)
    assert numbers.max() == 7
    assert all(len(set(numbers[groups == group])) == 1 for group in range(60))


def test_several_labels_a_sample_are_spread_too() -> None:
    marks = np.zeros((160, 2), np.int64)
    marks[:80, 0] = marks[40:120, 1] = 1
    numbers = nested_parts(marks, np.arange(160), least=40, seed=0)
    for end in (1, 2, 4):
        of_part = marks[numbers < end]
        np.testing.assert_allclose(of_part.sum(axis=0), [20 * end, 20 * end], atol=2)
        assert abs(len(of_part) - 40 * end) <= 3


def test_a_rare_second_class_keeps_the_parts_large_enough_to_have_it() -> None:
    targets = np.repeat([0, 1], [990, 10])
    numbers = nested_parts(targets, np.arange(1000), least=20, seed=0)
    assert numbers.max() == 1
    assert (targets[numbers < 1] == 1).sum() == 5
