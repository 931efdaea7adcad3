"""A strategy tried on labels: its model gives one answer a sample. Only wiring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headstart.contracts import Batch, Prediction, Sample
from headstart.fitting.attempt import NUM_TRIED, Attempt
from headstart.fitting.recording import record_results, record_start
from headstart.fitting.settle import Choice, DataSize, settle_training
from headstart.fitting.settle_texts import settle_texts
from headstart.predictor import Predictor
from headstart.progress import Progress
from headstart.protocols import LabelTask

# Texts that are read in parts have up to 16 windows each. For its gradients a step keeps some 80 kB
# a token of MiniLM and four times that of BERT, besides attention. Source: 34 bytes a layer and
# feature: Korthikanti et al., "Reducing activation recomputation in large transformer models"
# (2022), equation 1.
_TOKENS_AT_ONCE = 16_384


class LabelAttempt(Attempt[LabelTask]):
    """A strategy with all that was settled for it, on samples with labels; see `Attempt`.

    Attributes:
        predictor: Of the model, as it was when this was last renewed.
        validated: (n, num_classes) logits to the validation samples of a fit like this one that had
            not seen them, where this one has.
        held_out_distances: (n,) how far samples lay from those that such a fit had learnt from
            without them; see `trust.strangers`. None where there was no such fit.
    """

    predictor: Predictor
    validated: Tensor | None = None
    held_out_distances: Tensor | None = None

    def renew_predictor(self) -> None:
        """From now on predict with the model as it is now."""
        self.predictor = self.new_predictor()

    def new_predictor(self) -> Predictor:
        """What predicts with the model as it is now."""
        return Predictor(
            self.model,
            self.task,
            contract=self.backbone.contract,
            classes=self.classes,
            device=self.where.device,
            compute_format=self.compute_format,
            embed=self.embedder.embed if self.is_frozen and self.embedder.twin else None,
        )

    @property
    def read(self) -> Callable[[Sequence[Sample]], Iterator[Batch]]:
        """In the batches of predictions: of texts, those of one length together."""
        return partial(
            self.task.batches,
            contract=self.backbone.contract,
            device=self.where.device,
            on_error=self.where.data.note_unreadable,
        )

    def settle_autos(self, size: DataSize) -> list[Choice]:
        """What the strategy has to know and the user has not said."""
        settle = settle_texts if self.where.task.unit == "text" else settle_training
        return settle(
            self.where.options,
            strategy=self.name,
            size=size,
            device_type=self.where.device.type,
        )

    @property
    def most_inputs(self) -> int | None:
        """Of texts as many tokens as in a batch of 32 full windows of BERT."""
        return _TOKENS_AT_ONCE if self.task.unit == "text" else None

    @property
    def target(self) -> Callable[[Sample], Any]:
        """Class indices, or 0/1 vectors."""
        return partial(self.task.target, classes=self.classes)

    def predict(
        self, samples: Sequence[Sample], features: Mapping[str, Tensor] | None
    ) -> Prediction:
        """From features, sample id -> (num_features,), where the backbone is frozen; else read."""
        if self.is_frozen and features is not None:
            ids = [sample.id for sample in samples]
            texts = [sample.text or "" for sample in samples]
            table = torch.stack([features[id_] for id_ in ids])
            return self.predictor.answer(ids, table, texts=texts)
        return self.predictor.predict(
            samples, progress=self.where.progress, on_error=self.where.data.note_unreadable
        )

    def rehearse(self) -> None:
        """Evaluate, draw and save on a few validation samples, in a folder that is then removed."""
        data, folder = self.where.data, self.where.folder
        samples = (data.samples("validation") or data.samples("train"))[:NUM_TRIED]
        prediction = self.new_predictor().predict(samples, progress=Progress())
        with folder.rehearsal() as rehearsal:
            rehearsal.write_text(rehearsal.log, "")
            record_start(rehearsal, self.record())
            evaluation = self.task.evaluate(prediction, samples)
            record_results(rehearsal, self.record(), evaluation, prediction)
