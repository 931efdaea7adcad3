"""Large pictures with masks become windows: one sample each, read by window and never whole.

Goes by headers alone. Which windows hold no labelled pixel is found out in `mask_checks`, that of
neighbours in `spatial_blocks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from headstart.contracts import Dataset, Finding, Sample
from headstart.data.images import PictureError, upright_size
from headstart.data.listing import count
from headstart.data.polygon_masks import is_polygon_file
from headstart.data.rasters import RASTER_SUFFIXES, raster_facts
from headstart.data.window_ids import window_id
from headstart.errors import DataError

# A raster with a longer side is cut: published chips have up to 1,024 pixels (LoveDA, Wang et al.
# 2021; DeepGlobe's roads, Demir et al. 2018) and stay what their publishers measured on.
LONGEST_SIDE = 1024
# Of a window: the blocks that GDAL gives a COG, so that a window is one read; and it holds a few
# crops of training.
WINDOW_SIDE = 512
# A photo is decoded whole whatever is wanted of it, so it is cut (in prediction: seen by windows)
# only where its maps would fill the memory of a laptop.
MOST_PHOTO_PIXELS = 16_000_000
_THREADS = 4  # headers are read in a fraction of a millisecond; more threads only wait

Place = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Cut:
    """A sample, its windows if it is large, and the kind of its trouble with what exactly."""

    samples: tuple[Sample, ...]
    trouble: tuple[str, str] | None = None


def windows(width: int, height: int, *, side: int = WINDOW_SIDE) -> Iterator[Place]:
    """Windows (left, top, width, height) that cover a picture, each pixel once, row by row.

    The last of a row or column is half as long as the others to half as long again, so that none
    is a sliver.

    Example:
        >>> list(windows(1200, 300))
        [(0, 0, 512, 300), (512, 0, 688, 300)]
    """
    columns, rows = _edges(width, side), _edges(height, side)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield (left, top, right - left, bottom - top)


def _edges(length: int, side: int) -> list[int]:
    number = max(1, round(length / side))
    return [*range(0, number * side, side), length]


def tiled(dataset: Dataset, *, longest: int = LONGEST_SIDE, side: int = WINDOW_SIDE) -> Dataset:
    """The data set with a sample for each window of its large pictures.

    A window of `scene.tif` is called `scene.tif#LEFT,TOP`, whatever else is in the data; see
    `window_ids`.

    Args:
        dataset: Without masks it stays as it is.
        longest: A raster with more pixels on a side is cut.
        side: Of a window, in pixels.
    """
    if dataset.legend is None:
        return dataset
    cut_one = partial(_cut, longest=longest, side=side)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="headers") as pool:
        cut = list(pool.map(cut_one, dataset.samples))
    samples = sorted((s for each in cut for s in each.samples), key=lambda s: s.id)
    num_cut = sum(any(s.window for s in each.samples) for each in cut)
    notes = dataset.notes
    if num_cut:
        num_windows = sum(s.window is not None for s in samples)
        notes = (
            *notes,
            f"{count(num_cut, 'picture')} with more than {longest:,} pixels on a side, read as "
            f"{count(num_windows, 'window')} of about {side} x {side}.",
        )
    findings = []
    for kind, what, remedy in (
        ("size-mismatch", "of another size than the picture", "Make both from the same pixels."),
        ("unreadable-mask", "that cannot be read", "Replace them."),
    ):
        troubled = {
            sample.id: each.trouble[1]
            for sample, each in zip(dataset.samples, cut, strict=True)
            if each.trouble is not None and each.trouble[0] == kind
        }
        if troubled:
            example = next(iter(troubled.values())).rstrip(".")
            message = f"{count(len(troubled), 'mask')} {what}, for one: {example}."
            findings.append(Finding(kind, "error", message, remedy, tuple(sorted(troubled))))
    found = (*dataset.findings, *findings)
    return replace(dataset, samples=tuple(samples), notes=notes, findings=found)


def _cut(sample: Sample, *, longest: int, side: int) -> _Cut:
    size = _size_if_large(sample, longest)
    if size is None:
        return _Cut((sample,))
    if sample.mask is not None and not is_polygon_file(sample.mask):
        try:
            mask = raster_facts(sample.mask)
        except DataError as error:
            return _Cut((), ("unreadable-mask", str(error)))
        if (mask.width, mask.height) != size:
            told = f"{size[0]} x {size[1]}, its mask {mask.width} x {mask.height}"
            return _Cut((), ("size-mismatch", f"`{sample.id}` is {told}"))
    return _Cut(
        tuple(
            replace(sample, id=window_id(sample.id, left=place[0], top=place[1]), window=place)
            for place in windows(*size, side=side)
        )
    )


def _size_if_large(sample: Sample, longest: int) -> tuple[int, int] | None:
    """(width, height) of a picture that is to be cut; None of others, and of unreadable ones."""
    try:
        if sample.path.suffix.lower() in RASTER_SUFFIXES:
            facts = raster_facts(sample.path)
            return (facts.width, facts.height) if max(facts.width, facts.height) > longest else None
        width, height = upright_size(sample.path)
    except (PictureError, DataError):
        return None  # the checks find it
    return (width, height) if width * height > MOST_PHOTO_PIXELS else None
