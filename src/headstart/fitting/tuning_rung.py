"""The rung of fine-tuning: whether it is tried, what it gained, why it is kept. Wiring.

It is judged on the validation samples, against the head that it starts from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.contracts import Measure, Sample
from headstart.errors import TrainingError
from headstart.fitting.finetuning import FineTuning
from headstart.fitting.judging import Judge, Judged, is_better, is_more_often_right
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.recording import record_usable
from headstart.fitting.refitting import learn_again
from headstart.fitting.rungs import Rung
from headstart.fitting.settle import Choices
from headstart.metrics.comparison import Comparison
from headstart.report.wording import duration

# Fewer mistakes than this leave nothing to be gained that is outside the noise: where every one of
# them is mended and none is added, a sign test still gives p = 2 * 0.5^5 > 0.05.
LEAST_MISTAKES = 6


@dataclass(frozen=True, eq=False)
class TuningRung:
    """What came of it.

    Attributes:
        rung: For the run; its `why` says whether it is kept, too.
        attempt: Fine-tuned, if it is to be kept.
    """

    rung: Rung
    attempt: LabelAttempt | None = None


class WholeTuning:
    """Tries it once.

    Args:
        probe: Fitted, on the backbone that a copy of is trained.
        choices: Made before any strategy was settled.
        judge: Of the ladder.
        until: `time.monotonic()` by which the whole fit must be over.
    """

    def __init__(
        self, probe: LabelAttempt, *, choices: Choices, judge: Judge, until: float
    ) -> None:
        self.probe = probe
        self.where = probe.where
        self.choices = choices
        self.judge = judge
        self.until = until
        self.unit = probe.task.unit

    def climb(
        self,
        leader: Judged,
        tables: Sequence[Mapping[str, Tensor]],
        *,
        leading: tuple[LabelAttempt, Mapping[str, Tensor]],
    ) -> TuningRung:
        """Try it, and keep it where it is better beyond the noise.

        Args:
            leader: The best rung below, as it was judged.
            tables: Cached features of the probe, sample id -> (num_features,); augmented views of
                pictures come after.
            leading: What is kept otherwise, and the features that it goes by.

        Raises:
            InterruptedFit: The user asked to stop; the state is saved, and a usable model.
        """
        validation = self.where.data.samples("validation")
        is_under_way = self.where.folder.has_checkpoint
        if not validation:
            return _skipped(f"there are no validation {self.unit}s to judge it on.")
        held_out = self._on_validation(leader, validation, *leading)
        mistakes = self.judge.num_mistakes(held_out.prediction)
        if mistakes < LEAST_MISTAKES and not is_under_way:
            why = (
                f"of {len(validation)} validation {self.unit}s {mistakes} were wrong, so few that "
                "no gain could be told from noise."
            )
            return _skipped(why)
        tuning = FineTuning(self.probe, self.choices, until=self.until)
        left_s = self.until - time.monotonic()
        if tuning.predicted_s > left_s and not is_under_way:
            why = self._too_long(tuning, left_s)
            return _skipped(why, predicted_s=tuning.predicted_s)
        self.where.progress.note("Trying fine-tuning (full):")
        record_usable(self.where.folder, leading[0].record())
        started = time.monotonic()
        try:
            return self._run(tuning, held_out, tables, left_s=left_s)
        except TrainingError as error:
            # A resumed fit would go on from there to the same step.
            self.where.folder.checkpoint_tensors.unlink(missing_ok=True)
            why = f"Fine-tuning was tried, and left: {error}"
            self.where.progress.warn(why)
            return TuningRung(
                Rung(
                    "full",
                    why,
                    seconds=time.monotonic() - started,
                    predicted_seconds=tuning.predicted_s,
                )
            )

    def _too_long(self, tuning: FineTuning, left_s: float) -> str:
        """Why fine-tuning is not begun that could not be ended.

        Cut short it costs the whole budget and loses: on solar cells 3 or 4 epochs gave 0.83 to
        0.85 on the test, the linear head before them 0.87, and 12 epochs 0.89.
        """
        epochs, passed_s = tuning.attempt.value("epochs"), time.monotonic() - self.where.started
        minutes = math.ceil(1.1 * (passed_s + tuning.predicted_s) / 60)
        return (
            f"its {epochs} epochs and what follows take about {duration(tuning.predicted_s)}, of "
            f"the budget {duration(max(left_s, 0.0))} were left, and fewer epochs lose more than "
            f"they gain. --budget {minutes}m would hold it."
        )

    def _run(
        self,
        tuning: FineTuning,
        leader: Judged,
        tables: Sequence[Mapping[str, Tensor]],
        *,
        left_s: float,
    ) -> TuningRung:
        started = time.monotonic()
        tuning.train(tables)
        after = self.judge.judge("full", tuning.answers(), seconds=time.monotonic() - started)
        before = leader
        start = tuning.answers_at_start(tables[0])
        if leader.strategy == "probe" and start is not None:  # learnt from as many samples
            before = self.judge.judge("probe", start, seconds=0.0)
        comparison = self.judge.compare(before, after)
        gain = comparison.metrics["accuracy"]
        rung = Rung(
            "full",
            self._tell(comparison, after, recipe=tuning.attempt.facts["merged"]["recipe"]),
            judged_on="validation",
            metrics=after.evaluation.metrics,
            gain=Measure(gain.value, gain.low, gain.high, comparison.n),
            over=before.strategy,
            seconds=after.seconds,
            predicted_seconds=min(tuning.predicted_s, left_s),
        )
        if not is_better(comparison):
            return TuningRung(rung)
        return TuningRung(rung, learn_again(tuning, tables, until=self.until))

    def _tell(self, comparison: Comparison, after: Judged, *, recipe: str) -> str:
        """What fine-tuning gave, for how much time, in a sentence."""
        gain, loss = comparison.metrics["accuracy"], comparison.metrics["log_loss"]
        cheap_s = self.where.seconds["features"] + self.probe.seconds
        verb, sign = ("lost", -1) if gain.value < 0 else ("gained", 1)
        told = (
            f"Fine-tuning {verb} {gain.value * sign * 100:.1f} points "
            f"(95% {gain.low * 100:+.1f} to {gain.high * 100:+.1f}) on {comparison.n} validation "
            f"{self.unit}s for {after.seconds / max(cheap_s, 0.1):.1f} times the time"
        )
        if is_more_often_right(comparison):
            return f"{told}; it was kept ({recipe})."
        if is_better(comparison):
            return (
                f"{told}, which is inside the noise, but it was surer of what is right: log loss "
                f"{loss.value_b:.3f} instead of {loss.value_a:.3f} (95% {loss.low:+.3f} to "
                f"{loss.high:+.3f}); it was kept ({recipe})."
            )
        if gain.high < 0:
            return f"{told}."
        return f"{told}, which is inside the noise."

    def _on_validation(
        self,
        leader: Judged,
        validation: Sequence[Sample],
        attempt: LabelAttempt,
        features: Mapping[str, Tensor],
    ) -> Judged:
        """Its answers to the validation samples: out of fold where it learned from them, too."""
        held_out = leader.only({sample.id for sample in validation})
        if not held_out.ids:  # they came with the data, so that it learned without them
            rows = torch.stack([features[sample.id] for sample in validation])
            held_out = attempt.predictor.answer([sample.id for sample in validation], rows)
        return self.judge.judge(leader.strategy, held_out, seconds=leader.seconds)


def _skipped(reason: str, *, predicted_s: float | None = None) -> TuningRung:
    why = f"Fine-tuning was not tried: {reason}"
    return TuningRung(Rung("full", why, predicted_seconds=predicted_s, was_tried=False))
