"""How masks are laid out beside their pictures: words in folder and file names, and known sets.

Plain tables and the functions that read one path by them; nothing here looks at a disk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from headstart.contracts import Legend, Split
from headstart.data.folders import SPLIT_NAMES

Role = Literal["image", "mask", ""]

IMAGE_FOLDERS = frozenset(
    {
        *("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "input"),
        *("inputs", "tiles", "chips", "patches", "scenes", "rgb"),
        *("jpegimages", "leftimg8bit"),  # Pascal VOC; Cityscapes
    }
)
MASK_FOLDERS = frozenset(
    {
        *("mask", "masks", "label", "labels", "gt", "gts", "annotation", "annotations", "annot"),
        *("annots", "groundtruth", "ground_truth", "ground-truth", "target", "targets", "truth"),
        *("seg", "segmentation", "segmentations", "labelids"),
        *("segmentationclass", "gtfine", "gtcoarse"),
    }
)
# Ends of file names, in small letters; what is before them is the name of the picture.
_MASK_END = re.compile(
    r"[_\-. ](masks?|labels?|gt|seg|segmentation|annot|annotation|groundtruth|ground_truth|l"
    r"|gt(?:fine|coarse)_label(?:train)?ids|label(?:train)?ids)$",
    re.IGNORECASE,
)
_MASK_START = re.compile(r"^(masks?|labels?|gt)[_\-. ]", re.IGNORECASE)
_IMAGE_END = re.compile(r"[_\-. ](image|img|leftimg8bit|sat|rgb|photo)$", re.IGNORECASE)
_IMAGE_START = re.compile(r"^(images?|img|sat|rgb)[_\-. ]", re.IGNORECASE)
# Further renderings of the same annotation, which Cityscapes puts beside its label ids.
RENDERINGS = re.compile(r"_(color|instance(?:Train)?Ids)$")
_SPLIT = "|".join(sorted(SPLIT_NAMES, key=len, reverse=True))
_ROLE = "|".join(map(re.escape, sorted(IMAGE_FOLDERS | MASK_FOLDERS, key=len, reverse=True)))
_SPLIT_ROLE = re.compile(f"({_SPLIT})[_\\- ]?({_ROLE})|({_ROLE})[_\\- ]({_SPLIT})")


@dataclass(frozen=True, slots=True)
class Place:
    """What the folders of a file say of it.

    Attributes:
        role: `image`, `mask`, or empty when no folder says.
        folders: Those that say nothing of the role, with a split under its own name: equal for a
            picture and its mask.
        split: The split that a folder names.
    """

    role: Role
    folders: tuple[str, ...]
    split: Split | None


def place_of(folder: str) -> Place:
    """What a folder, relative to the data, says of the files in it.

    Example:
        >>> place_of("train/images").folders == place_of("masks/train").folders
        True
        >>> place_of("trainannot").role, place_of("cats").role
        ('mask', '')
    """
    role: Role = ""
    kept: list[str] = []
    split: Split | None = None
    for name in folder.split("/") if folder else ():
        word = name.lower()
        both = _SPLIT_ROLE.fullmatch(word)
        role_word = (both[2] or both[3]) if both else word
        split_word = (both[1] or both[4]) if both else word
        if not role and role_word in IMAGE_FOLDERS | MASK_FOLDERS:
            role = "image" if role_word in IMAGE_FOLDERS else "mask"
        elif split_word not in SPLIT_NAMES:
            kept.append(name)
        if split_word in SPLIT_NAMES:
            split = SPLIT_NAMES[split_word]
            kept.append(f"{split}/")  # a slash, which no folder's name has
    return Place(role, tuple(kept), split)


def mask_ending(stem: str) -> str:
    """The end (or beginning) of a file name that marks a mask, such as `_mask`; empty without one.

    Example:
        >>> mask_ending("a_1_mask"), mask_ending("aachen_1_gtFine_labelIds"), mask_ending("a_1")
        ('_mask', '_gtFine_labelIds', '')
    """
    found = _MASK_END.search(stem) or _MASK_START.search(stem)
    return found[0] if found else ""


def without_mask_ending(stem: str) -> str:
    """The name of the picture that a mask of this name belongs to."""
    shorter = _MASK_END.sub("", stem)
    return shorter if shorter != stem else _MASK_START.sub("", stem)


def without_image_ending(stem: str) -> str:
    """A picture's name without what marks it as the picture of a pair."""
    shorter = _IMAGE_END.sub("", stem)
    return shorter if shorter != stem else _IMAGE_START.sub("", stem)


# Source: Everingham et al. 2010, "The Pascal Visual Object Classes Challenge", development kit,
# section 8.1; the colours are those of its palette.
VOC = Legend(
    names=(
        *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
        *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
        *("sheep", "sofa", "train", "tvmonitor"),
    ),
    values=tuple((value,) for value in range(21)),
    ignored=(255,),
    colours=(
        *((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)),
        *((0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0)),
        *((64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0)),
        *((0, 192, 0), (128, 192, 0), (0, 64, 128)),
    ),
)

# Label id, colour and name of the 19 classes that are evaluated. Source: Cordts et al. 2016, "The
# Cityscapes Dataset", and the table in `labels.py` of its scripts.
_CITYSCAPES = (
    *((7, (128, 64, 128), "road"), (8, (244, 35, 232), "sidewalk"), (11, (70, 70, 70), "building")),
    *((12, (102, 102, 156), "wall"), (13, (190, 153, 153), "fence"), (17, (153, 153, 153), "pole")),
    *((19, (250, 170, 30), "traffic light"), (20, (220, 220, 0), "traffic sign")),
    *((21, (107, 142, 35), "vegetation"), (22, (152, 251, 152), "terrain")),
    *((23, (70, 130, 180), "sky"), (24, (220, 20, 60), "person"), (25, (255, 0, 0), "rider")),
    *((26, (0, 0, 142), "car"), (27, (0, 0, 70), "truck"), (28, (0, 60, 100), "bus")),
    *((31, (0, 80, 100), "train"), (32, (0, 0, 230), "motorcycle"), (33, (119, 11, 32), "bicycle")),
)
CITYSCAPES = Legend(
    names=tuple(name for _, _, name in _CITYSCAPES),
    values=tuple((value,) for value, _, _ in _CITYSCAPES),
    # All other label ids (void, caravan, trailer and the like); 255 is that of the licence plate.
    ignored=(*sorted(set(range(34)) - {value for value, _, _ in _CITYSCAPES}), 255),
    colours=tuple(colour for _, colour, _ in _CITYSCAPES),
)
CITYSCAPES_TRAIN_IDS = Legend(
    names=CITYSCAPES.names,
    values=tuple((value,) for value in range(19)),
    ignored=(255,),
    colours=CITYSCAPES.colours,
)
