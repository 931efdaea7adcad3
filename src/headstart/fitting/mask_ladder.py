"""The ladder of masks, `--strategy auto`: from the most common class up to fine-tuning. Wiring.

Majority, single pixels, the probe and fine-tuning are all judged on the validation samples; the
best of those that make a model is kept. Fine-tuning is begun where the budget holds enough of it.
The test set is not looked at.

The strategy `head` is no rung, nor does fine-tuning begin with it. Measured on the Amazon forest,
one seed, U-Net on EfficientNet-Lite0, two cores: the head alone has a mean IoU of 0.868 on the test
chips after 46 s of training, fine-tuning 0.893 after 241 s, and 0.891 where only the decoder learnt
in the first two epochs. What the head would take of the budget, fine-tuning lacks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from headstart.contracts import Sample
from headstart.decoders import Decoder
from headstart.errors import TrainingError
from headstart.fitting.judging_masks import judge
from headstart.fitting.learning import TAIL_S, learn, seconds_after_training
from headstart.fitting.mask_attempt import MaskAttempt
from headstart.fitting.mask_probe import fit_mask_probe
from headstart.fitting.mask_rungs import JudgedRung, cheap_rungs, judged_rung
from headstart.fitting.recording import record_start, record_usable
from headstart.fitting.rungs import Climb, Rung
from headstart.fitting.settle import Choice
from headstart.report.wording import count, duration

# Fine-tuning in fewer epochs than this is no test of it: the learning rate has no time to rise and
# fall. Set by hand; on the Amazon forest five epochs are 60 steps and take 44 s.
LEAST_EPOCHS = 5
# The pass over chips that the probe is fitted to takes this share of what is left of the budget,
# but sees so many of them at least.
_PROBE_SHARE, _LEAST_CHIPS = 0.05, 30
# Steps cost more than the forward and backward pass that was measured: loading, loss, optimizer.
_STEP_OVERHEAD = 1.3
# What the verdict calls the rungs.
_CALLED = {
    "majority": "the most common class",
    "trivial": "a classifier of single pixels",
    "as-is": "the pretrained model as it comes",
    "probe": "the probe",
    "full": "fine-tuning",
}


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A rung that has a model."""

    attempt: MaskAttempt
    judged: JudgedRung

    @property
    def miou(self) -> float:
        return _miou(self.judged)


class MaskLadder:
    """One climb.

    Args:
        probe: Settled, not learnt yet.
        new_full: Settles fine-tuning, on a backbone of its own, when it is asked for.
        as_is: The pretrained model in the classes of the data, where it knows them.
        is_resumed: Whether fine-tuning had begun when the fit was interrupted.
    """

    def __init__(
        self,
        probe: MaskAttempt,
        new_full: Callable[[], MaskAttempt],
        *,
        as_is: MaskAttempt | None,
        is_resumed: bool,
    ) -> None:
        self.probe = probe
        self.new_full = new_full
        self.as_is = as_is
        self.is_resumed = is_resumed
        self.where = probe.where
        self.data = probe.where.data
        self.rungs: list[JudgedRung] = []
        self.untried: list[Rung] = []

    def climb(self) -> MaskAttempt:
        """The attempt that is kept, fitted, with what was tried.

        Raises:
            DataError: A sample cannot be read, or nothing is labelled.
            InterruptedFit: The user asked to stop; the state is saved, and a usable model.
        """
        if not self.data.samples("validation"):
            return self._only_full()
        self.rungs = cheap_rungs(self.probe)
        candidates = []
        if self.as_is is not None:
            learn(self.as_is, ())
            why = "the weights bring a decoder that knows these classes; nothing learns"
            candidates.append(self._judged(self.as_is, why))
        fit_mask_probe(self.probe, self._for_the_probe())
        why = "a logistic regression on single pixels of frozen maps of several depths"
        candidates.append(self._judged(self.probe, why))
        if not self.is_resumed:
            record_usable(self.where.folder, self.probe.record())
        full = self.new_full()
        if self._has_time_for(full):
            candidates += self._try(full)
        # Of equals the one that learned most.
        return self._kept(max(reversed(candidates), key=lambda each: each.miou))

    def _try(self, full: MaskAttempt) -> list[_Candidate]:
        """Fine-tuning as one more candidate; none where its loss was not finite."""
        started = time.monotonic()
        full.choices.tell()
        try:
            learn(full, ())
        except TrainingError as error:
            # A resumed fit would go on from there to the same step.
            self.where.folder.checkpoint_tensors.unlink(missing_ok=True)
            why = f"Fine-tuning was tried, and left: {error}"
            self.where.progress.warn(why)
            self.untried.append(Rung("full", why, seconds=time.monotonic() - started))
            return []
        return [self._judged(full, self._how_full_starts())]

    def _how_full_starts(self) -> str:
        if isinstance(self.probe.backbone.pretrained_head, Decoder):
            return "everything learns, from the encoder and the decoder of the weights"
        return "everything learns, the decoder from random weights"

    def _for_the_probe(self) -> list[Sample]:
        """Training chips, evenly spread: as many as a small share of the budget has time for."""
        samples = self.data.samples("train")
        if self.where.deadline is None:
            return samples
        rate = self.probe.embedder.inference.samples_per_s
        left_s = self.where.deadline - time.monotonic()
        most = max(_LEAST_CHIPS, int(_PROBE_SHARE * left_s * rate / self.probe.crops_a_chip))
        return samples[:: -(-len(samples) // most)]

    def _only_full(self) -> MaskAttempt:
        """Where nothing can be judged."""
        full = self.new_full()
        why = "there are no samples for validation to compare strategies by"
        full.choices.add(Choice("strategy", "full", why))
        full.choices.tell()
        learn(full, ())
        return full

    def _judged(self, attempt: MaskAttempt, why: str) -> _Candidate:
        """With its gain over the best below it."""
        below = max(self.rungs, key=_miou, default=None)
        samples = self.data.samples("validation")
        if below is not None:  # with many chips the rungs below looked at some of them only
            samples = [sample for sample in samples if sample.id in below.counts]
        judged = judge(attempt.predictor, samples, on_error=self.data.note_unreadable)
        counts = {each.sample.id: each.counts for each in judged}
        rung = judged_rung(
            attempt.name, why, counts, attempt=attempt, below=below, seconds=attempt.seconds
        )
        self.rungs.append(rung)
        return _Candidate(attempt, rung)

    # --- fine-tuning --------------------------------------------------------------------------

    def _has_time_for(self, full: MaskAttempt) -> bool:
        """Whether the budget holds enough epochs; if not, it is told which one would."""
        if self.is_resumed or self.where.deadline is None:
            return True
        planned = full.value("epochs")
        epoch_s = self._epoch_s(full)
        after_s = seconds_after_training(full) + TAIL_S
        left_s = self.where.deadline - time.monotonic()
        least_s = min(planned, LEAST_EPOCHS) * epoch_s + after_s
        if least_s <= left_s:
            return True
        predicted_s = planned * epoch_s + after_s
        whole_s = time.monotonic() - self.where.started + predicted_s
        why = (
            f"Not begun: {count(min(planned, LEAST_EPOCHS), 'epoch')} of fine-tuning would take "
            f"{duration(least_s)}, and of the budget {duration(max(left_s, 0))} were left. "
            f"--budget {math.ceil(whole_s / 60)}m would hold all {planned}."
        )
        self.untried.append(Rung("full", why, predicted_seconds=predicted_s, was_tried=False))
        return False

    def _epoch_s(self, full: MaskAttempt) -> float:
        """Seconds of an epoch, from speeds that were measured on crops."""
        training = full.training.samples_per_s
        inference = full.embedder.inference.samples_per_s
        num_train, num_validation = (
            len(self.data.samples(name)) * full.crops_a_chip for name in ("train", "validation")
        )
        return _STEP_OVERHEAD * num_train / training + num_validation / inference

    # --- the end ------------------------------------------------------------------------------

    def _kept(self, best: _Candidate) -> MaskAttempt:
        attempt, name = best.attempt, best.attempt.name
        verdict = self._verdict(best)
        attempt.choices.add(Choice("strategy", name, "the best on the validation samples"))
        rungs = [
            replace(each.rung, is_kept=each is best.judged, why=self._why(each, best))
            for each in self.rungs
        ]
        attempt.climb = Climb([*rungs, *self.untried], verdict)
        record_start(self.where.folder, attempt.record())
        return attempt

    @staticmethod
    def _why(each: JudgedRung, best: _Candidate) -> str:
        if each.rung.strategy == "full" and each is not best.judged:
            return f"{each.rung.why}; no better than {_CALLED[best.attempt.name]}, which was kept"
        return each.rung.why

    def _verdict(self, best: _Candidate) -> str:
        """What was kept beside the best of all others, with figures."""
        others = [each for each in self.rungs if each is not best.judged]
        other = max(others, key=_miou)
        called, against = _CALLED[best.attempt.name], _CALLED[other.rung.strategy]
        gain = self._gain(best.judged, other)
        num_chips = len(best.judged.counts)
        verdict = (
            f"{called[0].upper()}{called[1:]} has a mean IoU of {100 * best.miou:.1f}% on "
            f"{count(num_chips, 'picture')} for validation, {against} {100 * _miou(other):.1f}%: "
            f"{gain}."
        )
        if _miou(other) >= best.miou:
            verdict += f" It is no better than {against}: look at the data, or train longer."
            self.where.progress.warn(verdict)
        return " ".join([verdict, *(rung.why for rung in self.untried)])

    def _gain(self, best: JudgedRung, other: JudgedRung) -> str:
        """Points of mean IoU with their interval."""
        judged = judged_rung(
            best.rung.strategy, "", best.counts, attempt=self.probe, below=other, seconds=0.0
        )
        found = judged.rung.gain
        assert found is not None
        told = f"{100 * found.value:+.1f} points"
        if found.low is not None and found.high is not None:
            told += f" (95% {100 * found.low:+.1f} to {100 * found.high:+.1f})"
        return told


def _miou(judged: JudgedRung) -> float:
    return float(np.nan_to_num(judged.rung.metrics["miou"].value))
