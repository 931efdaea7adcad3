"""The exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """A shadow of all parameters that follows them slowly.

    The decay is warmed up as (1 + t) / (10 + t), so that the average is not tied to where the
    weights began. Source: Tan & Le 2019 (EfficientNet) as trained in TensorFlow.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follow the weights, after an optimizer step."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        for name, parameter in model.named_parameters():
            self.shadow[name].lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the averaged weights, while the block lasts."""
        own = {name: p.detach().clone() for name, p in model.named_parameters()}
        _copy(self.shadow, model)
        try:
            yield
        finally:
            _copy(own, model)


@torch.no_grad()
def _copy(tensors: dict[str, Tensor], model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(tensors[name])
