"""The ladder, `--strategy auto`: from the majority class up to fine-tuning, as far as it pays.

Majority, trivial baseline, nearest neighbours, linear probe and the probe on features of several
depths are judged out of fold on the same folds (words, where they are learnt from texts that were
not read, too, on folds of all texts); where there are few texts a class, contrastive tuning out of
fold, too, on folds of its own; fine-tuning on the validation samples, against the linear head that
it starts from. A rung is skipped where its gain could not be told from noise, or where the budget
cannot hold all of it, and kept where its gain is outside the noise. Two are kept where they are
about as good, no more than a standard error worse than the best of the others: of texts words
alone, which cost least, and contrastive tuning, which few texts judge too low. The test set is not
looked at. Wiring.

Source: depths as a candidate of the probe: Evci et al., "Head2Toe" (ICML 2022).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headstart.contracts import FeatureTable, Initialised, Measure
from headstart.fitting.baselines import Baseline, OfTexts
from headstart.fitting.choosing_depths import at_depths
from headstart.fitting.judging import (
    Judge,
    Judged,
    is_better,
    is_more_often_right,
)
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import (
    TAIL_S,
    feature_table,
    learn,
    refuse_one_class,
    samples_for_table,
)
from headstart.fitting.pair_rung import PairRung, PairTuning
from headstart.fitting.rungs import Climb, Rung
from headstart.fitting.settle import Choice, Choices
from headstart.fitting.tuning_rung import WholeTuning
from headstart.fitting.words_rung import WordsRung
from headstart.metrics.comparison import Comparison
from headstart.strategies.knn import seconds_to_compare
from headstart.strategies.probe import CLASSIFIERS

# What the verdict calls the heads that a classifier makes.
_HEADS = {
    "logistic": "the linear head was",
    "svm": "the support vector machine was",
    "knn": "nearest neighbours were",
}
# Of the time that is left, what comparing all samples with one another may take.
_KNN_SHARE = 0.2
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
        self.rungs: list[Rung] = []
        self.judge = Judge(self.where)
        assert self.where.deadline is not None  # of a ladder
        self.until = self.where.deadline
        self.samples = [s for s in samples_for_table(probe) if s.id in self.tables[0]]
        self.words: WordsRung | None = None
        if isinstance(found.baseline, OfTexts):
            self.words = WordsRung(
                found.baseline,
                probe,
                self.samples,
                choices=choices,
                judge=self.judge,
                until=self.until,
            )

    def climb(self) -> tuple[LabelAttempt, list[dict[str, Tensor]]]:
        """The attempt that is kept, fitted, with what was tried; and the features it goes by.

        Raises:
            DataError: Only one class is left.
            InterruptedFit: The user asked to stop; the state is saved, and a usable model.
        """
        refuse_one_class(self.samples, self.probe.classes)
        table = feature_table(self.probe, self.tables[:1], self.samples)
        majority = self._judge("majority", _majority_logits(table), seconds=0.0)
        self._add(majority, None, "answers the most common class; what all others must beat")
        trivial = self._climb_trivial(majority)
        neighbours = self._climb_knn(table, trivial or majority)
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
        if neighbours is not None:
            knn, head, found = neighbours
            if is_more_often_right(self.judge.compare(linear, knn)):
                leader = knn
        best, deep = self._climb_depths(leader)
        if leader is not linear and deep is None:
            self._take_neighbours(head, found)
        leading = (deep, self.depths) if deep else (self.probe, self.tables[0])
        above = best
        about_words, words = "", None
        if self.words is not None and trivial is not None:
            best, about_words = self.words.keep_if_best(trivial, best)
            words = self.words.kept
        leading = words or leading
        pairs = self._climb_pairs(above, trivial, usable=leading[0])
        if pairs is not None and pairs.attempt is not None:
            return self._kept(pairs.attempt, pairs.verdict, "contrastive")
        tuning = WholeTuning(self.probe, choices=self.choices, judge=self.judge, until=self.until)
        tuned = tuning.climb(best, self.tables, leading=leading)
        self.rungs.append(tuned.rung)
        if tuned.attempt is not None:
            return self._kept(tuned.attempt, tuned.rung.why, "full")
        verdict = f"{about_words} {tuned.rung.why}".lstrip()
        if words is not None:
            self.tables = [words[1]]
            return self._kept(words[0], verdict, "trivial")
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
        if logits is None:
            return None
        self.probe.trivial = logits
        why = f"a logistic regression on {self.baseline.looks_at}; a backbone has to beat it"
        if self.words is not None:
            logits = self.words.learn_unread(logits, seconds=time.monotonic() - started)
            why = ". ".join(filter(None, (why, self.words.told_unread.rstrip("."))))
        judged = self._judge("trivial", logits, seconds=time.monotonic() - started)
        self._add(judged, majority, why)
        return judged

    def _climb_knn(
        self, table: FeatureTable, before: Judged
    ) -> tuple[Judged, torch.nn.Module, Initialised] | None:
        """Judged, its head and what is told of it; None where it could not be judged."""
        started = time.monotonic()
        left_s = self.until - started - TAIL_S
        predicted_s = seconds_to_compare(table.features)
        if predicted_s > _KNN_SHARE * left_s:
            why = (
                f"To compare each of {len(self.samples):,} samples with all others may take "
                f"{predicted_s:.0f} s, and of the budget {max(left_s, 0):.0f} s were left."
            )
            self.rungs.append(Rung("knn", why, predicted_seconds=predicted_s, was_tried=False))
            return None
        head, found = CLASSIFIERS["knn"](table, self.probe.settings)
        if found.out_of_fold is None:
            return None
        judged = self._judge("knn", found.out_of_fold, seconds=time.monotonic() - started)
        self._add(judged, before, f"the {found.facts['k']} nearest neighbours in the features")
        return judged, head, found

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
        is_wanted = self.where.options.features != "last"
        is_usual = probe.settings.classifier == "logistic"
        if not (self.depths and is_wanted and is_usual) or len(self.tables) > 1:
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

    def _climb_pairs(
        self, best: Judged, trivial: Judged | None, *, usable: LabelAttempt
    ) -> PairRung | None:
        """Contrastive tuning, where there are few texts a class; kept, it is the last rung."""
        tuning = PairTuning(self.probe, self.samples, choices=self.choices, until=self.until)
        if not tuning.is_open:
            return None
        known = [each for each in (best, trivial) if each is not None]
        before = max(known, key=lambda each: each.evaluation.metrics["accuracy"].value)
        found = tuning.climb(before, self.judge, usable=usable)
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
        attempt.choices.tell()
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
