"""Finds what is wrong with masks, all at once, before a fit: size, place, values, emptiness.

Knows nothing of models. Each mask is read once, in threads; of the pictures only headers. That a
picture itself can be read is for `checks` to find out.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from headstart.contracts import IGNORE, Dataset, Finding, Legend, Sample
from headstart.data.images import REPLACE_OR_SKIP, PictureError, Posture, posture
from headstart.data.listing import count
from headstart.data.mask_files import read_sample_mask
from headstart.data.mask_findings import (
    CheckedMask,
    mask_findings,
    name_of,
    unlabelled_scene_findings,
)
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import (
    RASTER_SUFFIXES,
    Window,
    holds_data,
    is_same_crs,
    open_raster,
    raster_facts,
)
from headstart.errors import DataError
from headstart.progress import Progress

# Half a pixel: what rounding of corner coordinates can do, and less than a mask can be off unseen.
_TOLERANCE = 0.5
_CHUNK = 16  # masks a task: one by one, the bookkeeping of threads costs a tenth of the time


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What is known of a mask after reading it.

    Attributes:
        width: Pixels.
        height: Pixels.
        pixels: Number of pixels of each class, in the order of the legend.
        num_ignored: Number of pixels of no class.
        sha256: Of its class indices, in hexadecimal: equal masks have the same, whatever format
            and values they are stored in.
    """

    width: int
    height: int
    pixels: tuple[int, ...]
    num_ignored: int
    sha256: str


@dataclass(frozen=True)
class CheckedMasks:
    """What the checks found.

    Attributes:
        dataset: As it was, with the findings added, and the classes in each mask as its labels.
        facts: Sample id -> facts of its mask, of those that could be read.
    """

    dataset: Dataset
    facts: Mapping[str, MaskFacts]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of the data set, those made while it was read first."""
        return self.dataset.findings


@dataclass(frozen=True)
class _Question:
    """What masks are checked for: their legend, their data set's folder, values to look for."""

    legend: Legend
    root: Path
    ignore_values: tuple[int, ...]


def check_masks(
    dataset: Dataset,
    *,
    progress: Progress,
    num_threads: int | None = None,
    ignore_values: Sequence[int] | None = None,
) -> CheckedMasks:
    """Look for every kind of trouble with masks at once.

    Windows without a labelled pixel are left out and counted. All else is errors that
    `--on-bad skip` leaves out, sample by sample: `unreadable-mask`, `coloured-mask`,
    `size-mismatch`, `crs-mismatch`, `elsewhere`, `empty-mask`, `unknown-value`.
    A legend with a single class is an error that nothing can leave out. Pictures or masks without a
    partner were found while reading. Warnings are `turned-picture` and `absent-value`.

    Args:
        dataset: Samples with masks, and their legend.
        progress: Is told about every mask.
        num_threads: By default two more than there are cores, for those that wait for the disk.
        ignore_values: Those that the user wants ignored; it is told when no mask has one.

    Raises:
        DataError: The data set has no legend.
    """
    legend = dataset.legend
    if legend is None:
        raise DataError(f"`{dataset.root}` has no masks. Only data with masks can be checked so.")
    threads = num_threads or min(16, (os.cpu_count() or 1) + 2)
    samples = dataset.samples
    question = _Question(legend, dataset.root, tuple(ignore_values or ()))
    chunks = [samples[i : i + _CHUNK] for i in range(0, len(samples), _CHUNK)]
    checked: dict[str, CheckedMask] = {}
    pool = ThreadPoolExecutor(threads, thread_name_prefix="masks")
    try:
        with progress.bar("checking masks", total=len(samples), unit="masks") as advance:
            for results in pool.map(partial(_check_all, question=question), chunks):
                checked.update(results)
                advance(len(results))
    finally:
        pool.shutdown(cancel_futures=True)
    empty = {name for name, c in checked.items() if c.is_unlabelled}
    facts = {n: c.facts for n, c in checked.items() if c.facts is not None and n not in empty}
    labelled = tuple(
        replace(s, labels=_classes_in(facts.get(s.id), legend))
        for s in samples
        if s.id not in empty
    )
    findings = (
        *dataset.findings,
        *mask_findings(checked, dataset, legend, ignore_values=question.ignore_values),
        *unlabelled_scene_findings(samples, empty),
    )
    notes = dataset.notes
    if empty:
        told = f"{count(len(empty), 'window')} without a labelled pixel, or without data, left out."
        notes = (*notes, told)
    found = replace(dataset, samples=labelled, findings=findings, notes=notes)
    return CheckedMasks(found, facts)


def _classes_in(facts: MaskFacts | None, legend: Legend) -> tuple[str, ...]:
    if facts is None:
        return ()
    return tuple(name for name, n in zip(legend.names, facts.pixels, strict=True) if n)


# --- one sample -------------------------------------------------------------------------------


def _check_all(samples: Sequence[Sample], *, question: _Question) -> dict[str, CheckedMask]:
    return {sample.id: _check(sample, question) for sample in samples}


def _check(sample: Sample, question: _Question) -> CheckedMask:
    checked = CheckedMask()
    legend = question.legend
    if sample.mask is None:
        checked.troubles["unreadable-mask"] = "it has none"
        return checked
    try:
        mask = read_sample_mask(sample, legend)
    except PictureError as error:
        # The findings have a remedy of their own, for all of them.
        if error.kind == "coloured-mask":
            checked.troubles["coloured-mask"] = f"`{name_of(sample.mask, question.root)}`"
        else:
            checked.troubles["unreadable-mask"] = str(error).removesuffix(f" {REPLACE_OR_SKIP}")
        return checked
    except DataError as error:  # of a file beside it, or of polygons
        checked.troubles["unreadable-mask"] = str(error)
        return checked
    if sample.window is not None:
        _ignore_without_data(sample, mask.indices)
    counts = np.bincount(mask.indices.ravel() - IGNORE, minlength=len(legend.names) + 1)
    height, width = mask.indices.shape
    small = np.ascontiguousarray(mask.indices, dtype="<i2")
    digest = hashlib.sha256(f"{width} {height} ".encode() + small.tobytes())
    pixels = tuple(int(n) for n in counts[1:])
    checked.facts = MaskFacts(width, height, pixels, int(counts[0]), digest.hexdigest())
    checked.unknown = mask.unknown
    # With an unknown value, the option that ignores it has to name all that is to be ignored.
    wanted = legend.ignored if mask.unknown else question.ignore_values
    if counts[0] and mask.values is not None:
        checked.ignored = tuple(value for value in wanted if (mask.values == value).any())
    name = name_of(sample.mask, question.root)
    if not any(pixels) and not mask.unknown:
        if sample.window is not None:  # of a large scene, parts may well be unlabelled
            checked.is_unlabelled = True
            return checked
        checked.troubles["empty-mask"] = f"`{name}`"
    _lay_on_picture(sample, mask.facts, checked, name=name)
    return checked


def _ignore_without_data(sample: Sample, indices: np.ndarray) -> None:
    """What the picture shows in no band cannot be learnt, whatever the mask says of it."""
    if sample.window is None or sample.path.suffix.lower() not in RASTER_SUFFIXES:
        return
    try:
        with open_raster(sample.path) as raster:
            values, opaque = raster.read_stored(Window(*sample.window))
    except DataError:
        return  # the checks of pictures find it
    # Which bands a model will take is not settled yet: with one that is dead all over, it need not.
    shown = [holds_data(values[i : i + 1], raster.facts.nodata) for i in range(len(values))]
    indices[~(opaque & np.any(shown, axis=0))] = IGNORE


def _lay_on_picture(sample: Sample, mask: RasterFacts, checked: CheckedMask, *, name: str) -> None:
    """Note the trouble of a mask that shows when it is laid on its picture."""
    try:
        if sample.path.suffix.lower() not in RASTER_SUFFIXES:
            _lay_on_photo(sample, mask, checked, name=name)
            return
        picture = raster_facts(sample.path)
    except DataError:
        return  # the checks of pictures find it
    size = (picture.width, picture.height)
    if size != (mask.width, mask.height):
        checked.troubles["size-mismatch"] = _told_sizes(sample, size, mask, name)
        return
    if not (picture.is_georeferenced and mask.is_georeferenced):
        return
    if not is_same_crs(picture.crs, mask.crs):
        told = f"{_short(picture.crs)}, its mask in {_short(mask.crs)}"
        checked.troubles["crs-mismatch"] = f"`{sample.id}` is in {told} (`{name}`)"
        return
    away = _pixels_apart(picture, mask)
    if away > _TOLERANCE:
        told = f"`{sample.id}` and its mask are {away:,.3g} pixels apart (`{name}`)"
        checked.troubles["elsewhere"] = told


def _lay_on_photo(sample: Sample, mask: RasterFacts, checked: CheckedMask, *, name: str) -> None:
    """As `_lay_on_picture`; a photo may want to be turned, and its mask be made before or after.

    Raises:
        PictureError: The photo cannot be read.
    """
    photo: Posture = posture(sample.path)
    size = (mask.width, mask.height)
    if photo.upright == size:
        checked.is_turned = photo.is_turned and photo.stored == size
        return
    told = _told_sizes(sample, photo.upright, mask, name)
    if photo.stored == size:
        told += ", which fits the picture as it is stored, before it is turned as its EXIF data say"
    checked.troubles["size-mismatch"] = told


def _told_sizes(sample: Sample, size: tuple[int, int], mask: RasterFacts, name: str) -> str:
    told = f"{size[0]} x {size[1]}, its mask {mask.width} x {mask.height}"
    return f"`{sample.id}` is {told} (`{name}`)"


def _pixels_apart(picture: RasterFacts, mask: RasterFacts) -> float:
    """The largest distance of their corners, in pixels of the picture."""
    if picture.transform is None:
        return 0.0
    a, b, _, d, e, _ = picture.transform
    side = math.sqrt(abs(a * e - b * d))
    pairs = zip(picture.corners, mask.corners, strict=True)
    return max(math.dist(first, second) for first, second in pairs) / side


def _short(crs: str) -> str:
    """An EPSG code, or the name in a WKT."""
    return crs if len(crs) < 30 else crs.partition('"')[2].partition('"')[0] or crs[:30]
