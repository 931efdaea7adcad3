"""How samples that were read become a batch: what goes together, and stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from headstart.contracts import Example, Sample
from headstart.errors import ConfigError

Prepare = Callable[[Sample], Tensor | Example]
"""Reads a sample and makes it the model's input, (bands, H, W), or an Example, which has a target
too where the sample's label is a picture itself. Raises DataError with the path."""


class Stacked(NamedTuple):
    """The rows of a batch: inputs (B, bands, H, W), and targets (B, H, W) where they bring them."""

    inputs: Tensor
    targets: Tensor | None


def as_example(prepared: Tensor | Example) -> Example:
    """What was prepared, as an Example."""
    return prepared if isinstance(prepared, Example) else Example(prepared)


def go_together(first: Example, second: Example) -> bool:
    """Whether two examples fit into one batch."""
    has_targets = first.target is not None
    return first.inputs.shape == second.inputs.shape and has_targets == (second.target is not None)


def has_room(row: Example, num: int, most_pixels: int | None) -> bool:
    """Whether another row of this size can go with so many of them."""
    if most_pixels is None:
        return True
    height, width = row.inputs.shape[-2:]
    return (num + 1) * height * width <= most_pixels


def stack(rows: Sequence[Example]) -> Stacked:
    """Examples as a batch; without targets unless each has one."""
    targets = [row.target for row in rows if row.target is not None]
    inputs = torch.stack([row.inputs for row in rows])
    return Stacked(inputs, torch.stack(targets) if len(targets) == len(rows) else None)


def stack_targets(targets: Sequence[Any] | Tensor) -> Tensor:
    """(n,) int64 from class indices, or (n, num_classes) float32 from vectors."""
    if isinstance(targets, Tensor):
        stacked = targets
    else:
        stacked = torch.as_tensor(np.asarray([np.asarray(target) for target in targets]))
    return stacked.to(torch.int64 if stacked.ndim == 1 else torch.float32)


def check_at_least(smallest: int, **numbers: int) -> None:
    """Raise ConfigError for the first number that is smaller."""
    for name, number in numbers.items():
        if number < smallest:
            raise ConfigError(f"`{name}` is {number}, but must be at least {smallest}. Raise it.")
