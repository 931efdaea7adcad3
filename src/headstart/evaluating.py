"""The verb `evaluate`: a run's model on other labelled data. Only wiring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart.contracts import Dataset, Evaluation, Legend
from headstart.data import Request, open_dataset, read_dataset
from headstart.data.band_statistics import warn_of_strange_values
from headstart.data.checks import Checkup, check_dataset, leave_out_bad, raise_for_errors
from headstart.data.mask_checks import MaskFacts, check_masks
from headstart.data.near_samples import find_near_samples
from headstart.data.planning import spatial_blocks
from headstart.data.sample_findings import noun_of
from headstart.data.scene_folders import BACKGROUND
from headstart.data.splits import shared_groups
from headstart.data.text_checks import check_texts
from headstart.errors import DataError
from headstart.fitted import FittedModel, FittedSegmenter
from headstart.fitting.judging_masks import OnError, evaluate_chips, judge, tolerance_told
from headstart.metrics.borders import BOUNDARY_SHARE
from headstart.progress import Progress
from headstart.protocols import MaskTask
from headstart.tasks import make_mask_task
from headstart.unseen import only_unseen

# Warnings that matter where nothing is learnt: what is left out, and what cannot be right.
_CHANGES_FIGURES = ("missing-label", "conflicting-labels")


@dataclass(frozen=True)
class Columns:
    """Columns of a table; None are guessed, but for that of groups.

    Attributes:
        image: Holds picture paths.
        texts: Hold texts, which are joined.
        label: Holds labels; of polygons, too.
        group: Holds groups of samples; or a pattern on their names.
    """

    image: str | None = None
    texts: Sequence[str] | None = None
    label: str | None = None
    group: str | None = None


def evaluate_labels(
    fitted: FittedModel,
    data: Path,
    *,
    columns: Columns,
    learnt: frozenset[str],
    on_bad: str,
    progress: Progress,
) -> Evaluation:
    """Metrics of a model that answers for whole pictures or texts; see `api.evaluate`.

    Raises:
        DataError: The data is of another kind, has classes that the model does not know, or cannot
            be read.
    """
    request = Request(
        image_column=columns.image,
        label_column=columns.label,
        group=columns.group,
        text_columns=None if columns.texts is None else tuple(columns.texts),
        usual_text_columns=fitted.usual_text_columns,
        is_multilabel=fitted.predictor.task.is_multilabel,
        progress=progress,
    )
    dataset = read_dataset(data, request)
    for note in dataset.notes:
        progress.note(note)
    unit = fitted.predictor.task.unit
    if noun_of(dataset) != unit:
        raise DataError(
            f"`{data}` holds {noun_of(dataset)}s, but the model is of {unit}s. {dataset.reason} "
            f"Give labelled {unit}s, laid out as those it was fitted on, for instance."
        )
    dataset = _as_the_model_writes(dataset, fitted.classes)
    unknown = [name for name in dataset.classes if name not in fitted.classes]
    if unknown:
        raise DataError(
            f"`{data}` has the classes {_quoted(dataset.classes)}, but the model knows "
            f"{_quoted(fitted.classes)}. Unknown to it: {_quoted(unknown)}. Rename the classes of "
            "the data, or fit a model to them."
        )
    is_multilabel = fitted.predictor.task.is_multilabel
    if dataset.is_multilabel and not is_multilabel:
        raise DataError(
            f"`{data}` has several labels a {unit}, but the model was fitted to one. Evaluate on "
            f"data with one label a {unit}."
        )
    dataset = replace(dataset, is_multilabel=is_multilabel)
    dataset, told, checkup = _checked(dataset, on_bad=on_bad, progress=progress)
    dataset = only_unseen(dataset, checkup, learnt, data=data, progress=progress)
    present = {label for sample in dataset for label in sample.labels}
    absent = [name for name in fitted.classes if name not in present]
    if absent:
        progress.warn(f"The data has no sample of {_quoted(absent)}.")
    groups = _groups(dataset, checkup, progress=progress)
    prediction = fitted.predictor.predict(dataset.samples, progress=progress, on_error=told)
    read = set(prediction.ids)
    samples = [replace(s, group=groups[s.id]) for s in dataset if s.id in read]
    return fitted.predictor.task.evaluate(prediction, samples)


def _groups(dataset: Dataset, checkup: Checkup, *, progress: Progress) -> dict[str, str]:
    """Sample id -> what counts as one for the intervals, as in a fit: copies, too, and places."""
    near = find_near_samples(dataset, checkup)
    for note in near.notes:
        progress.note(note)
    blocks = spatial_blocks(dataset, checkup).block_of  # none where groups are named
    groups = shared_groups(dataset.samples, checkup.same_content, near.group_of, blocks)
    num_groups = len(set(groups.values()))
    if num_groups < len(groups):
        progress.note(
            f"The {len(groups):,} {noun_of(dataset)}s are in {num_groups:,} groups of what belongs "
            "together (copies, near-copies, named groups, places), each of which counts as one for "
            "the intervals."
        )
    return groups


def _as_the_model_writes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """With `1` called `1.0` where the model knows that: numbers lose it where all are whole."""
    known = set(classes)
    names = {n: f"{n}.0" for n in dataset.classes if n not in known and f"{n}.0" in known}
    if not names:
        return dataset
    return replace(
        dataset,
        classes=tuple(names.get(name, name) for name in dataset.classes),
        samples=tuple(
            replace(sample, labels=tuple(names.get(name, name) for name in sample.labels))
            for sample in dataset
        ),
    )


def evaluate_masks(
    fitted: FittedSegmenter,
    data: Path,
    *,
    columns: Columns,
    learnt: frozenset[str],
    on_bad: str,
    progress: Progress,
) -> Evaluation:
    """Metrics of a model that answers with masks; see `api.evaluate`.

    Raises:
        DataError: The data has no masks, or classes that the model does not know.
    """
    dataset = open_dataset(
        data,
        image_column=columns.image,
        label_column=columns.label,
        group=columns.group,
        ignore_values=fitted.legend.ignored or None,
        outside=_outside(fitted.legend),
    )
    if dataset.legend is None:
        raise DataError(
            f"`{data}` has no masks, but the model answers with masks. {dataset.reason} Give "
            "pictures with masks, laid out as those it was fitted on, for instance."
        )
    unknown = [name for name in dataset.legend.names if name not in fitted.legend.names]
    if unknown:
        raise DataError(
            f"`{data}` has the classes {_quoted(dataset.legend.names)}, but the model knows "
            f"{_quoted(fitted.legend.names)}. Unknown to it: {_quoted(unknown)}. Name the values "
            "as they were named then, in a classes.txt, or fit a model to them."
        )
    checked = check_masks(dataset, progress=progress)
    dataset, told, checkup = _checked(
        checked.dataset, masks=checked.facts, on_bad=on_bad, progress=progress
    )
    dataset = only_unseen(dataset, checkup, learnt, data=data, progress=progress)
    assert dataset.legend is not None
    fitted.predictor.task = _in_order_of(fitted.legend, dataset.legend)
    warn_of_strange_values(dataset.samples, fitted.predictor.contract, progress=progress)
    judged = judge(fitted.predictor, dataset.samples, on_error=told)
    if judged:
        low, high = tolerance_told(judged)["tolerance_pixels"]
        pixels = f"{low}" if low == high else f"{low} to {high}"
        progress.note(
            f"A border counts as found within {pixels} px ({100 * BOUNDARY_SHARE:g}% of a "
            "picture's diagonal)."
        )
    groups = _groups(dataset, checkup, progress=progress)
    return evaluate_chips(judged, fitted.predictor, groups=groups)


def _outside(fitted: Legend) -> Literal["background", "ignore"] | None:
    """What pixels in no polygon are, if polygons are the labels: as it was in the fit."""
    if fitted.outside is not None:
        return "background"
    return None if BACKGROUND in fitted.names else "ignore"


def _in_order_of(fitted: Legend, given: Legend | None) -> MaskTask:
    """A task that reads masks by the values of the data, into the classes of the model."""
    assert given is not None
    values = dict(zip(given.names, given.values, strict=True))
    legend = replace(
        given,
        names=fitted.names,
        values=tuple(values.get(name, ()) for name in fitted.names),
        colours=fitted.colours,
    )
    return make_mask_task("semantic-segmentation", legend)


def _checked(
    dataset: Dataset,
    *,
    masks: Mapping[str, MaskFacts] | None = None,
    on_bad: str,
    progress: Progress,
) -> tuple[Dataset, OnError, Checkup]:
    """What can be measured on, what to do with what turns out to be unreadable, and the checkup.

    Raises:
        DataError: With all that is wrong.
    """
    if noun_of(dataset) == "text":
        checkup = check_texts(dataset, progress=progress)
    else:
        checkup = check_dataset(dataset, decode=False, progress=progress, hashed=True, masks=masks)
    if on_bad == "skip" and checkup.bad_ids:
        progress.warn(f"{len(checkup.bad_ids):,} unusable {checkup.noun}s are left out.")
        dataset, checkup = leave_out_bad(dataset, checkup)
    # One class is too few to learn from, but enough to be measured on.
    findings = tuple(f for f in checkup.findings if f.kind not in ("one-class", "tiny-class"))
    raise_for_errors(replace(checkup, findings=findings))
    for finding in checkup.warnings:
        if finding.kind in _CHANGES_FIGURES:
            progress.warn(f"{finding.message} {finding.remedy}")
    if on_bad != "skip":
        return dataset, None, checkup
    return dataset, lambda sample, error: progress.warn(str(error)), checkup


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
