"""What the tasks with one answer a sample share, whatever their samples are: loss and metrics.

Knows logits, labels and metrics; nothing of pictures or texts, of the engine or of strategies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.contracts import Backbone, Batch, Evaluation, Prediction, Sample
from headstart.data.numbering import numbered_if_shared
from headstart.metrics.calibration import calibrated_log_loss
from headstart.metrics.classification import (
    POINT_METRICS,
    evaluate_multilabel,
    evaluate_single_label,
    point_metrics,
)
from headstart.model import Model


class OneAnswer:
    """One class a sample, or with `is_multilabel` any number of them.

    Args:
        is_multilabel: Each class is then decided alone.
        label_smoothing: Share of the target spread over all classes (Szegedy et al. 2016).
        class_weights: (num_classes,) weights of the loss, or None.
    """

    is_dense = False
    unit: str  # of each task its own

    def __init__(
        self,
        *,
        is_multilabel: bool = False,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        self.is_multilabel = is_multilabel
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    def with_loss(self, *, label_smoothing: float, class_weights: Tensor | None) -> Self:
        """The same task with another loss."""
        return type(self)(
            is_multilabel=self.is_multilabel,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
        )

    def target(self, sample: Sample, classes: Sequence[str]) -> int | list[float]:
        """The class index; or a 0/1 vector for multi-label."""
        if self.is_multilabel:
            return [float(name in sample.labels) for name in classes]
        return list(classes).index(sample.labels[0])

    def sizes(self, samples: Sequence[Sample], contract: Any) -> Sequence[int] | None:
        """All are alike."""
        return None

    def new_head(self, backbone: Backbone[Any], num_classes: int) -> None:
        """A head on pooled features is the strategy's to make."""

    def logits(self, model: Model, batch: Batch) -> Tensor:
        """(B, num_classes); from `batch.features` where they are given."""
        given = batch.features
        logits: Tensor = model(batch.inputs) if given is None else model.head(given)
        return logits.float()

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Cross-entropy; for multi-label binary cross-entropy, averaged over the classes."""
        logits, targets = self.logits(model, batch), batch.targets
        assert targets is not None
        weight = None if self.class_weights is None else self.class_weights.to(logits.device)
        if self.is_multilabel:
            smooth = targets * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
            return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight)
        return F.cross_entropy(logits, targets, weight=weight, label_smoothing=self.label_smoothing)

    def predict(self, logits: Tensor, ids: Sequence[str], classes: Sequence[str]) -> Prediction:
        """Logits (n, num_classes) as probabilities."""
        logits = logits.double()
        probabilities = logits.sigmoid() if self.is_multilabel else logits.softmax(dim=1)
        return Prediction(
            tuple(ids),
            tuple(classes),
            probabilities.float().numpy(),
            self.is_multilabel,
            unit=self.unit,
        )

    def evaluate(self, prediction: Prediction, samples: Sequence[Sample]) -> Evaluation:
        """Metrics with intervals; `samples` in the order of the prediction's ids.

        Samples of one group count as one where they have groups: they are no independent evidence.
        """
        targets = torch.tensor([self.target(s, prediction.classes) for s in samples]).numpy()
        groups = numbered_if_shared([sample.group or sample.id for sample in samples])
        measure = evaluate_multilabel if self.is_multilabel else evaluate_single_label
        return measure(prediction.probabilities, targets, prediction.classes, groups=groups)

    def tally(self) -> GatheredAnswers:
        """Nothing gathered yet."""
        return GatheredAnswers(self)

    def validation_metrics(self, logits: Tensor, targets: Tensor) -> dict[str, float]:
        """`loss`, plain and calibrated, `accuracy`, `balanced_accuracy`, `macro_f1`.

        All are NaN where an answer is no finite number: the weights of that epoch are no good.

        Args:
            logits: (n, num_classes).
            targets: As the loss takes them.
        """
        if not logits.isfinite().all():
            return dict.fromkeys(("calibrated_loss", *POINT_METRICS), math.nan)
        prediction = self.predict(logits, [], [])
        values = point_metrics(prediction.probabilities, targets.numpy())
        return {**values, "calibrated_loss": calibrated_log_loss(logits, targets)}


class GatheredAnswers:
    """All logits of a pass, which are few numbers a sample."""

    def __init__(self, task: OneAnswer) -> None:
        self._task = task
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """(B, num_classes) logits, and targets as the loss takes them."""
        self._logits.append(logits.float().cpu())
        self._targets.append(targets.cpu())

    def metrics(self) -> dict[str, float]:
        """See `OneAnswer.validation_metrics`."""
        return self._task.validation_metrics(torch.cat(self._logits), torch.cat(self._targets))
