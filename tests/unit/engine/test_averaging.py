from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.engine.averaging import MovingAverage


def filled(value: float) -> nn.Linear:
    linear = nn.Linear(2, 1)
    for parameter in linear.parameters():
        nn.init.constant_(parameter, value)
    return linear


def test_the_average_follows_its_formula() -> None:
    model = filled(0.0)
    average = MovingAverage(model, decay=0.5)
    expected = 0.0
    for t in range(1, 12):
        for parameter in model.parameters():
            nn.init.constant_(parameter, float(t))
        average.update(model)
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * t
    assert average.num_updates == 11
    assert average.shadow["weight"].flatten().tolist() == pytest.approx([expected] * 2)


def test_weights_are_averaged_only_while_it_is_applied() -> None:
    model = filled(1.0)
    average = MovingAverage(model, decay=0.9)
    nn.init.constant_(model.weight, 5.0)
    with average.applied(model):
        assert model.weight.tolist() == [[1.0, 1.0]]
    assert model.weight.tolist() == [[5.0, 5.0]]


def test_weights_come_back_when_the_block_fails() -> None:
    model = filled(1.0)
    average = MovingAverage(model, decay=0.9)
    nn.init.constant_(model.weight, 5.0)
    with pytest.raises(RuntimeError, match="validation"), average.applied(model):
        raise RuntimeError("validation")
    assert model.weight.tolist() == [[5.0, 5.0]]


def test_the_average_takes_no_part_in_the_gradient() -> None:
    model = filled(1.0)
    average = MovingAverage(model, decay=0.9)
    average.update(model)
    assert not any(t.requires_grad for t in average.shadow.values())
    assert torch.equal(model.weight, torch.ones(1, 2))
