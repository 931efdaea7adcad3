"""`head`: a new head learns under augmentation; the backbone is frozen.

What others call an integrated feature extractor. With cached views its epochs cost next to nothing.
Filters that were made for bands which the weights do not know learn, too, so that nothing can be
cached then (`backbones.stem`).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from headstart.contracts import Backbone, FeatureTable, Initialised, ParameterGroup
from headstart.model import Model
from headstart.strategies import StrategySettings
from headstart.strategies.freezing import (
    freeze_backbone,
    frozen_stay_in_eval,
    head_groups,
    stem_groups,
)
from headstart.strategies.heads import trainable_head


class Head:
    """Trains the head, and of the backbone at most a stem made for other bands."""

    name = "head"
    needs_features = False

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """A head of random weights."""
        return trainable_head(backbone, self.settings)

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Nothing: the head starts as it was made."""
        return Initialised()

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """The head, and filters that no weights were trained for."""
        freeze_backbone(model)
        return head_groups(model) + stem_groups(model)

    def train_mode(self, model: Model) -> None:
        frozen_stay_in_eval(model)

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        return "head and stem" if model.stem else "head"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""
