"""A model that answers: the frozen twin of its backbone, its head, and its input contract.

The one road from files to predictions, for the test set, for `predict`, and for the comparison of
a saved model with the one in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headstart.compute import FrozenTwin
from headstart.contracts import (
    Batch,
    ComputeFormat,
    InputContract,
    LabelTask,
    Prediction,
    Sample,
    StrangerScores,
)
from headstart.data.reading_ahead import eval_batches
from headstart.errors import DataError
from headstart.model import Model, PictureModel
from headstart.progress import Progress
from headstart.trust.strangers import Neighbourhood

# On CPU batches of 8 and 16 are the fastest and alike (bench/formats.py), and 8 needs less memory.
# A GPU wants more at once.
_BATCH_SIZE = {"cpu": 8}
_GPU_BATCH_SIZE = 64
_ANSWERED_AT_ONCE = 256


class Predictor:
    """Predicts with a model whose weights no longer change.

    Args:
        model: On its device.
        task: The model's task.
        contract: Of its backbone.
        classes: Names of its classes.
        device: Where to compute.
        compute_format: How to compute.
        strangers: The training features that samples are compared with, if they are known.
        embed: A frozen twin of the model's backbone, where there is one already: images (B, bands,
            H, W) raw, on the device -> (B, num_features) float32.
    """

    def __init__(
        self,
        model: Model,
        task: LabelTask,
        *,
        contract: InputContract,
        classes: tuple[str, ...],
        device: torch.device,
        compute_format: ComputeFormat,
        strangers: Neighbourhood | None = None,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.model = model.eval()
        self.task = task
        self.contract = contract
        self.classes = classes
        self.device = device
        self.compute_format = compute_format
        self.strangers = strangers
        self._embed = embed or FrozenTwin(
            EmbedOnly(model), compute_format, example=example_input(contract, device)
        )

    def embed(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw, on any device -> features (B, num_features) float32."""
        return self._embed(images.to(self.device, non_blocking=True))

    @torch.inference_mode()
    def answer(self, ids: Sequence[str], features: Tensor) -> Prediction:
        """Predictions for features (n, num_features) float32."""
        prediction = self.task.predict(self.logits(features), ids, self.classes)
        if self.strangers is None:
            return prediction
        scores = self.strangers.scores(features).cpu().numpy()
        return replace(prediction, strangers=StrangerScores(scores, self.strangers.threshold))

    @torch.inference_mode()
    def logits(self, features: Tensor) -> Tensor:
        """(n, num_classes) float32 on the CPU, of features (n, num_features) float32."""
        # In parts: nearest neighbours hold (B, k, num_classes) at once.
        logits = [
            self.task.logits(self.model, Batch((), features=part.to(self.device))).cpu()
            for part in torch.split(features, _ANSWERED_AT_ONCE)
        ]
        return torch.cat(logits)

    def batches(
        self,
        samples: Sequence[Sample],
        *,
        on_error: Callable[[Sample, DataError], None] | None = None,
    ) -> Iterator[Batch]:
        """Unlabelled batches of samples, prepared by the contract, read ahead in threads."""
        return eval_batches(
            samples,
            prepare=self.task.preparation(self.contract),
            target=None,
            batch_size=batch_size_for(self.device),
            num_threads=os.cpu_count() or 1,
            on_error=on_error,
        )

    def predict(
        self,
        samples: Sequence[Sample],
        *,
        progress: Progress,
        on_error: Callable[[Sample, DataError], None] | None = None,
    ) -> Prediction:
        """Predictions for samples, in order; those that cannot be read go to `on_error`.

        Raises:
            DataError: A sample cannot be read, and there is no `on_error`; or none can.
        """
        ids: list[str] = []
        rows: list[Tensor] = []
        with progress.bar("predicting", total=len(samples), unit="pictures") as advance:
            for batch in self.batches(samples, on_error=on_error):
                assert batch.inputs is not None
                ids += batch.ids
                rows.append(self.embed(batch.inputs).cpu())
                advance(len(batch))
        if not rows:
            raise DataError(
                f"None of the {len(samples)} files could be read as a picture. "
                "`headstart inspect FOLDER` tells why, file by file."
            )
        return self.answer(ids, torch.cat(rows))


class EmbedOnly(torch.nn.Module):
    """The part of a model that gives features, as a module of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        assert isinstance(model, PictureModel)
        self.normalise = model.normalise
        self.backbone = model.backbone

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw values -> features (B, num_features)."""
        features: Tensor = self.backbone(self.normalise(images))
        return features


def speed_name(model: torch.nn.Module, reference: str, *, is_dense: bool) -> str:
    """By what the speed of a model is remembered; of masks decoders are told apart by their size.

    Args:
        model: Whole.
        reference: Of its backbone.
        is_dense: Whether it answers pixel by pixel.
    """
    if not is_dense:
        return reference
    return f"{reference} masks, {sum(p.numel() for p in model.parameters())} parameters"


def example_input(contract: InputContract, device: torch.device) -> Tensor:
    """(1, bands, height, width) noise: what a probe or a fold can be tried on.

    It is uint8, or float32 of the model's own mean and spread where values are in other units.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (1, len(contract.bands), contract.height, contract.width)
    if contract.units:
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (contract.mean, contract.std))
        noise = torch.randn(shape, generator=generator)
        return ((mean + std * noise) * contract.scale).to(device)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(device)


def batch_size_for(device: torch.device) -> int:
    """Pictures a batch for inference."""
    return _BATCH_SIZE.get(device.type, _GPU_BATCH_SIZE)
