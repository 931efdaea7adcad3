"""What a run answered on its test samples, as predictions.parquet holds it; knows no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.errors import RunError
from headstart.report.record import RunRecord

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Answers:
    """Test samples with their truth and a model's answers.

    Attributes:
        ids: One a sample, n in all.
        truths: The label of each; for multi-label all of them, joined by `|`; empty for none.
        labels: What the model answered, written alike.
        probabilities: (n, num_classes) float32, in the order of the run's classes.
    """

    ids: tuple[str, ...]
    truths: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: np.ndarray

    def only(self, ids: Sequence[str]) -> Answers:
        """Those of these ids, in their order."""
        place = {id_: i for i, id_ in enumerate(self.ids)}
        rows = [place[id_] for id_ in ids]
        return Answers(
            tuple(ids),
            tuple(self.truths[i] for i in rows),
            tuple(self.labels[i] for i in rows),
            self.probabilities[rows],
        )


def read_answers(record: RunRecord) -> Answers:
    """The rows of predictions.parquet.

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
    num_classes = len(record.classes)
    if len(flat) != table.num_rows * num_classes:
        raise RunError(
            f"`{path}` holds {len(flat)} probabilities for {table.num_rows} samples, but the "
            f"model has {num_classes} classes. Fit again."
        )
    ids, truths, labels = (tuple(table[c].to_pylist()) for c in columns[:3])
    return Answers(ids, truths, labels, flat.reshape(table.num_rows, num_classes))
