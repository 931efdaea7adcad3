"""Semantic segmentation, told completely: one class a pixel.

Knows pictures with masks, logits and metrics; nothing of the engine, of strategies or of other
tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.contracts import (
    IGNORE,
    Backbone,
    Batch,
    Evaluation,
    Example,
    InputContract,
    Legend,
    Sample,
)
from headstart.data.transforms import Augment
from headstart.decoders import DECODERS, AnyDecoder, make_decoder
from headstart.errors import ConfigError, did_you_mean
from headstart.linear_decoder import LINEAR
from headstart.map_shape import MapShape
from headstart.metrics.segmentation import evaluate_segmentation, point_metrics
from headstart.model import DenseModel, Model
from headstart.tasks.segmentation_losses import LossSettings, check_losses, summed_loss


class SemanticSegmentation:
    """One class a pixel, of pictures of any size.

    Args:
        legend: What the values of the masks stand for.
        decoder: A row of DECODERS, or LINEAR.
        losses: Rows of LOSSES, which are summed. Cross-entropy and Dice together: the one is
            smooth, the other minds small classes; Taghanaki et al., "Combo Loss" (Computerized
            Medical Imaging and Graphics 2019), and Isensee et al., "nnU-Net" (Nature Methods 2021).
        class_weights: (num_classes,) weights of the losses, or None.
        label_smoothing: Share of the target spread over all classes (Szegedy et al. 2016).

    Raises:
        ConfigError: There is no such decoder or loss.
    """

    name = "semantic-segmentation"
    unit = "picture"
    is_multilabel = False
    is_dense = True

    def __init__(
        self,
        legend: Legend,
        *,
        decoder: str = "unet",
        losses: Sequence[str] = ("cross-entropy", "dice"),
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        if decoder not in (*DECODERS, LINEAR):
            raise ConfigError(f"There is no decoder `{decoder}`. {did_you_mean(decoder, DECODERS)}")
        check_losses(losses)
        self.legend = legend
        self.decoder = decoder
        self.losses = tuple(losses)
        self.loss_settings = LossSettings(class_weights, label_smoothing)

    def with_loss(
        self, *, label_smoothing: float, class_weights: Tensor | None
    ) -> SemanticSegmentation:
        """The same task with the same losses, weighted and smoothed otherwise."""
        return SemanticSegmentation(
            self.legend,
            decoder=self.decoder,
            losses=self.losses,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )

    def with_model(self, *, decoder: str, losses: Sequence[str]) -> SemanticSegmentation:
        """The same task with another decoder and the sum of other losses.

        Raises:
            ConfigError: There is no such decoder or loss.
        """
        return SemanticSegmentation(
            self.legend,
            decoder=decoder,
            losses=losses,
            class_weights=self.loss_settings.class_weights,
            label_smoothing=self.loss_settings.label_smoothing,
        )

    def preparation(
        self, contract: InputContract, augment: Augment | None = None
    ) -> Callable[[Sample], Example]:
        """What reads a sample and its mask; augmented, a random crop, when `augment` is given."""
        from headstart.data.chips import PrepareChip

        return PrepareChip(contract, self.legend, augment)

    def sizes(self, samples: Sequence[Sample], contract: InputContract) -> None:
        """Crops are all of one size."""

    def new_head(self, backbone: Backbone, num_classes: int, *, seed: int = 0) -> AnyDecoder:
        """A decoder for a backbone that gives a pyramid (`backbones.pyramid.as_pyramid`).

        Raises:
            ConfigError: The decoder cannot be had with the backbone's maps.
        """
        levels = backbone.spec.arguments["pyramid"]
        return make_decoder(
            self.decoder,
            channels=levels["channels"],
            strides=levels["strides"],
            num_classes=num_classes,
            seed=seed,
        )

    def build(self, backbone: Backbone, head: nn.Module) -> DenseModel:
        """Backbone and decoder as one model."""
        return DenseModel(backbone, head)

    def logits(self, model: Model, batch: Batch) -> Tensor:
        """(B, num_classes, H, W) float32, at the size of the inputs.

        Of a batch of cached maps, whose rows `MapShape` explains, at that of its targets.
        """
        if batch.features is not None:
            assert isinstance(model, DenseModel)  # as `build` makes it
            assert batch.targets is not None
            height, width = batch.targets.shape[1:]
            padded = (height + -height % model.divisor, width + -width % model.divisor)
            shape = model.head.shape
            assert isinstance(shape, MapShape)
            maps = shape.maps(self._as_learnt(batch.features, model), *padded)
            return model.decode(maps, height, width).float()
        assert batch.inputs is not None
        logits: Tensor = model(batch.inputs)
        return logits.float()

    @staticmethod
    def _as_learnt(rows: Tensor, model: DenseModel) -> Tensor:
        """Cached rows in the dtype of the decoder, unless autocast chooses it."""
        if torch.is_autocast_enabled(rows.device.type):
            return rows
        return rows.to(next(model.head.parameters()).dtype)

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """The sum of the losses, a scalar; 0 for a batch without a labelled pixel."""
        assert batch.targets is not None
        return summed_loss(
            self.losses, self.logits(model, batch), batch.targets, self.loss_settings
        )

    def tally(self) -> SegmentationTally:
        """What gathers the validation metrics, batch by batch."""
        return SegmentationTally(len(self.legend.names))

    def evaluate(
        self,
        counts: NDArray[np.int64],
        classes: Sequence[str],
        *,
        groups: NDArray[np.int64] | None = None,
        boundary: NDArray[np.int64] | None = None,
    ) -> Evaluation:
        """Metrics with intervals; see `metrics.segmentation.evaluate_segmentation`."""
        return evaluate_segmentation(counts, classes, groups=groups, boundary=boundary)


class SegmentationTally:
    """Validation metrics in bounded memory, whatever the number and sizes of the pictures.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
        self.loss_sum = 0.0

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch.

        Args:
            logits: (B, K, H, W) float32.
            targets: (B, H, W) int64, IGNORE where nothing is known.
        """
        num_classes = len(self.confusion)
        is_known = targets != IGNORE
        codes = targets[is_known] * num_classes + logits.argmax(dim=1)[is_known]
        counts = torch.bincount(codes, minlength=num_classes**2).cpu().numpy()
        self.confusion += counts.reshape(num_classes, num_classes)
        losses = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
        self.loss_sum += float(losses.sum(dtype=torch.float64))

    def metrics(self) -> dict[str, float]:
        """`loss`, `miou`, `pixel_accuracy` and `macro_f1` of all that was counted.

        The loss is the cross-entropy a labelled pixel in nats, whatever the training minimises. All
        are NaN where it is no finite number: the weights of that epoch are no good.

        Raises:
            DataError: No pixel is labelled.
        """
        values = {"loss": self.loss_sum, **point_metrics(self.confusion)}
        if not math.isfinite(self.loss_sum):
            return dict.fromkeys(values, math.nan)
        return {**values, "loss": self.loss_sum / int(self.confusion.sum())}
