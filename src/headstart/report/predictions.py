"""The predictions of a run on its test samples, as predictions.parquet has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.errors import RunError
from headstart.report.record import RunRecord

if TYPE_CHECKING:
    import numpy as np

_COLUMNS = ("id", "truth", "prediction", "probabilities")


@dataclass(frozen=True)
class PredictionTable:
    """One entry a test sample, in the order of the file.

    Attributes:
        ids: Sample ids.
        truths: Labels, several joined by `|`; empty without one.
        answers: What the model answered.
        probabilities: (n, num_classes) float32.
        strangeness: Out-of-distribution scores, the higher the stranger; None when not measured.
    """

    ids: Sequence[str]
    truths: Sequence[str]
    answers: Sequence[str]
    probabilities: np.ndarray
    strangeness: Sequence[float] | None = None

    def only(self, ids: Sequence[str]) -> PredictionTable:
        """Those of these ids, in their order."""
        place = {id_: i for i, id_ in enumerate(self.ids)}
        rows = [place[id_] for id_ in ids]
        return PredictionTable(
            ids=list(ids),
            truths=[self.truths[i] for i in rows],
            answers=[self.answers[i] for i in rows],
            probabilities=self.probabilities[rows],
            strangeness=None if self.strangeness is None else [self.strangeness[i] for i in rows],
        )


def read_prediction_table(record: RunRecord) -> PredictionTable:
    """Read predictions.parquet.

    Raises:
        RunError: The file is missing, damaged, or does not fit the model's classes.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = record.folder.predictions
    try:
        # By buffers: `pq.read_table` and `to_numpy` import pandas wherever it is installed.
        file = pq.ParquetFile(path)
        optional = [name for name in ("ood",) if name in file.schema_arrow.names]
        table = file.read(columns=[*_COLUMNS, *optional])
    except FileNotFoundError:
        raise RunError(f"`{path}` is missing from the run. Fit again.") from None
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"`{path}` cannot be read ({error}). Fit again.") from None
    if missing := [c for c in _COLUMNS if c not in table.column_names]:
        raise RunError(f"`{path}` has no column `{missing[0]}`. Fit again.")
    chunks = [np.from_dlpack(chunk.values) for chunk in table["probabilities"].chunks]
    flat = np.concatenate([np.empty(0, np.float32), *chunks])
    if len(flat) != table.num_rows * len(record.classes):
        raise RunError(
            f"`{path}` holds {len(flat)} probabilities for {table.num_rows} samples, but the "
            f"model has {len(record.classes)} classes. Fit again."
        )
    ids, truths, answers = (table[c].to_pylist() for c in _COLUMNS[:3])
    return PredictionTable(
        ids=ids,
        truths=truths,
        answers=answers,
        probabilities=flat.reshape(table.num_rows, len(record.classes)),
        strangeness=_numbers(table["ood"]) if optional else None,
    )


def _numbers(column: Any) -> list[float] | None:
    """A column of finite floats; None when it is empty or has a hole."""
    values: list[float | None] = column.to_pylist()
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return known if known and len(known) == len(values) else None
