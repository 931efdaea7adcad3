"""What is wrong with masks, in words: findings from what `mask_checks` found out one by one.

Opens no file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.contracts import Dataset, Finding, Legend, Sample
from headstart.data.legend_files import legend_file_of
from headstart.data.listing import count, series
from headstart.data.mask_files import ignoring_option, told_value, told_values
from headstart.data.window_ids import picture_of

if TYPE_CHECKING:
    from headstart.data.mask_checks import MaskFacts

# Unknown values that a user may want to ignore; more are rather a picture, or a mask resized.
_MOST_IGNORABLE = 8
_LISTED_VALUES = 6


@dataclass
class CheckedMask:
    """What came out for one sample: facts, and kind of trouble -> what exactly.

    Attributes:
        facts: None where the mask cannot be read.
        troubles: What makes it unusable.
        unknown: Values that the legend does not have.
        ignored: Of the values that are ignored, those that occur; looked for where it is of use.
        is_unlabelled: Whether it is a window without a labelled pixel.
        is_turned: Whether EXIF data turn the picture, and the mask fits it turned and as stored.
    """

    facts: MaskFacts | None = None
    troubles: dict[str, str] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    is_unlabelled: bool = False
    is_turned: bool = False


# Kind -> (what, remedy) of trouble with single masks.
_TROUBLES = {
    "unreadable-mask": ("that cannot be read", "Replace them."),
    "coloured-mask": (
        "with colours where the others have values",
        "Save them with one band of values, as the others have.",
    ),
    "size-mismatch": (
        "of another size than the picture",
        "Make both from the same pixels; resizing a mask would move its edges.",
    ),
    "crs-mismatch": (
        "in another coordinate reference system than the picture",
        "Reproject them onto the grid of the picture, by nearest neighbour.",
    ),
    "elsewhere": (
        "georeferenced elsewhere than the picture",
        "Check which of the two is right, and that the pairs belong together.",
    ),
    "empty-mask": (
        "without a pixel of any class",
        "Label them, or check which values are ignored (--ignore-value).",
    ),
}


def mask_findings(
    checked: Mapping[str, CheckedMask],
    dataset: Dataset,
    legend: Legend,
    *,
    ignore_values: Sequence[int],
) -> tuple[Finding, ...]:
    """All findings, errors first.

    Args:
        checked: Sample id -> what came out for it.
        dataset: Of these samples.
        legend: Of the data set.
        ignore_values: Those that the user wants ignored.
    """
    return (
        *_trouble_findings(checked),
        *_unknown_findings(checked, dataset, legend),
        *_legend_findings(legend),
        *_absent_findings(checked, legend, ignore_values),
        *_turned_findings(checked),
    )


def unlabelled_scene_findings(samples: Sequence[Sample], empty: Set[str]) -> Iterable[Finding]:
    """Scenes none of whose windows has a labelled pixel.

    Args:
        samples: Any; those that are windows are looked at.
        empty: Ids of windows without a labelled pixel.
    """
    of_scene: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        if sample.window is not None:
            of_scene[picture_of(sample.id)].append(sample.id)
    bare = sorted(name for name, ids in of_scene.items() if empty >= set(ids))
    if bare:
        yield Finding(
            "empty-mask",
            "error",
            f"{count(len(bare), 'scene')} without a pixel that both is labelled and holds data.",
            "Label them, or check which values are ignored (--ignore-value) and what is nodata.",
            tuple(bare),
        )


def name_of(mask: Path, root: Path) -> str:
    """A mask as people look for it: relative to the data where it lies within them."""
    return mask.relative_to(root).as_posix() if root in mask.parents else str(mask)


def _trouble_findings(checked: Mapping[str, CheckedMask]) -> Iterable[Finding]:
    of_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for name, result in checked.items():
        for kind, told in result.troubles.items():
            of_kind[kind][name] = told
    for kind, (what, remedy) in _TROUBLES.items():
        concerned = of_kind.get(kind)
        if concerned:
            example = next(iter(concerned.values()))
            told = f": {example.rstrip('.')}." if example else "."
            if len(concerned) > 1 and example:
                told = f", for one: {example.rstrip('.')}."
            message = f"{count(len(concerned), 'mask')} {what}{told}"
            yield Finding(kind, "error", message, remedy, tuple(sorted(concerned)))


def _unknown_findings(
    checked: Mapping[str, CheckedMask], dataset: Dataset, legend: Legend
) -> Iterable[Finding]:
    concerned = {name: result.unknown for name, result in checked.items() if result.unknown}
    if not concerned:
        return
    masks = {sample.id: sample.mask for sample in dataset if sample.mask is not None}
    occurring = Counter(value for values in concerned.values() for value in values)
    commonest = occurring.most_common(_LISTED_VALUES)
    told = []
    for value, number in commonest:
        first = next(name for name, values in concerned.items() if value in values)
        example = f"`{name_of(masks[first], dataset.root)}`" + (" for one" if number > 1 else "")
        told.append(f"{told_value(value, legend)} in {number:,} ({example})")
    more = len(occurring) - len(commonest)
    told += [f"{more:,} more"] if more else []
    file = legend_file_of(dataset.root, masks.values())
    who = "the legend" if file is None else f"`{file.name}`"
    noun = "colours" if legend.is_coloured else "values"
    yield Finding(
        "unknown-value",
        "error",
        f"{count(len(concerned), 'mask')} with {noun} that {who} does not have: {', '.join(told)}. "
        f"Known are {told_values(legend)}.",
        _way_out(sorted(occurring), checked, legend, file),
        tuple(sorted(concerned)),
    )


def _way_out(
    unknown: Sequence[int], checked: Mapping[str, CheckedMask], legend: Legend, file: Path | None
) -> str:
    """What to do about values that the legend does not have."""
    where = f"`{file}`" if file is not None else "a classes.csv or classes.txt that names them all"
    if len(unknown) > _MOST_IGNORABLE:
        return (
            f"So many are rather a picture, or a mask that was saved as JPEG or resized with "
            f"interpolation: save it anew. If they are classes, name them in {where}."
        )
    # The option replaces what is ignored without it, so it has to name that too.
    ignored = {value for result in checked.values() for value in result.ignored}
    option = ignoring_option(sorted({*unknown, *ignored}), legend)
    return f"Name them in {where}, or pass `{option}`."


def _absent_findings(
    checked: Mapping[str, CheckedMask], legend: Legend, ignore_values: Sequence[int]
) -> Iterable[Finding]:
    """Values to be ignored that no mask has, which is rather a slip."""
    found = {value for result in checked.values() for value in result.ignored}
    absent = [value for value in ignore_values if value not in found]
    if not absent or not any(result.facts for result in checked.values()):
        return
    told = series(told_value(value, legend) for value in absent)
    nouns = ("colour", "colours") if legend.is_coloured else ("value", "values")
    yield Finding(
        "absent-value",
        "warning",
        f"No mask has the {nouns[len(absent) > 1]} {told} that --ignore-value gives: nothing is "
        f"ignored by it. Known are {told_values(legend)}.",
        "Give values that occur, or leave the option away.",
    )


def _turned_findings(checked: Mapping[str, CheckedMask]) -> Iterable[Finding]:
    turned = tuple(sorted(name for name, result in checked.items() if result.is_turned))
    if turned:
        yield Finding(
            "turned-picture",
            "warning",
            f"{count(len(turned), 'picture')} that EXIF data turn or mirror, as cameras write "
            f"them, with masks that fit both ways, such as `{turned[0]}`: the pictures are turned, "
            "the masks are taken as they are stored.",
            "Look at them with `headstart inspect DATA --output page.html`. Where the mask lies "
            "askew, it was made from the picture as stored: remove the EXIF orientation.",
            turned,
        )


def _legend_findings(legend: Legend) -> Iterable[Finding]:
    if len(legend.names) < 2:
        yield Finding(
            "one-class",
            "error",
            f"The masks have a single class, {series(legend.names)}: there is nothing to tell "
            "apart.",
            "Give all other pixels a value of their own; check which values are ignored "
            "(--ignore-value).",
        )
