"""The ladder, `--strategy auto`: from the majority class up to fine-tuning, as far as it pays.

Majority, trivial baseline, nearest neighbours, linear probe and the probe on features of several
depths are judged out of fold on the same folds; where there are few texts a class, contrastive
tuning out of fold, too, on folds of its own; fine-tuning on the validation samples, against the
linear head that it starts from. A rung is skipped where its gain could not be told from noise, or
where the budget cannot hold all of it, and kept where its gain is outside the noise. The test set
is not looked at. Wiring.

Source: depths as a candidate of the probe: Evci et al., "Head2Toe" (ICML 2022).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headstart.contracts import FeatureTable, Initialised, Measure, Sample
from headstart.fitting.baselines import Baseline, OfTexts
from headstart.fitting.choosing_depths import at_depths
from headstart.fitting.finetuning import FineTuning
from headstart.fitting.judging import Judge, Judged, is_better, is_more_often_right
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import (
    TAIL_S,
    feature_table,
    learn,
    refuse_one_class,
    samples_for_table,
)
from headstart.fitting.pair_rung import PairRung, PairTuning
from headstart.fitting.recording import record_usable
from headstart.fitting.rungs import Climb, Rung
from headstart.fitting.settle import Choice, Choices
from headstart.fitting.words import begin_words, take_words
from headstart.metrics.comparison import Comparison
from headstart.report.wording import duration
from headstart.strategies.probe import CLASSIFIERS

# What the ladder takes where no budget was given, from the beginning of the fit.
DEFAULT_BUDGET_S = 300.0
# Fewer mistakes than this leave nothing to be gained that is outside the noise: where every one of
# them is mended and none is added, a sign test still gives p = 2 * 0.5^5 > 0.05.
LEAST_MISTAKES = 6
# What the verdict calls the heads that a classifier makes.
_HEADS = {
    "logistic": "the linear head was",
    "svm": "the support vector machine was",
    "knn": "nearest neighbours were",
}
# How much longer a probe on all depths takes than one on the last layer, at most. (Measured on
# EfficientNet-Lite0, 1,816 features instead of 1,280: 1.4 to 2.2 times.)
_DEPTHS_COST = 3.0


@dataclass(frozen=True, eq=False)
class Found:
    """What the pass over the pictures gave.

    Attributes:
        tables: sample id -> (num_features,) of the last layer; the pictures as they are first,
            then augmented views.
        depths: sample id -> (sum of the widths,) of all depths; empty where they are not told.
        baseline: What has to be beaten.
    """

    tables: Sequence[dict[str, Tensor]]
    depths: dict[str, Tensor]
    baseline: Baseline


class Ladder:
    """One climb.

    Args:
        probe: Settled, not learnt yet.
        found: By the pass that it was settled for.
        choices: Made before any strategy was settled.
    """

    def __init__(self, probe: LabelAttempt, found: Found, *, choices: Choices) -> None:
        self.probe = probe
        self.choices = choices
        self.where = probe.where
        self.tables = list(found.tables)
        self.depths = found.depths
        self.baseline = found.baseline
        self.unit = probe.task.unit
        self.words: tuple[LabelAttempt, dict[str, Tensor]] | None = None
        self.rungs: list[Rung] = []
        self.judge = Judge(self.where)
        self.until = self.where.deadline or self.where.started + DEFAULT_BUDGET_S
        self.samples = [s for s in samples_for_table(probe) if s.id in self.tables[0]]

    def climb(self) -> tuple[LabelAttempt, list[dict[str, Tensor]]]:
        """The attempt that is kept, fitted, with what was tried; and the features it goes by.

        Raises:
            DataError: Only one class is left.
            InterruptedFit: The user asked to stop; the state is saved, and a usable model.
            TrainingError: The loss of fine-tuning was not finite.
        """
        refuse_one_class(self.samples, self.probe.classes)
        table = feature_table(self.probe, self.tables[:1], self.samples)
        majority = self._judge("majority", _majority_logits(table), seconds=0.0)
        self._add(majority, None, "answers the most common class; what all others must beat")
        trivial = self._climb_trivial(majority)
        knn, neighbours = self._climb_knn(table, trivial or majority)
        linear = self._climb_probe(trivial or majority)
        if linear is None:
            verdict = (
                f"{len(self.samples)} samples are too few to hold some out, so nothing could be "
                f"compared: {self._head} kept."
            )
            self.rungs.append(Rung("probe", verdict, seconds=self.probe.seconds))
            return self._kept(self.probe, verdict, "probe")
        leader = linear
        # By accuracy alone: how sure the linear head is will be calibrated.
        if knn is not None and is_more_often_right(self.judge.compare(linear, knn)):
            leader = knn
            self._take_neighbours(*neighbours)
        best, deep = self._climb_depths(leader)
        pairs = self._climb_pairs(best, trivial)
        if pairs is not None and pairs.attempt is not None:
            return self._kept(pairs.attempt, pairs.verdict, "contrastive")
        best, why_words = self._words_if_best(trivial, best)
        tuned, verdict = self._climb_full(best, deep)
        if tuned is not None:
            return self._kept(tuned, verdict, "full")
        if self.words is not None:
            attempt, features = self.words
            self.tables = [features]
            return self._kept(attempt, f"{why_words} {verdict}", "trivial")
        if deep is not None:
            self.tables = [self.depths]
            verdict = f"{verdict} The linear head on features of several depths was kept."
            return self._kept(deep, verdict, "depths")
        verdict = f"{verdict} {self._head[0].upper()}{self._head[1:]} kept."
        return self._kept(self.probe, verdict, leader.strategy)

    @property
    def _head(self) -> str:
        return _HEADS[self.probe.facts["classifier"]]

    # --- cheap rungs --------------------------------------------------------------------------

    def _climb_trivial(self, majority: Judged) -> Judged | None:
        started = time.monotonic()
        logits = self.baseline.out_of_fold(self.probe, self.samples)
        self.probe.trivial = logits
        if logits is None:
            return None
        judged = self._judge("trivial", logits, seconds=time.monotonic() - started)
        why = f"a logistic regression on {self.baseline.looks_at}; a backbone has to beat it"
        self._add(judged, majority, why)
        return judged

    def _words_if_best(self, trivial: Judged | None, best: Judged) -> tuple[Judged, str]:
        """Words alone where no rung above them is better beyond the noise; else the best so far.

        What was tried above them costs more, so it has to show that it is worth it.
        """
        baseline = self.baseline
        if trivial is None or not isinstance(baseline, OfTexts) or baseline.fitted is None:
            return best, ""
        comparison = self.judge.compare(trivial, best)
        if is_better(comparison):
            return best, ""
        attempt = begin_words(self.where, self.choices.branch())
        self.words = attempt, take_words(attempt, baseline.fitted, self.samples)
        gain = comparison.metrics["accuracy"]
        verb = "is less" if gain.high < 0 else "is no gain outside the noise"
        tried = self.choices.value("backbone")
        why = "words alone were kept; what was tried above them is " + str(tried)
        attempt.choices.add(Choice("backbone", "none", why))
        return trivial, (
            f"Words alone (TF-IDF) were kept: right on {100 * gain.value_a:.1f}% out of fold, and "
            f"the best rung on the features of {tried} on {100 * gain.value_b:.1f}%, a difference "
            f"of {100 * gain.value:+.1f} points (95% {100 * gain.low:+.1f} to "
            f"{100 * gain.high:+.1f}), which {verb}."
        )

    def _climb_knn(
        self, table: FeatureTable, before: Judged
    ) -> tuple[Judged | None, tuple[torch.nn.Module, Initialised]]:
        started = time.monotonic()
        head, found = CLASSIFIERS["knn"](table, self.probe.settings)
        if found.out_of_fold is None:
            return None, (head, found)
        judged = self._judge("knn", found.out_of_fold, seconds=time.monotonic() - started)
        self._add(judged, before, f"the {found.facts['k']} nearest neighbours in the features")
        return judged, (head, found)

    def _climb_probe(self, before: Judged) -> Judged | None:
        learn(self.probe, self.tables)
        found = self.probe.out_of_fold
        if found is None:
            return None
        logits = found[: len(self.samples)]  # augmented views come after
        judged = self._judge("probe", logits, seconds=self.probe.seconds)
        self._add(judged, before, f"a {self.probe.facts['classifier']} head on frozen features")
        return judged

    def _climb_depths(self, leader: Judged) -> tuple[Judged, LabelAttempt | None]:
        """The best so far, and the probe on features of all depths if that is it."""
        probe, started = self.probe, time.monotonic()
        if not self.depths or len(self.tables) > 1 or probe.settings.classifier != "logistic":
            return leader, None
        left_s = self.until - time.monotonic() - TAIL_S
        predicted_s = _DEPTHS_COST * probe.seconds
        if predicted_s > left_s:
            why = (
                f"A fit may take {predicted_s:.0f} s, and of the budget {max(left_s, 0):.0f} s "
                "were left."
            )
            self.rungs.append(Rung("depths", why, predicted_seconds=predicted_s, was_tried=False))
            return leader, None
        attempt, table = at_depths(probe, self.depths)
        learn(attempt, [table])
        assert attempt.out_of_fold is not None  # as of the probe, on the same samples
        attempt.trivial = probe.trivial
        judged = self._judge("depths", attempt.out_of_fold, seconds=time.monotonic() - started)
        self._add(judged, leader, "a logistic head on frozen features of several depths")
        comparison = self.judge.compare(leader, judged)
        if not is_better(comparison):
            return leader, None
        why = self._why_better(comparison)
        attempt.choices.add(Choice("features", "depths", why))
        self.depths = table
        return judged, attempt

    def _climb_pairs(self, best: Judged, trivial: Judged | None) -> PairRung | None:
        """Contrastive tuning, where there are few texts a class; kept, it is the last rung."""
        tuning = PairTuning(self.probe, self.samples, choices=self.choices, until=self.until)
        if not tuning.is_open or self.where.folder.has_checkpoint:
            return None
        known = [each for each in (best, trivial) if each is not None]
        before = max(known, key=lambda each: each.evaluation.metrics["accuracy"].value)
        found = tuning.climb(before, self.judge)
        self.rungs.append(found.rung)
        return found

    def _why_better(self, comparison: Comparison) -> str:
        """In what the second is better beyond the noise, with figures."""
        gain, loss = comparison.metrics["accuracy"], comparison.metrics["log_loss"]
        if is_more_often_right(comparison):
            return (
                f"{100 * gain.value:+.1f} points out of fold (95% {100 * gain.low:+.1f} to "
                f"{100 * gain.high:+.1f}) over the last layer alone"
            )
        return (
            f"about as often right as on the last layer alone, and surer out of fold: log loss "
            f"{loss.value_b:.3f} instead of {loss.value_a:.3f}"
        )

    def _take_neighbours(self, head: torch.nn.Module, found: Initialised) -> None:
        """Nearest neighbours in the place of the linear head, with all that is told about it."""
        probe = self.probe
        probe.model.head = head.to(self.where.device)
        probe.facts = {**found.facts, "num_samples": len(self.samples)}
        probe.out_of_fold = found.out_of_fold
        probe.renew_predictor()
        why = "more often right than the linear head, out of fold and beyond the noise"
        probe.choices.add(Choice("classifier", "knn", why))

    # --- fine-tuning --------------------------------------------------------------------------

    def _climb_full(
        self, leader: Judged, deep: LabelAttempt | None
    ) -> tuple[LabelAttempt | None, str]:
        """The fine-tuned attempt if it is to be kept, and why or why not."""
        leading = (deep, self.depths) if deep else (self.probe, self.tables[0])
        leading = self.words or leading
        validation = self.where.data.samples("validation")
        is_under_way = self.where.folder.has_checkpoint
        if not validation:
            return None, self._skip(f"there are no validation {self.unit}s to judge it on.")
        held_out = self._on_validation(leader, validation, *leading)
        mistakes = self.judge.num_mistakes(held_out.prediction)
        if mistakes < LEAST_MISTAKES and not is_under_way:
            why = (
                f"of {len(validation)} validation {self.unit}s {mistakes} were wrong, so few that "
                "no gain could be told from noise."
            )
            return None, self._skip(why)
        tuning = FineTuning(self.probe, self.choices, until=self.until)
        left_s = self.until - time.monotonic()
        predicted_s = tuning.predicted_s or 0.0
        if predicted_s > left_s and not is_under_way:
            return None, self._skip(self._too_long(tuning, left_s), predicted_s=predicted_s)
        self.where.progress.note("Trying fine-tuning (full):")
        record_usable(self.where.folder, leading[0].record())
        return self._run_full(tuning, held_out, left_s)

    def _skip(self, reason: str, *, predicted_s: float | None = None) -> str:
        why = f"Fine-tuning was not tried: {reason}"
        self.rungs.append(Rung("full", why, predicted_seconds=predicted_s, was_tried=False))
        return why

    def _too_long(self, tuning: FineTuning, left_s: float) -> str:
        """Why fine-tuning is not begun that could not be ended.

        Cut short it costs the whole budget and loses: on solar cells 3 or 4 epochs gave 0.83 to
        0.85 on the test, the linear head before them 0.87, and 12 epochs 0.89.
        """
        assert tuning.predicted_s is not None
        epochs, passed_s = tuning.attempt.value("epochs"), time.monotonic() - self.where.started
        minutes = math.ceil(1.1 * (passed_s + tuning.predicted_s) / 60)
        return (
            f"its {epochs} epochs and what follows take about {duration(tuning.predicted_s)}, of "
            f"the budget {duration(max(left_s, 0.0))} were left, and fewer epochs lose more than "
            f"they gain. --budget {minutes}m would hold it."
        )

    def _run_full(
        self, tuning: FineTuning, leader: Judged, left_s: float
    ) -> tuple[LabelAttempt | None, str]:
        started = time.monotonic()
        tuning.train(self.tables)
        after = self.judge.judge("full", tuning.answers(), seconds=time.monotonic() - started)
        before = leader
        start = tuning.answers_at_start(self.tables[0])
        if leader.strategy == "probe" and start is not None:  # learnt from as many samples
            before = self.judge.judge("probe", start, seconds=0.0)
        comparison = self.judge.compare(before, after)
        why = self._tell(comparison, after, recipe=tuning.attempt.facts["merged"]["recipe"])
        gain, predicted_s = comparison.metrics["accuracy"], tuning.predicted_s
        self.rungs.append(
            Rung(
                "full",
                why,
                judged_on="validation",
                metrics=after.evaluation.metrics,
                gain=Measure(gain.value, gain.low, gain.high, comparison.n),
                over=before.strategy,
                seconds=after.seconds,
                predicted_seconds=None if predicted_s is None else min(predicted_s, left_s),
            )
        )
        return (tuning.attempt if is_better(comparison) else None), why

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

    # --- judging ------------------------------------------------------------------------------

    def _judge(self, strategy: str, logits: Tensor, *, seconds: float) -> Judged:
        return self.judge.judge_logits(strategy, logits, samples=self.samples, seconds=seconds)

    def _add(self, judged: Judged, before: Judged | None, why: str) -> None:
        gain = None
        if before is not None:
            found = self.judge.compare(before, judged).metrics["accuracy"]
            gain = Measure(found.value, found.low, found.high, len(judged.prediction.ids))
        self.rungs.append(
            Rung(
                judged.strategy,
                why,
                judged_on="cross-validation",
                metrics=judged.evaluation.metrics,
                gain=gain,
                over=before.strategy if before else "",
                seconds=judged.seconds,
            )
        )

    def _kept(
        self, attempt: LabelAttempt, verdict: str, rung: str
    ) -> tuple[LabelAttempt, list[dict[str, Tensor]]]:
        """The attempt, with the ladder that led to it, and the features it goes by."""
        rungs = [replace(each, is_kept=each.strategy == rung) for each in self.rungs]
        attempt.choices.add(Choice("strategy", attempt.name, verdict))
        attempt.climb = Climb(rungs, verdict)
        return attempt, self.tables


def _majority_logits(table: FeatureTable) -> Tensor:
    """(n, num_classes): the shares of the classes, for every sample alike."""
    n = len(table.targets)
    if table.is_multilabel:
        shares = (table.targets.sum(dim=0) + 0.5) / (n + 1)
        return torch.logit(shares).expand(n, -1)
    counts = torch.bincount(table.targets, minlength=table.num_classes)
    return ((counts + 0.5) / (n + 0.5 * table.num_classes)).log().expand(n, -1)
