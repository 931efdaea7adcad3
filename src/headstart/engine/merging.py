"""Weights made of other weights, chosen on validation; they cost no inference time.

Knows states of one architecture and a score, nothing of data or tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

State = Mapping[str, Tensor]

# How far from where fine-tuning began towards where it ended.
SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class Merged:
    """The best of some mixtures.

    Attributes:
        state: Its weights.
        recipe: In words.
        score: Its own; higher is better.
        tried: recipe -> score, of all.
        members: Places of the epochs that are averaged in it, among those given.
        share: How far it is from the beginning towards their average.
    """

    state: State
    recipe: str
    score: float
    tried: Mapping[str, float]
    members: tuple[int, ...]
    share: float


def merge_weights(
    begin: State, ends: Sequence[State], *, score: Callable[[State], float]
) -> Merged:
    """The best of: the best epoch, a soup of epochs, and either pulled back towards the beginning.

    Args:
        begin: Where fine-tuning began.
        ends: Weights of epochs, the best first; at least one.
        score: Of a state on validation samples; higher is better. One that is no number is worse
            than any other.

    Source: a greedy soup adds what improves it: Wortsman et al. 2022, "Model soups" (ICML),
    algorithm 1. Interpolation with the beginning: Wortsman et al. 2022, "Robust fine-tuning of
    zero-shot models" (CVPR, WiSE-FT).
    """
    tried: dict[str, float] = {}
    found: dict[str, Merged] = {}

    def judge(members: tuple[int, ...], share: float = 1.0) -> float:
        state: State = ends[0] if len(members) == 1 else average([ends[i] for i in members])
        state = state if share == 1 else interpolate(begin, state, share=share)
        recipe = _recipe(len(members), share)
        value = score(state)
        tried[recipe] = -math.inf if math.isnan(value) else value
        found[recipe] = Merged(state, recipe, tried[recipe], tried, members, share)
        return tried[recipe]

    members: tuple[int, ...] = (0,)
    best = judge(members)
    for place in range(1, len(ends)):
        value = judge((*members, place))
        if value > best:
            best, members = value, (*members, place)
    for share in SHARES:
        judge(members, share)
    return found[max(tried, key=lambda recipe: tried[recipe])]  # the first of equals: the simplest


def _recipe(num_epochs: int, share: float) -> str:
    """In words."""
    name = "the best epoch" if num_epochs == 1 else f"the average of {num_epochs} epochs"
    return name if share == 1 else f"{name}, {share:.0%} of the way from the linear head"


def interpolate(begin: State, end: State, *, share: float) -> dict[str, Tensor]:
    """`begin` for a share of 0, `end` for 1; tensors that are not floating point are the end's."""
    return {
        name: torch.lerp(begin[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }


def average(states: Sequence[State]) -> dict[str, Tensor]:
    """The mean of states; tensors that are not floating point are the first one's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }
