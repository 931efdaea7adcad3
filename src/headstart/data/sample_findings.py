"""What is wrong with samples whatever they are: classes too small, contents that recur.

Knows neither files nor pictures nor texts: it sees samples with labels, and hashes of what is in
them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

from headstart.contracts import Dataset, Finding, Sample
from headstart.data.listing import count, series
from headstart.data.splits import class_counts

UNBALANCED_RATIO = 10  # the count of the largest class over that of the smallest


def noun_of(dataset: Dataset) -> str:
    """What a sample is, for messages."""
    return "text" if dataset.task == "text-classification" else "picture"


def class_findings(dataset: Dataset) -> Iterable[Finding]:
    """No samples, a single class, classes too small, or of very different sizes."""
    noun = noun_of(dataset)
    if not dataset.samples:
        yield Finding(
            "empty", "error", f"There is no labelled {noun}.", f"Add {noun}s with labels."
        )
        return
    totals = dict.fromkeys(dataset.classes, 0)
    for of_split in class_counts(dataset).values():
        for name, number in of_split.items():
            totals[name] += number
    if len(totals) < (1 if dataset.is_multilabel else 2):
        yield Finding(
            "one-class",
            "error",
            f"All {noun}s are of one class, {series(totals) or 'none'}: there is nothing to tell "
            "apart.",
            f"Add {noun}s of a second class; check that the right folder or column was given.",
        )
        return
    tiny = [name for name, number in totals.items() if number < 2]
    if tiny:
        ids = [s.id for s in dataset.samples if set(s.labels) & set(tiny)]
        yield Finding(
            "tiny-class",
            "warning",
            f"{len(tiny)} of {len(totals)} classes with fewer than 2 {noun}s, which cannot be "
            f"measured: {series(tiny)}.",
            f"Add {noun}s, or merge the class with another.",
            tuple(ids),
        )
    alike: dict[str, list[str]] = defaultdict(list)
    for name in totals:
        alike[" ".join(name.casefold().split())].append(name)
    twins = [names for names in alike.values() if len(names) > 1]
    if twins:
        yield Finding(
            "similar-classes",
            "warning",
            f"{count(len(twins), 'class name')} in several spellings that differ only in case or "
            f"spaces: {series(' and '.join(f'`{name}`' for name in names) for names in twins)}.",
            "Spell each alike, unless they are classes of their own.",
        )
    smallest, largest = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    if totals[largest] > UNBALANCED_RATIO * totals[smallest]:
        yield Finding(
            "unbalanced",
            "warning",
            f"The largest class, {largest}, has {totals[largest]:,} {noun}s, the smallest, "
            f"{smallest}, {totals[smallest]:,}.",
            "Look at balanced_accuracy and macro_f1; see --balance.",
        )


def content_findings(
    dataset: Dataset, same_content: Mapping[str, str], answers: Mapping[str, str]
) -> Iterable[Finding]:
    """Equal contents: within a class, under different labels, and in different ready-made splits.

    Args:
        dataset: Any.
        same_content: Sample id -> hash of its content, of those that have some.
        answers: Sample id -> what a model is to learn of it.
    """
    noun = noun_of(dataset)
    by_content: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        if sample.id in same_content:
            by_content[same_content[sample.id]].append(sample)
    unit = "file" if noun == "picture" else noun
    equal = [samples for samples in by_content.values() if len(samples) > 1]
    agreeing = [s for s in equal if len({answers[sample.id] for sample in s}) == 1]
    conflicting = [s for s in equal if len({answers[sample.id] for sample in s}) > 1]
    # Where splits are given, what has none is for training.
    splits_of = [{sample.split or "train" for sample in s} for s in equal]
    leaked = [s for s, splits in zip(equal, splits_of, strict=True) if len(splits) > 1]
    if agreeing:
        yield Finding(
            "duplicate",
            "warning",
            f"{count(len(agreeing), noun)} in several copies, "
            f"{count(sum(map(len, agreeing)), unit)} in all.",
            "Nothing: copies stay in one split. Remove them if they are not meant.",
            _ids(agreeing),
        )
    if conflicting:
        yield Finding(
            "conflicting-labels",
            "warning",
            f"{count(len(conflicting), noun)} with different labels in several copies, "
            f"{count(sum(map(len, conflicting)), unit)} in all.",
            "Decide which label is right, and remove the other copies.",
            _ids(conflicting),
        )
    if leaked:
        is_tested = any("test" in splits for splits in splits_of if len(splits) > 1)
        flattered = "the test" if is_tested else "what is measured by the validation samples"
        yield Finding(
            "leaked-duplicate",
            "warning",
            f"{count(len(leaked), noun)} in more than one of the splits that the data set "
            f"brings, {count(sum(map(len, leaked)), unit)} in all: {flattered} flatters the model.",
            "Remove the copies from train, or all split folders or tables to have Headstart split.",
            _ids(leaked),
        )


def _ids(sets: Iterable[Iterable[Sample]]) -> tuple[str, ...]:
    """Ids, copies of one picture next to each other."""
    return tuple(
        i for group in sorted(sorted(s.id for s in samples) for samples in sets) for i in group
    )


def fingerprint(contents: Iterable[tuple[str, str]]) -> str:
    """The sha256 of all samples, each as the hash of its content and its answer, in any order."""
    lines = sorted(f"{content} {answer}\n" for content, answer in contents)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
