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
    """

    state: State
    recipe: str
    score: float
    tried: Mapping[str, float]


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
    states: dict[str, State] = {}

    def judge(recipe: str, state: State) -> float:
        found = score(state)
        tried[recipe] = -math.inf if math.isnan(found) else found
        states[recipe] = state
        return tried[recipe]

    soup, members = ends[0], [ends[0]]
    best = judge("the best epoch", soup)
    for end in ends[1:]:
        wider = average([*members, end])
        found = judge(f"the average of {len(members) + 1} epochs", wider)
        if found > best:
            best, soup, members = found, wider, [*members, end]
    name = "the best epoch" if len(members) == 1 else f"the average of {len(members)} epochs"
    for share in SHARES:
        recipe = f"{name}, {share:.0%} of the way from the linear head"
        judge(recipe, interpolate(begin, soup, share=share))
    chosen = max(tried, key=lambda recipe: tried[recipe])  # the first of equals: the simplest
    return Merged(states[chosen], chosen, tried[chosen], tried)


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
