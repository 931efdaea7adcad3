"""Two checks on a made-up picture: a backbone gives one vector, its classifier goes on from it.

Knows nothing of architectures and their sources.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.contracts import InputContract
from headstart.errors import WeightsError


def run_once(module: nn.Module, contract: InputContract, *, name: str) -> Tensor:
    """The output for one picture, (1, F); the picture is the same each time.

    Raises:
        WeightsError: The output is not one vector a picture.
    """
    shape = (1, len(contract.bands), contract.height, contract.width)
    picture = torch.linspace(-2, 2, shape[1] * shape[2] * shape[3]).sin().reshape(shape)
    with torch.no_grad():
        output = module(picture)
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        kind = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise WeightsError(
            f"`{name}` gives {kind} for a picture, where one vector (1, F) is "
            "needed. Choose another model (`headstart models QUERY`)."
        )
    return output


def answers_alike(classifier: object, features: Tensor, logits: Tensor) -> bool:
    """Whether the classifier alone makes the model's logits of its features."""
    if not isinstance(classifier, nn.Module):
        return False
    try:
        with torch.no_grad():
            output = classifier(features)
    except (RuntimeError, TypeError, IndexError):  # made for another input than one vector
        return False
    if not isinstance(output, torch.Tensor) or output.shape != logits.shape:
        return False
    return torch.allclose(output, logits, rtol=1e-3, atol=1e-4 * float(logits.abs().max()) + 1e-6)
