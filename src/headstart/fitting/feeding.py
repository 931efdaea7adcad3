"""The batches of a fit: pictures, or cached features where the backbone is frozen.

Wiring of loaders and the task; knows no strategy and no engine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headstart.contracts import Batch, ComputeFormat, Sample
from headstart.data.balance import sample_weights
from headstart.data.loader import TrainLoader
from headstart.data.mixing import MixedBatches, Mixing
from headstart.data.reading_ahead import eval_batches
from headstart.data.stacking import stack_targets
from headstart.errors import DataError
from headstart.features import CachedBatches
from headstart.mask_predictor import in_parts, most_at_once, pixels_at_once
from headstart.model import Model
from headstart.protocols import Task

if TYPE_CHECKING:
    from headstart.engine.plan import TrainBatches


@dataclass(frozen=True)
class Loading:
    """How training batches are made; plain values, all settled.

    Attributes:
        augment: A preset, an albumentations.Compose or a callable.
        mixup: Alpha; 0 is off.
        cutmix: Alpha; 0 is off.
        is_balanced: Draw rare classes more often.
        repeats: How often a sample comes in an epoch, augmented anew each time.
    """

    augment: Any
    batch_size: int
    num_workers: int
    seed: int
    mixup: float = 0.0
    cutmix: float = 0.0
    is_balanced: bool = False
    repeats: int = 1


@dataclass(frozen=True)
class Feed:
    """What a fit learns from, and how it is handed over.

    Attributes:
        contract: Of the backbone, as the task takes it.
        target: Gives a sample's target as the loss wants it; None where samples bring their own.
        train: Training samples.
        validation: What the best epoch is chosen by; where there are none, the training samples.
        tables: Cached features, sample id -> (num_features,): as evaluation sees the pictures
            first, then augmented views. Empty where the backbone learns.
        uses_views: Whether to train on these features; else on samples, augmented anew each epoch.
        on_unreadable: Told of validation samples that cannot be read.
        read: Gives samples as evaluation sees them, in any order and without targets; None where
            they bring these, and are read window by window.
    """

    task: Task
    contract: Any
    classes: tuple[str, ...]
    target: Callable[[Sample], Any] | None
    device: torch.device
    train: Sequence[Sample]
    validation: Sequence[Sample]
    tables: Sequence[Mapping[str, Tensor]]
    uses_views: bool
    on_unreadable: Callable[[Sample, DataError], None]
    read: Callable[[Sequence[Sample]], Iterator[Batch]] | None

    @property
    def trains_on_features(self) -> bool:
        """Whether training batches are of cached features."""
        return bool(self.tables) and self.uses_views

    def training(self, loading: Loading) -> TrainBatches:
        """The training batches, of features where views are cached, else of pictures."""
        samples = self.train
        weights = sample_weights(samples) if loading.is_balanced else None
        if self.trains_on_features:
            views = [torch.stack([table[s.id] for s in samples]) for table in self.tables]
            return CachedBatches(
                [sample.id for sample in samples],
                views=torch.stack(views),
                targets=torch.tensor(self._targets(samples)),
                batch_size=loading.batch_size,
                seed=loading.seed,
                sample_weights=weights,
            )
        loader = TrainLoader(
            samples,
            prepare=self.task.preparation(self.contract, loading.augment),
            targets=self._targets(samples),
            batch_size=loading.batch_size,
            num_workers=loading.num_workers,
            seed=loading.seed,
            sample_weights=weights,
            repeats=loading.repeats,
            sizes=self.task.sizes(samples, self.contract),
        )
        if not loading.mixup and not loading.cutmix:
            return loader
        mixing = Mixing(
            mixup_alpha=loading.mixup,
            cutmix_alpha=loading.cutmix,
            num_classes=len(self.classes),
        )
        return MixedBatches(loader, mixing, seed=loading.seed)

    def _targets(self, samples: Sequence[Sample]) -> list[Any] | None:
        return None if self.target is None else [self.target(sample) for sample in samples]

    def validating(self) -> Iterable[Batch]:
        """Labelled batches to choose the best epoch by, from the start each time."""
        samples = self.validation or self.train
        if self.tables:
            features = torch.stack([self.tables[0][sample.id] for sample in samples])
            targets = torch.tensor(self._targets(samples))
            return [Batch(tuple(s.id for s in samples), targets=targets, features=features)]
        return self._validating_chips(samples) if self.read is None else self._labelled(samples)

    def _labelled(self, samples: Sequence[Sample]) -> Iterator[Batch]:
        assert self.read is not None
        assert self.target is not None  # of what is not read window by window
        targets = {sample.id: self.target(sample) for sample in samples}
        for batch in self.read(samples):
            yield replace(batch, targets=stack_targets([targets[id_] for id_ in batch.ids]))

    def _validating_chips(self, samples: Sequence[Sample]) -> Iterator[Batch]:
        """By their pixels, as chips may be of any size; large ones window by window."""
        for batch in eval_batches(
            samples,
            prepare=self.task.preparation(self.contract),
            target=None,
            batch_size=most_at_once(self.device),
            num_threads=os.cpu_count() or 1,
            on_error=self.on_unreadable,
            most_pixels=pixels_at_once(self.device),
        ):
            yield from in_parts(batch)

    def scorer(self, compute_format: ComputeFormat) -> Callable[[Model], Mapping[str, float]]:
        """What measures a model on the validation samples, in a compute format."""
        from headstart.engine.evaluate import answers

        def score(model: Model) -> Mapping[str, float]:
            tally = self.task.tally()
            for batch, logits in answers(
                model,
                self.validating(),
                task=self.task,
                device=self.device,
                compute_format=compute_format,
            ):
                assert batch.targets is not None
                tally.add(logits, batch.targets)
            return tally.metrics()

        return score


def augmented_view(
    samples: Sequence[Sample],
    view: int,
    *,
    task: Task,
    contract: Any,
    loading: Loading,
) -> Iterator[Batch]:
    """One augmented view of each sample, in any order, for their features to be cached."""
    loader = TrainLoader(
        samples,
        prepare=task.preparation(contract, loading.augment),
        targets=[0] * len(samples),
        batch_size=loading.batch_size,
        num_workers=loading.num_workers,
        seed=loading.seed,
    )
    try:
        yield from loader.batches(view)
    finally:
        loader.close()
