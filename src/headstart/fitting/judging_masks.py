"""How well chips with masks are answered, one by one and all together. Wiring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.nn import functional as F

from headstart.contracts import IGNORE, Evaluation, Sample
from headstart.errors import DataError
from headstart.mask_predictor import MaskPredictor
from headstart.metrics.segmentation import count_confusion, image_scores

OnError = Callable[[Sample, DataError], None] | None


@dataclass(frozen=True, eq=False)
class Judged:
    """One chip and how well it was answered.

    Attributes:
        counts: (K, K) pixels, rows the truth.
        loss: Mean over the pixels that count; 0 where none do.
    """

    sample: Sample
    counts: np.ndarray
    loss: float

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
    """Every chip with its confusion and its loss."""
    by_id = {sample.id: sample for sample in samples}
    num_classes = len(predictor.classes)
    judged = []
    for batch, logits in predictor.answers(samples, on_error=on_error):
        assert batch.targets is not None
        losses = F.cross_entropy(logits, batch.targets, ignore_index=IGNORE, reduction="none")
        answers = logits.argmax(dim=1).cpu().numpy()
        for id_, answer, truth, loss in zip(
            batch.ids, answers, batch.targets.cpu().numpy(), losses, strict=True
        ):
            num_known = max(int((truth != IGNORE).sum()), 1)
            judged.append(
                Judged(
                    by_id[id_],
                    count_confusion(truth, answer, num_classes),
                    float(loss.sum()) / num_known,
                )
            )
    return judged


def evaluate_chips(
    judged: Sequence[Judged], predictor: MaskPredictor, *, groups: Mapping[str, str | None]
) -> Evaluation:
    """Metrics of all chips, with intervals over chips, or over the groups they are of.

    Raises:
        DataError: There is no chip, or no pixel of them is labelled.
    """
    if not judged:
        raise DataError(
            "No picture with its mask could be read, so that nothing was measured. "
            "`headstart inspect` tells why, file by file."
        )
    names = [groups.get(each.sample.id) or each.sample.id for each in judged]
    numbers = None
    if len(set(names)) < len(names):
        numbers = np.unique(names, return_inverse=True)[1]
    counts = np.stack([each.counts for each in judged])
    task: Any = predictor.task
    found: Evaluation = task.evaluate(counts, predictor.classes, groups=numbers)
    return found
