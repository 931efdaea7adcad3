"""An attempt learns: its head from cached features, then epochs, if it leaves anything to learn.

Wiring of strategies and the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headstart.contracts import Batch, ComputeFormat, FeatureTable, Sample
from headstart.engine.checkpoint import model_tensors
from headstart.errors import DataError
from headstart.fitting.attempt import Attempt
from headstart.fitting.recording import record_start
from headstart.fitting.settle import Choice
from headstart.model import Model
from headstart.protocols import Task

if TYPE_CHECKING:
    from headstart.engine.plan import Surroundings, TrainBatches, TrainingPlan

# What saving, checking and the report take at the end of a fit, at least: kept of a budget.
TAIL_S = 4.0
# Training pictures that a trained backbone looks at again, to know strangers by.
NUM_NEIGHBOURS = 1_000
# Training batches that statistics of batch norms are taken from: 12 of 8 crops of the Amazon forest
# raised the mean IoU by 0.01, in both of two runs.
_NORM_BATCHES = 12
# Of masks, the share of a training after which its epochs may be kept. While the rate is high, the
# scores of a decoder jump from epoch to epoch, and the best of few chips is best by luck: on the
# Amazon forest epoch 13 of 27 was best on 7 validation chips (mean IoU 0.918, the last 0.908), and
# on the test 0.868, the last 0.893.
_SETTLED = 0.7
_ENDING = ("one-cycle", "cosine", "step")
# Pictures have to be read, too: in the passes after training, more time than was measured.
_READING = 1.25


def learn(attempt: Attempt[Task], tables: Sequence[Mapping[str, Tensor]]) -> None:
    """Initialise by the strategy; then epochs, if it leaves anything to learn.

    Args:
        attempt: Its model is changed, its facts are told.
        tables: Cached features, sample id -> (num_features,): as evaluation sees the pictures
            first, then augmented views.

    Raises:
        DataError: Too little is left to learn from.
        InterruptedFit: The user asked to stop; the state is saved.
        TrainingError: The loss was not finite.
    """
    started = time.monotonic()
    table = None
    if attempt.strategy.needs_features:
        samples = samples_for_table(attempt)
        refuse_one_class(samples, attempt.classes)
        table = feature_table(attempt, tables, samples)
    initialised = attempt.strategy.initialise(attempt.model, table)
    attempt.facts = dict(initialised.facts)
    attempt.out_of_fold = initialised.out_of_fold
    attempt.basis = initialised.basis
    if table is not None:
        attempt.facts["num_samples"] = sum(sample.id in tables[0] for sample in samples)
    attempt.model.to(attempt.where.device)
    if attempt.num_kept > 1:
        attempt.begin = model_tensors(attempt.model)
    if attempt.strategy.prepare(attempt.model):
        _train(attempt, tables)
    attempt.seconds = time.monotonic() - started
    if not attempt.is_frozen:
        attempt.renew_predictor()


def samples_for_table(attempt: Attempt[Task]) -> list[Sample]:
    """The samples that a classifier is fitted on.

    What Headstart itself carved out for validation goes back to training where nothing is chosen by
    it. What came with the data for that stays out.
    """
    data = attempt.where.data
    return data.samples("train", "validation") if attempt.learns_from_all else data.samples("train")


def feature_table(
    attempt: Attempt[Task], tables: Sequence[Mapping[str, Tensor]], samples: Sequence[Sample]
) -> FeatureTable:
    """Features of labelled samples: all of them as they are, then their augmented views."""
    target, groups_of = attempt.target, attempt.where.data.split.groups
    assert target is not None  # what has no label has no vector either
    rows = [(s, table[s.id]) for table in tables for s in samples if s.id in table]
    names = [groups_of[sample.id] for sample, _ in rows]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return FeatureTable(
        features=torch.stack([row for _, row in rows]),
        targets=torch.tensor([target(s) for s, _ in rows]),
        groups=torch.tensor([numbers[name] for name in names]),
        num_classes=len(attempt.classes),
        is_multilabel=attempt.where.data.dataset.is_multilabel,
        num_as_is=sum(sample.id in tables[0] for sample in samples),
    )


def refuse_one_class(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Refuse to learn from samples of one class.

    Raises:
        DataError: No other class is left.
    """
    present = {label for sample in samples for label in sample.labels}
    if len(present) < min(2, len(classes)):
        raise DataError(
            f"Only the class {', '.join(sorted(present)) or 'none'} is left among "
            f"{len(samples)} training samples. Add samples of other classes, or give the "
            "budget more time."
        )


def _train(attempt: Attempt[Task], tables: Sequence[Mapping[str, Tensor]]) -> None:
    # Here, since Fabric takes seconds to import and only training by gradient needs it.
    from headstart.engine.loop import Training

    where = attempt.where
    feed = attempt.new_feed(tables)
    batches = feed.training(attempt.loading)
    surroundings = _surroundings(attempt, tables, trains_on_features=feed.trains_on_features)
    plan = _plan(attempt)
    if where.options.find_lr:
        plan = _with_found_lr(attempt, plan, batches, surroundings=surroundings)
    record_start(where.folder, attempt.record())  # a resumed fit goes by these choices
    score = feed.scorer(surroundings.compute_format)
    training = Training(
        attempt.model, attempt.objective, strategy=attempt.strategy, train=batches, validate=score
    )
    try:
        result = training.fit(plan, surroundings)
        if attempt.task.is_dense and feed.validation:
            attempt.facts["norms"] = _renew_norms(
                attempt, batches.batches(result.num_epochs), score=score
            )
    finally:
        batches.close()
    attempt.strategy.finish(attempt.model)
    attempt.complete()
    attempt.kept, attempt.kept_epochs = result.kept, result.kept_epochs
    attempt.planned_epochs, attempt.epochs_s = result.planned_epochs, result.seconds
    attempt.facts.update(
        epochs=result.num_epochs,
        best_epoch=result.best_epoch,
        stopped=result.stopped,
        monitor=plan.monitor,
        num_steps=result.num_steps,
        groups=[
            {
                "name": group.name,
                "lr_scale": group.lr_scale,
                "num_parameters": sum(p.numel() for p in group.parameters),
            }
            for group in training.groups
        ],
    )


def _renew_norms(
    attempt: Attempt[Task],
    batches: Iterator[Batch],
    *,
    score: Callable[[Model], Mapping[str, float]],
) -> str:
    """Norms that learned take the statistics of the weights that were kept, if that is better."""
    from headstart.engine.gradients import LossOf
    from headstart.engine.norms import renew_norms
    from headstart.engine.plan import score_of

    model, device = attempt.model, attempt.where.device
    monitor = attempt.monitor
    before_scores = score(model)
    attempt.strategy.train_mode(model)
    # Its forward takes batches, of pictures as of cached maps.
    whole = LossOf(model, attempt.task)
    moved = (batch.to(device) for batch in islice(batches, _NORM_BATCHES))
    before = renew_norms(whole, moved)
    if before is None:
        return "none to take anew"
    renewed = score(model)
    told = f"validation {monitor} {renewed[monitor]:.3f} instead of {before_scores[monitor]:.3f}"
    if score_of(renewed, monitor) > score_of(before_scores, monitor):
        return f"taken anew with the weights that were kept: {told}"
    whole.load_state_dict(before, strict=False)
    return f"left as they were: taken anew, they gave a {told}"


def _surroundings(
    attempt: Attempt[Task], tables: Sequence[Mapping[str, Tensor]], *, trains_on_features: bool
) -> Surroundings:
    from headstart.engine.plan import Surroundings

    where = attempt.where
    compute_format = ComputeFormat()
    if not trains_on_features:
        compute_format = attempt.training.compute_format
    return Surroundings(
        device=where.device,
        compute_format=compute_format,
        checkpoint=where.folder.checkpoint_tensors,
        stop=where.stop,
        progress=where.progress,
        deadline=_training_deadline(attempt, tables),
        rehearse=attempt.rehearse,
        training_s=attempt.training_s,
    )


def _with_found_lr(
    attempt: Attempt[Task], plan: TrainingPlan, batches: TrainBatches, *, surroundings: Surroundings
) -> TrainingPlan:
    from headstart.engine.lr_finder import find_lr

    if attempt.where.folder.has_checkpoint:
        lr, reason = float(attempt.choices.earlier["lr"]), "as found when the fit began"
    else:
        reason = "the learning-rate finder: where the loss falls most"
        lr = find_lr(
            attempt.model,
            attempt.objective,
            strategy=attempt.strategy,
            train=batches,
            plan=plan,
            surroundings=surroundings,
        )
    attempt.choices.add(Choice("lr", lr, reason))
    return replace(plan, lr=lr)


def _plan(attempt: Attempt[Task]) -> TrainingPlan:
    from headstart.engine.plan import TrainingPlan

    names = [*("lr", "optimizer", "weight_decay", "schedule", "warmup", "accumulate")]
    names += ["clip_norm", "ema", "patience", "seed"]
    values = {name: attempt.value(name) for name in names}
    return TrainingPlan(
        num_epochs=attempt.num_epochs,
        monitor=attempt.monitor,
        is_rehearsed=attempt.is_rehearsed,
        num_kept=attempt.num_kept,
        ends_after=attempt.ends_after,
        most_inputs=attempt.most_inputs,
        keep_from=_SETTLED if attempt.task.is_dense and values["schedule"] in _ENDING else 0.0,
        **values,
    )


def _training_deadline(
    attempt: Attempt[Task], tables: Sequence[Mapping[str, Tensor]]
) -> float | None:
    """When training must be over for the rest to fit into the budget."""
    where = attempt.where
    if where.deadline is None:
        return None
    return where.deadline - TAIL_S - seconds_after_training(attempt, tables)


def seconds_after_training(
    attempt: Attempt[Task], tables: Sequence[Mapping[str, Tensor]] = ()
) -> float:
    """How long a trained backbone will look at pictures until the fit is over.

    Args:
        attempt: Settled.
        tables: Cached features, sample id -> (num_features,).
    """
    seconds_each = _READING / attempt.embedder.inference.samples_per_s
    if tables:
        took_s = attempt.where.seconds["features"]
        seconds_each = max(seconds_each, took_s / max(len(tables[0]), 1))
    return seconds_each * pictures_after_training(attempt)


def pictures_after_training(attempt: Attempt[Task]) -> int:
    """At how many pictures a trained backbone will look until the fit is over.

    Validation samples to be calibrated by, training samples to know strangers by (not of masks),
    the test, and what it takes to choose among weights. None for a frozen one, whose features are
    cached.
    """
    if attempt.is_frozen:
        return 0
    data = attempt.where.data
    num_validation, num_test = (len(data.samples(name)) for name in ("validation", "test"))
    num_train = 0 if attempt.task.is_dense else min(len(data.samples("train")), NUM_NEIGHBOURS)
    return num_validation + num_train + num_test + attempt.num_looked_at_after
