"""Image classification, single-label and multi-label, told completely.

Knows pictures and what is asked of a task; nothing of the engine, of strategies or of other tasks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from headstart.compute import batch_size_for
from headstart.contracts import Backbone, Batch, InputContract, Sample
from headstart.data.reading_ahead import eval_batches
from headstart.data.transforms import Augment, eval_transform, shorter_side_for, train_transform
from headstart.errors import DataError
from headstart.model import LabelModel, Normalise
from headstart.tasks.one_answer import OneAnswer
from headstart.trust.baseline import picture_statistics


class ImageClassification(OneAnswer):
    """One class a picture, or any number of them; see `OneAnswer`."""

    name = "image-classification"
    unit = "picture"

    def preparation(
        self, contract: InputContract, augment: Augment | None = None
    ) -> Callable[[Sample], Tensor]:
        """What reads a sample and makes it the model's input, (3, H, W) uint8."""
        return PreparePicture(contract, augment)

    def batches(
        self,
        samples: Sequence[Sample],
        contract: InputContract,
        *,
        device: torch.device,
        on_error: Callable[[Sample, DataError], None] | None = None,
    ) -> Iterator[Batch]:
        """Pictures in their order, read ahead by threads."""
        return eval_batches(
            samples,
            prepare=self.preparation(contract),
            target=None,
            batch_size=batch_size_for(device),
            num_threads=os.cpu_count() or 1,
            on_error=on_error,
        )

    def build(self, backbone: Backbone, head: nn.Module) -> LabelModel:
        """Normalisation by the contract, backbone and head as one model."""
        return LabelModel(backbone, head, before=Normalise(backbone.contract))

    def statistics(self, inputs: Tensor) -> Tensor:
        """(B, m) float32 of colour and brightness; see `picture_statistics`."""
        return picture_statistics(inputs)


class PreparePicture:
    """Reads a sample's picture and makes it the model's input. Goes to worker processes."""

    def __init__(self, contract: InputContract, augment: Augment | None = None) -> None:
        self.shorter_side = shorter_side_for(contract, augment)
        self.sixteen_bit_divisor = contract.sixteen_bit_divisor
        self.transform = (
            eval_transform(contract) if augment is None else train_transform(contract, augment)
        )

    def __call__(self, sample: Sample) -> Tensor:
        """(3, H, W) uint8. Raises DataError with the path."""
        from headstart.data.images import read_image

        picture = read_image(
            sample.path,
            shorter_side=self.shorter_side,
            sixteen_bit_divisor=self.sixteen_bit_divisor,
        )
        return self.transform(picture)
