"""The state of a fit as tensors and JSON, no pickle; written whole, so that a kill loses little."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from headstart.atomic import replacing
from headstart.errors import RunError
from headstart.tensor_files import write_tensors


def save_state(path: Path, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Write tensors and JSON scalars as one file, atomically.

    Floats survive JSON exactly: Python writes the shortest digits that read back as the same bits.
    """
    with replacing(path) as temporary:
        write_tensors(temporary, tensors, {"scalars": json.dumps(scalars)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_state` wrote.

    Raises:
        RunError: The file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            scalars = json.loads(file.metadata()["scalars"])
            return {name: file.get_tensor(name) for name in file.keys()}, scalars  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise RunError(
            f"The checkpoint `{path}` is damaged ({error}). Remove it to begin this fit again "
            "with --resume, or fit anew."
        ) from None


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names put under a prefix."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state a parameter, as `INDEX.NAME`; learning rates are the schedule's."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, each tensor laid out in memory as its parameter.

    The one kernel of AdamW goes through memory, not through indices: of a filter that is
    channels-last it would join each weight with the moments of another.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(index), {})[name] = tensor
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's state, on its device."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
