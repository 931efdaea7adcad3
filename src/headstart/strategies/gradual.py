"""`gradual`: the head first, then stage by stage from the top, each at its own learning rate.

Filters made for bands that the weights do not know learn with the head, see `backbones.stem`.

Source: Howard & Ruder 2018 (ULMFiT), section 3.3, gradual unfreezing.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from headstart.contracts import Backbone, FeatureTable, Initialised, ParameterGroup
from headstart.model import Model
from headstart.strategies import StrategySettings
from headstart.strategies.freezing import (
    backbone_groups,
    frozen_stay_in_eval,
    head_groups,
    norms_stay_in_eval,
    stages_from_top,
)
from headstart.strategies.heads import trainable_head

# The head alone, then four unfreezings: the depth at which ResNet, ConvNeXt and Swin are staged.
NUM_STAGES = 4
# 1/2.6 from layer to layer in ULMFiT; our groups are whole stages, of several layers each.
LAYER_DECAY = 0.5


class Gradual:
    """Unfreezes one stage after another, in equal shares of the epochs."""

    name = "gradual"
    needs_features = False

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """A head of random weights."""
        return trainable_head(backbone, self.settings)

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Nothing: the head learns first."""
        return Initialised({"num_phases": len(self._stages(model)) + 1})

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """Head and backbone; `on_epoch` decides from when on a stage learns."""
        decay = self.settings.layer_decay or LAYER_DECAY
        return head_groups(model) + backbone_groups(model, layer_decay=decay, first_scale=decay)

    def train_mode(self, model: Model) -> None:
        """Frozen stages stay in eval, and so do all batch norms of the backbone (see `full`)."""
        frozen_stay_in_eval(model)
        norms_stay_in_eval(model.backbone)

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        stages = self._stages(model)
        phase = min(epoch * (len(stages) + 1) // num_epochs, len(stages))
        learning = {*model.stem, *(name for stage in stages[:phase] for name in stage)}
        for name, parameter in model.backbone.named_parameters():
            parameter.requires_grad_(name in learning)
        return "head" if phase == 0 else f"head and {phase} of {len(stages)} stages"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""

    @staticmethod
    def _stages(model: Model) -> list[Any]:
        return stages_from_top(model.layer_groups, num_stages=NUM_STAGES)
