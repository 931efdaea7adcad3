"""Labels that look wrong, as suspects.csv of a run has them. Draws nothing."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from headstart.errors import RunError
from headstart.rundir import RunFolder

_COLUMNS = ("id", "label", "likely label", "score")


@dataclass(frozen=True)
class SuspectLabel:
    """A sample whose label looks wrong; `score` is None when the file has no number there."""

    id: str
    label: str
    likely: str
    score: float | None


def read_suspects(folder: RunFolder) -> tuple[SuspectLabel, ...] | None:
    """The suspects, most suspicious first; None when the run did not look for any.

    Raises:
        RunError: The file lacks a column, or is no text.
    """
    path = folder.suspects
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # as spreadsheets write it
            reader = csv.DictReader(file, restval="")
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise RunError(
                    f"`{path}` has no column `{missing[0]}`; it needs {', '.join(_COLUMNS)}, with "
                    "commas between them. Save it like that, or remove it."
                )
            return tuple(
                SuspectLabel(row["id"], row["label"], row["likely label"], _number(row["score"]))
                for row in reader
            )
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunError(
            f"`{path}` is no CSV in UTF-8 ({error}). Save it as such, or remove it."
        ) from None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
