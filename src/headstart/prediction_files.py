"""Predictions as CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from headstart.atomic import replacing
from headstart.contracts import Prediction
from headstart.errors import ConfigError, RunError

# Past so many classes a table of all probabilities is unreadable; the likeliest ones are told.
_MOST_COLUMNS = 50
_NUM_LIKELIEST = 5


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
    check_format(path)
    writer = _WRITERS[path.suffix.lower()]
    try:
        with replacing(path) as temporary:
            writer(temporary, prediction)
    except OSError as error:
        raise RunError(
            f"Cannot write `{path}`: {error.strerror}. Give --output a file that can be written."
        ) from None


def check_format(path: Path) -> None:
    """Refuse a file whose name tells no known format, before anything takes long.

    Raises:
        ConfigError: The name ends in none of .csv, .json, .parquet.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError(
            f"`{path}` ends in none of {', '.join(_WRITERS)}. Choose the format by the name."
        )


def to_csv(prediction: Prediction) -> str:
    """Predictions as CSV text, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = to_rows(prediction)
    writer.writerow(rows[0].keys() if rows else ["id", "prediction", "confidence"])
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


def _write_csv(path: Path, prediction: Prediction) -> None:
    path.write_text(to_csv(prediction), encoding="utf-8")


def _write_json(path: Path, prediction: Prediction) -> None:
    text = json.dumps(to_rows(prediction), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_parquet(path: Path, prediction: Prediction) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

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
    pq.write_table(pa.table(columns), path)


_WRITERS = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
