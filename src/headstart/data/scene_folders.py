"""Folders of georeferenced scenes with polygons as labels: one file for all, or one a scene.

Finds which polygons belong to which scene, which classes there are, and what is wrong with any of
it. Polygons are drawn where a mask is wanted, by `polygon_masks`; large scenes are cut by `tiling`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headstart.contracts import Dataset, Finding, Legend, Sample
from headstart.data.folders import Request, apply_groups
from headstart.data.listing import Listing, count, list_folder, series
from headstart.data.mask_datasets import TASK
from headstart.data.mask_layouts import mask_ending, place_of, without_mask_ending
from headstart.data.polygon_masks import draw_mask, is_polygon_file, polygons_of
from headstart.data.polygons import Polygons, overlapping_labels
from headstart.data.rasters import RASTER_SUFFIXES, Window, raster_facts
from headstart.errors import DataError

BACKGROUND = "background"
_TOLD_ONE_BY_ONE = 3  # files of polygons; of more there is a summary
_NOWHERE = Window(0, 0, 1, 1)
# What is wrong with single scenes: kind -> (what, remedy).
_TROUBLES = {
    "missing-mask": (
        "scene",
        "without polygons",
        "Draw some on them; a scene that holds none of the classes can be left out.",
    ),
    "missing-image": (
        "file of polygons",
        "without a scene of the same name",
        "Add the scene, or rename the file: both need the same name but for the suffix.",
    ),
    "not-georeferenced": (
        "scene",
        "that do not say where on Earth they lie",
        "Give them a transform and a coordinate reference system, or masks instead of polygons.",
    ),
    "unreadable-mask": ("file of polygons", "that cannot be used", "Export them anew."),
    "elsewhere": (
        "scene",
        "that no polygon touches",
        "Check that both are of the same place, and that the coordinate reference systems are "
        "right.",
    ),
}


@dataclass
class _Layout:
    """Scenes and files of polygons, relative to the data, with forward slashes.

    Attributes:
        polygons: Scene -> its file of polygons.
        lone_scenes: Scenes without one.
        lone_polygons: Files without a scene.
        how: What the layout is, as a clause.
    """

    polygons: dict[str, str] = field(default_factory=dict)
    lone_scenes: list[str] = field(default_factory=list)
    lone_polygons: list[str] = field(default_factory=list)
    how: str = ""


def recognises_scene_folders(path: Path) -> str | None:
    """Why this is a folder of scenes with polygons, or None when it is not.

    Rasters in several folders of their own names may as well be classes; then a file of polygons
    beside them is taken for what the names say: nothing.
    """
    if not path.is_dir():
        return None
    listing = list_folder(path)
    scenes, files = _scenes_and_files(listing)
    if not scenes or not files:
        return None
    layout = _laid_out(scenes, files)
    if (layout.polygons and len(files) > 1) or _is_partnered(layout, files):
        return layout.how
    named = {"/".join(place_of(name.rpartition("/")[0]).folders) for name in scenes}
    return layout.how if layout.polygons and len(named) == 1 else None


def read_scene_folders(root: Path, request: Request) -> Dataset:
    """Read GeoTIFFs and the polygons that label them.

    Args:
        root: The folder.
        request: `label_column` names the column of classes, `outside` says what lies in no polygon.

    Raises:
        DataError: A column of pictures was asked for, or no file of polygons can be used.
        MissingExtraError: pyogrio or shapely are not installed.
    """
    if request.image_column is not None:
        raise DataError(
            f"`--image-column {request.image_column}` names a column of a table, but `{root}` was "
            "recognised as scenes with polygons. Leave the option out."
        )
    listing = list_folder(root)
    layout = _laid_out(*_scenes_and_files(listing))
    troubles: dict[str, dict[str, str]] = {kind: {} for kind in _TROUBLES}
    troubles["missing-mask"] = dict.fromkeys(layout.lone_scenes, "")
    troubles["missing-image"] = dict.fromkeys(layout.lone_polygons, "")
    polygons = _read_all(root, layout, request.label_column, troubles["unreadable-mask"])
    legend, notes = _settle_legend(polygons, request)
    samples = []
    for scene, file in layout.polygons.items():
        if file not in polygons:
            continue
        kind, told = _trouble(root / scene, root / file, legend)
        if kind:
            troubles[kind][scene] = told
            continue
        split = place_of(scene.rpartition("/")[0]).split
        samples.append(Sample(scene, root / scene, (), split, None, root / file))
    others = [name for name in listing.files if not _is_scene(name)]
    if others:
        notes.append(f"{count(len(others), 'picture')} that are no GeoTIFF left out.")
    samples, group_notes = apply_groups(samples, request.group, columns=())
    return Dataset(
        root=root,
        format="scene-polygons",
        reason="",
        task=TASK,
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        classes=legend.names,
        is_multilabel=True,
        notes=(*_notes(polygons), *notes, *group_notes),
        findings=(*_findings(troubles), *_overlaps(polygons, root, samples)),
        legend=legend,
    )


# --- which polygons belong to which scene -----------------------------------------------------


def _is_scene(name: str) -> bool:
    return Path(name).suffix.lower() in RASTER_SUFFIXES


def _scenes_and_files(listing: Listing) -> tuple[list[str], list[str]]:
    scenes = sorted(name for name in listing.files if _is_scene(name))
    files = sorted(name for name in listing.strangers if is_polygon_file(Path(name)))
    return scenes, files


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _polygon_stem(name: str) -> str:
    stem = _stem(name)
    return without_mask_ending(stem) if mask_ending(stem) else stem


def _laid_out(scenes: Sequence[str], files: Sequence[str]) -> _Layout:
    """Files by the names of the scenes; a single file of a name of its own is for all of them."""
    by_stem: dict[str, list[str]] = {}
    for file in files:
        for stem in {_stem(file), _polygon_stem(file)}:
            by_stem.setdefault(stem, []).append(file)
    polygons = {}
    for scene in scenes:
        candidates = by_stem.get(_stem(scene), [])
        own = place_of(scene.rpartition("/")[0]).folders
        near = [f for f in candidates if place_of(f.rpartition("/")[0]).folders == own]
        if near or len(candidates) == 1:
            polygons[scene] = (near or candidates)[0]
    if not polygons and len(files) == 1:
        how = f"it holds {count(len(scenes), 'raster')} and {files[0]} with polygons for all"
        return _Layout(dict.fromkeys(scenes, files[0]), [], [], how)
    used = set(polygons.values())
    return _Layout(
        polygons,
        [scene for scene in scenes if scene not in polygons],
        [file for file in files if file not in used],
        f"{count(len(polygons), 'raster')} and files of polygons have the same names",
    )


def _is_partnered(layout: _Layout, files: Sequence[str]) -> bool:
    """Whether a single file has the name of a scene, and so says that it belongs to it."""
    return len(files) == 1 and any(
        _stem(scene) in (_stem(file), _polygon_stem(file))
        for scene, file in layout.polygons.items()
    )


# --- classes ----------------------------------------------------------------------------------


def _read_all(
    root: Path, layout: _Layout, column: str | None, unreadable: dict[str, str]
) -> dict[str, Polygons]:
    """The polygons of all files that can be read; of others why not.

    Raises:
        DataError: None can be read.
    """
    found: dict[str, Polygons] = {}
    for file in dict.fromkeys(layout.polygons.values()):
        try:
            found[file] = polygons_of(root / file, column=column)
        except DataError as error:
            unreadable[file] = str(error)
    if not found:
        if unreadable:
            raise DataError(next(iter(unreadable.values())))
        raise DataError(
            f"No file of polygons in `{root}` has the name of a scene: there are "
            f"{series(layout.lone_polygons, limit=3)}, and {series(layout.lone_scenes, limit=3)}. "
            "Give both the same name but for the suffix, or put all polygons into one file."
        )
    return found


def _notes(polygons: Mapping[str, Polygons]) -> list[str]:
    """What was guessed of each file; of many files those of the first, and all labels."""
    notes = [note for each in polygons.values() for note in each.notes]
    if len(polygons) <= _TOLD_ONE_BY_ONE:
        return notes
    labels = Counter(label for each in polygons.values() for label in each.labels)
    told = series(f"{name} ({n:,})" for name, n in labels.most_common())
    first = next(iter(polygons.values()))
    return [*first.notes, f"So it is with {len(polygons) - 1:,} other files; in all: {told}."]


def _settle_legend(polygons: Mapping[str, Polygons], request: Request) -> tuple[Legend, list[str]]:
    """The classes of all files, and what lies outside of their polygons; and how that is known."""
    labels = sorted({name for each in polygons.values() for name in each.classes})
    outside = request.outside
    why = "as --outside says"
    if outside is None:
        outside = "background" if len(labels) == 1 else "ignore"
        why = (
            f"as `{labels[0]}` is the only class of the polygons"
            if len(labels) == 1
            else "as the polygons have several classes and need not cover all"
        )
    if outside == "background":
        names = tuple(dict.fromkeys((BACKGROUND, *labels)))
        note = f"What lies in no polygon is the class `{BACKGROUND}`, {why}"
        note += "." if request.outside else "; --outside ignore leaves it out."
    else:
        names = tuple(labels)
        note = f"What lies in no polygon is ignored, {why}"
        note += "." if request.outside else "; --outside background makes it a class."
    legend = Legend(
        names,
        tuple((index,) for index in range(len(names))),
        column=request.label_column,
        outside=BACKGROUND if outside == "background" else None,
    )
    return legend, [note]


# --- trouble ----------------------------------------------------------------------------------


def _trouble(scene: Path, file: Path, legend: Legend) -> tuple[str, str]:
    """The kind of what is wrong with a scene and its polygons, and what exactly; empty if nothing.

    A scene that cannot be read is found by the checks.
    """
    try:
        facts = raster_facts(scene)
    except DataError:
        return "", ""
    if not facts.is_georeferenced:
        return "not-georeferenced", ""
    try:
        draw_mask(file, scene, legend, window=_NOWHERE)
    except DataError as error:
        return "elsewhere", str(error)
    return "", ""


def _findings(troubles: Mapping[str, Mapping[str, str]]) -> Iterable[Finding]:
    for kind, (noun, what, remedy) in _TROUBLES.items():
        concerned = troubles[kind]
        if not concerned:
            continue
        told = next(iter(concerned.values())).removesuffix(f" {remedy}")
        message = f"{_counted(len(concerned), noun)} {what}"
        message += f", for one: {told}" if told else "."
        yield Finding(kind, "error", message, remedy, tuple(sorted(concerned)))


def _counted(number: int, noun: str) -> str:
    head, _, rest = noun.partition(" ")
    return count(number, head) + (f" {rest}" if rest else "")


def _overlaps(
    polygons: Mapping[str, Polygons], root: Path, samples: Sequence[Sample]
) -> Iterable[Finding]:
    pairs: Counter[tuple[str, str]] = Counter()
    ids: list[str] = []
    for file, each in polygons.items():
        labelled = [sample.id for sample in samples if sample.mask == root / file]
        found = overlapping_labels(each) if labelled else {}
        pairs.update(found)
        ids += labelled if found else []
    if not pairs:
        return
    told = series(f"{a} and {b} ({n:,})" for (a, b), n in pairs.most_common())
    yield Finding(
        "overlapping-polygons",
        "warning",
        f"{count(sum(pairs.values()), 'pair')} of polygons of different classes overlap: {told}.",
        "Nothing, if the smaller is right where they do: it lies on top. Else mend the outlines.",
        tuple(sorted(ids)),
    )
