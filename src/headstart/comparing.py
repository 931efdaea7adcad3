"""The verb `compare`: runs against each other on the same test samples. Only wiring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.comparable import (
    distinct,
    listed,
    names_of,
    require_same_classes,
    require_same_task,
    require_unseen,
    shared_ids,
)
from headstart.contracts import Measure
from headstart.data.numbering import numbered_if_shared
from headstart.errors import RunError
from headstart.progress import Progress
from headstart.report.chip_counts import ChipCounts, read_chip_counts
from headstart.report.comparison import (
    Compared,
    ComparedRun,
    Disagreement,
    PictureGap,
    write_comparison,
)
from headstart.report.predictions import PredictionTable, read_prediction_table
from headstart.report.record import RunRecord, read_record
from headstart.report.text_extracts import read_extracts
from headstart.rundir import RunFolder

if TYPE_CHECKING:
    import numpy as np


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
        RunError: A run is not finished, or the runs cannot be compared: another task, other
            classes, other test samples, or one learned from the test samples of another.
        ConfigError: The page cannot be written there.
    """
    progress = progress or Progress()
    paths = distinct([Path(run) for run in runs])
    records = [read_record(RunFolder.open(path)) for path in paths]
    names = names_of(paths)
    require_same_task(records, names)
    require_same_classes(records, names)
    compare_task = _compare_maps if records[0].is_dense else _compare_answers
    compared = compare_task(records, names, progress=progress)
    if output is not None:
        compared = replace(compared, page=Path(output))
        write_comparison(Path(output), compared, progress=progress)
    return compared


def _compare_answers(
    records: Sequence[RunRecord], names: Sequence[str], *, progress: Progress
) -> Compared:
    from headstart.metrics.comparison import compare_predictions

    answers = [read_prediction_table(record) for record in records]
    require_unseen(records, answers, names)
    ids, notes = shared_ids(records, answers, names)
    shared = [
        _in_order(answer.only(ids), record.classes, records[0].classes)
        for answer, record in zip(answers, records, strict=True)
    ]
    _require_same_truth(shared, names)
    truth = _truth(shared[0], records[0])
    groups = _groups(ids, records[0], notes=notes, progress=progress)
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
    metrics = [_measured(answer, truth, records[0], groups=groups) for answer in shared]
    texts = {i: t for r in records if r.is_of_texts for i, t in read_extracts(r.folder).items()}
    return Compared(
        runs=_runs(records, names, metrics),
        comparisons=comparisons,
        disagreements=tuple(
            _disagreements(first, other, records[0], texts=texts) for other in shared[1:]
        ),
        n=len(ids),
        notes=tuple(notes),
        unit=records[0].unit,
    )


def _compare_maps(
    records: Sequence[RunRecord], names: Sequence[str], *, progress: Progress
) -> Compared:
    from headstart.metrics.mask_comparison import compare_masks, unlabelled_told
    from headstart.metrics.segmentation import evaluate_segmentation

    answers = [read_chip_counts(record) for record in records]
    require_unseen(records, answers, names)
    ids, notes = shared_ids(records, answers, names)
    classes = records[0].classes
    shared = [answer.only(ids, classes) for answer in answers]
    _require_same_masks(shared, names)
    is_labelled = shared[0].counts.confusion.sum(axis=(1, 2)) > 0
    if is_labelled.any() and (told := unlabelled_told(int((~is_labelled).sum()))):
        notes.append(told)
        ids = [id_ for id_, is_so in zip(ids, is_labelled, strict=True) if is_so]
        shared = [each.only(ids, classes) for each in shared]
    groups = _groups(ids, records[0], notes=notes, progress=progress)
    first = shared[0]
    metrics = [
        evaluate_segmentation(
            each.counts.confusion, classes, groups=groups, boundary=each.counts.boundary
        ).metrics
        for each in shared
    ]
    return Compared(
        runs=_runs(records, names, metrics),
        comparisons=tuple(
            compare_masks(
                first.counts, other.counts, classes, groups=groups, names=(names[0], name)
            )
            for name, other in zip(names[1:], shared[1:], strict=True)
        ),
        disagreements=(),
        picture_gaps=tuple(_picture_gaps(first, other, records[0]) for other in shared[1:]),
        n=len(ids),
        notes=tuple(notes),
    )


def _groups(
    ids: Sequence[str], record: RunRecord, *, notes: list[str], progress: Progress
) -> np.ndarray | None:
    """(n,) numbers of the groups of samples, None where there are none; notes are told."""
    owners = [str(record.split["assignment"].get(id_, {}).get("group") or id_) for id_ in ids]
    groups = numbered_if_shared(owners)
    if groups is not None:
        notes.append(
            f"The {len(owners):,} samples come in {len(set(owners)):,} groups, and only groups "
            "count as independent."
        )
    for note in notes:
        progress.warn(note)
    return groups


def _runs(
    records: Sequence[RunRecord], names: Sequence[str], metrics: Sequence[Mapping[str, Measure]]
) -> tuple[ComparedRun, ...]:
    return tuple(
        ComparedRun(
            name=name,
            path=record.folder.path,
            strategy=str(record.config["strategy"]),
            backbone=record.backbone.reference,
            seconds=(record.metrics.get("seconds") or {}).get("total"),
            metrics=measured,
        )
        for name, record, measured in zip(names, records, metrics, strict=True)
    )


def _require_same_masks(shared: Sequence[ChipCounts], names: Sequence[str]) -> None:
    """By how many pixels of each class a picture has: a mask that was drawn anew has others."""
    first = shared[0]
    for other, name in zip(shared[1:], names[1:], strict=True):
        ours, theirs = (each.counts.confusion.sum(axis=2) for each in (first, other))
        places = (ours != theirs).any(axis=1).nonzero()[0]
        if len(places):
            differing = [first.ids[i] for i in places]
            raise RunError(
                f"{len(differing):,} of {len(first.ids):,} shared test pictures have other masks "
                f"in `{name}` than in `{names[0]}`, such as {listed(differing, limit=3)}: the data "
                "was labelled anew in between, or other bands say otherwise where there is data. "
                "Fit both to the data as it is now."
            )


def _picture_gaps(
    first: ChipCounts, other: ChipCounts, record: RunRecord
) -> tuple[PictureGap, ...]:
    """Pictures whose mean IoU differs, the largest difference first."""
    from headstart.metrics.segmentation import image_scores

    mious = [image_scores(each.counts.confusion)[0].tolist() for each in (first, other)]
    gaps = [
        PictureGap(id_, record.sample_path(id_), before, after)
        for id_, before, after in zip(first.ids, *mious, strict=True)
        if before < after or after < before
    ]
    return tuple(sorted(gaps, key=lambda gap: -abs(gap.gain)))


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
                f"in `{name}` than in `{names[0]}`, such as {listed(differing, limit=3)}: the "
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
            f"`{record.folder.predictions}` has the labels {listed(unknown)}, which are no "
            "classes of the run. Fit again."
        )
    return np.array([place[truth] for truth in answers.truths], dtype=np.int64)


def _disagreements(
    first: PredictionTable, other: PredictionTable, record: RunRecord, *, texts: Mapping[str, str]
) -> tuple[Disagreement, ...]:
    """Samples that just one of two runs answered right."""
    found = []
    for id_, truth, a, b in zip(first.ids, first.truths, first.answers, other.answers, strict=True):
        is_right_a, is_right_b = (set(said.split("|")) == set(truth.split("|")) for said in (a, b))
        if is_right_a != is_right_b:
            path = record.sample_path(id_)
            found.append(Disagreement(id_, path, truth, a, b, text=texts.get(id_)))
    return tuple(found)


def _measured(
    answers: PredictionTable, truth: np.ndarray, record: RunRecord, *, groups: np.ndarray | None
) -> Mapping[str, Measure]:
    from headstart.metrics.classification import evaluate_multilabel, evaluate_single_label

    measure = evaluate_multilabel if record.is_multilabel else evaluate_single_label
    return measure(answers.probabilities, truth, record.classes, groups=groups).metrics
