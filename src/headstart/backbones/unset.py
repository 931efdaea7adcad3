"""Building modules without drawing random weights, for weights that are loaded right after.

Drawing them takes seconds for a VGG or ViT, more than reading the real ones. Knows no architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# Those of torch.nn.init that ask the mode before they draw.
_INITIALISERS = (
    torch.nn.init.uniform_,
    torch.nn.init.normal_,
    torch.nn.init.kaiming_uniform_,
    torch.nn.init.kaiming_normal_,
)


class UnsetWeights(TorchFunctionMode):
    """Inside the `with` block, tensors that would be drawn are filled with a constant instead.

    It is the mean of what would be drawn, and not whatever lay in memory: `trunc_normal_` draws
    again until all values are within its bounds.

    Example:
        >>> with UnsetWeights():
        ...     layer = torch.nn.Linear(2, 3)
        >>> layer.weight.abs().max().item()
        0.0
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Fill where torch would draw; all else is as ever."""
        options = dict(kwargs or {})
        if func in _INITIALISERS:
            tensor: torch.Tensor = args[0] if args else options["tensor"]
            with torch.no_grad():
                return tensor.zero_()
        if func is torch.Tensor.normal_:
            mean = args[1] if len(args) > 1 else options.get("mean", 0.0)
            return args[0].fill_(mean)
        if func is torch.Tensor.uniform_:
            low = args[1] if len(args) > 1 else options.get("from", 0.0)
            high = args[2] if len(args) > 2 else options.get("to", 1.0)
            return args[0].fill_((low + high) / 2)
        if func is torch.Tensor.erfinv_:  # turns uniform into normal values; of 0 it is 0
            return args[0]
        return func(*args, **options)
