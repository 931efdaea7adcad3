"""From checked data to splits that nothing leaks across: groups, copies, and places on Earth.

The steps that `fit` and `inspect` share. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from headstart.contracts import Dataset
from headstart.data.checks import Checkup
from headstart.data.leaks import LeakedSample, leaked
from headstart.data.near_pairs import NearDuplicates
from headstart.data.places import Places, places_in_file, places_on_earth
from headstart.data.spatial_blocks import (
    MIN_BLOCKS,
    SpatialBlocks,
    find_blocks,
    leaked_places,
    too_near,
)
from headstart.data.splits import SplitPlan, split_dataset
from headstart.data.window_ids import picture_of


@dataclass(frozen=True)
class PlannedSplits:
    """Who is in which split.

    Attributes:
        split: Without the samples that are left out.
        left_out: Sample id -> why it is in no split: too near to what is held out.
        leaks: Samples of a given test that also stand, or nearly, in train or validation.
    """

    split: SplitPlan
    left_out: Mapping[str, str]
    leaks: tuple[LeakedSample, ...]


def plan_splits(
    dataset: Dataset, checkup: Checkup, near: NearDuplicates, *, seed: int
) -> PlannedSplits:
    """Split the data: copies, groups and neighbourhoods stay whole.

    Args:
        dataset: As checked, without what cannot be used.
        checkup: Of it.
        near: Its near-duplicates.
        seed: See `split_dataset`.

    Raises:
        DataError: See `split_dataset`.
    """
    blocks = spatial_blocks(dataset, checkup)
    same = checkup.same_content
    split = split_dataset(
        dataset, seed=seed, same_content=same, near_duplicates=near.group_of, blocks=blocks.block_of
    )
    left_out, notes = too_near(split, blocks, dataset) if blocks.frames else ({}, ())
    split = replace(
        split,
        assignment={i: s for i, s in split.assignment.items() if i not in left_out},
        groups={i: g for i, g in split.groups.items() if i not in left_out},
        reason=" ".join(filter(None, (split.reason, blocks.reason))),
        notes=(*split.notes, *notes),
    )
    leaks = leaked(split, dataset, same_content=same, near=near)
    known = {leak.id for leak in leaks}
    leaks += tuple(leak for leak in leaked_places(split, blocks) if leak.id not in known)
    return PlannedSplits(split, left_out, leaks)


def spatial_blocks(
    dataset: Dataset, checkup: Checkup, *, min_blocks: int = MIN_BLOCKS
) -> SpatialBlocks:
    """The neighbourhoods of a data set with masks; none where the user has named groups.

    Args:
        dataset: Samples whose headers the checkup knows.
        checkup: Of it.
        min_blocks: See `find_blocks`.
    """
    if dataset.legend is None or any(sample.group for sample in dataset):
        return SpatialBlocks({})
    headers = {
        s.id: header
        for s in dataset
        if s.id in checkup.facts and (header := checkup.facts[s.id].raster) is not None
    }
    earth = places_on_earth(headers)
    placed = set(earth.ids) if earth is not None else set()
    windows: dict[str, dict[str, tuple[int, int, int, int]]] = {}
    for sample in dataset:
        if sample.window is not None and sample.id not in placed:
            windows.setdefault(picture_of(sample.id), {})[sample.id] = sample.window
    in_files: dict[str, Places] = {name: places_in_file(each) for name, each in windows.items()}
    shares = {
        id_: [n / max(1, sum(of_mask.pixels)) for n in of_mask.pixels]
        for id_, of_mask in checkup.masks.items()
    }
    return find_blocks(earth, in_files, shares, min_blocks=min_blocks)
