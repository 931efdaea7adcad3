"""`--control scratch`: what the pretrained weights brought, against the same time without them.

After all choices and the result of a fit: the same architecture is trained from random weights on
the same training samples for as long as the kept attempt took, and answers the same test samples.

Source: He, Girshick and Dollár, "Rethinking ImageNet pre-training" (ICCV 2019), for random weights
as the control, and for the time given to both as what decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from headstart.backbones import load_backbone_for
from headstart.config import FitOptions
from headstart.contracts import Evaluation, Measure, Prediction, Sample, TextContract
from headstart.data.numbering import numbered_if_shared
from headstart.errors import InterruptedFit, TrainingError
from headstart.fitting.attempt import Attempt
from headstart.fitting.embedding import Embedder, read_as_stored
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import learn, samples_for_table
from headstart.fitting.settle import Choices
from headstart.fitting.situation import Situation, TaskT
from headstart.metrics.comparison import CALLED, Comparison, compare_predictions
from headstart.progress import Event, JsonlSink, Progress, Sink
from headstart.protocols import LabelTask, Task
from headstart.report.record import read_record

# Options that the control shares. The others suit pretrained weights, and would do it wrong.
_SHARED = (
    *("augment", "mixup", "cutmix", "balance", "batch_size", "label_smoothing", "monitor"),
    *("device", "precision", "workers", "seed", "trust_remote_code"),
)
# More passes bring random weights nothing. Source: Wightman, Touvron and Jegou, "ResNet strikes
# back" (2021), whose longest but one procedure has 300; the time given nearly always ends before.
_MOST_EPOCHS = 300
# Both sides have these without calibration.
_TOLD = (
    *("accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "map"),
    *("miou", "pixel_accuracy", "boundary_f1"),
)
Answers = TypeVar("Answers")
AttemptT_co = TypeVar("AttemptT_co", bound=Attempt[Task], covariant=True)


class _Aside:
    """Shows what the control does, and keeps it out of the log of the run itself."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = [sink for sink in sinks if not isinstance(sink, JsonlSink)]
        self.epochs: list[Mapping[str, Any]] = []

    def handle(self, event: Event) -> None:
        if event.kind == "epoch":
            self.epochs.append(event.values)
        if event.kind != "choice":
            for sink in self.sinks:
                sink.handle(event)


def train_control(
    kept: LabelAttempt, tested: Sequence[Sample], *, prediction: Prediction, evaluation: Evaluation
) -> dict[str, Any] | None:
    """The part `transfer` of metrics.json; None where the control was stopped or failed.

    Args:
        kept: The attempt whose model is the run's. Its results are saved already.
        tested: The test samples, with the groups of the split.
        prediction: Of the kept model for them.
        evaluation: Of that.
    """
    seconds = _seconds_of(kept)
    trained = train_aside(
        kept,
        lambda where: _new_control(kept, where=where),
        answer=lambda control: control.predict(tested, None),
        seconds=seconds,
    )
    if trained is None:
        return None
    control, answers = trained
    found = _compare(kept, tested, before=answers, after=prediction)
    curve = _curve_of(kept, found.headline, seconds=seconds)
    scratch = control.attempt.task.evaluate(answers, tested)
    told = Sides(evaluation, scratch, curve, seconds)
    return transfer_told(kept, control, found, told)


@dataclass(frozen=True, eq=False)
class Control(Generic[AttemptT_co]):
    """A trained control, and what it told after each epoch."""

    attempt: AttemptT_co
    epochs: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Sides:
    """Both sides of a control on the test: with the pretrained weights, and from random ones.

    Attributes:
        curve: Validation scores of the pretrained side over time.
        seconds: What each may take.
    """

    pretrained: Evaluation
    scratch: Evaluation
    curve: list[dict[str, float]]
    seconds: float


def train_aside(
    kept: Attempt[TaskT],
    new_control: Callable[[Situation[TaskT]], AttemptT_co],
    *,
    answer: Callable[[AttemptT_co], Answers],
    seconds: float,
) -> tuple[Control[AttemptT_co], Answers] | None:
    """Train from random weights in a folder that is then removed; None where that fails.

    Args:
        kept: The attempt whose model is the run's. Its results are saved already.
        new_control: An attempt with the same architecture, and nothing learnt.
        answer: What the control says of the test.
        seconds: For how long to train.
    """
    progress = kept.where.progress
    progress.note(f"The control: {seconds:.1f} s of training from random weights.")
    aside = _Aside(progress.sinks)
    try:
        with kept.where.folder.rehearsal() as folder:
            where = replace(
                kept.where,
                options=_options(kept.where.options),
                folder=folder,
                progress=Progress([aside]),
                deadline=None,
                seconds={},
            )
            control = new_control(where)
            control.training_s = seconds
            folder.write_text(folder.log, "")
            learn(control, ())
            answers = answer(control)
    except (InterruptedFit, KeyboardInterrupt):
        progress.warn("The control was stopped. The run itself is finished, and has no transfer.")
        return None
    except TrainingError as error:
        progress.warn(f"The control failed, and the run has no transfer: {error}")
        return None
    return Control(control, aside.epochs), answers


def transfer_told(
    kept: Attempt[Task], control: Control[Attempt[Task]], found: Comparison, sides: Sides
) -> dict[str, Any]:
    """The part `transfer` of metrics.json, which is also told."""
    epochs, seconds = control.epochs, sides.seconds
    main = found.main
    transfer = {
        "metric": found.headline,
        "gain": {"value": main.value, "low": main.low, "high": main.high, "n": found.n},
        "pretrained": {**_measures(sides.pretrained), "seconds": round(seconds, 3)},
        "scratch": {
            **_measures(sides.scratch),
            "seconds": round(epochs[-1]["seconds"] if epochs else seconds, 3),
            "epochs": control.attempt.facts["epochs"],
        },
        "curves": {"pretrained": sides.curve, "scratch": curve_points(epochs, found.headline)},
        "sentence": _sentence(found, seconds=seconds),
    }
    kept.where.progress.note(str(transfer["sentence"]))
    return transfer


def _seconds_of(kept: LabelAttempt) -> float:
    """What the kept attempt took: features and learning.

    Features that were in the cache count as if they had been computed: they once were.
    """
    measured = kept.where.seconds.get("features", 0.0)
    rate = kept.embedder.inference.samples_per_s
    uses_features = kept.strategy.needs_features or kept.is_frozen
    num_passed = len(kept.where.data.samples("train", "validation")) * (1 + kept.num_views)
    computed = num_passed / rate if uses_features else 0.0
    return max(measured, computed) + kept.seconds


def _options(given: FitOptions) -> FitOptions:
    shared = {name: getattr(given, name) for name in _SHARED if name in given.model_fields_set}
    return FitOptions(strategy="scratch", epochs=_MOST_EPOCHS, **shared)


def _new_control(kept: LabelAttempt, *, where: Situation[LabelTask]) -> LabelAttempt:
    """An attempt with the same architecture, and nothing learnt."""
    reference = kept.value("backbone")
    backbone = load_backbone_for(
        where.task.unit,
        reference,
        weights="random",
        trust_remote_code=where.options.trust_remote_code and "as-agreed",
        progress=where.progress,
    )
    backbone.module.to(where.device)
    read_as_stored(backbone, where.data)
    kept_contract = kept.backbone.contract
    if isinstance(kept_contract, TextContract):  # long texts are read alike on both sides
        backbone.contract = replace(backbone.contract, long=kept_contract.long)
    choices = Choices(where.options, progress=where.progress)
    embedder = Embedder(backbone, kept.embedder.inference)
    return LabelAttempt("scratch", where, embedder=embedder, choices=choices)


def _compare(
    kept: LabelAttempt, tested: Sequence[Sample], *, before: Prediction, after: Prediction
) -> Comparison:
    """On the test samples, which both answer in the same order."""
    groups = numbered_if_shared([sample.group or sample.id for sample in tested])
    return compare_predictions(
        before.probabilities,
        after.probabilities,
        np.array([kept.task.target(sample, kept.classes) for sample in tested]),
        groups=groups,
        names=("random weights", "pretrained weights"),
    )


def _measures(evaluation: Evaluation) -> dict[str, Any]:
    found: Mapping[str, Measure] = evaluation.metrics
    return {name: asdict(found[name]) for name in _TOLD if name in found}


def _curve_of(kept: LabelAttempt, metric: str, *, seconds: float) -> list[dict[str, float]]:
    """Validation scores over time; of a classifier the one that was cross-validated."""
    epochs = read_record(kept.where.folder).epochs
    if kept.facts.get("epochs") and epochs:
        points = curve_points(epochs, metric)
        return [{**p, "seconds": p["seconds"] + max(0.0, seconds - kept.seconds)} for p in points]
    if kept.out_of_fold is None:
        return []
    samples = samples_for_table(kept)[: len(kept.out_of_fold)]
    prediction = kept.task.predict(
        kept.out_of_fold[: len(samples)], [sample.id for sample in samples], kept.classes
    )
    measure = kept.task.evaluate(prediction, samples).metrics[metric]
    return [{"seconds": round(seconds, 3), "value": measure.value}]


def curve_points(epochs: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, float]]:
    """Validation scores over time."""
    name = f"val_{metric}"
    return [{"seconds": e["seconds"], "value": e[name]} for e in epochs if name in e]


def _sentence(found: Comparison, *, seconds: float) -> str:
    main = found.main
    name = CALLED[found.headline]
    shown_s = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"
    figures = (
        f"{100 * main.value:+.1f} points of {name} (95% {100 * main.low:+.1f} to "
        f"{100 * main.high:+.1f}, n={found.n:,}): {100 * main.value_b:.1f}% against "
        f"{100 * main.value_a:.1f}% from random weights in the same {shown_s} s of training"
    )
    note = f" {found.note}" if found.note else ""
    if main.is_shown:
        verb = "brought" if main.value > 0 else "cost"
        return f"The pretrained weights {verb} {figures}.{note}"
    what = "brought nothing that could be told from noise"
    return f"The pretrained weights {what}: {figures}.{note}"
