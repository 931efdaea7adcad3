"""Suspects that a person has confirmed stay out of training and validation, never out of the test.

The splits are made before, so that the test set is what it would have been, and the numbers of a
fit with and without the suspects can be compared. Knows no model.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.data.sample_findings import noun_of
from headstart.errors import ConfigError, DataError
from headstart.fitting.preparing import PreparedData
from headstart.fitting.proof import CONTENT
from headstart.progress import Progress

_COLUMNS = ("id", "label")
_LISTED = 5


@dataclass(frozen=True)
class _Suspected:
    """A sample as it was when it was suspected; its content is empty where the file has none."""

    label: str
    content: str


def drop_suspects(data: PreparedData, path: Path, *, progress: Progress) -> PreparedData:
    """The data without the samples that a file of suspects lists, as far as they are no test.

    Samples of the test set are left in: a test that was cleaned by the judgement of a model
    flatters models of its kind (Northcutt, Athalye, Mueller, "Pervasive label errors in test sets
    destabilize machine learning benchmarks", NeurIPS 2021, correct theirs by hand).

    Args:
        data: Split already.
        path: A suspects.csv of a run; rows that a person has deleted keep their samples.
        progress: Is told how many were dropped.

    Raises:
        ConfigError: The file cannot be read, lacks a column, or is of another data set.
        DataError: Nothing would be left to learn a class from.
    """
    listed = _read(path)
    num_bare = sum(not each.content for each in listed.values())
    if num_bare:
        progress.warn(
            f"{num_bare:,} of the {len(listed):,} rows of `{path}` have nothing in the column "
            "`content`, by which a sample is known again: if rows of the data have moved since, "
            "others are dropped in their places."
        )
    _refuse_unknown(listed, data, path)
    _refuse_changed(listed, data, path)
    tested = [id_ for id_ in listed if data.split.assignment.get(id_) == "test"]
    dropped = listed.keys() - set(tested)
    progress.note(
        f"Dropped as suspects ({path}): {len(dropped):,} samples of training and validation."
    )
    if tested:
        progress.warn(
            f"{len(tested):,} of the suspects are test samples ({_quoted(tested)}) and were left "
            "in: the test must not be cleaned by a model's own judgement. Where you have seen that "
            "a label is wrong, mend it in the data."
        )
    kept = without_samples(data, dropped)
    _refuse_lost_classes(data, kept, path)
    return kept


def without_samples(data: PreparedData, ids: Collection[str]) -> PreparedData:
    """The same data, with these samples in no split."""
    dropped = set(ids)
    assignment = {id_: name for id_, name in data.split.assignment.items() if id_ not in dropped}
    return replace(
        data,
        dataset=data.dataset.without(dropped),
        split=replace(data.split, assignment=assignment),
        dropped=tuple(sorted({*data.dropped, *dropped})),
    )


def _read(path: Path) -> dict[str, _Suspected]:
    """Sample id -> what it was when it was suspected."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            begins = file.readline()
            file.seek(0)
            separator = max(",;\t", key=begins.count)  # as spreadsheets of some countries save it
            reader = csv.DictReader(file, restval="", delimiter=separator)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(f"`{name}`" for name in reader.fieldnames or ()) or "none"
                raise ConfigError(
                    f"`{path}` has no column `{missing[0]}`; its columns are: {found}. Give the "
                    "suspects.csv of a run, and delete only rows."
                )
            listed: dict[str, _Suspected] = {}
            for row in reader:
                if None in row:
                    raise ConfigError(
                        f"Line {reader.line_num} of `{path}` has more cells than its first line. "
                        "Put cells that contain the separator into double quotes, or give the "
                        "suspects.csv of the run as it was, with rows deleted."
                    )
                if any(cell.strip() for cell in row.values()):
                    content = row.get("content", "").strip().removeprefix(CONTENT)
                    listed[row["id"]] = _Suspected(row["label"], content)
            return listed
    except OSError as error:
        raise ConfigError(
            f"Cannot read the suspects `{path}`: {error.strerror}. Give --drop-suspects the "
            "suspects.csv of a run."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"`{path}` is no CSV in UTF-8 ({error}). Give the suspects.csv of a run."
        ) from None


def _refuse_unknown(listed: Mapping[str, _Suspected], data: PreparedData, path: Path) -> None:
    known = data.split.assignment.keys() | data.left_out.keys()
    unknown = [id_ for id_ in listed if id_ not in known]
    if not unknown:
        return
    if len(unknown) == len(listed):
        raise ConfigError(
            f"None of the {len(listed)} samples of `{path}` is in `{data.path}`, such as "
            f"{_quoted(unknown[:1])}. It is of another data set: give the suspects.csv of a run on "
            "this one."
        )
    raise ConfigError(
        f"`{path}` lists {len(unknown)} of {len(listed)} samples that are not in `{data.path}`: "
        f"{_quoted(unknown)}. Delete their rows if their files were removed or renamed."
    )


def _refuse_changed(listed: Mapping[str, _Suspected], data: PreparedData, path: Path) -> None:
    """A sample or a label that was mended since is no longer what was suspected."""
    known = [sample for sample in data.dataset if sample.id in listed]
    contents = data.checkup.contents
    others = [s.id for s in known if listed[s.id].content not in ("", contents.get(s.id))]
    if others:
        why = "Their files were changed, or others took their names."
        if noun_of(data.dataset) == "text":
            why = (
                "Rows of a table go by their numbers, which move when one is deleted or added "
                "above them; and another --text-column makes other texts of them."
            )
        raise ConfigError(
            f"{len(others)} of the {len(listed)} samples of `{path}` have another content in "
            f"`{data.path}` now: {_quoted(others)}. {why} Mark suspects in the data as they were, "
            "or fit again without --drop-suspects for new ones."
        )
    changed = [
        f"`{s.id}` is {s.label or 'nothing'} and was {listed[s.id].label or 'nothing'}"
        for s in known
        if set(s.labels) != set(filter(None, listed[s.id].label.split("|")))
    ]
    if changed:
        raise ConfigError(
            f"{len(changed)} of the {len(listed)} samples of `{path}` have another label in "
            f"`{data.path}` now: {'; '.join(changed[:_LISTED])}. Delete the rows whose labels were "
            "mended, or fit again without --drop-suspects for new suspects."
        )


def _refuse_lost_classes(before: PreparedData, after: PreparedData, path: Path) -> None:
    """Raise if a class that could be learnt cannot be any more."""
    had, has = (
        {name for s in data.samples("train") for name in s.labels} for data in (before, after)
    )
    lost = sorted(had - has)
    if lost:
        raise DataError(
            f"Without the suspects of `{path}` no training sample of {_quoted(lost)} is left. "
            "Delete the rows whose labels are right, or mend the labels in the data."
        )


def _quoted(names: Collection[str]) -> str:
    names = list(names)
    shown = ", ".join(f"`{name}`" for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
