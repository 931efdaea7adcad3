"""What a run has learnt from, known again by its contents: nothing of it is measured again.

What a model says of samples that it learnt from tells what it remembers, not what it is worth.
"""

from __future__ import annotations

from pathlib import Path

from headstart.contracts import Dataset
from headstart.data.checks import Checkup
from headstart.data.listing import count
from headstart.data.sample_findings import noun_of
from headstart.errors import DataError, RunError
from headstart.progress import Progress
from headstart.rundir import RunFolder


def learnt_contents(folder: RunFolder, *, progress: Progress) -> frozenset[str]:
    """Contents (see `Checkup.contents`) of what a run has learnt from, or was chosen by.

    Neither what it left out or had no time to read, nor, of a model as it comes, what was to be
    learnt from.

    Args:
        folder: Of a finished run.
        progress: Is warned where the run, of an earlier version, does not tell.

    Raises:
        RunError: A file of the run is missing or damaged.
    """
    entries = folder.read_json(folder.split, needs=["assignment"])["assignment"]
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        raise RunError(f"`{folder.split}` is damaged (its `assignment` is none). Fit again.")
    if not any("content" in entry for entry in entries.values()):
        progress.warn(
            f"`{folder.path}` is of an earlier version and does not tell what its samples hold: if "
            "some of them are among these, the figures flatter it."
        )
    unread = set(folder.read_json(folder.dataset, needs=["left_out"])["left_out"])
    strategy = folder.read_json(folder.config, needs=["strategy"])["strategy"]
    splits = ("validation",) if strategy == "as-is" else ("train", "validation")
    return frozenset(
        entry["content"]
        for id_, entry in entries.items()
        if entry["split"] in splits and "content" in entry and id_ not in unread
    )


def _is_entry(entry: object) -> bool:
    """Whether it is one of an assignment of split.json."""
    if not isinstance(entry, dict) or not isinstance(entry.get("split"), str):
        return False
    return isinstance(entry.get("content", ""), str)


def only_unseen(
    dataset: Dataset, checkup: Checkup, learnt: frozenset[str], *, data: Path, progress: Progress
) -> Dataset:
    """The data without what the model has learnt from, or was chosen by.

    Args:
        dataset: As checked.
        checkup: Of it.
        learnt: See `learnt_contents`.
        data: As the user gave it.
        progress: Is told how many are left out.

    Raises:
        DataError: Nothing is left.
    """
    seen = [s.id for s in dataset if checkup.contents.get(s.id) in learnt]
    if not seen:
        return dataset
    noun, n = noun_of(dataset), len(dataset)
    if len(seen) == n:
        raise DataError(
            f"The model has learnt from all of the {n:,} {noun}s in `{data}`: how it answers them "
            "tells what it remembers, not what it is worth. Give data that it has not seen; what "
            "it was worth on its own test set stands in the report of the run."
        )
    progress.warn(
        f"{len(seen):,} of the {n:,} {noun}s in `{data}` were in training or validation, such as "
        f"`{seen[0]}`, and are left out: measured on {count(n - len(seen), noun)} that the model "
        "has not seen."
    )
    return dataset.without(seen)
