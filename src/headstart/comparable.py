"""Which runs may be compared, and on which samples. Reads no model and draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headstart.errors import RunError
from headstart.report.record import RunRecord

MOST_RUNS = 8
# What is answered for, by `RunRecord.counted`.
_ANSWERED = {"pixel": "each pixel", "picture": "whole pictures", "text": "texts"}


class Answers(Protocol):
    """What a run left of its test samples, whatever its task."""

    @property
    def ids(self) -> Sequence[str]:
        """Sample ids."""
        ...


def require_same_task(records: Sequence[RunRecord], names: Sequence[str]) -> None:
    """Answers for pixels, pictures or texts can only be held against such answers.

    Raises:
        RunError: The runs answer for different ones of these.
    """
    answering: dict[str, list[str]] = {told: [] for told in _ANSWERED.values()}
    for record, name in zip(records, names, strict=True):
        answering[_ANSWERED[record.counted]].append(name)
    found = [(told, members) for told, members in answering.items() if members]
    if len(found) > 1:
        sides = [f"{listed(members)} for {told}" for told, members in found]
        verb = "answers" if len(found[0][1]) == 1 else "answer"
        sides[0] = f"{listed(found[0][1])} {verb} for {found[0][0]}"
        raise RunError(f"{', '.join(sides)}. Compare runs of one task.")


def distinct(paths: list[Path]) -> list[Path]:
    """The same paths, of two to eight runs.

    Raises:
        RunError: There are too few or too many, or one twice.
    """
    if not 2 <= len(paths) <= MOST_RUNS:
        raise RunError(
            f"{len(paths)} run{' was' if len(paths) == 1 else 's were'} given, and two to "
            f"{MOST_RUNS} can be compared: headstart compare runs/photos-1 runs/photos-2"
        )
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise RunError(f"`{path}` was given twice. Give runs that differ.")
        seen.add(path.resolve())
    return paths


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def require_same_classes(records: Sequence[RunRecord], names: Sequence[str]) -> None:
    """In whichever order.

    Raises:
        RunError: One has a class that another has not, or takes several labels a sample.
    """
    first = records[0]
    for record, name in zip(records[1:], names[1:], strict=True):
        if record.is_multilabel != first.is_multilabel:
            raise RunError(
                f"`{names[0]}` and `{name}` solve different tasks: one takes several labels a "
                "sample, the other one. Compare runs on the same labels."
            )
        if set(record.classes) != set(first.classes):
            ours, theirs = set(first.classes), set(record.classes)
            parts = [
                f"only `{of}` has {listed(sorted(own))}"
                for of, own in ((names[0], ours - theirs), (name, theirs - ours))
                if own
            ]
            raise RunError(
                f"`{names[0]}` and `{name}` have different classes: {'; '.join(parts)}. "
                "Compare runs that were fitted to the same classes."
            )


def require_unseen(
    records: Sequence[RunRecord], answers: Sequence[Answers], names: Sequence[str]
) -> None:
    """No model may have learned from, or been chosen by, what another is tested on.

    Raises:
        RunError: One has.
    """
    for tester, answer, tested_name in zip(records, answers, names, strict=True):
        for record, name in zip(records, names, strict=True):
            if record is tester:
                continue
            assignment = record.split["assignment"]
            seen = [
                id_ for id_ in answer.ids if assignment.get(id_, {}).get("split", "test") != "test"
            ]
            if seen:
                raise RunError(
                    f"`{name}` learned from {len(seen):,} of the {len(answer.ids):,} test samples "
                    f"of `{tested_name}` (such as {listed(seen, limit=3)}), so that its answers "
                    "on them prove nothing. Fit both to the same data with the same --seed, or "
                    "measure both on new data: headstart evaluate RUN DATA"
                )


def shared_ids(
    records: Sequence[RunRecord], answers: Sequence[Answers], names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Ids of the samples that all runs were tested on, in the order of the first, and notes.

    Raises:
        RunError: There is none.
    """
    common = set(answers[0].ids).intersection(*(answer.ids for answer in answers[1:]))
    if not common:
        raise RunError(
            f"{' and '.join(f'`{name}`' for name in names)} have no test sample in common. Fit "
            "them to the same data with the same --seed, or measure all on new data: headstart "
            "evaluate RUN DATA"
        )
    notes = []
    if any(len(answer.ids) > len(common) for answer in answers):
        sizes = ", ".join(
            f"`{name}` on {len(answer.ids):,}" for name, answer in zip(names, answers, strict=True)
        )
        notes.append(
            f"Only the {len(common):,} samples that all were tested on are compared ({sizes})."
        )
    changed = [
        name
        for name, record in zip(names, records, strict=True)
        if record.dataset.get("fingerprint") != records[0].dataset.get("fingerprint")
    ]
    if changed:
        notes.append(
            f"The data of {listed(changed)} is not, byte for byte, that of `{names[0]}`: samples "
            f"were matched by their names, and nothing tells whether the {records[0].unit}s behind "
            "them are the same."
        )
    return [id_ for id_ in answers[0].ids if id_ in common], notes


def listed(items: Sequence[str], *, limit: int = 6) -> str:
    """Names as a sentence has them."""
    shown = ", ".join(f"`{item}`" for item in items[:limit])
    return shown + (f" and {len(items) - limit:,} more" if len(items) > limit else "")
