"""Which parameters learn and how fast: freezing, layer-wise rates, modes of frozen layers.

Used by every strategy that trains by gradient. Knows modules and parameter names only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from torch import nn

from headstart.contracts import ParameterGroup
from headstart.model import Model


def freeze(module: nn.Module) -> None:
    """No parameter of a module learns."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def freeze_backbone(model: Model) -> None:
    """No parameter of the backbone learns, but for filters made for bands its weights do not know.

    These were never trained: see `backbones.stem`.
    """
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(name in model.stem)


def frozen_stay_in_eval(model: Model) -> None:
    """`model.train()`, but every part without a trainable parameter stays in eval.

    So frozen norm layers keep their statistics, and dropout or stochastic depth inside a frozen
    part is off: frozen means frozen.
    """
    model.train()
    _eval_where_frozen(model)


def _eval_where_frozen(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _eval_where_frozen(child)


def norms_stay_in_eval(module: nn.Module) -> None:
    """Batch norms keep their pretrained statistics, though their scale and shift may learn."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()


def head_groups(model: Model) -> list[ParameterGroup]:
    """The head's parameters, at the full rate."""
    return _with_and_without_decay("head", list(model.head.parameters()), lr_scale=1.0)


def stem_groups(model: Model) -> list[ParameterGroup]:
    """Filters made for bands that the weights do not know, at the full rate; often there are none.

    They have as far to go as the head, not as little as the layers around them.
    """
    parameters = dict(model.backbone.named_parameters())
    made = [parameters[name] for name in model.stem]
    return _with_and_without_decay("stem", made, lr_scale=1.0)


def backbone_groups(
    model: Model, *, layer_decay: float, first_scale: float = 1.0
) -> list[ParameterGroup]:
    """The backbone's parameters, from the top down, each group slower than the one above it.

    Filters of `stem_groups` come first, and are in no other group.

    Args:
        model: Its `layer_groups` name the parameters, the group nearest the input first.
        layer_decay: Factor from one group to the next one down.
        first_scale: Rate of the topmost group, times the base rate.

    Source: Howard & Ruder 2018 (ULMFiT), section 3.2, discriminative fine-tuning.
    """
    parameters = dict(model.backbone.named_parameters())
    groups = stem_groups(model)
    for depth, names in enumerate(reversed(model.layer_groups)):
        index = len(model.layer_groups) - 1 - depth
        groups += _with_and_without_decay(
            f"backbone.{index}",
            [parameters[name] for name in names if name not in model.stem],
            lr_scale=first_scale * layer_decay**depth,
        )
    return groups


def stages_from_top(
    layer_groups: Sequence[Sequence[str]], *, num_stages: int
) -> list[Collection[str]]:
    """Layer groups gathered into so many stages of about equal depth, the topmost first."""
    count = min(num_stages, len(layer_groups))
    from_top = list(reversed(layer_groups))
    bounds = [round(i * len(from_top) / count) for i in range(count + 1)]
    return [
        {name for group in from_top[start:end] for name in group} for start, end in pairwise(bounds)
    ]


def _with_and_without_decay(
    name: str, parameters: list[nn.Parameter], *, lr_scale: float
) -> list[ParameterGroup]:
    """Two groups: matrices and filters with weight decay; norms and biases without.

    Source: He et al. 2019, Bag of Tricks, section 3.1.
    """
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = []
    if matrices:
        groups.append(ParameterGroup(name, matrices, lr_scale=lr_scale))
    if vectors:
        groups.append(
            ParameterGroup(f"{name}.no_decay", vectors, lr_scale=lr_scale, weight_decay_scale=0.0)
        )
    return groups
