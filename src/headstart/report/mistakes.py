"""What the model got wrong on unseen samples: the surest mistakes, and the confused pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.errors import RunError
from headstart.report.record import RunRecord

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


def read_mistakes(record: RunRecord, *, limit: int = 24) -> Mistakes:
    """The mistakes in predictions.parquet, the surest first.

    Raises:
        RunError: The file is missing, damaged, or does not fit the model's classes.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = record.folder.predictions
    columns = ["id", "truth", "prediction", "probabilities"]
    try:
        # By buffers: `pq.read_table` and `to_numpy` import pandas wherever it is installed.
        table = pq.ParquetFile(path).read(columns=columns)
    except FileNotFoundError:
        raise RunError(f"`{path}` is missing from the run. Fit again.") from None
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"`{path}` cannot be read ({error}). Fit again.") from None
    if missing := [c for c in columns if c not in table.column_names]:
        raise RunError(f"`{path}` has no column `{missing[0]}`. Fit again.")
    chunks = [np.from_dlpack(chunk.values) for chunk in table["probabilities"].chunks]
    flat = np.concatenate([np.empty(0, np.float32), *chunks])
    if len(flat) != table.num_rows * len(record.classes):
        raise RunError(
            f"`{path}` holds {len(flat)} probabilities for {table.num_rows} samples, but the "
            f"model has {len(record.classes)} classes. Fit again."
        )
    probabilities = flat.reshape(table.num_rows, len(record.classes))
    ids, truths, answers = (table[c].to_pylist() for c in columns[:3])
    if record.is_multilabel:
        found = _wrong_decisions(ids, truths, probabilities, record.classes)
        num_judged = len(ids)
    else:
        confidences = probabilities.max(axis=1).tolist() if len(ids) else []
        rows = zip(ids, truths, answers, confidences, strict=True)
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
