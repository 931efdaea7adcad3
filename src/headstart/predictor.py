"""A model that answers: the frozen twin of its backbone, its head, and its input contract.

The one road from files to predictions, for the test set, for `predict`, and for the comparison of
a saved model with the one in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from headstart.compute import FrozenTwin
from headstart.contracts import (
    Batch,
    ComputeFormat,
    InputContract,
    Prediction,
    Sample,
    Strangeness,
    StrangerScores,
    TermsContract,
    TextContract,
)
from headstart.data.text_batches import reader_of
from headstart.data.tokenising import as_ids
from headstart.errors import DataError
from headstart.model import LabelModel, Model
from headstart.progress import Progress
from headstart.protocols import LabelTask
from headstart.trust.letters import Letters

_ANSWERED_AT_ONCE = 256
# About as long as a message or a question with its context: some 30 tokens.
_WORDS = "The second lens of the telescope arrived on Monday with a crack along its edge. " * 2


class Predictor:
    """Predicts with a model whose weights no longer change.

    Args:
        model: On its device.
        task: The model's task.
        contract: Of its backbone.
        classes: Names of its classes.
        device: Where to compute.
        compute_format: How to compute.
        strangers: Tells samples unlike those of the fit, if these are known.
        letters: Of texts, which letters followed which in training; joins the score of strangers.
        embed: A frozen twin of the model's backbone, where there is one already: inputs as the
            task's batches have them, on the device -> (B, num_features) float32.
    """

    def __init__(
        self,
        model: Model,
        task: LabelTask,
        *,
        contract: InputContract | TextContract | TermsContract,
        classes: tuple[str, ...],
        device: torch.device,
        compute_format: ComputeFormat,
        strangers: Strangeness | None = None,
        letters: Letters | None = None,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.model = model.eval()
        self.task = task
        self.contract = contract
        self.classes = classes
        self.device = device
        self.compute_format = compute_format
        self.strangers = strangers
        self.letters = letters
        self._embed = embed or FrozenTwin(
            EmbedOnly(model), compute_format, example=example_input(contract, device)
        )

    def embed(self, inputs: Tensor) -> Tensor:
        """inputs (B, ...) as in batches, on any device -> features (B, num_features) float32."""
        return self._embed(inputs.to(self.device, non_blocking=True))

    @torch.inference_mode()
    def answer(
        self, ids: Sequence[str], features: Tensor, *, texts: Sequence[str] | None = None
    ) -> Prediction:
        """Predictions for features (n, num_features) float32.

        Args:
            ids: Of the samples.
            features: Of them.
            texts: What they say, where they are texts: strangers are known by their letters, too.
        """
        prediction = self.task.predict(self.logits(features), ids, self.classes)
        if self.strangers is None:
            return prediction
        scores = self.strangers.scores(features).cpu().numpy()
        threshold = self.strangers.threshold
        if self.letters is not None and texts is not None:
            scores = self.letters.joined(texts, scores, threshold=threshold)
        if texts is not None and self.task.unit == "text":  # of nothing an answer is a guess
            is_empty = np.array([not text.strip() for text in texts])
            scores = np.where(is_empty, np.maximum(scores, 2 * threshold), scores)
        return replace(prediction, strangers=StrangerScores(scores, threshold))

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
        """Unlabelled batches of samples, prepared by the contract, in any order."""
        return self.task.batches(samples, self.contract, device=self.device, on_error=on_error)

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
        unit = self.task.unit
        with progress.bar("predicting", total=len(samples), unit=f"{unit}s") as advance:
            rows = self.features(samples, on_error=on_error, advance=advance)
        if not rows:
            raise DataError(
                f"None of the {len(samples)} files could be read as a {unit}. "
                "`headstart inspect FOLDER` tells why, file by file."
            )
        texts = [sample.text or "" for sample in samples if sample.id in rows]
        return self.answer(list(rows), torch.stack(list(rows.values())), texts=texts)

    def features(
        self,
        samples: Sequence[Sample],
        *,
        on_error: Callable[[Sample, DataError], None] | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> dict[str, Tensor]:
        """sample id -> (num_features,) float32 on the CPU, in the order of the samples.

        Args:
            samples: Any number.
            on_error: Told of each sample that cannot be read, which is then left out; None: the
                error is raised.
            advance: Told how many more were read.
        """
        rows: dict[str, Tensor] = {}
        for batch in self.batches(samples, on_error=on_error):
            assert batch.inputs is not None
            rows.update(zip(batch.ids, self.embed(batch.inputs).cpu(), strict=True))
            if advance is not None:
                advance(len(batch))
        return {sample.id: rows[sample.id] for sample in samples if sample.id in rows}


class EmbedOnly(torch.nn.Module):
    """The part of a model that gives features, as a module of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        assert isinstance(model, LabelModel)
        self.normalise = model.normalise
        self.backbone = model.backbone

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs (B, ...), of pictures (B, bands, H, W) -> features (B, num_features)."""
        features: Tensor = self.backbone(self.normalise(inputs))
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


def example_input(
    contract: InputContract | TextContract | TermsContract, device: torch.device
) -> Tensor:
    """What a probe or a fold can be tried on: noise as a picture, or some words as a text.

    Returns:
        (1, bands, height, width) uint8, or float32 of the model's own mean and spread where values
        are in other units; of texts (1, length) int64 token ids.
    """
    if not isinstance(contract, InputContract):
        return as_ids(reader_of(contract).rows([_WORDS])).to(device)
    generator = torch.Generator().manual_seed(0)
    shape = (1, len(contract.bands), contract.height, contract.width)
    if contract.units:
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (contract.mean, contract.std))
        noise = torch.randn(shape, generator=generator)
        return ((mean + std * noise) * contract.scale).to(device)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(device)
