"""The ladder, `--strategy auto`: from the majority class up to fine-tuning, as far as it pays.

Majority, trivial baseline, nearest neighbours and linear probe are judged out of fold on the same
folds; fine-tuning on the validation samples, against the linear head that it starts from. A rung is
skipped where its gain could not be told from noise, or where the budget cannot hold it, and kept
where its gain is outside the noise. The test set is not looked at. Wiring.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from headstart.attempt import Attempt, Embedder
from headstart.contracts import Batch, Evaluation, FeatureTable, Measure, Prediction, Sample
from headstart.engine.merging import State, merge_weights
from headstart.learning import feature_table, learn, samples_for_table
from headstart.metrics.comparison import Comparison, compare_predictions
from headstart.rungs import Climb, Rung
from headstart.settle import Choice, Choices
from headstart.strategies.probe import CLASSIFIERS, fit_linear_probe

# What the ladder takes where no budget was given, from the beginning of the fit.
DEFAULT_BUDGET_S = 300.0
# Fewer mistakes than this leave nothing to be gained that is outside the noise: where every one of
# them is mended and none is added, a sign test still gives p = 2 * 0.5^5 > 0.05.
_LEAST_MISTAKES = 6
# Weights of so many epochs are kept for the soup.
_NUM_KEPT = 3
# Validation pictures that are held in memory while weights are merged (0.15 MB each at 224 x 224).
_HELD = 2_000
# Steps cost more than the forward and backward pass that was measured: loading, optimizer.
_STEP_OVERHEAD = 1.15
_TAIL_S = 5.0


@dataclass(frozen=True, eq=False)
class Judged:
    """Answers to samples that the model had not seen."""

    strategy: str
    prediction: Prediction
    evaluation: Evaluation
    seconds: float


class Ladder:
    """One climb.

    Args:
        probe: Settled, not learnt yet.
        tables: Cached features, sample id -> (num_features,); the pictures as they are first.
        statistics: sample id -> (m,) colour and band statistics.
        choices: Made before any strategy was settled.
    """

    def __init__(
        self,
        probe: Attempt,
        tables: Sequence[Mapping[str, Tensor]],
        *,
        statistics: Mapping[str, Tensor],
        choices: Choices,
    ) -> None:
        self.probe = probe
        self.choices = choices
        self.where = probe.where
        self.tables = tables
        self.statistics = statistics
        self.rungs: list[Rung] = []
        self.until = self.where.deadline or self.where.started + DEFAULT_BUDGET_S
        self.samples = [s for s in samples_for_table(probe) if s.id in tables[0]]

    def climb(self) -> Attempt:
        """The attempt that is kept, fitted, with what was tried."""
        table = feature_table(self.probe, self.tables[:1], self.samples)
        majority = self._judge_logits("majority", _majority_logits(table), seconds=0.0)
        self._add(majority, None, "answers the most common class; what all others must beat")
        trivial = self._climb_trivial(majority)
        knn, knn_head = self._climb_knn(table, trivial or majority)
        linear = self._climb_probe(trivial or majority)
        if linear is None:
            return self._kept(self.probe, "There are too few samples to compare anything.")
        leader = linear
        if knn is not None and _is_better(self._compare(linear, knn)):
            leader = knn
            self.probe.model.head = knn_head
            self.probe.predictor = self.probe.new_predictor()
        tuned, verdict = self._climb_full(leader)
        if tuned is not None:
            return self._kept(tuned, verdict)
        name = "nearest neighbours were" if leader is knn else "the linear head was"
        return self._kept(self.probe, f"{verdict} {name[0].upper()}{name[1:]} kept.", leader)

    # --- cheap rungs --------------------------------------------------------------------------

    def _climb_trivial(self, majority: Judged) -> Judged | None:
        started = time.monotonic()
        table = feature_table(self.probe, [self.statistics], self.samples)
        _, found = fit_linear_probe(table, self.probe.settings)
        if found.out_of_fold is None:
            return None
        judged = self._judge_logits(
            "trivial", found.out_of_fold, seconds=time.monotonic() - started
        )
        why = "a logistic regression on colour and brightness alone; a backbone has to beat it"
        self._add(judged, majority, why)
        return judged

    def _climb_knn(
        self, table: FeatureTable, before: Judged
    ) -> tuple[Judged | None, torch.nn.Module]:
        started = time.monotonic()
        head, found = CLASSIFIERS["knn"](table, self.probe.settings)
        if found.out_of_fold is None:
            return None, head
        judged = self._judge_logits("knn", found.out_of_fold, seconds=time.monotonic() - started)
        self._add(judged, before, f"the {found.facts['k']} nearest neighbours in the features")
        return judged, head

    def _climb_probe(self, before: Judged) -> Judged | None:
        learn(self.probe, self.tables)
        found = self.probe.out_of_fold
        if found is None:
            return None
        judged = self._judge_logits("probe", found[: len(self.samples)], seconds=self.probe.seconds)
        self._add(judged, before, f"a {self.probe.facts['classifier']} head on frozen features")
        return judged

    # --- fine-tuning --------------------------------------------------------------------------

    def _climb_full(self, leader: Judged) -> tuple[Attempt | None, str]:
        """The fine-tuned attempt if it is to be kept, and why or why not."""
        validation = self.where.data.samples("validation")
        is_under_way = self.where.folder.has_checkpoint
        mistakes = self._mistakes_on(leader, validation)
        if mistakes < _LEAST_MISTAKES and not is_under_way:
            why = (
                f"Fine-tuning was not tried: of {len(validation)} validation pictures "
                f"{mistakes} were wrong, so few that no gain could be told from noise."
            )
            self.rungs.append(Rung("full", why, was_tried=False))
            return None, why
        self.where.progress.note("Trying fine-tuning (full):")
        full = self._new_attempt("full")
        predicted_s, epoch_s = self._cost(full, len(validation))
        left_s = self.until - time.monotonic()
        if epoch_s + _TAIL_S > left_s and not is_under_way:
            why = (
                f"Fine-tuning was not tried: an epoch takes about {epoch_s:.0f} s, and of the "
                f"budget {max(left_s, 0):.0f} s were left."
            )
            self.rungs.append(Rung("full", why, predicted_seconds=predicted_s, was_tried=False))
            return None, why
        return self._run_full(full, leader, min(predicted_s, left_s))

    def _run_full(
        self, full: Attempt, leader: Judged, predicted_s: float
    ) -> tuple[Attempt | None, str]:
        started = time.monotonic()
        validation = self.where.data.samples("validation")
        learn(full, self.tables)
        assert full.begin is not None
        before = self._judge_begin(full, validation)
        self._merge(full, validation)
        seconds = time.monotonic() - started
        prediction = full.predictor.predict(
            validation, progress=self.where.progress, on_error=self.where.data.note_unreadable
        )
        after = self._judge("full", prediction, seconds=seconds)
        comparison = self._compare(before, after)
        gain = comparison.metrics["accuracy"]
        is_kept = _is_better(comparison)
        cheap_s = self.where.seconds["features"] + self.probe.seconds
        told = (
            f"Fine-tuning gained {gain.value * 100:+.1f} points (95% {gain.low * 100:+.1f} to "
            f"{gain.high * 100:+.1f}) on {comparison.n} validation pictures for "
            f"{seconds / max(cheap_s, 0.1):.1f} times the time"
        )
        if is_kept:
            why = f"{told}; it was kept ({full.facts['merged']['recipe']})."
        else:
            why = f"{told}, which is inside the noise."
        self.rungs.append(
            Rung(
                "full",
                why,
                judged_on="validation",
                metrics=after.evaluation.metrics,
                gain=Measure(gain.value, gain.low, gain.high, comparison.n),
                over=leader.strategy,
                seconds=seconds,
                predicted_seconds=predicted_s,
                is_kept=is_kept,
            )
        )
        return (full if is_kept else None), why

    def _new_attempt(self, strategy: str) -> Attempt:
        """An attempt with a backbone of its own, to be trained."""
        shared = self.probe.backbone
        backbone = replace(shared, module=copy.deepcopy(shared.module))
        where = replace(self.where, deadline=self.until)
        choices = self.choices.branch()
        attempt = Attempt(
            strategy,
            where,
            embedder=Embedder(backbone, self.probe.embedder.inference),
            choices=choices,
        )
        attempt.num_kept = _NUM_KEPT
        return attempt

    def _cost(self, full: Attempt, num_validation: int) -> tuple[float, float]:
        """Seconds of the whole training as planned, and of one epoch."""
        data = self.where.data
        training = full.training.samples_per_s
        inference = full.embedder.inference.samples_per_s
        if not training or not inference:  # a resumed fit measures nothing anew
            return 0.0, 0.0
        epoch_s = _STEP_OVERHEAD * len(data.samples("train")) / training
        epoch_s += num_validation / inference
        passes = (num_validation * 5 + len(data.samples("test"))) / inference
        return full.value("epochs") * epoch_s + passes + _TAIL_S, epoch_s

    def _judge_begin(self, full: Attempt, validation: Sequence[Sample]) -> Judged:
        """The linear head that fine-tuning started from: fitted without the validation samples."""
        assert full.begin is not None
        head = copy.deepcopy(full.model.head)
        weights = {n.removeprefix("head."): t for n, t in full.begin.items() if "head." in n[:5]}
        head.load_state_dict(weights)
        features = torch.stack([self.tables[0][sample.id] for sample in validation])
        with torch.inference_mode():
            logits = head(features.to(self.where.device)).float().cpu()
        prediction = full.task.predict(logits, [s.id for s in validation], full.classes)
        return self._judge("probe", prediction, seconds=0.0)

    def _merge(self, full: Attempt, validation: Sequence[Sample]) -> None:
        """Take the best of best epoch, soup and interpolation, on the validation samples."""
        assert full.begin is not None
        is_held = len(validation) <= _HELD
        held = list(full.predictor.batches(validation)) if is_held else None

        def score(state: State) -> float:
            full.model.load_state_dict(state)
            predictor = full.new_predictor()
            batches = predictor.batches(validation) if held is None else held
            ids: list[str] = []
            rows: list[Tensor] = []
            for batch in batches:
                assert batch.inputs is not None
                ids += batch.ids
                rows.append(predictor.embed(batch.inputs))
            with torch.inference_mode():
                answers = full.task.logits(full.model, Batch((), features=torch.cat(rows))).cpu()
            by_id = {sample.id: sample for sample in validation}
            targets = torch.tensor([full.task.target(by_id[i], full.classes) for i in ids])
            scores = full.task.validation_metrics(answers, targets)
            monitor = full.value("monitor")
            return -scores["loss"] if monitor == "loss" else scores[monitor]

        merged = merge_weights(full.begin, full.kept, score=score)
        full.model.load_state_dict(merged.state)
        full.predictor = full.new_predictor()
        full.facts["merged"] = {"recipe": merged.recipe, "scores": dict(merged.tried)}

    # --- judging ------------------------------------------------------------------------------

    def _judge_logits(self, strategy: str, logits: Tensor, *, seconds: float) -> Judged:
        ids = [sample.id for sample in self.samples]
        prediction = self.probe.task.predict(logits, ids, self.probe.classes)
        return self._judge(strategy, prediction, seconds=seconds)

    def _judge(self, strategy: str, prediction: Prediction, *, seconds: float) -> Judged:
        evaluation = self.probe.task.evaluate(prediction, self._grouped(prediction.ids))
        return Judged(strategy, prediction, evaluation, seconds)

    def _grouped(self, ids: Sequence[str]) -> list[Sample]:
        """Samples with the groups of the split: copies are no independent evidence."""
        by_id = {sample.id: sample for sample in self.where.data.dataset}
        groups = self.where.data.split.groups
        return [replace(by_id[id_], group=groups[id_]) for id_ in ids]

    def _compare(self, before: Judged, after: Judged) -> Comparison:
        """Of samples that both answered."""
        place = {id_: i for i, id_ in enumerate(before.prediction.ids)}
        ids = [id_ for id_ in after.prediction.ids if id_ in place]
        own = {id_: i for i, id_ in enumerate(after.prediction.ids)}
        samples = self._grouped(ids)
        names = [sample.group for sample in samples]
        groups = None
        if len(set(names)) < len(names):
            groups = np.unique([str(name) for name in names], return_inverse=True)[1]
        task, classes = self.probe.task, self.probe.classes
        return compare_predictions(
            before.prediction.probabilities[[place[id_] for id_ in ids]],
            after.prediction.probabilities[[own[id_] for id_ in ids]],
            np.array([task.target(sample, classes) for sample in samples]),
            groups=groups,
        )

    def _mistakes_on(self, judged: Judged, samples: Sequence[Sample]) -> int:
        labels = dict(zip(judged.prediction.ids, judged.prediction.labels, strict=True))
        return sum(
            set(labels[s.id].split("|")) != set(s.labels or ("",))
            for s in samples
            if s.id in labels
        )

    def _add(self, judged: Judged, before: Judged | None, why: str) -> None:
        gain = None
        if before is not None:
            found = self._compare(before, judged).metrics["accuracy"]
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

    def _kept(self, attempt: Attempt, verdict: str, leader: Judged | None = None) -> Attempt:
        name = leader.strategy if leader is not None else attempt.name
        rungs = [replace(rung, is_kept=rung.strategy == name) for rung in self.rungs]
        attempt.choices.add(Choice("strategy", attempt.name, verdict))
        attempt.climb = Climb(rungs, verdict)
        return attempt


def _is_better(comparison: Comparison) -> bool:
    """Whether the second is better beyond the noise: more often right, or surer of what is right.

    Log loss shows a gain on fewer samples than accuracy does; it counts if accuracy is no lower.
    """
    accuracy, loss = comparison.metrics["accuracy"], comparison.metrics["log_loss"]
    return accuracy.low > 0 or (loss.high < 0 and accuracy.value >= 0)


def _majority_logits(table: FeatureTable) -> Tensor:
    """(n, num_classes): the shares of the classes, for every sample alike."""
    n = len(table.targets)
    if table.is_multilabel:
        shares = (table.targets.sum(dim=0) + 0.5) / (n + 1)
        return torch.logit(shares).expand(n, -1)
    counts = torch.bincount(table.targets, minlength=table.num_classes)
    return ((counts + 0.5) / (n + 0.5 * table.num_classes)).log().expand(n, -1)
