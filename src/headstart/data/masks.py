"""Folders of pictures and masks: which mask belongs to which picture.

Goes by the names of folders and files (`mask_layouts`). What the values of masks stand for is
settled in `legends`, what is wrong with them is found in `mask_checks`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.contracts import Dataset, Finding, Legend, Sample, Split
from headstart.data.folders import SPLIT_NAMES, Request
from headstart.data.listing import count, list_folder, series
from headstart.data.mask_datasets import Read, dataset_of_masks, refuse_columns
from headstart.data.mask_layouts import (
    CITYSCAPES,
    CITYSCAPES_TRAIN_IDS,
    RENDERINGS,
    VOC,
    mask_ending,
    place_of,
    without_image_ending,
    without_mask_ending,
)
from headstart.data.rasters import raster_facts
from headstart.errors import DataError

_VOC_FOLDER = "SegmentationClass"
_Key = tuple[tuple[str, ...], str]  # folders that say nothing of the role, and the name


@dataclass
class Pairing:
    """Pictures and masks by name. All paths are relative to the data, with forward slashes.

    Attributes:
        masks: Picture -> its mask, sorted.
        splits: Picture -> the split that its folder, or that of its mask, names.
        lone_images: Pictures without a mask, in folders where others have one.
        lone_masks: Masks without a picture.
        others: Pictures in folders that are neither of images nor of masks.
        how: What the layout is, as a clause.
    """

    masks: dict[str, str] = field(default_factory=dict)
    splits: dict[str, Split | None] = field(default_factory=dict)
    lone_images: list[str] = field(default_factory=list)
    lone_masks: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    how: str = ""


def recognises_mask_folders(path: Path) -> str | None:
    """Why this is a folder of pictures and masks, or None when it is not.

    At least half of the pictures, or of the masks, must have a partner: folders that are merely
    called `masks` or `labels` may be classes. Unless all pictures lie in folders called so: then
    the names are wrong, and reading says so.
    """
    if not path.is_dir():
        return None
    pictures = list_folder(path).files
    pairing = pair_by_name(pictures)
    num_images = len(pairing.masks) + len(pairing.lone_images)
    num_masks = len(pairing.masks) + len(pairing.lone_masks)
    if pairing.masks and 2 * len(pairing.masks) >= min(num_images, num_masks):
        return pairing.how
    roles = {place_of(folder).role for folder in {name.rpartition("/")[0] for name in pictures}}
    if roles == {"image", "mask"}:
        return "all of its pictures are in folders called after images or masks"
    return None


def read_mask_folders(root: Path, request: Request) -> Dataset:
    """Read `train/images` and `train/masks`, `images/` and `masks/`, or `a.jpg` and `a_mask.png`.

    Also Cityscapes (`leftImg8bit`, `gtFine`), CamVid (`train`, `trainannot`) and Pascal VOC
    (`JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation`). Masks are opened only where no
    legend file and no known layout explains their values.

    Raises:
        DataError: A picture has several masks, a column was asked for, or the values of the masks
            cannot be explained.
    """
    refuse_columns(root, request)
    listing = list_folder(root)
    pairing = pair_by_name(listing.files)
    if not pairing.masks:
        images, masks = pairing.others or pairing.lone_images, pairing.lone_masks
        found = f"{count(len(images), 'picture')} such as `{images[0]}`"
        raise DataError(
            f"No mask in `{root}` has the name of a picture: there are {found}, and "
            f"{count(len(masks), 'mask')} such as `{masks[0]}`. Give both the same name but for "
            "the suffix, or a table of both; folders of classes need other names."
        )
    notes = []
    is_voc = any(_VOC_FOLDER in mask.split("/") for mask in pairing.masks.values())
    splits: Mapping[str, Split | None] = pairing.splits
    findings: list[Finding] = []
    if is_voc:
        splits, read_lists = _voc_splits(root, listing.strangers, pairing)
        notes += read_lists
        if pairing.lone_images:
            notes.append(
                f"{count(len(pairing.lone_images), 'picture')} without a mask left out: Pascal VOC "
                "has masks for a part of its pictures only."
            )
        findings += missing_partners([], pairing.lone_masks)
    else:
        findings += missing_partners(pairing.lone_images, pairing.lone_masks)
    if pairing.others:
        folders = sorted({name.rpartition("/")[0] or "." for name in pairing.others})
        notes.append(
            f"{count(len(pairing.others), 'picture')} in {series(f'{f}/' for f in folders)} left "
            "out: no folder of images or masks."
        )
    if listing.broken:
        findings.append(
            Finding(
                "missing-file",
                "error",
                f"{count(len(listing.broken), 'link')} to pictures that do not exist.",
                "Mend or remove them, or leave them out with `--on-bad skip`.",
                tuple(sorted(listing.broken)),
            )
        )
    if listing.loops:
        findings.append(
            Finding(
                "looping-link",
                "warning",
                f"{count(len(listing.loops), 'link')} to a folder around it, not followed.",
                "Remove it, if nothing else needs it.",
                tuple(sorted(listing.loops)),
            )
        )
    samples = [
        Sample(image, root / image, (), splits.get(image), None, root / mask)
        for image, mask in pairing.masks.items()
    ]
    known, more = _known_legend(samples, is_voc=is_voc)
    return dataset_of_masks(
        root, samples, request, Read(known, [*notes, *more], findings), columns=()
    )


def missing_partners(images: Iterable[str], masks: Iterable[str]) -> list[Finding]:
    """Findings of pictures without a mask, and of masks without a picture."""
    found = []
    for kind, names, what, lacks in (
        ("missing-mask", sorted(images), "picture", "mask"),
        ("missing-image", sorted(masks), "mask", "picture"),
    ):
        if names:
            found.append(
                Finding(
                    kind,
                    "error",
                    f"{count(len(names), what)} without a {lacks} of the same name.",
                    f"Add the {lacks}, or rename it: both need the same name but for the suffix.",
                    tuple(names),
                )
            )
    return found


# --- pairs ------------------------------------------------------------------------------------


def pair_by_name(pictures: Iterable[str]) -> Pairing:
    """Find the mask of each picture by folders and names.

    Args:
        pictures: Paths relative to the data, pictures and masks alike.

    Raises:
        DataError: A picture has several masks.
    """
    names = sorted(pictures)
    by_role: dict[str, list[str]] = {"image": [], "mask": [], "": []}
    places = {folder: place_of(folder) for folder in {n.rpartition("/")[0] for n in names}}
    beside = _masks_beside(names)
    for name in names:
        role = "mask" if name in beside else places[name.rpartition("/")[0]].role
        by_role[role].append(name)
    if not by_role["mask"]:
        return Pairing(others=names)
    masks = _one_rendering(by_role["mask"])

    def key(name: str) -> _Key:
        folder, _, file = name.rpartition("/")
        return places[folder].folders, file.rpartition(".")[0]

    # Folders called `images` are the pictures; where there are none, those that are called nothing.
    pairing = Pairing(others=by_role[""])
    images = by_role["image"]
    partners = _partners(images, masks, key)
    if not partners:
        images, pairing.others = by_role[""], by_role["image"]
        partners = _partners(images, masks, key)
    pairing.masks = dict(sorted((image, mask) for mask, image in partners.items()))
    _refuse_several(partners)
    for image, mask in pairing.masks.items():
        folders = (image.rpartition("/")[0], mask.rpartition("/")[0])
        pairing.splits[image] = places[folders[0]].split or places[folders[1]].split
    pairing.lone_images = [name for name in images if name not in pairing.masks]
    pairing.lone_masks = [name for name in masks if name not in partners]
    pairing.how = _how(pairing, beside)
    return pairing


def _masks_beside(names: Sequence[str]) -> set[str]:
    """Files called like a picture in the same folder with `_mask` or the like added.

    Where an ending is used so at least once, all files with that ending are masks.
    """
    marked = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        stem = file.rpartition(".")[0]
        ending = mask_ending(stem)
        if ending:
            marked[name] = (ending, folder, without_mask_ending(stem))
    if not marked:
        return set()
    stems = set()
    for name in names:
        if name not in marked:
            folder, _, file = name.rpartition("/")
            stem = file.rpartition(".")[0]
            stems |= {(folder, stem), (folder, without_image_ending(stem))}
    used = {ending for ending, folder, stem in marked.values() if (folder, stem) in stems}
    return {name for name, (ending, _, _) in marked.items() if ending in used}


def _one_rendering(masks: Sequence[str]) -> list[str]:
    """Of several renderings of one annotation, the one to learn from.

    Cityscapes has label ids, instance ids and colours beside each other, and coarse annotations for
    pictures that have fine ones.
    """
    stems = {name: name.rpartition("/")[2].rpartition(".")[0] for name in masks}
    kept = [name for name in masks if not RENDERINGS.search(stems[name])]
    if not kept:
        return list(masks)
    train_ids = [name for name in kept if stems[name].endswith("_labelTrainIds")]
    if train_ids:
        kept = train_ids
    fine = [name for name in kept if "gtFine" in name.split("/")]
    return fine or kept


def _partners(
    images: Sequence[str], masks: Sequence[str], key: Callable[[str], _Key]
) -> dict[str, str]:
    """Mask -> picture, by the same name, or by the same once their endings are taken off."""
    exact: dict[_Key, str] = {}
    loose: dict[_Key, str] = {}
    for name in images:
        folders, stem = key(name)
        exact.setdefault((folders, stem), name)
        loose.setdefault((folders, without_image_ending(stem)), name)
    partners = {}
    for name in masks:
        folders, stem = key(name)
        for candidate in ((folders, stem), (folders, without_mask_ending(stem))):
            image = exact.get(candidate) or loose.get(candidate)
            if image is not None:
                partners[name] = image
                break
    return partners


def _refuse_several(partners: Mapping[str, str]) -> None:
    of_image: dict[str, list[str]] = defaultdict(list)
    for mask, image in partners.items():
        of_image[image].append(mask)
    several = {image: masks for image, masks in of_image.items() if len(masks) > 1}
    if several:
        image, masks = min(several.items())
        raise DataError(
            f"{count(len(several), 'picture')} with more than one mask, such as `{image}`: "
            f"{series(f'`{m}`' for m in masks)}. One mask a picture is needed: move the others out."
        )


def _how(pairing: Pairing, beside: set[str]) -> str:
    """The layout as a clause: which folders hold pictures, which masks."""
    if not pairing.masks:
        return ""
    by_side = Counter(mask in beside for mask in pairing.masks.values())
    image, mask = min(pairing.masks.items())
    if by_side[True] > by_side[False]:
        return f"its pictures have masks beside them, as `{image}` has `{mask}`"
    folders = Counter(
        (i.rpartition("/")[0] or ".", m.rpartition("/")[0] or ".") for i, m in pairing.masks.items()
    )
    told = [f"{i}/ with masks in {m}/" for (i, m), _ in sorted(folders.items())]
    return f"it holds pictures in {series(told, limit=3)}"


# --- known layouts ----------------------------------------------------------------------------


def _known_legend(
    samples: Sequence[Sample], *, is_voc: bool
) -> tuple[Legend | None, Sequence[str]]:
    """What a published layout is known for."""
    masks = [sample.mask for sample in samples if sample.mask is not None]
    if not masks:
        return None, ()
    if all(mask.stem.endswith("_labelTrainIds") for mask in masks):
        return CITYSCAPES_TRAIN_IDS, ["Masks called _labelTrainIds have the classes of Cityscapes."]
    if all(mask.stem.endswith("_labelIds") for mask in masks):
        note = (
            "Masks called _labelIds have the label ids of Cityscapes: 19 are its classes, the "
            "others are ignored, as it is evaluated."
        )
        return CITYSCAPES, [note]
    if is_voc:
        palette = raster_facts(masks[0]).colours
        if tuple(palette.get(i) for i in range(len(VOC.names))) == VOC.colours:
            return VOC, ["The masks have the palette of Pascal VOC, and so its classes."]
    return None, ()


def _voc_splits(
    root: Path, files: Sequence[str], pairing: Pairing
) -> tuple[dict[str, Split | None], list[str]]:
    """Picture -> split by the lists in ImageSets/Segmentation."""
    of_stem: dict[str, Split] = {}
    read = []
    for relative in sorted(files):
        folder, _, name = relative.rpartition("/")
        split = SPLIT_NAMES.get(name.rpartition(".")[0].lower())
        if folder.endswith("ImageSets/Segmentation") and name.endswith(".txt") and split:
            stems = (root / relative).read_text(encoding="utf-8").split()
            of_stem.update(dict.fromkeys(stems, split))
            read.append(name)
    if not read:
        return dict(pairing.splits), []
    splits: dict[str, Split | None] = {}
    for image in pairing.masks:
        splits[image] = of_stem.get(image.rpartition("/")[2].rpartition(".")[0])
    return splits, [f"Splits are those of ImageSets/Segmentation: {series(read)}."]
