"""Statistics of batch norms, taken anew with the weights as they ended. Knows modules only.

Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3: the running averages of
training are of weights that have changed since, and precise statistics are better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

State = dict[str, Tensor]


@torch.no_grad()
def renew_norms(model: nn.Module, inputs: Iterable[Any]) -> State | None:
    """Replace the running statistics of batch norms by those of some batches.

    Only of those that are in training mode: a frozen norm keeps what it has.

    Args:
        model: Left in eval mode.
        inputs: What its forward takes, as in training.

    Returns:
        The statistics as they were, for `model.load_state_dict(..., strict=False)`; None where
        there are no batch norms, or no inputs.
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and module.training
    }
    before = {
        f"{name}.{key}" if name else key: value.clone()
        for name, module in norms.items()
        for key, value in module.named_buffers()
    }
    momenta = {name: module.momentum for name, module in norms.items()}
    model.eval()
    for module in norms.values():
        module.reset_running_stats()
        module.momentum = None  # the plain mean over all batches
        module.train()
    num_seen = 0
    for batch in inputs:
        model(batch)
        num_seen += 1
    model.eval()
    for name, module in norms.items():
        module.momentum = momenta[name]
    if norms and not num_seen:
        model.load_state_dict(before, strict=False)
    return before if norms and num_seen else None
