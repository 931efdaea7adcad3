"""`full`: everything learns, at layer-wise rates, with the head initialised by the probe (LP-FT).

Starting from a fitted head keeps fine-tuning from distorting the pretrained features before the
head has caught up. Source: Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features.
"""

from __future__ import annotations

from dataclasses import replace
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
)
from headstart.strategies.heads import LinearHead, trainable_head
from headstart.strategies.probe import fit_linear_probe

LAYER_DECAY = 0.7


class Full:
    """Fine-tunes all parameters, from the probe."""

    name = "full"

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings
        # Neither a hidden layer nor a decoder has a closed form to start from.
        self.needs_features = settings.hidden == 0 and not settings.is_dense

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """A head of random weights, to be filled by `initialise`."""
        return trainable_head(backbone, self.settings)

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Fit a linear probe and let the head start there."""
        if table is None:
            what = "a decoder" if self.settings.is_dense else "a hidden layer"
            return Initialised({"head": f"random, for {what} cannot start from the probe"})
        fit, found = fit_linear_probe(table, self.settings)
        assert isinstance(model.head, LinearHead)
        model.head.load(fit.weight, fit.bias)
        return replace(found, facts={"head": "from the probe", **found.facts})

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """Everything; each layer group slower than the one above it."""
        decay = self.settings.layer_decay or LAYER_DECAY
        return head_groups(model) + backbone_groups(model, layer_decay=decay, first_scale=decay)

    def train_mode(self, model: Model) -> None:
        """Batch norms keep the statistics of pretraining: few pictures a batch make poor ones.

        Under a decoder they learn theirs: each pixel of a map counts, so that a batch has many.
        (Measured on chips of the Amazon forest, a U-Net on EfficientNet-Lite0, one seed: mean IoU
        on the validation chips 0.89 after 70 steps of 8 crops, 0.83 to 0.87 with fixed ones.)

        Source: He et al. 2016, Deep Residual Learning, appendix A, where they are fixed in
        fine-tuning as well.
        """
        frozen_stay_in_eval(model)
        if not self.settings.is_dense:
            norms_stay_in_eval(model.backbone)

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        model.requires_grad_(True)
        return "all"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""
