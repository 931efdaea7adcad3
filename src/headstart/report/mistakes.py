"""What the model got wrong on unseen samples: the surest mistakes, and the confused pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.report.predictions import PredictionTable

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Mistake:
    """A sample the model got wrong.

    Attributes:
        id: Of the sample.
        truth: Its label; for multi-label all of them.
        said: What the model answered, in words.
        confidence: In its wrong answer, 0 to 1.
    """

    id: str
    truth: str
    said: str
    confidence: float


@dataclass(frozen=True)
class Mistakes:
    """The surest mistakes, and how many there are in all.

    Attributes:
        num_wrong: Samples with any mistake.
        num_judged: Samples that have a label, or any sample for multi-label.
        surest: Most confident first.
    """

    num_wrong: int
    num_judged: int
    surest: tuple[Mistake, ...]


@dataclass(frozen=True)
class ConfusedPair:
    """Samples of one class that were taken for another; `share` is of those of class `truth`."""

    truth: str
    said: str
    count: int
    share: float


def find_mistakes(
    predictions: PredictionTable, *, classes: Sequence[str], is_multilabel: bool, limit: int = 24
) -> Mistakes:
    """The mistakes among predictions, the surest first.

    Args:
        predictions: On the test samples.
        classes: Of the columns of their probabilities.
        is_multilabel: Whether a sample may have several labels, or none.
        limit: How many of the surest are kept.
    """
    ids, truths, probabilities = predictions.ids, predictions.truths, predictions.probabilities
    if is_multilabel:
        found = _wrong_decisions(ids, truths, probabilities, classes)
        num_judged = len(ids)
    else:
        confidences = probabilities.max(axis=1).tolist() if len(ids) else []
        rows = zip(ids, truths, predictions.answers, confidences, strict=True)
        found = [Mistake(*row) for row in rows if row[1] and row[1] != row[2]]
        num_judged = sum(bool(truth) for truth in truths)
    found.sort(key=lambda mistake: (-mistake.confidence, mistake.id))
    return Mistakes(len(found), num_judged, tuple(found[:limit]))


def _wrong_decisions(
    ids: Sequence[str], truths: Sequence[str], probabilities: np.ndarray, classes: Sequence[str]
) -> list[Mistake]:
    """The surest wrong yes or no of each sample; `probabilities`: (n, num_classes) float32."""
    found = []
    for sample_id, truth, row in zip(ids, truths, probabilities, strict=True):
        labels = set(truth.split("|")) if truth else set()
        worst: Mistake | None = None
        for name, p in zip(classes, row.tolist(), strict=True):
            if (p >= 0.5) == (name in labels):
                continue
            sure = max(p, 1.0 - p)
            if worst is None or sure > worst.confidence:
                said = f"also {name}" if p >= 0.5 else f"not {name}"
                worst = Mistake(sample_id, truth, said, sure)
        if worst is not None:
            found.append(worst)
    return found


def confused_pairs(confusion: Mapping[str, Any], *, limit: int = 20) -> list[ConfusedPair]:
    """The classes most often taken for another, most samples first.

    Example:
        >>> confused_pairs({"classes": ["ant", "bee"], "counts": [[8, 2], [0, 10]]})
        [ConfusedPair(truth='ant', said='bee', count=2, share=0.2)]
    """
    classes = confusion["classes"]
    pairs = [
        ConfusedPair(classes[i], classes[j], n, n / sum(row))
        for i, row in enumerate(confusion["counts"])
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.truth))[:limit]
