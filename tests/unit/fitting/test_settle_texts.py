from __future__ import annotations

from typing import Any

import pytest

from headstart.config import FitOptions
from headstart.fitting.settle import DataSize
from headstart.fitting.settle_texts import settle_texts
from headstart.strategies.gradual import NUM_STAGES


def settled(num_train: int, **given: Any) -> dict[str, Any]:
    size = DataSize(num_train, {"a": num_train // 2, "b": num_train - num_train // 2})
    options = FitOptions(strategy="contrastive", **given)
    choices = settle_texts(options, strategy="contrastive", size=size, device_type="cpu")
    assert all(choice.reason for choice in choices)
    return {choice.name: choice.value for choice in choices}


@pytest.mark.parametrize("num_train", [4, 16, 48, 192])
def test_pairs_are_learnt_from_in_few_steps_of_few_texts(num_train: int) -> None:
    found = settled(num_train)
    assert found["batch_size"] == min(24, num_train)
    assert found["epochs"] * num_train >= 12 * found["batch_size"]
    assert found["epochs"] >= 4


def test_what_was_given_for_pairs_is_not_settled() -> None:
    given = {"epochs": 2, "lr": 0.1, "batch_size": 8, "layer_decay": 0.5}
    assert not given.keys() & settled(48, **given).keys()


def test_gradual_has_an_epoch_for_the_head_and_one_for_each_stage() -> None:
    size = DataSize(50_000, {"a": 25_000, "b": 25_000})
    options = FitOptions(strategy="gradual")
    choices = settle_texts(options, strategy="gradual", size=size, device_type="cpu")
    (epochs,) = [choice.value for choice in choices if choice.name == "epochs"]
    assert epochs == NUM_STAGES + 1
