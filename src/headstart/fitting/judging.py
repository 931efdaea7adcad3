"""How good answers to unseen samples are, and which of two sets of them is better. Wiring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from headstart.contracts import Evaluation, Prediction, Sample
from headstart.data.numbering import numbered_if_shared
from headstart.fitting.situation import Situation
from headstart.metrics.classification import answers_of
from headstart.metrics.comparison import Comparison, Difference, compare_predictions
from headstart.protocols import LabelTask


@dataclass(frozen=True, eq=False)
class Judged:
    """Answers to samples that the model had not seen."""

    strategy: str
    prediction: Prediction
    evaluation: Evaluation
    seconds: float

    def only(self, ids: set[str]) -> Prediction:
        """The answers to some of the samples."""
        prediction = self.prediction
        rows = [i for i, id_ in enumerate(prediction.ids) if id_ in ids]
        chosen = tuple(prediction.ids[i] for i in rows)
        return replace(prediction, ids=chosen, probabilities=prediction.probabilities[rows])


class Judge:
    """Judges answers to the samples of one fit."""

    def __init__(self, where: Situation[LabelTask]) -> None:
        self.task = where.task
        self.classes = where.data.dataset.classes
        self._samples = {sample.id: sample for sample in where.data.dataset}
        self._groups = where.data.split.groups

    def judge(self, strategy: str, prediction: Prediction, *, seconds: float) -> Judged:
        """Answers with their metrics."""
        evaluation = self.task.evaluate(prediction, self._grouped(prediction.ids))
        return Judged(strategy, prediction, evaluation, seconds)

    def judge_logits(
        self, strategy: str, logits: Tensor, *, samples: Sequence[Sample], seconds: float
    ) -> Judged:
        """Logits (n, num_classes), one row a sample, with their metrics."""
        prediction = self.task.predict(logits, [sample.id for sample in samples], self.classes)
        return self.judge(strategy, prediction, seconds=seconds)

    def compare(self, before: Judged, after: Judged) -> Comparison:
        """The two on the samples that both answered, in pairs."""
        shared = set(before.prediction.ids) & set(after.prediction.ids)
        first, second = before.only(shared), after.only(shared)
        place = {id_: i for i, id_ in enumerate(first.ids)}
        return compare_predictions(
            first.probabilities[[place[id_] for id_ in second.ids]],
            second.probabilities,
            self._truth(second.ids),
            groups=self._group_numbers(second.ids),
        )

    def num_mistakes(self, prediction: Prediction) -> int:
        """How many samples were answered wrong: another class, or not all labels as they are."""
        if not prediction.ids:
            return 0
        answers = answers_of(
            prediction.probabilities,
            self._truth(prediction.ids),
            num_classes=len(self.classes),
            groups=None,
        )
        return int((answers.is_right == 0).sum())

    def _truth(self, ids: Sequence[str]) -> np.ndarray:
        return np.array([self.task.target(self._samples[id_], self.classes) for id_ in ids])

    def _grouped(self, ids: Sequence[str]) -> list[Sample]:
        """Samples with the groups of the split: copies are no independent evidence."""
        return [replace(self._samples[id_], group=self._groups[id_]) for id_ in ids]

    def _group_numbers(self, ids: Sequence[str]) -> np.ndarray | None:
        """(n,) a number a group; None where each sample is its own."""
        return numbered_if_shared([self._groups[id_] for id_ in ids])


def is_better(comparison: Comparison) -> bool:
    """Whether the second is better beyond the noise: more often right, or surer of what is right.

    Log loss shows a gain on fewer samples than accuracy does; it counts if accuracy is about as
    high.
    """
    return is_more_often_right(comparison) or is_surer(comparison)


def is_more_often_right(comparison: Comparison) -> bool:
    """Whether its gain in accuracy is beyond the noise."""
    return comparison.metrics["accuracy"].low > 0


def is_surer(comparison: Comparison) -> bool:
    """Whether its log loss is lower beyond the noise, and its accuracy about as high.

    That is: lower by no more than half a standard error of the difference.
    """
    accuracy, log_loss = comparison.metrics["accuracy"], comparison.metrics["log_loss"]
    return log_loss.high < 0 and accuracy.value >= -standard_error(accuracy) / 2


def standard_error(difference: Difference) -> float:
    """Of a difference, by its 95% interval."""
    return (difference.high - difference.low) / (2 * 1.96)
