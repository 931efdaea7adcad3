"""Finds what is wrong with masks, all at once, before a fit: size, place, values, emptiness.

Knows nothing of models. Each mask is read once, in threads; of the pictures only headers. That a
picture itself can be read is for `checks` to find out.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from headstart.contracts import IGNORE, Dataset, Finding, Legend, Sample
from headstart.data.images import REPLACE_OR_SKIP, PictureError, upright_size
from headstart.data.listing import count, series
from headstart.data.mask_files import read_sample_mask, told_value, told_values
from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import (
    RASTER_SUFFIXES,
    Window,
    is_same_crs,
    raster_facts,
    read_window,
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


@dataclass
class _Checked:
    """What came out for one sample: facts, and kind of trouble -> what exactly."""

    facts: MaskFacts | None = None
    troubles: dict[str, str] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    is_unlabelled: bool = False


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


def check_masks(
    dataset: Dataset, *, progress: Progress, num_threads: int | None = None
) -> CheckedMasks:
    """Look for every kind of trouble with masks at once.

    Windows without a labelled pixel are left out and counted. All else is errors that
    `--on-bad skip` leaves out, sample by sample: `unreadable-mask`, `coloured-mask`,
    `size-mismatch`, `crs-mismatch`, `elsewhere`, `empty-mask`, `unknown-value`.
    A legend with a single class is an error that nothing can leave out. Pictures or masks without a
    partner were found while reading.

    Args:
        dataset: Samples with masks, and their legend.
        progress: Is told about every mask.
        num_threads: By default two more than there are cores, for those that wait for the disk.

    Raises:
        DataError: The data set has no legend.
    """
    legend = dataset.legend
    if legend is None:
        raise DataError(f"`{dataset.root}` has no masks. Only data with masks can be checked so.")
    threads = num_threads or min(16, (os.cpu_count() or 1) + 2)
    samples = dataset.samples
    chunks = [samples[i : i + _CHUNK] for i in range(0, len(samples), _CHUNK)]
    checked: dict[str, _Checked] = {}
    pool = ThreadPoolExecutor(threads, thread_name_prefix="masks")
    try:
        with progress.bar("checking masks", total=len(samples), unit="masks") as advance:
            for results in pool.map(partial(_check_all, legend=legend), chunks):
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
        *_findings(checked),
        *_unlabelled_scenes(samples, empty),
        *_unknown_findings(checked, legend),
        *_legend_findings(legend),
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


def _check_all(samples: Sequence[Sample], *, legend: Legend) -> dict[str, _Checked]:
    return {sample.id: _check(sample, legend) for sample in samples}


def _check(sample: Sample, legend: Legend) -> _Checked:
    checked = _Checked()
    if sample.mask is None:
        checked.troubles["unreadable-mask"] = "it has none"
        return checked
    try:
        mask = read_sample_mask(sample, legend)
    except PictureError as error:
        kind = "coloured-mask" if error.kind == "coloured-mask" else "unreadable-mask"
        # The finding has a remedy of its own, for all of them.
        checked.troubles[kind] = str(error).removesuffix(f" {REPLACE_OR_SKIP}")
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
    if not any(pixels) and not mask.unknown:
        if sample.window is not None:  # of a large scene, parts may well be unlabelled
            checked.is_unlabelled = True
            return checked
        checked.troubles["empty-mask"] = ""
    checked.troubles |= _beside_picture(sample, mask.facts)
    return checked


def _ignore_without_data(sample: Sample, indices: np.ndarray) -> None:
    """What the picture does not show cannot be learnt, whatever the mask says of it."""
    if sample.window is None or sample.path.suffix.lower() not in RASTER_SUFFIXES:
        return
    try:
        _, valid = read_window(sample.path, Window(*sample.window))
    except PictureError:
        return  # the checks of pictures find it
    indices[~valid] = IGNORE


def _beside_picture(sample: Sample, mask: RasterFacts) -> dict[str, str]:
    """Trouble of a mask that shows when it is laid on its picture."""
    try:
        if sample.path.suffix.lower() in RASTER_SUFFIXES:
            picture = raster_facts(sample.path)
            size = (picture.width, picture.height)
        else:
            picture, size = None, upright_size(sample.path)
    except PictureError:
        return {}  # the checks of pictures find it
    if size != (mask.width, mask.height):
        told = f"{size[0]} x {size[1]}, its mask {mask.width} x {mask.height}"
        return {"size-mismatch": f"`{sample.id}` is {told}"}
    if picture is None or not (picture.is_georeferenced and mask.is_georeferenced):
        return {}
    if not is_same_crs(picture.crs, mask.crs):
        told = f"{_short(picture.crs)}, its mask in {_short(mask.crs)}"
        return {"crs-mismatch": f"`{sample.id}` is in {told}"}
    away = _pixels_apart(picture, mask)
    if away > _TOLERANCE:
        return {"elsewhere": f"`{sample.id}` and its mask are {away:,.3g} pixels apart"}
    return {}


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


# --- findings ---------------------------------------------------------------------------------


def _findings(checked: Mapping[str, _Checked]) -> Iterable[Finding]:
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


def _unlabelled_scenes(samples: Sequence[Sample], empty: Set[str]) -> Iterable[Finding]:
    """Scenes none of whose windows has a labelled pixel."""
    of_scene: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        if sample.window is not None:
            of_scene[sample.id.rpartition("#")[0]].append(sample.id)
    bare = sorted(name for name, ids in of_scene.items() if empty >= set(ids))
    if bare:
        yield Finding(
            "empty-mask",
            "error",
            f"{count(len(bare), 'scene')} without a pixel that both is labelled and holds data.",
            "Label them, or check which values are ignored (--ignore-value) and what is nodata.",
            tuple(bare),
        )


def _unknown_findings(checked: Mapping[str, _Checked], legend: Legend) -> Iterable[Finding]:
    concerned = {name: result.unknown for name, result in checked.items() if result.unknown}
    if not concerned:
        return
    occurring = Counter(value for values in concerned.values() for value in values)
    told = series(f"{told_value(v, legend)} in {n:,}" for v, n in occurring.most_common())
    noun = "colours" if legend.is_coloured else "values"
    values = " ".join(f"--ignore-value {v}" for v in sorted(occurring)[:3])
    yield Finding(
        "unknown-value",
        "error",
        f"{count(len(concerned), 'mask')} with {noun} that the legend does not have ({told}); it "
        f"has {told_values(legend)}.",
        f"Add the class to classes.txt, or pass `{values}`.",
        tuple(sorted(concerned)),
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
