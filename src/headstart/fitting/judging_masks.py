"""How well chips with masks are answered, one by one and all together. Wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional as F

from headstart.contracts import IGNORE, Evaluation, Sample
from headstart.data.numbering import numbered_if_shared
from headstart.errors import DataError
from headstart.mask_predictor import MaskPredictor
from headstart.metrics.borders import BOUNDARY_SHARE, boundary_tolerance
from headstart.metrics.segmentation import count_boundary, count_confusion, image_scores
from headstart.trust.doubt import count_doubt, doubt_of

OnError = Callable[[Sample, DataError], None] | None


@dataclass(frozen=True, eq=False)
class Judged:
    """One chip and how well it was answered.

    Attributes:
        counts: (K, K) pixels, rows the truth.
        loss: Mean over the pixels that count; 0 where none do.
        boundary: (K, 4) of `count_boundary`.
        tolerance_pixels: How far off a border may lie there and still count as found.
        doubt: (NUM_DOUBT_BINS, 2) of `count_doubt`.
    """

    sample: Sample
    counts: np.ndarray
    loss: float
    boundary: np.ndarray
    tolerance_pixels: int
    doubt: np.ndarray

    @property
    def miou(self) -> float:
        """Mean over the classes of the truth; NaN where no pixel is labelled."""
        return float(image_scores(self.counts[None])[0][0])

    def to_json(self) -> dict[str, Any]:
        """A row of `chips` in metrics.json."""
        miou, pixel_accuracy = image_scores(self.counts[None])
        return {
            "id": self.sample.id,
            "miou": float(miou[0]),
            "pixel_accuracy": float(pixel_accuracy[0]),
            "loss": self.loss,
            "num_pixels": int(self.counts.sum()),
        }


def judge(
    predictor: MaskPredictor, samples: Sequence[Sample], *, on_error: OnError = None
) -> list[Judged]:
    """Every chip with its confusion, its borders, its loss and its doubt."""
    by_id = {sample.id: sample for sample in samples}
    num_classes = len(predictor.classes)
    judged = []
    for batch, logits in predictor.answers(samples, on_error=on_error):
        assert batch.targets is not None
        losses = F.cross_entropy(logits, batch.targets, ignore_index=IGNORE, reduction="none")
        answers, doubts = logits.argmax(dim=1), doubt_of(logits)
        for id_, answer, target, loss, doubt in zip(
            batch.ids, answers, batch.targets, losses, doubts, strict=True
        ):
            is_known = target != IGNORE
            truth, found = target.cpu().numpy(), answer.cpu().numpy()
            tolerance = boundary_tolerance(*truth.shape)
            judged.append(
                Judged(
                    by_id[id_],
                    count_confusion(truth, found, num_classes),
                    float(loss.sum()) / max(int(is_known.sum()), 1),
                    count_boundary(truth, found, num_classes, tolerance_pixels=tolerance),
                    tolerance,
                    count_doubt(doubt, answer != target, is_known),
                )
            )
    return judged


def evaluate_chips(
    judged: Sequence[Judged], predictor: MaskPredictor, *, groups: Mapping[str, str | None]
) -> Evaluation:
    """Metrics of all chips and their borders, with intervals over chips, or the groups they are of.

    Raises:
        DataError: There is no chip, or no pixel of them is labelled.
    """
    if not judged:
        raise DataError(
            "No picture with its mask could be read, so that nothing was measured. "
            "`headstart inspect` tells why, file by file."
        )
    counts = np.stack([each.counts for each in judged])
    boundary = np.stack([each.boundary for each in judged])
    return predictor.task.evaluate(
        counts,
        predictor.classes,
        groups=group_numbers([each.sample.id for each in judged], groups),
        boundary=boundary,
    )


def group_numbers(
    ids: Sequence[str], groups: Mapping[str, str | None] | Mapping[str, str]
) -> NDArray[np.int64] | None:
    """(n,) numbers of the groups that samples are of; None where each is one of its own.

    Args:
        ids: Of n samples.
        groups: Sample id -> group; a sample that has none is its own.
    """
    return numbered_if_shared([groups.get(id_) or id_ for id_ in ids])


def tolerance_told(judged: Sequence[Judged]) -> dict[str, Any]:
    """How near borders have to be to count as found: the part `boundary` of metrics.json."""
    found = [each.tolerance_pixels for each in judged]
    return {"share_of_diagonal": BOUNDARY_SHARE, "tolerance_pixels": [min(found), max(found)]}


def doubt_told(judged: Sequence[Judged]) -> dict[str, Any]:
    """How many pixels are right and wrong, by how unsure: the part `doubt` of metrics.json."""
    counts = sum(each.doubt for each in judged)
    assert isinstance(counts, np.ndarray)
    return {"right": counts[:, 0].tolist(), "wrong": counts[:, 1].tolist()}
