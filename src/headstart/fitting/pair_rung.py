"""The rung of contrastive tuning: whether it is tried, what it is worth, why it is kept. Wiring.

It is judged out of fold, on the same samples as the cheap rungs: a few refits, each without the
part that it then answers. Nothing of it is in the run folder before it is kept.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headstart.contracts import Measure, Sample
from headstart.data.class_batches import LEAST_IN_A_BATCH
from headstart.data.folds import folds
from headstart.errors import DataError, TrainingError
from headstart.fitting.contrasting import ContrastiveAttempt
from headstart.fitting.embedding import Embedder
from headstart.fitting.judging import Judge, Judged, is_more_often_right, standard_error
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import TAIL_S, feature_table, learn
from headstart.fitting.recording import record_usable
from headstart.fitting.rungs import Rung
from headstart.fitting.settle import Choice, Choices
from headstart.fitting.settle_texts import FEW_A_CLASS
from headstart.progress import Progress
from headstart.report.wording import duration
from headstart.trust.strangers import Neighbourhood, usual_k

# Refits, each on two thirds of the texts.
_NUM_FOLDS = 3
# With fewer, a part may have no two texts of a class.
_LEAST_A_CLASS = 4


@dataclass(frozen=True, eq=False)
class PairRung:
    """What came of it.

    Attributes:
        rung: For the run.
        attempt: Fitted on all samples, if it is to be kept.
        verdict: Why it is kept, in a sentence; empty where it is not.
    """

    rung: Rung
    attempt: ContrastiveAttempt | None = None
    verdict: str = ""


class PairTuning:
    """Tries it once.

    Args:
        probe: Fitted, on the backbone that copies of are trained.
        samples: Those that the cheap rungs were judged on.
        choices: Made before any strategy was settled.
        until: `time.monotonic()` by which the whole fit must be over.
    """

    def __init__(
        self, probe: LabelAttempt, samples: list[Sample], *, choices: Choices, until: float
    ) -> None:
        self.probe = probe
        self.where = probe.where
        self.samples = samples
        self.choices = choices
        self.until = until

    @property
    def is_open(self) -> bool:
        """Whether there is anything to try: texts, of which there are few a class."""
        classes = len({label for sample in self.samples for label in sample.labels})
        each = len(self.samples) / max(classes, 1)
        is_usual = self.where.options.classifier == "logistic"
        return self.probe.task.unit == "text" and is_usual and _LEAST_A_CLASS <= each <= FEW_A_CLASS

    def climb(self, best: Judged, judge: Judge, *, usable: LabelAttempt) -> PairRung:
        """Try it, and keep it where it is better than the best so far, or about as good.

        About as good is what lies no more than a standard error below. Few texts cannot tell more,
        and the refits that answer them learnt from fewer: on a draw of 8 questions a class of TREC
        it was right on 67% out of fold, where the best before it had 69%, and on the test, learnt
        from all, on 72% instead of 57%.

        Args:
            best: Of the rungs below.
            judge: Of the ladder.
            usable: The model of the best so far, which is there where the fit is stopped.

        Raises:
            InterruptedFit: The user asked to stop; a usable model is saved.
        """
        started = time.monotonic()
        reason = self._refusal()
        if reason:
            return _skipped(reason)
        whole = self._attempt(held_out=())
        left_s = self.until - started - TAIL_S
        steps_s = (_NUM_FOLDS + 1) * whole.predicted_s(len(self.samples))
        # Each fold reads what it learnt from and what it holds out, and the last fit all.
        num_read = (_NUM_FOLDS + 1) * len(self.samples)
        predicted_s = steps_s + num_read / whole.embedder.inference.samples_per_s
        if predicted_s > left_s:
            return _skipped(
                f"it may take {duration(predicted_s)}, and of the budget "
                f"{duration(max(left_s, 0.0))} were left.",
                predicted_s,
            )
        self.where.progress.note(
            f"Trying contrastive tuning, on {_NUM_FOLDS} parts and then on all texts:"
        )
        record_usable(self.where.folder, usable.record())
        try:
            return self._try(whole, best, judge, predicted_s=predicted_s)
        except DataError as error:
            return _skipped(str(error), predicted_s)
        except TrainingError as error:
            why = f"Contrastive tuning was tried, and left: {error}"
            self.where.progress.warn(why)
            seconds = time.monotonic() - started
            return PairRung(
                Rung("contrastive", why, seconds=seconds, predicted_seconds=predicted_s)
            )

    def _refusal(self) -> str:
        """Why it is not even thought of; empty where it is."""
        batch_size = self.where.options.batch_size
        if batch_size is not None and batch_size < LEAST_IN_A_BATCH:
            return (
                f"--batch-size {batch_size} has no room for pairs of two classes, which take "
                f"{LEAST_IN_A_BATCH} texts."
            )
        if self.where.folder.has_checkpoint:
            return (
                "the fit was stopped in fine-tuning, which comes after it, and goes on there: what "
                "came of it before was not kept."
            )
        return ""

    def _try(
        self,
        whole: ContrastiveAttempt,
        best: Judged,
        judge: Judge,
        *,
        predicted_s: float,
    ) -> PairRung:
        """Judge it out of fold; then, if it is to be kept, fit it on all samples."""
        started = time.monotonic()
        logits, distances = self._out_of_fold()
        seconds = time.monotonic() - started
        judged = judge.judge_logits("contrastive", logits, samples=self.samples, seconds=seconds)
        comparison = judge.compare(best, judged)
        gain = comparison.metrics["accuracy"]
        is_kept = gain.value >= -standard_error(gain)
        told = (
            f"Contrastive tuning was right on {100 * gain.value_b:.1f}% of {comparison.n} texts "
            f"out of fold, and the best before it ({best.strategy}) on {100 * gain.value_a:.1f}% "
            f"({100 * gain.value:+.1f} points, 95% {100 * gain.low:+.1f} to "
            f"{100 * gain.high:+.1f})"
        )
        if is_more_often_right(comparison):
            why = f"{told}; it was kept."
        elif is_kept:
            why = (
                f"{told}, which so few texts cannot tell from noise; it was kept, as it is better "
                "on average with few texts a class (bench/few_shot.py)."
            )
        else:
            why = f"{told}; it was not kept."
        measure = Measure(gain.value, gain.low, gain.high, comparison.n)
        if is_kept:
            self._learn(whole, self.where.progress)
            whole.out_of_fold, whole.trivial = logits, self.probe.trivial
            whole.held_out_distances = distances
        rung = Rung(
            "contrastive",
            why,
            judged_on="cross-validation",
            metrics=judged.evaluation.metrics,
            gain=measure,
            over=best.strategy,
            seconds=time.monotonic() - started,
            predicted_seconds=predicted_s,
        )
        return PairRung(rung, whole, why) if is_kept else PairRung(rung)

    def _out_of_fold(self) -> tuple[Tensor, Tensor]:
        """What fits give that had not seen a sample: logits (n, num_classes), distances (n,)."""
        ids = {sample.id: torch.zeros(1) for sample in self.samples}
        table = feature_table(self.probe, [ids], self.samples)
        targets, groups = table.targets.numpy(), table.groups.numpy()
        seed = self.where.options.seed
        assigned = folds(targets, groups, num_folds=_NUM_FOLDS, seed=seed)
        logits = torch.zeros(len(self.samples), len(self.probe.classes))
        distances = torch.zeros(len(self.samples))
        with self.where.progress.bar("tuning by pairs", total=_NUM_FOLDS, unit="parts") as advance:
            for fold in range(_NUM_FOLDS):
                out = [i for i, owner in enumerate(assigned) if owner == fold]
                held_out = [self.samples[i] for i in out]
                attempt = self._attempt(held_out=held_out)
                self._learn(attempt, Progress())
                rows = torch.stack(list(attempt.predictor.features(held_out).values()))
                logits[out] = attempt.predictor.logits(rows)
                distances[out] = self._distances(attempt, rows)
                advance()
        return logits, distances

    def _distances(self, attempt: ContrastiveAttempt, held_out: Tensor) -> Tensor:
        """(m,) how far features (m, num_features) lie from those that a fit learnt from."""
        k = usual_k(len(self.samples))
        return Neighbourhood.of(attempt.tuned, k=k).scores(held_out)

    def _attempt(self, *, held_out: tuple[Sample, ...] | list[Sample]) -> ContrastiveAttempt:
        """One on a copy of the backbone, without some of the samples."""
        shared, choices = self.probe.backbone, self.choices.branch(is_held=True)
        backbone = replace(shared, module=copy.deepcopy(shared.module))
        if backbone.contract.long == "windows" and self.where.options.long is None:
            backbone.contract = replace(backbone.contract, long="head-tail")
            why = "pairs are of a whole batch, and all windows of its texts may not fit into memory"
            choices.add(Choice("long", "head-tail", why))
        data = self.where.data
        if held_out:
            out = dict.fromkeys((sample.id for sample in held_out), "held out")
            data = replace(data, left_out={**data.left_out, **out})
        return ContrastiveAttempt(
            "contrastive",
            replace(self.where, data=data, deadline=self.until),
            embedder=Embedder(backbone, self.probe.embedder.inference),
            choices=choices,
        )

    def _learn(self, attempt: ContrastiveAttempt, progress: Progress) -> None:
        """Train in a folder that is then removed, so that no checkpoint of it is taken up."""
        where = attempt.where
        # The usual rate is meant for so few steps; to look for one would take more than these.
        options = where.options.model_copy(update={"find_lr": False})
        with self.where.folder.rehearsal() as folder:
            folder.write_text(folder.log, "")
            attempt.where = replace(where, folder=folder, options=options, progress=progress)
            if progress is self.where.progress:
                attempt.choices.tell()
            learn(attempt, ())
        attempt.where = where


def _skipped(reason: str, predicted_s: float | None = None) -> PairRung:
    why = f"Contrastive tuning was not tried: {reason}"
    return PairRung(Rung("contrastive", why, predicted_seconds=predicted_s, was_tried=False))
