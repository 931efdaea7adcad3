"""The verb `compare`: runs against each other on the same test samples. Only wiring and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.contracts import Measure
from headstart.errors import RunError
from headstart.progress import Progress
from headstart.report.comparison import Compared, ComparedRun, Disagreement, write_comparison
from headstart.report.predictions import PredictionTable, read_prediction_table
from headstart.report.record import RunRecord, read_record
from headstart.rundir import RunFolder

if TYPE_CHECKING:
    import numpy as np

MOST_RUNS = 8


def compare(
    runs: Sequence[Path | str],
    *,
    output: Path | str | None = None,
    progress: Progress | None = None,
) -> Compared:
    """How much better runs are than the first of them, on the same test samples.

    Args:
        runs: Two to eight run folders; the first is the reference.
        output: An HTML page to write.
        progress: Told about everything; None is silent.

    Raises:
        RunError: A run is not finished, or the runs cannot be compared: answers for each pixel,
            other classes, other test samples, or one learned from the test samples of another.
        ConfigError: The page cannot be written there.
    """
    import numpy as np

    from headstart.metrics.comparison import compare_predictions

    progress = progress or Progress()
    paths = _distinct([Path(run) for run in runs])
    records = [read_record(RunFolder.open(path)) for path in paths]
    names = _names(paths)
    _require_whole_pictures(records, names)
    answers = [read_prediction_table(record) for record in records]
    _require_same_classes(records, names)
    _require_unseen(records, answers, names)
    ids, notes = _shared(records, answers, names)
    shared = [
        _in_order(answer.only(ids), record.classes, records[0].classes)
        for answer, record in zip(answers, records, strict=True)
    ]
    _require_same_truth(shared, names)
    truth = _truth(shared[0], records[0])
    owners = [str(records[0].split["assignment"].get(id_, {}).get("group") or id_) for id_ in ids]
    groups = None
    if len(set(owners)) < len(owners):
        groups = np.unique(owners, return_inverse=True)[1]
        notes.append(
            f"The {len(owners):,} samples come in {len(set(owners)):,} groups, and only groups "
            "count as independent."
        )
    for note in notes:
        progress.warn(note)
    first = shared[0]
    comparisons = tuple(
        compare_predictions(
            first.probabilities,
            other.probabilities,
            truth,
            groups=groups,
            names=(names[0], name),
        )
        for name, other in zip(names[1:], shared[1:], strict=True)
    )
    compared = Compared(
        runs=tuple(
            ComparedRun(
                name=name,
                path=record.folder.path,
                strategy=str(record.config["strategy"]),
                backbone=record.backbone.reference,
                seconds=(record.metrics.get("seconds") or {}).get("total"),
                metrics=_measured(answer, truth, records[0], groups=groups),
            )
            for name, record, answer in zip(names, records, shared, strict=True)
        ),
        comparisons=comparisons,
        disagreements=tuple(_disagreements(first, other, records[0]) for other in shared[1:]),
        n=len(ids),
        notes=tuple(notes),
        page=Path(output) if output is not None else None,
    )
    if compared.page is not None:
        write_comparison(compared.page, compared, progress=progress)
    return compared


def _distinct(paths: list[Path]) -> list[Path]:
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


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _require_whole_pictures(records: Sequence[RunRecord], names: Sequence[str]) -> None:
    dense = [name for record, name in zip(records, names, strict=True) if record.is_dense]
    if dense:
        raise RunError(
            f"{_listed(dense)} {'answers' if len(dense) == 1 else 'answer'} for each pixel, and "
            "only runs that answer for whole pictures can be compared yet. Hold their mean IoU "
            "with its interval side by side instead: headstart report RUN"
        )


def _require_same_classes(records: Sequence[RunRecord], names: Sequence[str]) -> None:
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
                f"only `{of}` has {_listed(sorted(own))}"
                for of, own in ((names[0], ours - theirs), (name, theirs - ours))
                if own
            ]
            raise RunError(
                f"`{names[0]}` and `{name}` have different classes: {'; '.join(parts)}. "
                "Compare runs that were fitted to the same classes."
            )


def _require_unseen(
    records: Sequence[RunRecord], answers: Sequence[PredictionTable], names: Sequence[str]
) -> None:
    """No model may have learned from, or been chosen by, what another is tested on."""
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
                    f"of `{tested_name}` (such as {_listed(seen, limit=3)}), so that its answers "
                    "on them prove nothing. Fit both to the same data with the same --seed, or "
                    "measure both on new data: headstart evaluate RUN DATA"
                )


def _shared(
    records: Sequence[RunRecord], answers: Sequence[PredictionTable], names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Ids of the samples that all runs were tested on, in the order of the first, and notes."""
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
            f"The data of {_listed(changed)} is not, byte for byte, that of `{names[0]}`: samples "
            "were matched by their names, and nothing tells whether the pictures behind them are "
            "the same."
        )
    return [id_ for id_ in answers[0].ids if id_ in common], notes


def _require_same_truth(shared: Sequence[PredictionTable], names: Sequence[str]) -> None:
    first = shared[0]
    for answer, name in zip(shared[1:], names[1:], strict=True):
        differing = [
            id_
            for id_, a, b in zip(first.ids, first.truths, answer.truths, strict=True)
            if set(a.split("|")) != set(b.split("|"))
        ]
        if differing:
            raise RunError(
                f"{len(differing):,} of {len(first.ids):,} shared test samples have other labels "
                f"in `{name}` than in `{names[0]}`, such as {_listed(differing, limit=3)}: the "
                "data was relabelled in between. Fit both to the data as it is now."
            )


def _in_order(
    answers: PredictionTable, classes: Sequence[str], wanted: Sequence[str]
) -> PredictionTable:
    """The same answers with the columns of the probabilities in the wanted order."""
    columns = [list(classes).index(name) for name in wanted]
    probabilities = answers.probabilities[:, columns]
    return replace(answers, probabilities=probabilities)


def _truth(answers: PredictionTable, record: RunRecord) -> np.ndarray:
    """(n,) class indices, or (n, num_classes) of 0 and 1 for multi-label."""
    import numpy as np

    if record.is_multilabel:
        marks = [[name in t.split("|") for name in record.classes] for t in answers.truths]
        return np.array(marks, dtype=np.int64)
    place = {name: i for i, name in enumerate(record.classes)}
    unknown = sorted({truth for truth in answers.truths if truth not in place})
    if unknown:
        raise RunError(
            f"`{record.folder.predictions}` has the labels {_listed(unknown)}, which are no "
            "classes of the run. Fit again."
        )
    return np.array([place[truth] for truth in answers.truths], dtype=np.int64)


def _disagreements(
    first: PredictionTable, other: PredictionTable, record: RunRecord
) -> tuple[Disagreement, ...]:
    """Samples that just one of two runs answered right."""
    found = []
    for id_, truth, a, b in zip(first.ids, first.truths, first.answers, other.answers, strict=True):
        is_right_a, is_right_b = (set(said.split("|")) == set(truth.split("|")) for said in (a, b))
        if is_right_a != is_right_b:
            found.append(Disagreement(id_, record.sample_path(id_), truth, a, b))
    return tuple(found)


def _measured(
    answers: PredictionTable, truth: np.ndarray, record: RunRecord, *, groups: np.ndarray | None
) -> Mapping[str, Measure]:
    from headstart.metrics.classification import evaluate_multilabel, evaluate_single_label

    measure = evaluate_multilabel if record.is_multilabel else evaluate_single_label
    return measure(answers.probabilities, truth, record.classes, groups=groups).metrics


def _listed(items: Sequence[str], *, limit: int = 6) -> str:
    shown = ", ".join(f"`{item}`" for item in items[:limit])
    return shown + (f" and {len(items) - limit:,} more" if len(items) > limit else "")
