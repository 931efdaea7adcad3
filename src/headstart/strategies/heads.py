"""Heads that a strategy puts on a backbone, and the JSON that builds them again.

Every head maps features (B, num_features) to logits (B, num_classes). Knows no backbone, no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headstart.contracts import Backbone
from headstart.errors import RunError
from headstart.strategies import StrategySettings
from headstart.strategies.knn import KNNHead


class LinearHead(nn.Sequential):
    """Optional hidden layer, optional dropout, and a linear layer."""

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the logits."""
        layer = self[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    @torch.no_grad()
    def load(self, weight: Tensor, bias: Tensor) -> None:
        """Set the last layer: weight (num_classes, num_features), bias (num_classes,)."""
        self.last.weight.copy_(weight)
        self.last.bias.copy_(bias)


def linear_head(
    num_features: int, num_classes: int, *, dropout: float, hidden: int, seed: int = 0
) -> LinearHead:
    """A new head whose last layer starts at zero; the hidden one is drawn by the seed alone.

    It then predicts all classes alike, whatever the scale of the features, so that no step is spent
    on unlearning noise. Source: Karpathy 2019, A Recipe for Training Neural Networks, "init well".
    """
    layers: list[nn.Module] = []
    width = num_features
    if hidden:
        with torch.random.fork_rng(devices=[]):  # the same wherever it is drawn, as on resuming
            torch.default_generator.manual_seed(seed)
            layers += [nn.Linear(num_features, hidden), nn.ReLU()]
        width = hidden
    if dropout:
        layers.append(nn.Dropout(dropout))
    last = nn.Linear(width, num_classes)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return LinearHead(*layers, last)


def trainable_head(backbone: Backbone[Any], settings: StrategySettings) -> LinearHead:
    """The head of a strategy that trains by gradient, as its settings want it."""
    return linear_head(
        backbone.spec.num_features,
        settings.num_classes,
        dropout=settings.dropout,
        hidden=settings.hidden,
        seed=settings.seed,
    )


@torch.no_grad()
def divide_logits(head: nn.Module, temperature: float) -> bool:
    """Divide the logits of a head by a temperature, for good; False where it cannot be done.

    A linear last layer takes it into its weights, so that predicting costs no more than before.
    """
    if not isinstance(head, LinearHead):
        return False
    head.last.weight.div_(temperature)
    head.last.bias.div_(temperature)
    return True


class SelectionHead(nn.Module):
    """The pretrained classifier, answering in the user's classes.

    Args:
        pretrained: features -> logits over the pretrained classes.
        members: (num_classes, num_pretrained) 0/1: which pretrained classes make up each class. A
            class's probability is the sum over its members, over the sum over all classes.
    """

    members: Tensor

    def __init__(self, pretrained: nn.Linear, members: Tensor) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.register_buffer("members", members.bool())

    def forward(self, features: Tensor) -> Tensor:
        """features: (B, num_features) -> log-probabilities (B, num_classes), up to a constant."""
        logits = self.pretrained(features).float().log_softmax(dim=1)
        return torch.stack([logits[:, row].logsumexp(dim=1) for row in self.members], dim=1)


def describe_head(head: nn.Module) -> dict[str, Any]:
    """The JSON from which `build_head` makes the same module, with other weights."""
    if isinstance(head, KNNHead):
        num_samples, num_features = head.features.shape
        return {
            "kind": "knn",
            "num_samples": num_samples,
            "num_features": num_features,
            "num_classes": head.targets.shape[1],
            "k": head.k,
        }
    if isinstance(head, SelectionHead):
        num_classes, num_pretrained = head.members.shape
        return {
            "kind": "selection",
            "num_features": head.pretrained.in_features,
            "num_classes": num_classes,
            "num_pretrained": num_pretrained,
        }
    assert isinstance(head, LinearHead)
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    dropout = [layer.p for layer in head if isinstance(layer, nn.Dropout)]
    return {
        "kind": "linear" if len(linear) == 1 else "mlp",
        "num_features": linear[0].in_features,
        "num_classes": linear[-1].out_features,
        "hidden": linear[0].out_features if len(linear) > 1 else 0,
        "dropout": dropout[0] if dropout else 0.0,
    }


def build_head(spec: Mapping[str, Any]) -> nn.Module:
    """The head that `describe_head` described, with weights still to be loaded.

    Args:
        spec: What `describe_head` gave.

    Raises:
        RunError: A kind that this version does not know.
    """
    kind = spec["kind"]
    if kind in ("linear", "mlp"):
        return linear_head(
            spec["num_features"],
            spec["num_classes"],
            dropout=spec["dropout"],
            hidden=spec["hidden"],
        )
    if kind == "knn":
        return KNNHead(
            torch.zeros(spec["num_samples"], spec["num_features"]),
            torch.zeros(spec["num_samples"], spec["num_classes"]),
            k=spec["k"],
        )
    if kind == "selection":
        pretrained = nn.Linear(spec["num_features"], spec["num_pretrained"])
        return SelectionHead(pretrained, torch.zeros(spec["num_classes"], spec["num_pretrained"]))
    raise RunError(
        f"The run has a head of the kind `{kind}`, which this version of Headstart does not know. "
        "Use the version that is named in its config.json."
    )
