"""The test samples behind each cell of a confusion matrix. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.report.predictions import PredictionTable

MOST_IN_A_CELL = 12


@dataclass(frozen=True)
class CellSample:
    """A sample behind a cell, and how sure the model was of its answer (0 to 1)."""

    id: str
    confidence: float


@dataclass(frozen=True)
class Cell:
    """A cell that holds any sample.

    Attributes:
        anchor: The id of its place in the page.
        truth: What the samples are.
        said: What the model answered.
        count: How many there are.
        samples: Some of them: of wrong answers the surest, of right ones the least sure first.
    """

    anchor: str
    truth: str
    said: str
    count: int
    samples: tuple[CellSample, ...]

    @property
    def is_right(self) -> bool:
        """Whether it lies on the diagonal."""
        return self.truth == self.said


def cells(
    predictions: PredictionTable, classes: Sequence[str], *, limit: int = MOST_IN_A_CELL
) -> Mapping[tuple[str, str], Cell]:
    """(truth, said) -> cell, those of most mistakes first and the diagonal last.

    Args:
        predictions: On the test samples; one label each.
        classes: In the order of the matrix; anchors count them.
        limit: Samples kept in a cell.
    """
    places = {name: i for i, name in enumerate(classes)}
    confidences = predictions.probabilities.max(axis=1).tolist() if len(predictions.ids) else []
    members: dict[tuple[str, str], list[CellSample]] = {}
    rows = zip(predictions.ids, predictions.truths, predictions.answers, confidences, strict=True)
    for sample_id, truth, said, confidence in rows:
        if truth in places and said in places:
            members.setdefault((truth, said), []).append(CellSample(sample_id, confidence))
    found = []
    for (truth, said), samples in members.items():
        sign = 1 if truth == said else -1
        samples.sort(key=lambda sample: (sign * sample.confidence, sample.id))
        anchor = f"cell-{places[truth]}-{places[said]}"
        found.append(Cell(anchor, truth, said, len(samples), tuple(samples[:limit])))
    found.sort(key=lambda cell: (cell.is_right, -cell.count, cell.anchor))
    return {(cell.truth, cell.said): cell for cell in found}
