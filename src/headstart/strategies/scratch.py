"""`scratch`: everything learns, from random weights; the control for what transfer brought."""

from __future__ import annotations

from typing import Any

from torch import nn

from headstart.contracts import Backbone, FeatureTable, Initialised, ParameterGroup
from headstart.model import Model
from headstart.strategies import StrategySettings
from headstart.strategies.freezing import backbone_groups, head_groups
from headstart.strategies.heads import trainable_head


class Scratch:
    """Trains all parameters at one rate; the backbone must have been loaded with random weights."""

    name = "scratch"
    needs_features = False

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """A head of random weights."""
        return trainable_head(backbone, self.settings)

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Nothing: random weights are the point."""
        return Initialised()

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """Everything, at one rate unless a layer decay was asked for."""
        decay = self.settings.layer_decay or 1.0
        return head_groups(model) + backbone_groups(model, layer_decay=decay)

    def train_mode(self, model: Model) -> None:
        """Norms learn their statistics here: there are none from pretraining."""
        model.train()

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        model.requires_grad_(True)
        return "all"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""
