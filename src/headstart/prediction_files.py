"""Predictions as CSV, JSON or Parquet: whole, or a part at a time."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headstart.atomic import replacing
from headstart.contracts import Prediction
from headstart.errors import ConfigError, RunError

# Past so many classes a table of all probabilities is unreadable; the likeliest ones are told.
_MOST_COLUMNS = 50
_NUM_LIKELIEST = 5
# What a table has whatever the model.
_FIRST_COLUMNS = ("id", "prediction", "confidence")


def write_predictions(path: Path, prediction: Prediction) -> None:
    """Write predictions in the format of the file's name.

    Every format has `id`, `prediction` and `confidence` (the probability of the prediction; for
    multi-label of its least sure yes or no). With a least confidence there is `undecided`, and
    where it is true `prediction` is empty. CSV and JSON have the probability of each class, or of
    the five likeliest where there are over fifty; Parquet has all. `ood` and `is_stranger` come
    last, where the model knows its training samples.

    Raises:
        ConfigError: The name ends in none of .csv, .json, .parquet.
        RunError: It cannot be written.
    """
    with prediction_file(path) as write:
        write(prediction)


@contextlib.contextmanager
def prediction_file(path: Path) -> Iterator[Callable[[Prediction], None]]:
    """A file of predictions that come a part at a time; it is there when the block has ended.

    Args:
        path: See `write_predictions`.

    Yields:
        What takes the next part. All parts are of one model. With no sample in any, the file has
        the first three columns of a table, and no row; of JSON an empty array.

    Raises:
        ConfigError: The name ends in none of .csv, .json, .parquet.
        RunError: It cannot be written; the earlier file is untouched.
    """
    check_format(path)
    with contextlib.ExitStack() as stack:
        with _told(path):
            temporary = stack.enter_context(replacing(path))
            writer = _WRITERS[path.suffix.lower()](temporary)

        def write(part: Prediction) -> None:
            if len(part):
                with _told(path):
                    writer.add(part)

        try:
            yield write
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong before is what is told
                writer.close()
            raise
        with _told(path):
            writer.close()
            stack.close()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Cannot write `{path}`: {error.strerror or error}. Give --output a file that can be "
            "written."
        ) from None


@dataclass
class PredictionTally:
    """What predictions say in all, counted while they pass by.

    Attributes:
        num_samples: How many there were.
        num_undecided: How many of them were answered less surely than was asked for.
        num_strangers: How many are unlike the training samples.
        answers: Class -> how many samples were answered with it.
        min_confidence: What was asked for; None decides all.
        unit: What a sample is called.
    """

    num_samples: int = 0
    num_undecided: int = 0
    num_strangers: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    min_confidence: float | None = None
    unit: str = "picture"

    def add(self, part: Prediction) -> None:
        """Count the next predictions."""
        self.num_samples += len(part)
        self.num_undecided += int(part.is_undecided.sum())
        if part.strangers is not None:
            self.num_strangers += int(part.strangers.is_stranger.sum())
        for label in part.labels:
            self.answers.update(filter(None, label.split("|") if part.is_multilabel else [label]))
        self.min_confidence, self.unit = part.min_confidence, part.unit


def check_format(path: Path) -> None:
    """Refuse a file whose name tells no known format, before anything takes long.

    Raises:
        ConfigError: The name ends in none of .csv, .json, .parquet.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError(
            f"`{path}` ends in none of {', '.join(_WRITERS)}. Choose the format by the name."
        )


def to_csv(prediction: Prediction, *, has_header: bool = True) -> str:
    """Predictions as CSV text, with a header or as what follows one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = to_rows(prediction)
    if has_header:
        writer.writerow(rows[0].keys() if rows else _FIRST_COLUMNS)
    writer.writerows(row.values() for row in rows)
    return text.getvalue()


def to_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """One dictionary a sample, as CSV has it."""
    rows = []
    told = zip(prediction.ids, prediction.labels, prediction.confidences, strict=True)
    undecided = prediction.is_undecided
    for i, (id_, label, confidence) in enumerate(told):
        values = prediction.probabilities[i]
        row: dict[str, Any] = {
            "id": id_,
            "prediction": label,
            "confidence": round(float(confidence), 6),
        }
        if prediction.min_confidence is not None:
            row["undecided"] = bool(undecided[i])
        if len(prediction.classes) <= _MOST_COLUMNS:
            row.update(
                (f"p({name})", round(float(p), 6))
                for name, p in zip(prediction.classes, values, strict=True)
            )
        else:
            for place, index in enumerate(values.argsort()[::-1][:_NUM_LIKELIEST], start=1):
                row[f"class {place}"] = prediction.classes[index]
                row[f"p {place}"] = round(float(values[index]), 6)
        rows.append(row)
    if prediction.strangers is not None:
        scores, flags = prediction.strangers.scores, prediction.strangers.is_stranger
        for row, score, is_stranger in zip(rows, scores, flags, strict=True):
            row.update(ood=round(float(score), 6), is_stranger=bool(is_stranger))
    return rows


class _Writer(Protocol):
    """One format, made with the path of the file."""

    def add(self, part: Prediction) -> None: ...

    def close(self) -> None: ...


class _CsvWriter:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._is_begun = False

    def add(self, part: Prediction) -> None:
        self._file.write(to_csv(part, has_header=not self._is_begun))
        self._is_begun = True

    def close(self) -> None:
        with self._file:
            if not self._is_begun:
                csv.writer(self._file, lineterminator="\n").writerow(_FIRST_COLUMNS)


class _JsonWriter:
    """One array of objects, written as `json.dumps(rows, indent=1)` would."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._before = "[\n"

    def add(self, part: Prediction) -> None:
        for row in to_rows(part):
            text = json.dumps(row, indent=1, ensure_ascii=False)
            # By its line breaks alone: in strings JSON has none.
            self._file.write(self._before + " " + text.replace("\n", "\n "))
            self._before = ",\n"

    def close(self) -> None:
        with self._file:
            self._file.write("[]\n" if self._before == "[\n" else "\n]\n")


class _ParquetWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def add(self, part: Prediction) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(_columns(part))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            kinds = (pa.string(), pa.string(), pa.float32())
            schema = pa.schema(list(zip(_FIRST_COLUMNS, kinds, strict=True)))
            self._writer = pq.ParquetWriter(self._path, schema)
        self._writer.close()


def _columns(prediction: Prediction) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "id": list(prediction.ids),
        "prediction": prediction.labels,
        "confidence": prediction.confidences,
    }
    if prediction.min_confidence is not None:
        columns["undecided"] = prediction.is_undecided
    for index, name in enumerate(prediction.classes):
        columns[f"p({name})"] = prediction.probabilities[:, index]
    if prediction.strangers is not None:
        columns["ood"] = prediction.strangers.scores
        columns["is_stranger"] = prediction.strangers.is_stranger
    return columns


_WRITERS: dict[str, Callable[[Path], _Writer]] = {
    ".csv": _CsvWriter,
    ".json": _JsonWriter,
    ".parquet": _ParquetWriter,
}
