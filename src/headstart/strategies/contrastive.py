"""`contrastive`: texts of one class are drawn together, apart from others; then comes the head.

A batch of n texts holds n * (n - 1) / 2 pairs, all of which are learnt from at the cost of n texts.
SetFit, whose aim is the same, draws its pairs one by one and reads two texts for each: many times
as many passes for the same pairs. Made for few texts a class.

Source: Tunstall et al. 2022, "Efficient few-shot learning without prompts" (SetFit,
arXiv:2209.11055): first the backbone learns from pairs, then a logistic regression from what it
then sees. The loss over all pairs of a batch: Khosla et al. 2020, "Supervised contrastive learning"
(arXiv:2004.11362), equation 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.contracts import Backbone, Batch, FeatureTable, Initialised, ParameterGroup
from headstart.model import LabelModel, Model
from headstart.strategies import StrategySettings
from headstart.strategies.freezing import backbone_groups, freeze, frozen_stay_in_eval
from headstart.strategies.heads import linear_head

LAYER_DECAY = 0.9
# By what similarities are divided. The paper's is 0.1 (section 4.4), which is as good here.
TEMPERATURE = 0.1
# Texts of about one length go through the backbone together, so that little of what is computed is
# padding; with fewer at once, a processor has too little to do.
_AT_ONCE = 16


class ContrastiveLoss:
    """What the backbone learns by; the head has no part in it."""

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """The mean over the texts that have another of their class in the batch, a scalar."""
        assert batch.inputs is not None
        assert batch.targets is not None
        features = embed_by_length(model, batch.inputs)
        return contrastive_loss(features, batch.targets)


def embed_by_length(model: Model, inputs: Tensor) -> Tensor:
    """Features (B, num_features) of inputs (B, ...), read some at a time, the longest first.

    Args:
        model: Of whole samples.
        inputs: Of texts (B, length) int64, -1 where a text is over; others are read as they come.
    """
    assert isinstance(model, LabelModel)
    if inputs.ndim != 2 or len(inputs) <= _AT_ONCE:
        return model.embed(inputs).float()
    order = (inputs >= 0).sum(dim=1).argsort(descending=True, stable=True)
    parts = torch.split(inputs[order], _AT_ONCE)
    rows = torch.cat([model.embed(part).float() for part in parts])
    return rows[order.argsort()]


def contrastive_loss(
    features: Tensor, targets: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    """How much less likely than all others the likes of a sample are to be picked as its like.

    With several labels a sample, others are its likes by the share of labels that they have in
    common, of those that either has.

    Args:
        features: (B, num_features), of any length; their directions count.
        targets: (B,) int64 class indices, or (B, num_classes) 0/1 of several labels a sample.
        temperature: What cosine similarities are divided by.

    Returns:
        A scalar: the mean over the samples that have a like. 0 where none has.

    Source: Khosla et al. 2020, arXiv:2004.11362, equation 2.
    """
    directions = F.normalize(features.float(), dim=1)
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    with torch.autocast(features.device.type, enabled=False):  # bfloat16 tells few angles apart
        similarity = directions @ directions.T / temperature
    similarity = similarity.masked_fill(itself, -torch.inf)
    log_shares = similarity.log_softmax(dim=1).masked_fill(itself, 0.0)
    likeness = _likeness(targets).masked_fill(itself, 0.0)
    total = likeness.sum(dim=1)
    losses = -(likeness * log_shares).sum(dim=1) / total.clamp(min=1e-6)
    has_like = total > 0
    return (losses * has_like).sum() / has_like.sum().clamp(min=1)


def _likeness(targets: Tensor) -> Tensor:
    """(B, B) float32 from 0 to 1: what share of their labels two samples have in common."""
    if targets.ndim == 1:
        return (targets[:, None] == targets[None]).float()
    labels = targets.float()
    shared = labels @ labels.T
    counts = labels.sum(dim=1)
    return shared / (counts[:, None] + counts[None] - shared).clamp(min=1)


class Contrastive:
    """Trains the backbone by pairs; the head is fitted on what it then sees, in closed form."""

    name = "contrastive"
    needs_features = False

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """A linear head, to be fitted at the end."""
        num_features = backbone.spec.num_features
        return linear_head(num_features, self.settings.num_classes, dropout=0.0, hidden=0)

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Nothing: the backbone starts as it comes, and the head is fitted when it is done."""
        return Initialised()

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """The backbone but for what is nearest the input; each group slower than the one above."""
        decay = self.settings.layer_decay or LAYER_DECAY
        learning = self._free(model)
        groups = backbone_groups(model, layer_decay=decay)
        for group in groups:
            group.parameters = [p for p in group.parameters if id(p) in learning]
        return [group for group in groups if group.parameters]

    def train_mode(self, model: Model) -> None:
        """No feature is dropped out: with so few steps, noise costs more than it saves.

        Attention is, where a model's config says so: transformers does that within a function.
        """
        frozen_stay_in_eval(model)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        """The same in all epochs."""
        self._free(model)
        return "pairs"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""

    def _free(self, model: Model) -> set[int]:
        """Let learn what is to learn, and nothing else; the identities of these parameters.

        The lowest group is, of a transformer, the vectors of its words: half of MiniLM's weights,
        of which few texts touch few, and all of which the optimizer would have to go through.
        """
        freeze(model)
        lowest = set(model.layer_groups[0]) if len(model.layer_groups) > 1 else set()
        learning = [p for n, p in model.backbone.named_parameters() if n not in lowest]
        for parameter in learning:
            parameter.requires_grad_(True)
        return {id(parameter) for parameter in learning}
