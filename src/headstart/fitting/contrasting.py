"""Few texts a class: what contrastive tuning learns from, and the head that is fitted after it.

Wiring of the strategy `contrastive`; its training is that of the engine, in one epoch of as many
steps as were settled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headstart.compute import MeasuredFormat
from headstart.contracts import Batch, ComputeFormat, Sample
from headstart.data.class_batches import ClassBatches
from headstart.data.text_batches import text_reader
from headstart.fitting.feeding import Feed, Loading
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import feature_table, refuse_one_class, samples_for_table
from headstart.fitting.settle import Choice, DataSize
from headstart.fitting.settle_texts import FEW_A_CLASS, MOST_STEPS
from headstart.model import Model
from headstart.protocols import Objective
from headstart.strategies.contrastive import ContrastiveLoss
from headstart.strategies.heads import LinearHead
from headstart.strategies.logistic import fit_logistic

# Of the head, whose features have been drawn to their classes already: cross-validation would
# judge it on texts that the features were tuned to, and find any C good. From 1e-3 to 1 it is all
# one for accuracy; log loss on unseen texts was least at 0.1 to 1 on TREC with 8 texts a class
# (0.54; 0.67 at 0.01), and at 0.01 on SST-2 with 32 (0.50; 0.53 at 0.1).
_HEAD_C = 0.05
# A training that takes longer is rehearsed, as failing at its end would cost so much.
_LONG_S = 30.0
# A text that is learnt from costs so many times one that is read: on MiniLM some 9 to 12, with
# batches of 24 questions against the large ones of inference.
_STEP_COST = 12.0
# Texts that the loss is told of, once training is over.
_NUM_SCORED = 64


@dataclass(frozen=True)
class PairFeed(Feed):
    """What is learnt from in pairs: batches drawn class by class, and their loss as the score.

    Attributes:
        num_steps: How many batches there are in all.
    """

    num_steps: int = 1

    def training(self, loading: Loading) -> ClassBatches:
        """All batches of a training, as one epoch."""
        members: list[list[int]] = [[] for _ in self.classes]
        for place, sample in enumerate(self.train):
            for label in sample.labels:
                members[self.classes.index(label)].append(place)
        return ClassBatches(
            [sample.id for sample in self.train],
            classes=members,
            read=self._reader(self.train),
            batch_size=min(loading.batch_size, len(self.train)),
            num_batches=self.num_steps,
            seed=loading.seed,
        )

    def _reader(
        self, samples: Sequence[Sample]
    ) -> Callable[[Sequence[int]], tuple[Tensor, Tensor]]:
        """Places -> token ids and targets of these samples."""
        read = text_reader(self.contract)
        targets = torch.tensor(self._targets(samples))
        return lambda places: (read([samples[i] for i in places]), targets[list(places)])

    def scorer(self, compute_format: ComputeFormat) -> Callable[[Model], Mapping[str, float]]:
        """What tells the loss on some of the samples it is scored on; it chooses nothing."""
        samples = list(self.validation or self.train)
        samples = samples[:: -(-len(samples) // _NUM_SCORED)]
        inputs, targets = self._reader(samples)(range(len(samples)))
        batch = Batch(tuple(s.id for s in samples), inputs=inputs, targets=targets).to(self.device)

        def score(model: Model) -> Mapping[str, float]:
            with torch.inference_mode(), _autocast(self.device, compute_format):
                return {"loss": float(ContrastiveLoss().loss(model, batch))}

        return score


def _autocast(device: torch.device, compute_format: ComputeFormat) -> torch.autocast:
    dtype = getattr(torch, compute_format.dtype)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


class ContrastiveAttempt(LabelAttempt):
    """The strategy `contrastive` with all that was settled for it; see `Attempt`.

    Attributes:
        tuned: (n, num_features) what the tuned backbone sees in the texts it was tuned to; once it
            has learnt.
    """

    tuned: Tensor

    @property
    def objective(self) -> Objective:
        """Pairs of a batch; the head has no part in it."""
        return ContrastiveLoss()

    @property
    def most_inputs(self) -> int | None:
        """Pairs are of a whole batch."""
        return None

    @property
    def num_epochs(self) -> int:
        """One, of all steps: between them nothing is worth keeping."""
        return 1

    @property
    def monitor(self) -> str:
        """That of the pairs, as there is no head yet to have another."""
        return "loss"

    @property
    def learns_from_all(self) -> bool:
        """Where there are few samples each is needed, and none is chosen by."""
        return self.where.data.split.rule != "as-given"

    def settle_autos(self, size: DataSize) -> list[Choice]:
        """By all texts that it learns from."""
        return super().settle_autos(replace(size, num_train=len(samples_for_table(self))))

    def num_steps(self, num_samples: int) -> tuple[int, int]:
        """How many steps it learns in, and of how many samples each is."""
        batch_size = min(self.value("batch_size"), num_samples)
        num_steps = max(1, -(-self.value("epochs") * num_samples // batch_size))
        if self.where.options.epochs is None:
            num_steps = min(num_steps, MOST_STEPS)
        return num_steps, batch_size

    @property
    def is_rehearsed(self) -> bool:
        """Unless it is over in seconds."""
        return self.predicted_s(len(samples_for_table(self))) >= _LONG_S

    def predicted_s(self, num_samples: int) -> float:
        """Seconds of its steps."""
        num_steps, batch_size = self.num_steps(num_samples)
        return _STEP_COST * num_steps * batch_size / self.embedder.inference.samples_per_s

    @property
    def training(self) -> MeasuredFormat:
        """The format of inference: to measure another takes as long as the whole training."""
        if self._training is None:
            found = self.embedder.inference.compute_format
            why = "as in inference, since to measure it would take as long as the training"
            self._training = MeasuredFormat(found, 0.0, why)
            self.choices.add(Choice("training format", str(found), why))
        return self._training

    def new_feed(self, tables: Sequence[Mapping[str, Tensor]]) -> PairFeed:
        """Batches of pairs.

        Raises:
            DataError: All samples are of one class.
        """
        data = self.where.data
        train = samples_for_table(self)
        refuse_one_class(train, self.classes)
        num_steps, batch_size = self.num_steps(len(train))
        each = len(train) / len({label for sample in train for label in sample.labels})
        if each > FEW_A_CLASS:
            self.where.progress.warn(
                f"--strategy contrastive is meant for few texts a class, up to some {FEW_A_CLASS}; "
                f"here there are {each:,.0f} on average. --strategy full makes more of so many."
            )
        self.num_looked_at_after = len(train)  # for the head
        num_pairs = num_steps * batch_size * (batch_size - 1) // 2
        self.where.progress.note(
            f"  {num_steps} steps of up to {batch_size} texts: at most {num_pairs:,} pairs, "
            f"{num_steps * batch_size:,} texts read."
        )
        self.facts.update(
            most_pairs=num_pairs, most_texts_a_step=batch_size, num_samples=len(train)
        )
        return PairFeed(
            task=self.task,
            contract=self.backbone.contract,
            classes=self.classes,
            target=self.target,
            device=self.where.device,
            train=train,
            validation=[] if self.learns_from_all else data.samples("validation"),
            tables=(),
            uses_views=False,
            on_unreadable=data.note_unreadable,
            read=self.read,
            num_steps=num_steps,
        )

    def complete(self) -> None:
        """Fit the head on what the tuned backbone sees in the texts it was tuned to."""
        samples = samples_for_table(self)
        table = feature_table(self, [self.new_predictor().features(samples)], samples)
        fit = fit_logistic(
            table.features,
            table.targets,
            num_classes=table.num_classes,
            C=_HEAD_C,
            class_weights=self.settings.class_weights,
        )
        assert isinstance(self.model.head, LinearHead)
        self.model.head.load(fit.weight, fit.bias)
        self.tuned = table.features
        self.facts.update(classifier="logistic", C=_HEAD_C, head="fitted on the tuned features")
