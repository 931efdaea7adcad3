"""Settles what the values of masks stand for, and says it.

By a legend file, by GDAL's category names, by what a published layout is known for, or by the
values themselves. Which pixels are ignored is never decided without a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from headstart.contracts import Legend
from headstart.data.images import PictureError
from headstart.data.legend_files import Colour, NamedValue, read_legend_file
from headstart.data.listing import count, series
from headstart.data.mask_files import (
    StoredMask,
    pack_colour,
    stored_parts,
    told_value,
    whole_nodata,
)
from headstart.errors import DataError

# Names that say that pixels are of no class.
_IGNORED_NAMES = frozenset(
    {
        *("ignore", "ignored", "void", "unlabeled", "unlabelled", "no label", "nolabel"),
        *("no_label", "nodata", "no data", "no_data", "don't care", "dontcare", "unlabeled_area"),
    }
)
# What most published masks with 8 bits give to pixels of no class, among them Pascal VOC (its
# development kit, section 8.1) and Cityscapes' training ids.
_CONVENTIONAL_IGNORE = 255
# More values than this without names are rather a grey picture, or a mask saved as JPEG.
_MAX_UNNAMED = 64
_PEEKED = 8  # masks that are looked at to tell colours from values
_THREADS = 4  # GDAL decodes a mask in well under a millisecond; more threads only wait


@dataclass
class Census:
    """What occurs in the masks of a data set. Masks that cannot be read are left to the checks.

    Attributes:
        counts: Value -> number of masks it occurs in, of those with values.
        colours: Likewise, of those with colours.
        num_valued: Number of masks with values.
        num_coloured: Number of masks with colours.
        num_lossy: Number of masks saved as JPEG, which puts values between those that were drawn.
        nodata: Nodata values of the files.
        palette: Value -> colour, of the first mask with a palette.
        categories: Value -> name, of the first mask with GDAL's category names.
    """

    counts: Counter[int] = field(default_factory=Counter)
    colours: Counter[int] = field(default_factory=Counter)
    num_valued: int = 0
    num_coloured: int = 0
    num_lossy: int = 0
    nodata: set[int] = field(default_factory=set)
    palette: Mapping[int, Colour] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)


def take_census(paths: Sequence[Path]) -> Census:
    """Read masks, and count the values in them."""
    census = Census()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="census") as pool:
        for mask, values in filter(None, pool.map(_occurring, paths)):
            census.num_lossy += mask.facts.format == "JPEG"
            if mask.is_coloured:
                census.num_coloured += 1
                census.colours.update(values)
                continue
            census.num_valued += 1
            census.counts.update(values)
            nodata = whole_nodata(mask.facts)
            if nodata is not None:
                census.nodata.add(nodata)
            census.palette = census.palette or mask.facts.colours
            census.categories = census.categories or mask.facts.categories
    return census


def _refuse_unreadable(masks: Sequence[Path], census: Census) -> None:
    """Stop when there is nothing to learn the classes from.

    Raises:
        DataError: No mask can be read, or all pixels of those that can are nodata or transparent.
    """
    if not masks or census.counts or census.colours:
        return
    try:
        next(iter(stored_parts(masks[0])))
    except PictureError as error:
        if not census.num_valued + census.num_coloured:
            raise DataError(
                f"None of {count(len(masks), 'mask')} can be read, so that their classes are not "
                f"known. For one: {error}"
            ) from None
    raise DataError(
        f"{count(len(masks), 'mask')} without a labelled pixel: all are nodata or transparent, "
        f"such as `{masks[0]}`. Label them, or mend the nodata value that they declare."
    )


def _occurring(path: Path) -> tuple[StoredMask, list[int]] | None:
    try:
        mask, values = _read_in_parts(path)
    except PictureError:
        return None  # the checks say what is wrong with it
    return mask, sorted(values)


def _read_in_parts(path: Path, *, as_colours: bool = False) -> tuple[StoredMask, set[int]]:
    """The mask (of a large one, its last part), and all values in it."""
    found: set[int] = set()
    kinds: set[bool] = set()
    for mask in stored_parts(path, as_colours=as_colours):
        values = mask.values[mask.opaque]
        if values.dtype == np.uint8:
            found.update(np.flatnonzero(np.bincount(values, minlength=256)).tolist())
        else:
            found.update(np.unique(values).tolist())
        kinds.add(mask.is_coloured)
    if len(kinds) > 1:  # grey parts of a coloured mask told grey values, not colours
        mask, found = _read_in_parts(path, as_colours=True)
    return mask, found


def settle_legend(
    masks: Sequence[Path],
    *,
    file: Path | None = None,
    known: Legend | None = None,
    ignore_values: Sequence[int] | None = None,
) -> tuple[Legend, list[str]]:
    """What the values of some masks stand for, and sentences that say how that is known.

    Args:
        masks: All masks of a data set.
        file: A legend file; it wins over all else.
        known: What the layout is known for; used when there is no file.
        ignore_values: Exactly these values are ignored, besides nodata; None: find out.

    Raises:
        DataError: The file cannot be understood, or the masks have colours or very many values that
            nothing explains.
    """
    if file is not None:
        legend, notes = _by_file(masks, file)
    elif known is not None:
        legend, notes = known, []
    else:
        census = take_census(masks)
        _refuse_unreadable(masks, census)
        legend, notes = _by_values(census, ignore_values)
    if ignore_values is None:
        legend, more = _without_void(legend)
        if file is not None and not legend.is_coloured and not _has(legend, _CONVENTIONAL_IGNORE):
            legend = replace(legend, ignored=(*legend.ignored, _CONVENTIONAL_IGNORE))
            more.append(
                f"The value {_CONVENTIONAL_IGNORE} is ignored where it occurs: {file.name} does "
                "not name it, and it commonly marks pixels of no class."
            )
    else:
        legend, more = _ignoring(legend, ignore_values)
    if not legend.names:
        raise DataError(
            "No class is left in the masks: all of their values are ignored. At least one is "
            "needed; see --ignore-value."
        )
    return legend, [*notes, *more]


def _has(legend: Legend, value: int) -> bool:
    return value in legend.ignored or any(value in values for values in legend.values)


# --- by a file --------------------------------------------------------------------------------


def _by_file(masks: Sequence[Path], file: Path) -> tuple[Legend, list[str]]:
    entries = read_legend_file(file)
    peeked = take_census(masks[:_PEEKED])
    has_colours = entries[0].colour is not None
    has_values = entries[0].value is not None
    if peeked.num_coloured and not has_colours:
        raise DataError(
            f"The masks have colours, such as {_told_colours(peeked.colours, 3)}, but "
            f"`{file}` gives none. Add a column with the colour of each class:"
            + _suggested(peeked.colours)
        )
    in_palette = {pack_colour(colour) for colour in peeked.palette.values()}
    listed = {pack_colour(e.colour) for e in entries if e.colour is not None}
    if has_colours and (peeked.num_coloured or (not has_values and listed <= in_palette)):
        values = [pack_colour(e.colour) for e in entries if e.colour is not None]
        legend = _merged(entries, values, is_coloured=True)
        return legend, [f"Colours of the masks are named by {file.name}."]
    if has_values:
        values = [e.value for e in entries if e.value is not None]
        return _merged(entries, values), [f"Values of the masks are named by {file.name}."]
    return _numbered(entries, take_census(masks), file)


def _numbered(
    entries: Sequence[NamedValue], census: Census, file: Path
) -> tuple[Legend, list[str]]:
    """Names without values: counted from 0, unless the masks can only mean otherwise."""
    found = sorted(census.counts.keys() - {_CONVENTIONAL_IGNORE} - census.nodata)
    values = list(range(len(entries)))
    note = f"{file.name} names the values of the masks from 0 on."
    if not set(found) <= set(values) and len(found) == len(entries):
        values = found
        pairs = series(f"{v} {e.name}" for v, e in zip(found, entries, strict=True))
        note = f"{file.name} has as many names as the masks have values, in this order: {pairs}."
    return _merged(entries, values), [note]


def _merged(
    entries: Sequence[NamedValue], values: Sequence[int], *, is_coloured: bool = False
) -> Legend:
    """A legend in which several values of one name are one class."""
    of_name: dict[str, list[int]] = {}
    colours: dict[str, Colour] = {}
    for entry, value in zip(entries, values, strict=True):
        of_name.setdefault(entry.name, []).append(value)
        if entry.colour is not None:
            colours.setdefault(entry.name, entry.colour)
    return Legend(
        tuple(of_name),
        tuple(tuple(v) for v in of_name.values()),
        colours=tuple(colours.values()) if len(colours) == len(of_name) else None,
        is_coloured=is_coloured,
    )


# --- by the masks themselves ------------------------------------------------------------------


def _by_values(census: Census, ignore_values: Sequence[int] | None) -> tuple[Legend, list[str]]:
    """Values named by GDAL's category names, or by themselves."""
    if census.num_lossy and max(len(census.counts), len(census.colours)) > 2:
        raise DataError(
            f"{count(census.num_lossy, 'mask')} saved as JPEG, which blurs values: "
            f"{max(len(census.counts), len(census.colours)):,} occur. Save masks as PNG, from what "
            "they were drawn with; or, if there are two classes, make all below 128 one value and "
            "all above it the other, and save that as PNG."
        )
    if census.num_coloured > census.num_valued:
        raise DataError(
            f"{count(census.num_coloured, 'mask')} have {count(len(census.colours), 'colour')} "
            "instead of values, and nothing says which colour is which class. Add a file "
            "classes.csv beside the folders of images and masks:" + _suggested(census.colours)
        )
    values = sorted(census.counts.keys() - set(ignore_values or ()))
    if not values:
        return Legend((), ()), []
    notes = []
    ignored = sorted(set(values) & census.nodata)
    if ignored and len(values) > 1:
        notes.append(
            f"The value {series(map(str, ignored))} is ignored: the masks say that it stands for "
            "no data. If it is a class, name it in a classes.txt."
        )
        values = [v for v in values if v not in ignored]
    is_void = _CONVENTIONAL_IGNORE in values and len(values) > 2
    if is_void and _CONVENTIONAL_IGNORE not in census.categories and ignore_values is None:
        values.remove(_CONVENTIONAL_IGNORE)
        ignored.append(_CONVENTIONAL_IGNORE)
        notes.append(
            f"The value {_CONVENTIONAL_IGNORE} is ignored: beside {len(values)} others it commonly "
            "marks pixels of no class. If it is a class, name it in a classes.txt."
        )
    if len(values) > _MAX_UNNAMED:
        raise DataError(
            f"The masks have {len(values)} different values ({values[0]} to {values[-1]}) and no "
            "legend, which is rather a grey picture, or a mask that was saved as JPEG or resized. "
            "If they are classes, name them in a classes.txt beside the masks: `value name` a line."
        )
    names = [census.categories.get(value, str(value)) for value in values]
    if census.categories:
        notes.append("Values of the masks are named by the category names in the files.")
    else:
        notes.append(
            f"The values in the masks are the classes: {series(map(str, values))}. To name "
            f"them, add a classes.txt: `{values[0]} NAME` a line."
        )
    colours = [census.palette[value] for value in values if value in census.palette]
    legend = _merged([NamedValue(name) for name in names], values)
    if len(legend.names) == len(colours) == len(set(colours)):
        legend = replace(legend, colours=tuple(colours))
    return replace(legend, ignored=tuple(ignored)), notes


def _told_colours(colours: Iterable[int], limit: int) -> str:
    return series((f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in sorted(colours)), limit=limit)


def _suggested(colours: Counter[int]) -> str:
    """A classes.csv with the commonest colours, to be filled in."""
    lines = [f'\n    NAME,"{c >> 16} {c >> 8 & 255} {c & 255}"' for c, _ in colours.most_common(20)]
    return "\n    name,colour" + "".join(lines)


# --- what is ignored --------------------------------------------------------------------------


def _without_void(legend: Legend) -> tuple[Legend, list[str]]:
    """Classes called `void` and the like are ignored instead."""
    void = [name for name in legend.names if name.strip().lower() in _IGNORED_NAMES]
    if not void:
        return legend, []
    values = [v for n in void for v in legend.values[legend.names.index(n)]]
    note = f"{series(void)}: ignored, as the name says. To make it a class, name it otherwise."
    return _ignored(legend, values), [note]


def _ignoring(legend: Legend, values: Sequence[int]) -> tuple[Legend, list[str]]:
    told = series(told_value(value, legend) for value in values) or "none"
    note = f"Ignored values of the masks: {told}, as --ignore-value says."
    return _ignored(legend, values), [note]


def _ignored(legend: Legend, unwanted: Sequence[int]) -> Legend:
    """The legend with some values ignored; a class that has no other is no class any more."""
    kept = [
        (i, name, tuple(v for v in values if v not in unwanted))
        for i, (name, values) in enumerate(zip(legend.names, legend.values, strict=True))
    ]
    kept = [entry for entry in kept if entry[2]]
    colours = legend.colours
    return replace(
        legend,
        names=tuple(name for _, name, _ in kept),
        values=tuple(values for _, _, values in kept),
        ignored=tuple(sorted({*legend.ignored, *unwanted})),
        colours=None if colours is None else tuple(colours[i] for i, _, _ in kept),
    )
