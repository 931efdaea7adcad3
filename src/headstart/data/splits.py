"""The only place that splits: train, validation and sealed test.

How a part is held out is in `holding_out.py`, folds are in `folds.py`.

Knows nothing of files or models: it sees samples with labels, groups and content hashes, and puts
whole groups into splits so that each class is spread as evenly as the groups allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from headstart.contracts import SPLITS, Dataset, Sample, Split
from headstart.data.chaining import chained
from headstart.data.holding_out import HOLDOUT_FRACTION, MAX_HOLDOUT, hold_out
from headstart.errors import DataError


@dataclass(frozen=True)
class SplitPlan:
    """Which sample is in which split, and why.

    Attributes:
        assignment: Sample id -> split, in the order of the data set.
        groups: Sample id -> group; samples with the same or nearly the same content, or with the
            same group of their own, share one, and so do all that are chained by such.
        rule: `as-given`, `given-test` (validation was carved out of train) or `drawn`.
        reason: The rule in a sentence.
        notes: What could not be met, in sentences.
        blocks: Sample id -> spatial block, which is a part of its group.
    """

    assignment: Mapping[str, Split]
    groups: Mapping[str, str]
    rule: str
    reason: str
    notes: tuple[str, ...] = ()
    blocks: Mapping[str, str] = field(default_factory=dict)

    def ids(self, split: Split) -> tuple[str, ...]:
        """The samples of a split, in the order of the data set."""
        return tuple(name for name, given in self.assignment.items() if given == split)


def split_dataset(
    dataset: Dataset,
    *,
    seed: int,
    same_content: Mapping[str, str] | None = None,
    near_duplicates: Mapping[str, str] | None = None,
    blocks: Mapping[str, str] | None = None,
) -> SplitPlan:
    """Put each labelled sample into train, validation or test.

    - train, validation and test are all given: each is what it says.
    - train and one of the others are given: that one is the sealed test, and validation is carved
      out of train.
    - otherwise a test is drawn, and a validation from the rest.

    What is drawn depends on the seed and the samples, not on their order. Of each class, one group
    at least stays in train. Ready-made splits are kept even where a group straddles them.

    Args:
        dataset: Samples without a label are left out (in a multi-label data set, all have one).
        seed: Any whole number that is not negative.
        same_content: Sample id -> hash of its content. Equal hashes share a group.
        near_duplicates: Sample id -> name of its group of near-duplicates, of those that have one
            (`NearDuplicates.group_of`).
        blocks: Sample id -> spatial block, of those that have one. Where the data bring a test,
            a block is parted by the splits: they are kept, and `leaked_places` tells what overlaps.

    Raises:
        DataError: There is no labelled sample, there are ready-made splits without a train, or so
            few groups that none is left to test on.
    """
    samples = [s for s in dataset.samples if s.labels or dataset.is_multilabel]
    if not samples:
        raise DataError(
            f"`{dataset.root}` has no labelled sample. At least two a class are needed to learn "
            "from some and test on others."
        )
    given = {s.split for s in samples if s.split is not None}
    placed = dict(blocks or {})
    if given - {"train"}:
        splits = {s.id: s.split or "train" for s in samples}
        placed = {
            id_: f"{block} in {splits[id_]}" for id_, block in placed.items() if id_ in splits
        }
    groups = shared_groups(samples, same_content or {}, near_duplicates or {}, placed)
    if given and "train" not in given:
        raise DataError(
            f"`{dataset.root}` has the split {' and '.join(sorted(given))}, but no train to learn "
            "from. Add a train split, or remove the split folders (or column) to have Headstart "
            "split."
        )
    assignment: dict[str, Split] = {s.id: s.split or "train" for s in samples}
    notes: list[str] = []
    if given >= {"train", "validation", "test"}:
        rule, reason = "as-given", "The data set brings train, validation and test: kept as given."
    elif len(given) == 2:
        (other,) = given - {"train"}
        assignment = {name: "train" if s == "train" else "test" for name, s in assignment.items()}
        rule = "given-test"
        reason = (
            f"The data set brings train and {other}: {other} is the sealed test, and a fifth of "
            "train was set apart for validation."
        )
        hold_out(dataset, assignment, groups, to="validation", seed=seed)
    else:
        rule = "drawn"
        beginning = "The data set brings only train" if given else "The data set brings no splits"
        reason = f"{beginning}: a fifth (10,000 at the most) was drawn for the test, a fifth of "
        reason += "the rest for validation, each class alike."
        hold_out(dataset, assignment, groups, to="test", seed=seed)
        _refuse_too_few(dataset, assignment, groups)
        hold_out(dataset, assignment, groups, to="validation", seed=seed)
    if given and any(s.split is None for s in samples):
        notes.append("Samples without a split were put into train.")
    notes += _unmet(dataset, assignment, groups, is_drawn=rule == "drawn")
    return SplitPlan(assignment, groups, rule, reason, tuple(notes), placed)


def regrouped(
    plan: SplitPlan,
    dataset: Dataset,
    *,
    same_content: Mapping[str, str],
    near_duplicates: Mapping[str, str],
) -> SplitPlan:
    """The same splits, with the groups as these near-duplicates make them; they may straddle."""
    samples = [s for s in dataset.samples if s.id in plan.assignment]
    groups = shared_groups(samples, same_content, near_duplicates, plan.blocks)
    return replace(plan, groups=groups)


def random_twin(plan: SplitPlan, dataset: Dataset, *, seed: int) -> SplitPlan | None:
    """The split that somebody who knows of no groups would have drawn, to see what that hides.

    Each split has as many samples of each class (in a multi-label data set, of each set of labels)
    as in the plan, so that the score under it differs by the groups alone, and by chance. Where the
    plan keeps splits as given, those are shuffled too: then the difference is also that between the
    publisher's test and train.

    Args:
        plan: Of `split_dataset`.
        dataset: The one it was made for.
        seed: Any whole number that is not negative.

    Returns:
        A plan with the rule `random` in which each sample is its own group; None when no group of
        the plan has two samples, since then the plan is as random itself.

    Source: the difference between the two scores as a measure of leakage: Kapoor, Narayanan 2023,
        "Leakage and the reproducibility crisis in machine-learning-based science" (Patterns 4).
    """
    if len(set(plan.groups.values())) == len(plan.groups):
        return None
    by_labels: dict[str, list[str]] = {}
    for sample in sorted(dataset.samples, key=lambda s: s.id):
        if sample.id in plan.assignment:
            by_labels.setdefault(sample.label, []).append(sample.id)
    rng = np.random.default_rng(seed)
    drawn: dict[str, Split] = {}
    for _, ids in sorted(by_labels.items()):
        splits = sorted(plan.assignment[id_] for id_ in ids)
        drawn |= {
            ids[place]: split
            for place, split in zip(rng.permutation(len(ids)), splits, strict=True)
        }
    return SplitPlan(
        {id_: drawn[id_] for id_ in plan.assignment},
        {id_: id_ for id_ in plan.assignment},
        "random",
        "Drawn without regard to groups, with as many samples of each class in each split.",
    )


def class_counts(
    dataset: Dataset, assignment: Mapping[str, Split] | None = None
) -> dict[str, dict[str, int]]:
    """Split -> class -> number of samples, with every class in every split.

    Without an assignment the splits are those the data set brings; samples that have none are
    counted under `all`.
    """
    counts: dict[str, dict[str, int]] = {}
    for sample in dataset.samples:
        split = sample.split if assignment is None else assignment.get(sample.id)
        of_split = counts.setdefault(split or "all", dict.fromkeys(dataset.classes, 0))
        for label in sample.labels:
            of_split[label] += 1
    return {name: counts[name] for name in ("all", *SPLITS) if name in counts}


def shared_groups(
    samples: Sequence[Sample],
    same_content: Mapping[str, str],
    near: Mapping[str, str],
    blocks: Mapping[str, str],
) -> dict[str, str]:
    """Sample id -> group, where groups that share a picture or a text have become one.

    Args:
        samples: With groups of their own, or without.
        same_content: See `split_dataset`.
        near: Likewise, near-duplicates.
        blocks: Likewise.
    """
    links = []
    for sample in samples:
        own = f"id {sample.id}"
        keys = [own]
        keys += [] if sample.group is None else [f"group {sample.group}"]
        content = same_content.get(sample.id)
        keys += [] if content is None else [f"content {content}"]
        keys += [f"near {near[sample.id]}"] if sample.id in near else []
        keys += [f"block {blocks[sample.id]}"] if sample.id in blocks else []
        links += [(own, key) for key in keys]
    root = chained(links)
    names: dict[str, str] = {}  # the first in alphabetical order names the group
    for sample in sorted(samples, key=lambda s: (s.group is None, s.group or "", s.id)):
        name = sample.group or blocks.get(sample.id) or sample.id
        names.setdefault(root[f"id {sample.id}"], name)
    return {s.id: names[root[f"id {s.id}"]] for s in samples}


def _refuse_too_few(
    dataset: Dataset, assignment: Mapping[str, Split], groups: Mapping[str, str]
) -> None:
    """Stop when groups, and not a lack of samples, leave nothing to test on."""
    num_groups = len(set(groups.values()))
    if "test" in assignment.values() or num_groups == len(groups):
        return
    sizes = Counter(groups.values()).most_common(3)
    largest = ", ".join(f"`{name}` with {size:,}" for name, size in sizes)
    raise DataError(
        f"The {len(groups):,} samples of `{dataset.root}` are in {num_groups:,} "
        f"{'group' if num_groups == 1 else 'groups'} that must stay whole ({largest}). Each class "
        "needs one group to learn from and another to test on. Add samples of other groups, name "
        "finer groups with --group, or bring a test split of your own."
    )


def _uneven(
    dataset: Dataset, assignment: Mapping[str, Split], groups: Mapping[str, str]
) -> list[str]:
    """Where whole groups gave the test far more or less of a class than was meant."""
    if len(set(groups.values())) == len(groups):
        return []
    counts = class_counts(dataset.only(assignment), assignment)
    fraction = min(HOLDOUT_FRACTION, MAX_HOLDOUT / max(1, len(assignment)))
    far = []
    for name, found in counts.get("test", {}).items():
        meant = fraction * sum(of_split[name] for of_split in counts.values())
        if found and abs(found - meant) > max(2.0, meant / 2):
            far.append(f"{found:,} of {name} instead of about {meant:,.0f}")
    if not far:
        return []
    shown = ", ".join(far[:5]) + (" and more" if len(far) > 5 else "")
    return [f"Groups stay whole, so the test could not be spread evenly: it has {shown}."]


def _unmet(
    dataset: Dataset,
    assignment: Mapping[str, Split],
    groups: Mapping[str, str],
    *,
    is_drawn: bool,
) -> list[str]:
    """What the splits lack, in sentences.

    Of masks, what train lacks, and what no mask has, are findings by pixels (`mask_classes`).
    """
    counts = class_counts(dataset.only(assignment), assignment)
    notes = []
    asked: dict[Split, str] = {"train": "cannot be learnt", "test": "cannot be measured"}
    expected = dataset.classes
    if dataset.legend is not None:
        del asked["train"]
        expected = tuple(n for n in expected if any(of.get(n) for of in counts.values()))
    for split, consequence in asked.items():
        of_split = counts.get(split, {})
        lacking = [name for name in expected if not of_split.get(name)]
        if lacking:
            shown = ", ".join(lacking[:10]) + (" and more" if len(lacking) > 10 else "")
            reason = (
                " (a single sample or group stays in train)" if is_drawn and split == "test" else ""
            )
            noun = "class has" if len(lacking) == 1 else "classes have"
            notes.append(
                f"{len(lacking)} {noun} no {split} sample{reason} and {consequence}: {shown}."
            )
    if "validation" not in counts:
        is_grouped = len(set(groups.values())) < len(groups)
        few = "samples (or groups of them)" if is_grouped else "samples"
        notes.append(f"There are too few {few} for a validation split: it is empty.")
    if is_drawn and not any(sample.split for sample in dataset.samples):
        notes += _uneven(dataset, assignment, groups)
    splits_of: dict[str, set[str]] = {}
    for name, split in assignment.items():
        splits_of.setdefault(groups[name], set()).add(split)
    straddling = sorted(name for name, splits in splits_of.items() if len(splits) > 1)
    if straddling:
        notes.append(
            f"The splits that the data set brings tear {len(straddling):,} of the groups apart, "
            f"such as `{straddling[0]}`: what is measured on them flatters the model."
        )
    return notes
