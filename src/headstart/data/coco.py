"""COCO files with segmentations: polygons and run lengths become masks, one file a picture.

The masks are written into the cache, by the content of the COCO file, so that whatever reads masks
reads these alike; they can be made again at any time. Source of the format: Lin et al. 2014,
"Microsoft COCO", and its page "Data format"; of compressed run lengths `maskApi.c` in its tools.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from headstart.atomic import replacing
from headstart.cache import cache_folder
from headstart.contracts import Dataset, Finding, Legend, Sample, Split
from headstart.data.folders import SPLIT_NAMES, Request
from headstart.data.listing import count, list_folder
from headstart.data.mask_datasets import Read, dataset_of_masks, refuse_columns
from headstart.data.rasters import rasterise
from headstart.errors import DataError

_BACKGROUND = "background"
_SEGMENTED = re.compile(rb'"segmentation"\s*:\s*(\[\s*\[|\{)')
_SPLIT_IN_NAME = re.compile(rf"(?:^|[_\-.])({'|'.join(SPLIT_NAMES)})(?=\d|[_\-.]|$)", re.I)


@dataclass(frozen=True)
class _Coco:
    """A COCO file, read.

    Attributes:
        path: The file.
        images: As they stand there.
        annotations: Image id -> annotations with a segmentation, the largest first.
        categories: Category id -> name.
        digest: Of the file's content.
    """

    path: Path
    images: Sequence[Mapping[str, Any]]
    annotations: Mapping[Any, Sequence[Mapping[str, Any]]]
    categories: Mapping[int, str]
    digest: str


def recognises_coco(path: Path) -> str | None:
    """Why this is a COCO file with segmentations (or a folder with such), or None when not."""
    files = _coco_files(path)
    if not files:
        return None
    names = ", ".join(file.name for file in files)
    return f"{names} {'has' if len(files) == 1 else 'have'} segmentations as COCO lays them out"


def read_coco(path: Path, request: Request) -> Dataset:
    """Read `annotations/instances_train.json` and the like, and their pictures.

    Pixels of no annotation are of the class `background`. Where annotations overlap, the smaller
    lies on top, since the larger would hide all of it.

    Raises:
        DataError: A file is damaged, the files disagree on categories, or no picture is found.
    """
    root = path.parent if path.is_file() else path
    refuse_columns(root, request)
    files = [_read(file) for file in _coco_files(path)]
    categories = _agreed(files)
    pictures = sorted(list_folder(root).files)
    samples: list[Sample] = []
    missing: list[str] = []
    for coco in files:
        index = {category: i for i, category in enumerate(sorted(categories), 1)}
        folder = cache_folder("data") / "coco-masks" / coco.digest
        split = _split_of(coco.path, root)
        find = _Finder(root, coco.path.parent, pictures, split)
        for image in coco.images:
            relative = find.picture(str(image["file_name"]))
            if relative is None:
                missing.append(str(image["file_name"]))
                continue
            mask = folder / f"{image['id']}.png"
            if not mask.is_file():
                _write_mask(mask, image, coco, index)
            samples.append(Sample(relative, root / relative, (), split, None, mask))
    if not samples:
        raise DataError(
            f"None of the {len(missing):,} pictures that the COCO file lists was found in "
            f"`{root}`, such as `{missing[0] if missing else ''}`. Put them there, or into a "
            "folder in it."
        )
    names = [_BACKGROUND, *(categories[category] for category in sorted(categories))]
    legend = Legend(tuple(names), tuple((value,) for value in range(len(names))))
    notes = [
        f"Pixels outside all annotations are of the class `{_BACKGROUND}`; where annotations "
        "overlap, the smaller lies on top."
    ]
    return dataset_of_masks(
        root, _unique(samples), request, Read(legend, notes, _missing(missing)), columns=()
    )


def _coco_files(path: Path) -> list[Path]:
    """Files with segmentations: the one given, or those in the usual places of a folder."""
    if path.is_file():
        candidates = [path] if path.suffix.lower() == ".json" else []
    else:
        folders = [path, path / "annotations"]
        folders += [p for p in sorted(path.iterdir()) if p.name.lower() in SPLIT_NAMES]
        candidates = [f for d in folders if d.is_dir() for f in sorted(d.glob("*.json"))]
    return [file for file in candidates if _has_segmentation(file)]


def _has_segmentation(path: Path) -> bool:
    """Whether a file has a segmentation that is not empty; it is searched, not parsed."""
    if path.stat().st_size == 0:
        return False
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return bool(_SEGMENTED.search(content)) and content.find(b'"annotations"') >= 0


def _read(path: Path) -> _Coco:
    data = path.read_bytes()
    try:
        content = json.loads(data)
        images = list(content["images"])
        categories = {int(c["id"]): str(c["name"]) for c in content["categories"]}
        annotations = defaultdict(list)
        for annotation in content["annotations"]:
            if annotation.get("segmentation"):
                annotations[annotation["image_id"]].append(annotation)
        for of_image in annotations.values():
            of_image.sort(key=lambda a: -float(a.get("area") or 0))
        for image in images:
            _ = image["id"], image["file_name"], int(image["width"]), int(image["height"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"`{path}` is not as COCO lays it out ({type(error).__name__}: {error}). It needs "
            "images (id, file_name, width, height), categories (id, name) and annotations "
            "(image_id, category_id, segmentation). Export it anew."
        ) from None
    return _Coco(path, images, annotations, categories, hashlib.sha256(data).hexdigest()[:20])


def _agreed(files: Sequence[_Coco]) -> Mapping[int, str]:
    """The categories that occur in annotations; all files must mean the same by an id."""
    first = files[0]
    for other in files[1:]:
        if other.categories != first.categories:
            raise DataError(
                f"`{first.path}` and `{other.path}` list different categories. They need the "
                "same ids and names: export them together."
            )
    used = {
        int(annotation["category_id"])
        for coco in files
        for of_image in coco.annotations.values()
        for annotation in of_image
    }
    unknown = used - first.categories.keys()
    if unknown:
        raise DataError(
            f"`{first.path}` has annotations of the category {min(unknown)}, which it does not "
            "list. Add it to its categories."
        )
    # Exports often list a supercategory that no annotation has; it is no class.
    return {category: first.categories[category] for category in used}


def _split_of(path: Path, root: Path) -> Split | None:
    found = _SPLIT_IN_NAME.search(path.stem)
    word = found[1] if found else (path.parent.name if path.parent != root else "")
    return SPLIT_NAMES.get(word.lower())


class _Finder:
    """Finds the pictures that a COCO file names, beside it or below the root."""

    def __init__(
        self, root: Path, folder: Path, pictures: Sequence[str], split: Split | None
    ) -> None:
        inner = folder.relative_to(root).as_posix() if folder != root else ""
        self._prefix = "" if inner == "" else inner + "/"
        self._known = set(pictures)
        self._split = split
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for picture in pictures:
            self._by_name[PurePosixPath(picture).name].append(picture)

    def picture(self, name: str) -> str | None:
        """Relative to the root; None when there is none, or when it cannot be told which."""
        name = name.replace("\\", "/").removeprefix("./")
        for candidate in (self._prefix + name, name):
            if candidate in self._known:
                return candidate
        matches = [p for p in self._by_name[PurePosixPath(name).name] if ("/" + p).endswith(name)]
        if len(matches) > 1:
            matches = [p for p in matches if self._split in _splits_in(p)]
        return matches[0] if len(matches) == 1 else None


def _splits_in(relative: str) -> set[Split | None]:
    words = re.split(r"[/_\-\d]+", relative.lower())
    return {SPLIT_NAMES.get(word) for word in words} - {None}


def _unique(samples: Iterable[Sample]) -> list[Sample]:
    return list({sample.id: sample for sample in samples}.values())


def _missing(names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    return [
        Finding(
            "missing-file",
            "error",
            f"{count(len(names), 'picture')} of the COCO file not found.",
            "Put them beside it, or leave them out with `--on-bad skip`.",
            tuple(sorted(names)),
        )
    ]


# --- masks ------------------------------------------------------------------------------------


def _write_mask(
    path: Path, image: Mapping[str, Any], coco: _Coco, index: Mapping[int, int]
) -> None:
    height, width = int(image["height"]), int(image["width"])
    mask = np.zeros((height, width), np.uint8 if len(index) < 256 else np.uint16)
    for annotation in coco.annotations.get(image["id"], ()):
        value = index[int(annotation["category_id"])]
        try:
            mask[_covered(annotation["segmentation"], height, width)] = value
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise DataError(
                f"Annotation {annotation.get('id')} of `{coco.path}`, of the picture "
                f"`{image['file_name']}`, cannot be drawn ({error}). It needs polygons of at least "
                "three points, or run lengths that fill the picture. Mend or remove it."
            ) from None
    with replacing(path) as partial:
        Image.fromarray(mask).save(partial, format="PNG")


def _covered(segmentation: Any, height: int, width: int) -> np.ndarray:
    """(height, width) bool: the pixels of an annotation."""
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        if isinstance(counts, str | bytes):
            counts = run_lengths(counts)
        return _from_runs(counts, tuple(segmentation["size"]), (height, width))
    rings = []
    for polygon in segmentation:
        points = np.asarray(polygon, float).reshape(-1, 2).tolist()
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
        rings.append([*points, points[0]])
    shapes = [({"type": "Polygon", "coordinates": [ring]}, 1) for ring in rings]
    return rasterise(shapes, height, width) > 0


def _from_runs(counts: Sequence[int], size: tuple[int, ...], shape: tuple[int, int]) -> np.ndarray:
    """Pixels of alternating runs, outside first, column by column."""
    if size != shape:
        raise ValueError(f"its size is {size}, that of the picture {shape}")
    height, width = shape
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError(f"its runs fill {sum(counts)} of {height * width} pixels")
    is_inside = np.arange(len(counts)) % 2 == 1
    flat = np.repeat(is_inside, counts)
    return flat.reshape(width, height).T


def run_lengths(text: str | bytes) -> list[int]:
    """Run lengths from their compressed form: 5 bits a character, differences to the last but one.

    Example:
        >>> run_lengths("52203")
        [5, 2, 2, 2, 5]
    """
    data = text.encode("ascii") if isinstance(text, str) else text
    counts: list[int] = []
    place = 0
    while place < len(data):
        value, shift, is_more = 0, 0, True
        while is_more:
            bits = data[place] - 48
            value |= (bits & 0x1F) << shift
            is_more = bool(bits & 0x20)
            place += 1
            shift += 5
            if not is_more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
