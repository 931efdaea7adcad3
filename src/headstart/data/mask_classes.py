"""How much of each class the masks of a data set hold: by pixels, for nothing else would be fair.

Knows what `mask_checks` counted, and nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from headstart.contracts import SPLITS, Dataset, Finding, Split
from headstart.data.listing import series
from headstart.data.mask_checks import MaskFacts

# A class with a smaller share of the pixels is hard to learn without weights: at 1 : 99, a model
# that never answers it is right on 99% of the pixels.
RARE_SHARE = 0.01


def pixel_counts(
    dataset: Dataset,
    facts: Mapping[str, MaskFacts],
    assignment: Mapping[str, Split] | None = None,
) -> dict[str, dict[str, int]]:
    """Split -> class -> number of pixels, with every class in every split; as `class_counts`.

    Args:
        dataset: With a legend.
        facts: Sample id -> facts of its mask; samples without are left out.
        assignment: Sample id -> split; None for the splits that the data set brings, where samples
            without one are counted under `all`.
    """
    counts: dict[str, np.ndarray] = {}
    for sample in dataset.samples:
        split = sample.split if assignment is None else assignment.get(sample.id)
        if sample.id in facts:
            zeros = np.zeros(len(dataset.classes), np.int64)
            before = counts.get(split or "all", zeros)
            counts[split or "all"] = before + facts[sample.id].pixels
    return {
        name: dict(zip(dataset.classes, counts[name].tolist(), strict=True))
        for name in ("all", *SPLITS)
        if name in counts
    }


def unlearnt_findings(
    dataset: Dataset, facts: Mapping[str, MaskFacts], assignment: Mapping[str, Split]
) -> Iterable[Finding]:
    """Classes that some split is measured on, but train shows in no pixel.

    Args:
        dataset: With a legend.
        facts: Sample id -> facts of its mask.
        assignment: Sample id -> split.
    """
    counts = pixel_counts(dataset, facts, assignment)
    of_train = counts.get("train", {})
    lacking = [
        name
        for name in dataset.classes
        if not of_train.get(name) and any(of_split[name] for of_split in counts.values())
    ]
    if not lacking:
        return
    told = []
    for name in lacking:
        numbers = [f"{of[name]:,} in {split}" for split, of in counts.items() if of[name]]
        told.append(f"{name} ({' and '.join(numbers)})")
    concerned = [s.id for s in dataset if s.id in assignment and set(s.labels) & set(lacking)]
    yield Finding(
        "unlearnt-class",
        "warning",
        f"{len(lacking)} of {len(dataset.classes)} classes without a pixel in train: "
        f"{series(told)}. A model cannot learn it, and is wrong wherever it occurs.",
        "Add pictures that show it to train, move some there, or ignore it (--ignore-value).",
        tuple(concerned),
    )


def mask_class_findings(dataset: Dataset, facts: Mapping[str, MaskFacts]) -> Iterable[Finding]:
    """What is wrong with the classes of masks: none there, in one mask only, or rare."""
    if not facts:
        return
    totals = dict.fromkeys(dataset.classes, 0)
    for of_split in pixel_counts(dataset, facts).values():
        for name, number in of_split.items():
            totals[name] += number
    having = {name: [s.id for s in dataset if name in s.labels] for name in totals}
    absent = [name for name, number in totals.items() if not number]
    occurring = [name for name in totals if name not in absent]
    if len(occurring) < 2 <= len(totals):
        yield Finding(
            "one-class",
            "error",
            f"Of {len(totals)} classes, the masks hold {series(occurring) or 'none'} alone: there "
            "is nothing to tell apart.",
            "Add pictures with a second class; check which values stand for it.",
        )
        return
    if absent:
        yield Finding(
            "no-class",
            "warning",
            f"{len(absent)} of {len(totals)} classes without a pixel in any mask: "
            f"{series(absent)}.",
            "Nothing, if that is meant: it cannot be learnt. Else add pictures that show it.",
        )
    single = [name for name in occurring if len(having[name]) < 2]
    if single:
        yield Finding(
            "tiny-class",
            "warning",
            f"{len(single)} of {len(totals)} classes in one mask only, which cannot be both learnt "
            f"and measured: {series(single)}.",
            "Add pictures that show it, or merge the class with another.",
            tuple(dict.fromkeys(id_ for name in single for id_ in having[name])),
        )
    all_pixels = sum(totals.values())
    rare = [name for name in occurring if totals[name] < RARE_SHARE * all_pixels]
    if rare:
        told = series(f"{name} {totals[name] / all_pixels:.2%}" for name in rare)
        yield Finding(
            "unbalanced",
            "warning",
            f"{len(rare)} of {len(totals)} classes with less than {RARE_SHARE:.0%} of the pixels: "
            f"{told}.",
            "Look at the IoU of each class, not at the pixel accuracy; see --balance.",
        )
