"""One strategy tried on prepared data: settled, with the model it makes. Only wiring.

What the attempts of all tasks share; those of labels are in `label_attempt`, those of masks in
`mask_attempt`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic

from torch import Tensor, nn

from headstart.compute import MeasuredFormat, batch_size_for
from headstart.contracts import Batch, Sample, Split
from headstart.data.balance import class_weights
from headstart.data.splits import class_counts
from headstart.decoder_weights import start_decoder
from headstart.engine.merging import State
from headstart.fitting.embedding import Embedder, measure_format
from headstart.fitting.feeding import Feed, Loading
from headstart.fitting.recording import Record
from headstart.fitting.refusing import without_effect
from headstart.fitting.rungs import Climb, only_rung
from headstart.fitting.settle import Choice, Choices, DataSize
from headstart.fitting.situation import Situation, TaskT_co
from headstart.model import Model
from headstart.protocols import Objective
from headstart.strategies import StrategySettings, make_strategy

# Samples on which what is made is tried out.
NUM_TRIED = 8
# How a run names an augmentation that a Python caller gave.
OWN_AUGMENT = "own"
# Strategies whose backbone stays as it is, so that features may stand for pictures.
FROZEN = ("as-is", "probe", "head", "tfidf")


class Attempt(ABC, Generic[TaskT_co]):
    """A strategy with all that was settled for it, and the model that it makes.

    Args:
        strategy: Its name.
        where: The fit that tries it.
        embedder: Whose backbone is adapted. A strategy that trains it needs one of its own.
        choices: Made so far; the strategy's own are added to them.

    Attributes:
        facts: What the strategy and the training told.
        out_of_fold: (n, num_classes) logits of the samples it was fitted on, see `Initialised`.
        basis: For later linear fits on the same features, see `Initialised`.
        trivial: The same of the baseline, fitted on the same samples, where a ladder asked for it.
        seconds: Of learning, in this process.
        planned_epochs: Those that the learning rates of its training went by.
        epochs_s: Seconds of its epochs, also of those before an interruption.
        num_kept: Weights of so many of the best epochs are wanted.
        training_s: Seconds that its epochs may take in all, or None.
        num_looked_at_after: Pictures that will be looked at to choose among those weights.
        begin: The weights that training began with, if several are wanted.
        kept: The weights of the best epochs, the best first.
        kept_epochs: Their numbers, from 1.
        climb: The ladder that led here, if one was climbed.
    """

    def __init__(
        self,
        strategy: str,
        where: Situation[TaskT_co],
        *,
        embedder: Embedder,
        choices: Choices,
    ) -> None:
        self.name = strategy
        self.where = where
        self.embedder = embedder
        self.backbone = embedder.backbone
        self.choices = choices
        self.classes = where.data.dataset.classes
        self.facts: dict[str, Any] = {}
        self.seconds = 0.0
        self.planned_epochs = 0
        self.epochs_s = 0.0
        self.out_of_fold: Tensor | None = None
        self.basis: Tensor | None = None
        self.trivial: Tensor | None = None
        self.num_kept = 1
        self.training_s: float | None = None
        self.num_looked_at_after = 0
        self.begin: State | None = None
        self.kept: tuple[State, ...] = ()
        self.kept_epochs: tuple[int, ...] = ()
        self.climb: Climb | None = None
        self._training: MeasuredFormat | None = None
        self._settle()
        self.compute_format = embedder.inference.compute_format
        self.renew_predictor()

    @abstractmethod
    def renew_predictor(self) -> None:
        """From now on predict with the model as it is now."""

    @abstractmethod
    def rehearse(self) -> None:
        """Evaluate, draw and save a few validation samples, in a folder that is then removed."""

    @property
    @abstractmethod
    def target(self) -> Callable[[Sample], Any] | None:
        """Gives a sample's target as the loss wants it; None where samples bring their own."""

    @property
    def objective(self) -> Objective:
        """What its training makes small."""
        return self.task

    @property
    def num_epochs(self) -> int:
        """How many epochs it trains for."""
        return int(self.value("epochs"))

    @property
    def ends_after(self) -> int | None:
        """The epoch after which its training is over, before the last; None: the last."""
        return None

    @property
    def most_inputs(self) -> int | None:
        """How much of a batch goes through the model at once, see `TrainingPlan`."""
        return None

    @property
    def monitor(self) -> str:
        """The validation score that decides which weights are kept."""
        return str(self.value("monitor"))

    @property
    def is_rehearsed(self) -> bool:
        """Whether what its training and its end need is tried before the training begins."""
        return True

    @property
    def learns_from_all(self) -> bool:
        """Whether it learns from the validation samples, too, if Headstart itself carved them out.

        A classifier that chooses by cross-validation, with nothing trained after it, has no use for
        a set of its own to choose by.
        """
        return self.name in ("probe", "tfidf") and self.where.data.split.rule != "as-given"

    def complete(self) -> None:
        """What is to be done once the epochs are over, with the weights that were kept."""

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone stays as it is, so that features may stand for pictures."""
        return self.name in FROZEN

    def value(self, name: str) -> Any:
        """An option's value: as settled, or as given."""
        return self.choices.value(name)

    def _settle(self) -> None:
        where = self.where
        options, dataset = where.options, where.data.dataset
        counts = class_counts(dataset, where.data.split.assignment)["train"]
        size = DataSize(len(where.data.samples("train")), counts)
        settled = self.settle_autos(size)
        if where.own_augment is not None:
            kind = type(where.own_augment).__name__
            own = Choice("augment", OWN_AUGMENT, f"the caller's {kind}")
            settled = [*(choice for choice in settled if choice.name != "augment"), own]
        self.choices.add(*settled)
        self._tell_without_effect()
        weights = None
        if self.value("balance") in ("weights", "root-weights"):
            weights = self.class_weights(counts, num_samples=size.num_train)
            weights = weights if self.value("balance") == "weights" else weights.sqrt()
        self.task = where.task.with_loss(
            label_smoothing=options.label_smoothing, class_weights=weights
        )
        self.settings = StrategySettings(
            classes=dataset.classes,
            is_multilabel=dataset.is_multilabel,
            classifier=options.classifier,
            dropout=options.dropout,
            hidden=options.hidden,
            layer_decay=self.value("layer_decay"),
            class_weights=weights,
            pretrained_classes=self.backbone.pretrained_classes,
            seed=options.seed,
            is_dense=self.task.is_dense,
        )
        self.strategy = make_strategy(self.name, self.settings)
        self.model: Model = self.task.build(self.backbone, self._new_head()).to(where.device)

    def _new_head(self) -> nn.Module:
        """The task's, begun from what the weights bring, or the strategy's."""
        head = None
        if self.name != "as-is":
            head = self.task.new_head(self.backbone, len(self.classes))
        if head is None:
            return self.strategy.new_head(self.backbone)
        if start_decoder(head, self.backbone.pretrained_head):
            self.where.progress.note(
                "The decoder starts from the pretrained one of the backbone; its last layer is new."
            )
        return head

    def class_weights(self, counts: Mapping[str, int], *, num_samples: int) -> Tensor:
        """(K,) weights of the loss, where classes are to be weighted.

        Args:
            counts: Training samples a class.
            num_samples: Training samples.
        """
        return class_weights(
            counts,
            self.classes,
            num_samples=num_samples,
            is_multilabel=self.where.data.dataset.is_multilabel,
        )

    def new_feed(self, tables: Sequence[Mapping[str, Tensor]]) -> Feed:
        """What training learns from, and what it is scored on.

        Args:
            tables: Cached features, see `learning.learn`.
        """
        data = self.where.data
        return Feed(
            task=self.task,
            contract=self.backbone.contract,
            classes=self.classes,
            target=self.target,
            device=self.where.device,
            train=data.samples("train"),
            validation=data.samples("validation"),
            tables=tables if self.is_frozen else (),
            # No text is ever changed, so that its features are the same in each epoch.
            uses_views=bool(self.value("views")) or self.task.unit == "text",
            on_unreadable=data.note_unreadable,
            read=self.read,
        )

    @property
    def read(self) -> Callable[[Sequence[Sample]], Iterator[Batch]] | None:
        """Gives samples as evaluation sees them; None where they are read window by window."""
        return None

    @abstractmethod
    def settle_autos(self, size: DataSize) -> list[Choice]:
        """What the strategy has to know and the user has not said."""

    def _tell_without_effect(self) -> None:
        if self.where.options.strategy == "auto":  # what one rung has no use for, another has
            return
        unused = without_effect(self.where.options, strategy=self.name)
        is_blind = self.name == "as-is" or (self.name == "probe" and not self.value("views"))
        if self.where.own_augment is not None and is_blind:
            unused.append("augment")
        if unused:
            verb = "has" if len(unused) == 1 else "have"
            self.where.progress.warn(
                f"{', '.join(unused)} {verb} no effect with the strategy {self.name}."
            )

    @property
    def training(self) -> MeasuredFormat:
        """The fastest format to train the backbone in; measured when it is first asked for."""
        if self._training is None:
            self._training = measure_format(
                self.model, self.backbone, mode="training", where=self.where, choices=self.choices
            )
        return self._training

    @property
    def loading(self) -> Loading:
        """How training batches are made."""
        options, augment = self.where.options, self.where.own_augment
        workers = self.value("workers")
        return Loading(
            augment=self.value("augment") if augment is None else augment,
            batch_size=self.value("batch_size") or batch_size_for(self.where.device),
            num_workers=1 if workers is None else workers,
            seed=options.seed,
            mixup=options.mixup,
            cutmix=options.cutmix,
            is_balanced=self.value("balance") == "sampling",
        )

    @property
    def num_views(self) -> int:
        """How many augmented views of each training picture are cached."""
        return (self.value("views") or 0) if self.is_frozen else 0

    @property
    def splits_to_read(self) -> list[Split]:
        """Those whose features are wanted."""
        if self.name == "tfidf":  # what gives its features is what it learns
            return []
        if self.is_frozen:
            return ["train", "validation", "test"]
        return ["train", "validation"] if self.strategy.needs_features else []

    def record(self) -> Record:
        """What is told about this attempt in the run folder, as far as it has come."""
        where, data = self.where, self.where.data
        return Record(
            data=data.path,
            options=where.options,
            strategy=self.name,
            choices=tuple(self.choices.made),
            dataset=data.dataset,
            findings=data.checkup.findings,
            facts=data.checkup.facts,
            contents=data.checkup.contents,
            fingerprint=data.checkup.fingerprint,
            split=data.split,
            left_out=dict(data.left_out),
            dropped=data.dropped,
            backbone=self.backbone,
            model=self.model,
            device=where.device,
            compute_format=self.compute_format,
            fit=self.facts,
            climb=self.climb or only_rung(self.name, seconds=self.seconds),
            seconds={**where.seconds, "total": time.monotonic() - where.started},
            masks=data.checkup.masks,
        )
