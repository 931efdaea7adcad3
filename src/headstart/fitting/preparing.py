"""From a folder to data that can be fitted: recognised, checked and split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from headstart.backbones.text_languages import language_findings
from headstart.config import FitOptions
from headstart.contracts import Dataset, Finding, Sample, Split
from headstart.data import Request, read_dataset
from headstart.data.checks import Checkup, check_dataset, leave_out_bad, raise_for_errors
from headstart.data.languages import find_languages
from headstart.data.leaks import LeakedSample, leak_findings, leaked, near_duplicate_findings
from headstart.data.listing import count
from headstart.data.mask_checks import MaskFacts, check_masks
from headstart.data.mask_classes import unlearnt_findings
from headstart.data.near_duplicates import NearDuplicates, find_near_duplicates
from headstart.data.near_samples import find_near_samples
from headstart.data.planning import plan_splits
from headstart.data.sample_findings import noun_of
from headstart.data.splits import SplitPlan, regrouped
from headstart.data.text_checks import check_texts
from headstart.errors import DataError, RunError
from headstart.progress import Progress
from headstart.rundir import RunFolder

# Why a sample is left out, where it is not a file's own trouble.
UNUSABLE, NO_TIME = "unusable", "no time"


@dataclass(frozen=True)
class PreparedData:
    """Samples that can be read, each in its split.

    Attributes:
        path: As the user gave it.
        dataset: Without what was left out from the beginning.
        checkup: What the checks found.
        split: Which sample is in which split.
        left_out: sample id -> why it takes no part. Grows while pictures are read.
        near: Near-duplicates among the samples.
        leaks: Samples of the test that also stand, or nearly, in train or validation.
        dropped: Suspects that a person has confirmed; no longer in `dataset` and `split`.
    """

    path: Path
    dataset: Dataset
    checkup: Checkup
    split: SplitPlan
    left_out: dict[str, str] = field(default_factory=dict)
    near: NearDuplicates = field(default_factory=NearDuplicates)
    leaks: tuple[LeakedSample, ...] = ()
    dropped: tuple[str, ...] = ()

    def samples(self, *splits: Split) -> list[Sample]:
        """The samples of some splits, in the order of the data set."""
        wanted = {id_ for split in splits for id_ in self.split.ids(split)}
        wanted -= self.left_out.keys()
        return [sample for sample in self.dataset if sample.id in wanted]

    def with_unread(self) -> PreparedData:
        """The data with the samples again that no time was left to read."""
        kept = {id_: why for id_, why in self.left_out.items() if why != NO_TIME}
        return replace(self, left_out=kept)

    def note_unreadable(self, sample: Sample, error: DataError) -> None:
        """Leave a sample out that cannot be decoded."""
        self.left_out[sample.id] = str(error)


def prepare_data(
    path: Path, options: FitOptions, *, decode: bool, progress: Progress
) -> PreparedData:
    """Recognise, check and split the data; what makes a fit impossible stops it here.

    Args:
        path: A folder or a table.
        options: As the user gave them.
        decode: Decode each picture, to find what a check of its headers misses. Texts always are.
        progress: Is told what was found.

    Raises:
        DataError: With all that is wrong.
    """
    request = Request(
        image_column=options.image_column,
        label_column=options.label_column,
        group=options.group,
        ignore_values=options.ignore_value,
        outside=options.outside,
        text_columns=options.text_column,
        progress=progress,
    )
    dataset = read_dataset(path, request)
    progress.note(f"{path}: {dataset.reason}")
    for note in dataset.notes:
        progress.note("  " + note)
    masks: Mapping[str, MaskFacts] | None = None
    if dataset.legend is not None:
        checked = check_masks(dataset, progress=progress, ignore_values=options.ignore_value)
        for note in checked.dataset.notes[len(dataset.notes) :]:
            progress.note("  " + note)
        dataset, masks = checked.dataset, checked.facts
    is_text = noun_of(dataset) == "text"
    if is_text:
        checkup = check_texts(dataset, progress=progress)
    else:
        checkup = check_dataset(dataset, decode=decode, progress=progress, hashed=True, masks=masks)
    left_out: dict[str, str] = {}
    if options.on_bad == "skip" and checkup.bad_ids:
        left_out = dict.fromkeys(checkup.bad_ids, UNUSABLE)
        dataset, checkup = leave_out_bad(dataset, checkup)
    raise_for_errors(checkup)
    for finding in checkup.warnings:
        progress.warn(f"{finding.message} {finding.remedy}")
    near = find_near_samples(dataset, checkup)
    planned = plan_splits(dataset, checkup, near, seed=options.seed)
    split, leaks = planned.split, planned.leaks
    left_out |= planned.left_out
    dataset = dataset.without(planned.left_out)
    for note in (*near.notes, split.reason, *split.notes):
        progress.note("  " + note)
    if not split.ids("test"):
        raise DataError(
            f"`{path}` leaves no sample to test with: {split.reason} "
            "Add samples: at least two a class."
        )
    data = PreparedData(path, dataset, checkup, split, left_out, near=near, leaks=leaks)
    told = [*near_duplicate_findings(dataset, near)]
    told += unlearnt_findings(dataset, checkup.masks, split.assignment)
    # TF-IDF and random weights learn their words themselves; of others than a model's own it is not
    # known what they have read.
    if is_text and options.strategy not in ("tfidf", "scratch") and options.weights is None:
        languages = find_languages([sample.text or "" for sample in dataset])
        told += language_findings(languages, options.racing or (options.backbone,))
    return with_findings(data, told, leaks, progress=progress)


def seen_through(
    data: PreparedData, features: Mapping[str, Tensor], *, progress: Progress
) -> PreparedData:
    """The data with near-duplicates that only features show, such as strong crops.

    Who is in which split is decided by the data alone, so that runs with different backbones have
    the same test. Of what features add, nothing straddles either: a sample of a test that Headstart
    drew is left out where it is nearly in training; of a test that came with the data it is told.

    Args:
        data: Split.
        features: sample id -> (num_features,) of a pretrained backbone.
        progress: Is told of leaks.

    Returns:
        Of texts the data as they are: there features say what a text is about, not whose copy.
    """
    if noun_of(data.dataset) == "text":
        return data

    def known(ids: Sequence[str]) -> dict[str, np.ndarray]:
        return {id_: features[id_].numpy() for id_ in ids if id_ in features}

    near = find_near_duplicates(data.checkup.facts, features=known)
    same = data.checkup.same_content
    split = regrouped(data.split, data.dataset, same_content=same, near_duplicates=near.group_of)
    leaks = leaked(split, data.dataset, same_content=same, near=near)
    before = {leak.id for leak in data.leaks}
    new = [leak for leak in leaks if leak.id not in before]
    if data.split.rule != "drawn":
        data = replace(data, split=split, near=near, leaks=leaks)
        return with_findings(data, (), new, progress=progress)
    data.left_out.update((leak.id, f"{leak.why} of `{leak.partner}` in training") for leak in new)
    if new:
        progress.note(
            f"  {count(len(new), 'sample')} of the test left out: by their features they are "
            f"nearly in training, such as `{new[0].id}` and `{new[0].partner}`."
        )
    return replace(data, split=split, near=near)


def with_findings(
    data: PreparedData,
    findings: Iterable[Finding],
    leaks: Sequence[LeakedSample] = (),
    *,
    progress: Progress,
) -> PreparedData:
    """The data with findings and leaks, which are told, among those of its checkup."""
    told = (*findings, *leak_findings(leaks, noun=noun_of(data.dataset)))
    for finding in told:
        progress.warn(f"{finding.message} {finding.remedy}")
    checkup = replace(data.checkup, findings=(*data.checkup.findings, *told))
    return replace(data, checkup=checkup)


def as_when_begun(data: PreparedData, folder: RunFolder) -> PreparedData:
    """The data of a fit that is resumed: what it began without stays out.

    Raises:
        RunError: Pictures, labels, names or splits have changed since.
    """
    before = folder.read_json(folder.dataset)
    entries: Mapping[str, Mapping[str, str]] = folder.read_json(folder.split)["assignment"]
    splits = {id_: entry["split"] for id_, entry in entries.items()}
    if before["fingerprint"] != data.checkup.fingerprint or splits != data.split.assignment:
        raise RunError(
            f"`{data.path}` is not what it was when the run `{folder.path}` began: "
            f"{noun_of(data.dataset)}s, labels or names have changed. Fit anew, without --resume."
        )
    why_of = before.get("left_out_because", {})  # not told by early versions
    left_out = {i: NO_TIME if why_of.get(i) == NO_TIME else UNUSABLE for i in before["left_out"]}
    return replace(data, left_out={**left_out, **data.left_out})
