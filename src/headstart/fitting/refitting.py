"""What fine-tuning found to be best, learnt once more from the validation samples, too. Wiring.

By then these have chosen all that they had to choose: whether to fine-tune, for how long, and how
far from where it begins. The new training goes by the same plan, and ends with the last of the
epochs whose weights were taken; what was measured on the validation samples is of the model before
it, which had not learnt from them.

Epochs are not averaged again. With 5,342 questions of TREC the last of four epochs was right on
0.960 and 0.972 of the test, the mean of the last two on 0.966 and 0.976, of the two before the last
on 0.952 and 0.966 (two seeds): which of them to take, nothing is left to tell.

Source: Goodfellow, Bengio and Courville, "Deep Learning" (2016), algorithm 7.2. Measured on TREC,
of whose 5,452 questions a fifth was for validation: one training on the rest was right on 0.950 and
0.956 of the test, one on nearly all on 0.976 and 0.970 (two seeds). The ladder with and without:
TREC 0.968 and 0.956 instead of 0.972 and 0.948, SST-2 0.896 instead of 0.890.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from headstart.compute import MeasuredFormat
from headstart.contracts import ComputeFormat
from headstart.engine.merging import State, interpolate
from headstart.errors import TrainingError
from headstart.fitting.embedding import Embedder
from headstart.fitting.feeding import Feed
from headstart.fitting.finetuning import FineTuning
from headstart.fitting.knowing import learnt_neighbourhood
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import learn, samples_for_table
from headstart.fitting.looking import Look
from headstart.fitting.recording import record_usable
from headstart.fitting.settle import Choice, DataSize
from headstart.model import Model
from headstart.progress import Event, Progress, Sink
from headstart.report.wording import duration

# What the choice is called.
_NAME = "refit"
# What was told of the first training, beside its curves.
_OF_THE_CURVES = ("epochs", "best_epoch", "stopped", "monitor", "merged")
# The score of an epoch: its number.
_EPOCH = "epoch"


class _FixedFeed(Feed):
    """What is learnt from, where it is settled that the last epoch is kept."""

    def scorer(self, compute_format: ComputeFormat) -> Callable[[Model], Mapping[str, float]]:
        """Scores each epoch above those before it; looks at no model."""
        numbers = itertools.count(1)
        return lambda _: {_EPOCH: float(next(numbers))}


class RefitAttempt(LabelAttempt):
    """`full` on all samples, by the plan of a training that left some out; see `Attempt`.

    Attributes:
        first: That training, which is over.
        ends_after: The epoch whose weights are kept, from 1.
    """

    first: LabelAttempt
    ends_after = 1

    @property
    def num_epochs(self) -> int:
        """Those that the rates of the first training went by."""
        return self.first.planned_epochs

    @property
    def learns_from_all(self) -> bool:
        """This is what it is for."""
        return True

    @property
    def is_rehearsed(self) -> bool:
        """All that it does has been done before."""
        return False

    @property
    def monitor(self) -> str:
        """What was chosen stays chosen."""
        return _EPOCH

    def settle_autos(self, size: DataSize) -> list[Choice]:
        """None is left: the choices are those of the first training."""
        return []

    @property
    def training(self) -> MeasuredFormat:
        """That of the first training."""
        return self.first.training

    def new_feed(self, tables: Sequence[Mapping[str, Tensor]]) -> Feed:
        """All samples, and no validation."""
        found = super().new_feed(tables)
        fields = {name: getattr(found, name) for name in found.__dataclass_fields__}
        whole = {**fields, "train": samples_for_table(self), "validation": ()}
        return _FixedFeed(**whole)


def learn_again(
    tuning: FineTuning, tables: Sequence[Mapping[str, Tensor]], *, until: float
) -> LabelAttempt:
    """The attempt that is kept: one on all samples, or the one that there is, and why.

    Args:
        tuning: Trained, and better than what was before it.
        tables: Cached features of the probe, sample id -> (num_features,).
        until: `time.monotonic()` by which the whole fit must be over.

    Raises:
        InterruptedFit: The user asked to stop; the first training is what is usable.
    """
    first, where = tuning.attempt, tuning.attempt.where
    num_train = len(where.data.samples("train"))
    num_all = num_train + len(tuning.validation)
    epoch_s = first.epochs_s / first.facts["epochs"] * num_all / num_train
    predicted_s = _last_epoch(tuning) * epoch_s + tuning.after_s
    why_not = _why_not(tuning, predicted_s, until=until)
    if why_not:
        first.choices.add(Choice(_NAME, False, why_not))
        return first
    unit = where.task.unit
    where.progress.note(
        f"Learning once more, from the {len(tuning.validation):,} validation {unit}s too:"
    )
    record_usable(where.folder, first.record())
    try:
        attempt = _learn(tuning, tables)
    except TrainingError as error:
        first.choices.add(Choice(_NAME, False, f"it was tried, and left: {error}"))
        return first
    if attempt.facts["stopped"] != "epochs":
        why = "it was tried, and left: the budget ended before its epochs"
        first.choices.add(Choice(_NAME, False, why))
        return first
    _take_weights(attempt, tuning)
    _keep_what_was_measured(attempt, tuning)
    attempt.seconds += first.seconds
    why = (
        f"learnt again from all {num_all:,} training and validation {unit}s, as these had been "
        "chosen by; what they measured is of the model before"
    )
    attempt.choices.add(Choice(_NAME, True, why))
    return attempt


def _why_not(tuning: FineTuning, predicted_s: float, *, until: float) -> str:
    """Why it is left; empty where it is not."""
    where = tuning.attempt.where
    if where.options.refit is False:
        return "as was asked for"
    if tuning.attempt.value("schedule") == "plateau":
        return f"the schedule plateau goes by validation {where.task.unit}s, and none would be left"
    if where.options.refit is None and where.data.split.rule == "as-given":
        return f"the validation {where.task.unit}s came with the data, and stay apart"
    left_s = until - time.monotonic()
    if predicted_s <= left_s:
        return ""
    minutes = math.ceil(1.1 * (time.monotonic() - where.started + predicted_s) / 60)
    return (
        f"to learn from the validation {where.task.unit}s too takes about {duration(predicted_s)}, "
        f"and of the budget {duration(max(left_s, 0.0))} were left: --budget {minutes}m would "
        "hold it"
    )


def _last_epoch(tuning: FineTuning) -> int:
    """The last of the epochs, from 1, whose weights were taken."""
    assert tuning.merged is not None
    return max(tuning.attempt.kept_epochs[place] for place in tuning.merged.members)


def _learn(tuning: FineTuning, tables: Sequence[Mapping[str, Tensor]]) -> RefitAttempt:
    """Train in a folder that is then removed: the checkpoint of the first training stays."""
    first, where = tuning.attempt, tuning.attempt.where
    shared = tuning.probe.backbone
    backbone = replace(shared, module=copy.deepcopy(shared.module))
    attempt = RefitAttempt(
        "full",
        where,
        embedder=Embedder(backbone, first.embedder.inference),
        choices=first.choices.branch(),
    )
    attempt.first = first
    attempt.ends_after = _last_epoch(tuning)
    attempt.num_kept = 2  # with more than one, where it began is kept, too
    options = where.options.model_copy(update={"find_lr": False})  # found already
    with where.folder.rehearsal() as folder:
        folder.write_text(folder.log, "")
        aside = Progress([_Again(where.progress.sinks)])
        attempt.where = replace(where, folder=folder, options=options, progress=aside)
        learn(attempt, tables)
    attempt.where = where
    return attempt


class _Again:
    """Tells of an epoch what there is to tell: its scores are none."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = sinks

    def handle(self, event: Event) -> None:
        if event.kind == "epoch":
            values = event.values
            event = Event(
                "note", f"  epoch {values['epoch']} again: train loss {values['train_loss']:.3f}"
            )
        for sink in self.sinks:
            sink.handle(event)


def _take_weights(attempt: RefitAttempt, tuning: FineTuning) -> None:
    """Those of its last epoch, as far from the beginning as was best in the first training."""
    merged = tuning.merged
    assert merged is not None
    assert attempt.begin is not None
    state: State = attempt.kept[0]
    if merged.share < 1:
        state = interpolate(attempt.begin, state, share=merged.share)
    attempt.model.load_state_dict(state)
    attempt.renew_predictor()
    # The curves that are told are of the first training, and so is what is told of them.
    told = {name: tuning.attempt.facts[name] for name in _OF_THE_CURVES}
    again = {"epochs": attempt.facts["epochs"], "share": merged.share}
    attempt.facts = {**attempt.facts, **told, "refit": again}


def _keep_what_was_measured(attempt: RefitAttempt, tuning: FineTuning) -> None:
    """What the first training tells of the validation samples, which are no news to this one."""
    look = Look(tuning.attempt, {})
    attempt.validated = tuning.attempt.predictor.logits(look.validation)
    near = learnt_neighbourhood(look)
    attempt.held_out_distances = None if near is None else near.scores(look.validation)
