"""A backbone gives one vector a picture, and its classifier becomes a head on that vector.

Both are tried on a made-up picture.

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


class Averaged(nn.Module):
    """The mean of the answers of several classifiers, as models trained by distillation give it."""

    def __init__(self, *classifiers: nn.Module) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, features: Tensor) -> Tensor:
        """(B, num_features) -> (B, num_classes)."""
        return torch.stack([c(features) for c in self.classifiers]).mean(dim=0)


def as_head(classifier: object) -> nn.Module | None:
    """A classifier as a module on vectors; None for what cannot be one.

    Args:
        classifier: A layer, a 1 x 1 convolution in place of one, or several to be averaged.
    """
    if isinstance(classifier, tuple | list):
        heads = [as_head(part) for part in classifier]
        modules = [head for head in heads if head is not None]
        return Averaged(*modules) if modules and len(modules) == len(heads) else None
    if isinstance(classifier, nn.Conv2d) and classifier.kernel_size == (1, 1):
        linear = nn.Linear(classifier.in_channels, classifier.out_channels)
        linear.weight = nn.Parameter(classifier.weight.detach().flatten(1).clone())
        if classifier.bias is None:
            linear.bias = None  # type: ignore[assignment] # as nn.Linear(bias=False) has it
        else:
            linear.bias = nn.Parameter(classifier.bias.detach().clone())
        return linear.eval()
    return classifier if isinstance(classifier, nn.Module) else None


def answers_alike(classifier: nn.Module | None, features: Tensor, logits: Tensor) -> bool:
    """Whether the classifier alone makes the model's logits of its features."""
    if classifier is None:
        return False
    try:
        with torch.no_grad():
            output = classifier(features)
    except (RuntimeError, TypeError, IndexError):  # made for another input than one vector
        return False
    if not isinstance(output, torch.Tensor) or output.shape != logits.shape:
        return False
    return torch.allclose(output, logits, rtol=1e-3, atol=1e-4 * float(logits.abs().max()) + 1e-6)
