"""Spatial blocks: pictures of one neighbourhood stay in one split, with a buffer between splits.

Neighbours are alike, so that a test picture beside a training picture is half known. The size of
the blocks comes from the data: where the likeness of what the masks show is spent with distance.
Source: Roberts et al. 2017, "Cross-validation strategies for data with temporal, spatial,
hierarchical, or phylogenetic structure" (Ecography 40), for blocks at least as large as the range
of the correlation; Valavi et al. 2019, "blockCV" (Methods in Ecology and Evolution 10), for finding
that range from the data; Ploton et al. 2020, "Spatial validation reveals poor predictive
performance of large-scale ecological mapping models" (Nature Communications 11), for the buffer and
for what is claimed without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.contracts import Dataset
from headstart.data.leaks import LeakedSample
from headstart.data.listing import count
from headstart.data.numbering import numbered
from headstart.data.places import Places
from headstart.data.splits import SplitPlan
from headstart.data.window_ids import picture_of

# Fewer would leave two to test on, of which no interval can be told.
MIN_BLOCKS = 10
# One for each split; with fewer, pictures are split without regard to where they lie.
_LEAST_BLOCKS = 3
# A buffer may take so much of the training; with more, what is measured is a worse model.
MOST_BUFFERED = 0.25
# From this share in common on, two pictures show the same ground. What reprojection makes of the
# edges of neighbours is less.
SAME_GROUND = 0.1
# Scenes without a place on Earth are kept whole if there are so many of them: enough for splits.
_MIN_SCENES = 5
_NUM_COMPARED = 600  # pictures in a correlogram: 180,000 pairs, in a second
_MIN_COMPARED = 12
_NUM_SHUFFLES = 99  # the envelope of 95% is then the fifth largest
_MOST_BINS, _MIN_PAIRS = 30, 10
# Sizes of blocks that are tried: among pictures a thousandth as wide as the likeness reaches, all
# sizes in steps of one would take minutes.
_MOST_SIZES = 64
_MOST_PAIRS = 1 << 20  # of pictures whose distances are worked out at once: some 100 MB


@dataclass(frozen=True, eq=False)
class SpatialBlocks:
    """Which pictures belong together.

    Attributes:
        block_of: Sample id -> block, of those that have a place.
        frames: Their places; those of different frames are never near each other.
        reason: How large the blocks are, and why, in a sentence; empty when there are none.
        size: Of a block, in the unit of the first frame.
        reaches: One a frame: the distance between centres at which pictures are no longer alike;
            None when it cannot be told.
    """

    block_of: Mapping[str, str]
    frames: tuple[Places, ...] = ()
    reason: str = ""
    size: float = 0.0
    reaches: tuple[float | None, ...] = ()


def find_blocks(
    earth: Places | None,
    in_files: Mapping[str, Places],
    descriptors: Mapping[str, Sequence[float]],
    *,
    min_blocks: int = MIN_BLOCKS,
) -> SpatialBlocks:
    """Blocks of the pictures of a data set.

    Args:
        earth: Places of the georeferenced pictures.
        in_files: File -> places of its windows, of files without georeference. Each file is a block
            where there are several; of one or two files there are blocks within.
        descriptors: Sample id -> what is in the picture, such as the shares of its classes.
        min_blocks: Blocks are smaller than they should be rather than fewer than this.

    Returns:
        Without the blocks of a frame where there would be one or two; the reason says so.
    """
    block_of: dict[str, str] = {}
    frames: list[Places] = []
    reasons = []
    reaches: list[float | None] = []
    size = 0.0
    if earth is not None and len(earth.ids) > 1:
        found = _blocks_of(earth, descriptors, name="block", min_blocks=min_blocks)
        reasons.append(found.reason)
        if found.block_of:
            block_of |= found.block_of
            frames.append(earth)
            reaches += found.reaches
            size = found.size
    if len(in_files) >= _MIN_SCENES:
        block_of |= {id_: file for file, places in in_files.items() for id_ in places.ids}
        reasons.append(f"The windows of each of {len(in_files)} pictures are kept together.")
    else:
        for file, places in in_files.items():
            least = max(2, min_blocks // len(in_files))
            found = _blocks_of(places, descriptors, name=f"{file} block", min_blocks=least)
            reasons.append(f"In {file}: {found.reason}")
            if found.block_of:
                block_of |= found.block_of
                frames.append(places)
                reaches += found.reaches
                size = size or found.size
    return SpatialBlocks(block_of, tuple(frames), " ".join(reasons), size, tuple(reaches))


def _blocks_of(
    places: Places, descriptors: Mapping[str, Sequence[float]], *, name: str, min_blocks: int
) -> SpatialBlocks:
    """Square blocks in one frame: as large as the likeness reaches, if that leaves enough."""
    known = [i for i, id_ in enumerate(places.ids) if id_ in descriptors]
    table = np.array([descriptors[places.ids[i]] for i in known], float)
    reach = correlation_range(places, np.array(known, int), table) if known else None
    # Pictures that adjoin are taken together by whole numbers, so that blocks are alike.
    adjoins = abs(places.spacing - places.side) < 0.1 * places.side
    step = places.side if adjoins else 0.25 * places.side
    wanted = max(reach or 0.0, places.side)
    size = max(1, int(np.ceil(wanted / step - 1e-6))) * step if adjoins else wanted
    step *= max(1, int(np.ceil((size - places.side) / step / _MOST_SIZES - 1e-6)))
    largest = size
    while size > places.side * 1.001 and len(set(places.blocks(size))) < min_blocks:
        size = max(size - step, places.side)
    cells = places.blocks(size)
    names = [f"{name} {column},{row}" for column, row in cells]
    told, num_blocks = _told(size, places.unit), len(set(names))
    if num_blocks < _LEAST_BLOCKS:
        where = "one place" if num_blocks == 1 else "two places"
        return SpatialBlocks(
            {},
            reason=f"All {len(names):,} pictures lie in {where}, too few to keep training and test "
            "apart: the figures hold for these alone, and flatter the model elsewhere.",
        )
    if reach is None:
        why = "one picture wide: there are too few, or too equal ones, to tell how far they are "
        why += "alike"
    elif not reach:
        why = "one picture wide: what neighbours show is no more alike than that of others"
    else:
        why = f"since what the masks show is alike up to about {_told(reach, places.unit)}"
        if size < largest:
            why += (
                f"; of that size there would be fewer than {min_blocks}, so that these are smaller "
                "than they should be, and the test may still flatter the model"
            )
    reason = (
        f"Pictures are kept together by spatial blocks of {told} ({num_blocks:,} of "
        f"{count(len(names), 'picture')}), {why}."
    )
    block_of = dict(zip(places.ids, names, strict=True))
    return SpatialBlocks(block_of, (places,), reason, size, (reach,))


def correlation_range(
    places: Places, rows: np.ndarray, descriptors: np.ndarray, *, seed: int = 0
) -> float | None:
    """The distance up to which pictures are more alike than chance makes them.

    A correlogram: pairs of pictures are sorted into bins of distance, and in each their mean
    product is compared with what shuffled pictures give. The range ends before the first bin that
    is within the shuffled 95%.

    Args:
        places: Of the pictures.
        rows: (n,) which of them have descriptors.
        descriptors: (n, d) what is in them; columns that do not vary tell nothing.
        seed: Of the shuffles.

    Returns:
        In the unit of the places; 0 where neighbours are no more alike than others; None where
        there are too few pictures, or none differs.

    Source: Legendre and Legendre 2012, "Numerical Ecology", section 13.1 (the multivariate
    correlogram and its test by permutation).
    """
    rng = np.random.default_rng(seed)
    if len(rows) > _NUM_COMPARED:
        chosen = np.sort(rng.permutation(len(rows))[:_NUM_COMPARED])
        rows, descriptors = rows[chosen], descriptors[chosen]
    spread = descriptors.std(axis=0)
    descriptors = descriptors[:, spread > 1e-9]
    if len(rows) < _MIN_COMPARED or not descriptors.shape[1]:
        return None
    scores = (descriptors - descriptors.mean(axis=0)) / descriptors.std(axis=0)
    products = scores @ scores.T / scores.shape[1]
    first, second = np.triu_indices(len(rows), k=1)
    distances = places.distances(rows, rows)[first, second]
    width = max(places.spacing, float(distances.max()) / 2 / _MOST_BINS, 1e-9)
    # Centres of a grid lie at whole numbers of it: an edge there would part equals by rounding.
    bins = np.floor(distances / width + 0.5).astype(int)
    is_near = bins <= _MOST_BINS
    first, second, bins = first[is_near], second[is_near], bins[is_near]
    sizes = np.bincount(bins, minlength=_MOST_BINS + 1)

    def means(order: np.ndarray) -> np.ndarray:
        values = products[order[first], order[second]]
        return np.bincount(bins, values, minlength=len(sizes)) / np.maximum(sizes, 1)

    found = means(np.arange(len(rows)))
    shuffled = [means(rng.permutation(len(rows))) for _ in range(_NUM_SHUFFLES)]
    by_chance = np.quantile(shuffled, 0.95, axis=0)
    reach = 0.0
    for number in np.flatnonzero(sizes >= _MIN_PAIRS):
        if found[number] <= by_chance[number]:
            break
        reach = (number + 0.5) * width
    return float(reach)


# --- what is too near -------------------------------------------------------------------------


def too_near(
    plan: SplitPlan, blocks: SpatialBlocks, dataset: Dataset
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Pictures that a drawn split had better not have: of training those near to what is held out.

    What shows the same ground as a held out picture goes first of all. Then a buffer, where
    Headstart draws the test: of neighbours nearer than the likeness reaches and than a picture is
    wide, since what reaches further is a matter of regions, which blocks keep apart; the nearest
    first, and at most a quarter of the training. Splits that came with the data stay as they are,
    and a validation that is carved out beside a given test gets no buffer: the test is honest
    without.

    Args:
        plan: Made with the blocks.
        blocks: With places.
        dataset: The one it was made for.

    Returns:
        Sample id -> why it is left out; and what was done, in sentences.
    """
    if plan.rule == "as-given":
        return {}, ()
    drawn = ("validation",) if plan.rule == "given-test" else ("validation", "test")
    num_fitted = len(plan.ids("train"))
    # From edge to edge, as a share of the buffer; in hundredths, since equals differ by rounding.
    nearness: dict[str, float] = {}
    out: dict[str, str] = {}
    buffers = [0.0] * len(blocks.frames)
    if plan.rule == "drawn":
        reaches = [reach or 0.0 for reach in blocks.reaches]
        sides = [places.side for places in blocks.frames]
        buffers = [min(max(0.0, r - s), s) for r, s in zip(reaches, sides, strict=True)]
    for places, buffer in zip(blocks.frames, buffers, strict=True):
        for split, against in (("train", drawn), ("validation", ("test",))):
            if split == "validation" and "test" not in drawn:
                continue
            for near in _neighbours(places, plan, split, against):
                if near.common > SAME_GROUND:
                    out[near.id] = "shows the same ground as a picture held out"
                elif split == "train" and near.gap < buffer:
                    nearness[near.id] = round(near.gap / buffer, 2)
    notes = []
    if out:
        notes.append(
            f"{count(len(out), 'picture')} left out: they show the same ground as one held out."
        )
    if _starves(plan, dataset, out, most=0.5):
        return {}, (
            f"{count(len(out), 'picture')} of training show the same ground as one held out. To "
            "leave them out would leave too few: the test flatters the model. Give pictures of "
            "more places.",
        )
    if not nearness:
        return out, tuple(notes)
    wanted = _told(max(buffers), blocks.frames[buffers.index(max(buffers))].unit)
    # All that are equally near go together: there is no reason to take one of them.
    for edge in sorted(set(nearness.values()), reverse=True):
        taken = [id_ for id_, near in nearness.items() if near <= edge]
        buffered = {**out, **dict.fromkeys(taken, "too near to a picture held out (buffer)")}
        if len(taken) > MOST_BUFFERED * num_fitted or _starves(plan, dataset, buffered, most=0.5):
            continue
        told = f"{count(len(taken), 'training picture')} left out as a buffer: "
        if len(taken) == len(nearness):
            told += f"all that lie within {wanted} of one held out."
        else:
            told += (
                f"the nearest of {len(nearness):,} that lie within {wanted} of one held out; all "
                "of them would be too many to do without."
            )
        return buffered, (*notes, told)
    notes.append(
        f"There is no buffer between the splits: {len(nearness):,} of {num_fitted:,} training "
        f"pictures lie within {wanted} of one held out, and to leave out even the nearest would "
        "take more than a quarter of them, or all of a class. Blocks alone keep them apart."
    )
    return out, tuple(notes)


@dataclass(frozen=True)
class _Neighbour:
    """What is near a picture of a split, among those of other splits.

    Attributes:
        id: Of the picture.
        gap: To the edge of the nearest, in the unit of the places.
        common: The largest share that it has in common with one.
        partner: The id of that one.
    """

    id: str
    gap: float
    common: float
    partner: str


def _neighbours(
    places: Places, plan: SplitPlan, split: str, against: Sequence[str]
) -> Iterable[_Neighbour]:
    """Of each picture of a split; windows of one file have nothing in common, however it lies."""
    given = [plan.assignment.get(id_, "") for id_ in places.ids]
    rows = np.array([i for i, name in enumerate(given) if name == split], int)
    columns = np.array([i for i, name in enumerate(given) if name in against], int)
    if not len(rows) or not len(columns):
        return
    names = [picture_of(id_) for id_ in places.ids]
    files = numbered(names)
    is_window = np.array([bool(name) for name in names])
    num_at_once = max(1, _MOST_PAIRS // len(columns))
    for start in range(0, len(rows), num_at_once):
        some = rows[start : start + num_at_once]
        gap, common = places.gaps(some, columns)
        is_one = (files[some][:, None] == files[columns]) & is_window[some][:, None]
        common = np.where(is_one, 0.0, common)
        for i, row in enumerate(some):
            best = int(common[i].argmax())
            yield _Neighbour(
                places.ids[row],
                float(gap[i].min()),
                float(common[i, best]),
                places.ids[columns[best]],
            )


def _starves(plan: SplitPlan, dataset: Dataset, out: Mapping[str, str], *, most: float) -> bool:
    """Whether without these a class is lost from training, or too much of it all."""
    before = _classes_in(dataset, plan.ids("train"))
    kept = [id_ for id_ in plan.ids("train") if id_ not in out]
    lost = before - _classes_in(dataset, kept)
    return bool(lost) or len(kept) < (1 - most) * len(plan.ids("train"))


def _classes_in(dataset: Dataset, ids: Iterable[str]) -> set[str]:
    wanted = set(ids)
    return {label for sample in dataset if sample.id in wanted for label in sample.labels}


def leaked_places(plan: SplitPlan, blocks: SpatialBlocks) -> tuple[LeakedSample, ...]:
    """The pictures of the test that show the same ground as one of train or validation."""
    found = []
    for places in blocks.frames:
        for near in _neighbours(places, plan, "test", ("train", "validation")):
            if near.common > SAME_GROUND:
                why = f"same place, {near.common:.0%} of it"
                split = plan.assignment[near.partner]
                found.append(LeakedSample(near.id, "place", near.partner, split, why))
    return tuple(found)


def _told(length: float, unit: str) -> str:
    """A length for people: `2.6 km`, `640 m`, `1,024 pixels`."""
    if unit == "px":
        return f"{length:,.0f} pixels"
    return f"{length / 1000:,.3g} km" if length >= 1000 else f"{length:,.3g} m"
