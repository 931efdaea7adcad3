"""Mixtures of weights: the best by its score, and nothing that is no weight is mixed."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headstart.engine.merging import SHARES, State, average, interpolate, merge_weights


def state(weight: float, *, num_batches: int = 0) -> dict[str, Tensor]:
    """One weight, and a counter as batch norms have it."""
    return {
        "weight": torch.tensor([weight]),
        "num_batches_tracked": torch.tensor(num_batches),
        "is_used": torch.tensor([True]),
    }


def nearness(wanted: float) -> Callable[[State], float]:
    """A score that is highest where the weight is as wanted."""
    return lambda mixed: -abs(float(mixed["weight"]) - wanted)


def test_the_soup_is_chosen_where_it_scores_best() -> None:
    merged = merge_weights(state(-9.0), [state(1.0), state(3.0)], score=nearness(2.0))
    assert merged.recipe == "the average of 2 epochs"
    assert float(merged.state["weight"]) == 2.0
    assert merged.score == 0.0 == max(merged.tried.values())


def test_an_epoch_that_does_not_improve_the_soup_is_left_out_of_it() -> None:
    epochs = [state(1.0), state(-50.0), state(3.0)]
    merged = merge_weights(state(-9.0), epochs, score=nearness(2.0))
    assert merged.recipe == "the average of 2 epochs"
    assert float(merged.state["weight"]) == 2.0  # of the first and the third
    assert (merged.members, merged.share) == ((0, 2), 1.0)


def test_weights_on_the_way_are_chosen_where_they_score_best() -> None:
    merged = merge_weights(state(0.0), [state(4.0)], score=nearness(1.0))
    assert merged.recipe == "the best epoch, 25% of the way from the linear head"
    assert float(merged.state["weight"]) == 1.0


def test_the_soup_is_what_is_pulled_back() -> None:
    merged = merge_weights(state(0.0), [state(3.0), state(5.0)], score=nearness(2.0))
    # alone the first epoch is 1 off, the soup of both 2: the soup is refused, the way is to 3
    assert merged.recipe == "the best epoch, 75% of the way from the linear head"
    merged = merge_weights(state(0.0), [state(5.0), state(3.0)], score=nearness(2.0))
    assert merged.recipe == "the average of 2 epochs, 50% of the way from the linear head"
    assert float(merged.state["weight"]) == 2.0
    assert (merged.members, merged.share) == ((0, 1), 0.5)


def test_of_equals_the_simplest_is_taken() -> None:
    merged = merge_weights(state(0.0), [state(4.0), state(5.0)], score=lambda mixed: 0.5)
    assert merged.recipe == "the best epoch"
    assert float(merged.state["weight"]) == 4.0
    assert list(merged.tried.values()) == [0.5] * (2 + len(SHARES))


def test_a_score_that_is_no_number_is_never_the_best() -> None:
    def score(mixed: State) -> float:
        weight = float(mixed["weight"])
        return math.nan if weight == 4.0 else -weight

    merged = merge_weights(state(0.0), [state(4.0)], score=score)
    assert merged.recipe == "the best epoch, 25% of the way from the linear head"
    assert not any(math.isnan(score) for score in merged.tried.values())


@pytest.mark.parametrize(
    "mixed",
    [
        average([state(1.0, num_batches=7), state(2.0, num_batches=9)]),
        interpolate(state(1.0, num_batches=3), state(2.0, num_batches=7), share=0.5),
    ],
    ids=["average", "interpolation"],
)
def test_whole_numbers_and_flags_are_kept_as_they_are(mixed: State) -> None:
    assert float(mixed["weight"]) == 1.5
    assert mixed["num_batches_tracked"].dtype == torch.int64
    assert int(mixed["num_batches_tracked"]) == 7
    assert mixed["is_used"].tolist() == [True]


def test_mixing_leaves_its_parts_as_they_were() -> None:
    begin, ends = state(0.0), [state(4.0), state(6.0)]
    merge_weights(begin, ends, score=nearness(3.0))
    assert [float(one["weight"]) for one in (begin, *ends)] == [0.0, 4.0, 6.0]


def test_the_ends_of_the_way_are_exact() -> None:
    begin, end = {"weight": torch.randn(50)}, {"weight": torch.randn(50)}
    assert torch.equal(interpolate(begin, end, share=0.0)["weight"], begin["weight"])
    assert torch.equal(interpolate(begin, end, share=1.0)["weight"], end["weight"])
