"""Items that experts have labelled become a data set: pictures, masks on the same pixels, names.

Two kinds are known: an item of the label extension, whose links of relation `source` lead to the
pictures, and an item that has both a picture and a mask. Masks are rasters, or polygons in GeoJSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pystac

from headstart.atomic import replacing
from headstart.errors import DataError
from headstart.progress import Progress
from headstart.stac.asking import CatalogueError, CatalogueIO
from headstart.stac.bands import AssetBand, bands_of, choose_bands, is_mask, is_raster
from headstart.stac.cogs import grid_of, write_shapes
from headstart.stac.fetching import (
    REQUEST_TAG,
    Errand,
    Fetched,
    Outcome,
    as_fetched,
    file_names,
    licences_of,
    refuse_local,
    run_errands,
    tell_failures,
)
from headstart.stac.grids import Wanted
from headstart.stac.searching import Found, as_item
from headstart.stac.side_items import tags_of, write_index

# What items say of their split: the ml-aoi extension, and plain words that data sets use.
_SPLIT_PROPERTIES = ("ml-aoi:split", "split")
_SPLITS = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validate": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}
BACKGROUND = "background"
_GEOJSON = ("application/geo+json", "application/json", "application/vnd.geo+json")


@dataclass(frozen=True)
class Pair:
    """A picture and its labels.

    Attributes:
        picture: The item with the picture.
        bands: Of the picture.
        labels: The item with the labels; the same, or one that links to the picture.
        mask: The key of the asset with the labels.
        split: `train`, `val` or `test`, where the labels tell.
    """

    picture: pystac.Item
    bands: tuple[AssetBand, ...]
    labels: pystac.Item
    mask: str
    split: str | None

    @property
    def asset(self) -> pystac.Asset:
        """The asset with the labels."""
        return self.labels.assets[self.mask]


@dataclass(frozen=True)
class LabelledSet:
    """A data set that is ready for a fit.

    Attributes:
        fetched: The pictures.
        num_masks: One a picture.
        classes: value in the masks -> name; empty where the items do not tell.
        licences: Of the labels.
    """

    fetched: Fetched
    num_masks: int
    classes: Mapping[int, str]
    licences: tuple[str, ...]


def is_labelled(item: pystac.Item) -> bool:
    """Whether an item has labels, and a picture or a link to one."""
    if _mask_key(item) is None:
        return False
    return bool(_sources(item)) or any(
        is_raster(asset) and not is_mask(key, asset) for key, asset in item.assets.items()
    )


def fetch_dataset(found: Found, wanted: Wanted, *, output: Path, progress: Progress) -> LabelledSet:
    """Write `images/`, `masks/` and `classes.json`, below `train/`, `val/` and `test/` if told.

    Args:
        found: Items that `is_labelled`.
        wanted: Bands, window and grid of the pictures; masks are put on the same pixels.
        output: The folder.
        progress: Shows bars.

    Raises:
        DataError: Labels and names contradict each other, or something could not be fetched; the
            rest is then there.
    """
    pairs = _all_pairs(found, wanted, progress)
    licences = licences_of([pair.labels for pair in pairs], found.io, progress=progress)
    drawings = _read_drawings(pairs, found.io)
    classes = _legend(pairs, drawings)
    names = file_names([pair.picture for pair in pairs])
    folders = [output / pair.split if pair.split else output for pair in pairs]
    if len({pair.split is None for pair in pairs}) == 2:
        progress.warn("Some items tell no split; they are put into train/.")
        folders = [output / (pair.split or "train") for pair in pairs]
    pictures = [
        Errand(pair.picture, pair.bands, wanted, folder / "images" / f"{name}.tif")
        for pair, folder, name in zip(pairs, folders, names, strict=True)
    ]
    refuse_local(pictures, found.io)
    outcome = run_errands(pictures, found.io, progress=progress)
    masks = [
        Errand(
            pair.labels,
            tuple(_mask_bands(pair)),
            wanted,
            picture.path.parent.parent / "masks" / picture.path.name,
            like=picture.path,
            legend="" if is_raster(pair.asset) else json.dumps(classes),
        )
        for pair, picture in zip(pairs, pictures, strict=True)
    ]
    here = [i for i, picture in enumerate(pictures) if picture.path in outcome.done]
    rasters = [masks[i] for i in here if i not in drawings]
    refuse_local(rasters, found.io)
    labelled = run_errands(rasters, found.io, progress=progress) if rasters else Outcome(0, (), {})
    drawn = [i for i in here if i in drawings]
    for i in drawn:
        if masks[i].is_done:
            continue
        tags = {**tags_of(pairs[i].labels, licences[i]), REQUEST_TAG: masks[i].request}
        shapes, crs = _shapes(pairs[i], drawings[i], classes)
        write_shapes(shapes, crs, grid_of(pictures[i].path), masks[i].path, tags=tags)
    index = write_index(output, outcome.done)
    if classes:
        _write_classes(output / "classes.json", classes)
    else:
        progress.warn(
            "The items do not say what the values of their masks mean. Write it into "
            f"`{output / 'classes.json'}`, such as {json.dumps({'1': 'forest'})}."
        )
    done = (*outcome.done, *labelled.done, *(masks[i].path for i in drawn))
    tell_failures({**outcome.failures, **labelled.failures}, done, output)
    return LabelledSet(
        fetched=as_fetched(output, outcome, index),
        num_masks=len(labelled.done) + len(drawn),
        classes=classes,
        licences=tuple(sorted(set(licences))),
    )


def _all_pairs(found: Found, wanted: Wanted, progress: Progress) -> list[Pair]:
    """Pictures with their labels; labels whose pictures cannot be read are left out."""
    pairs = []
    for item in found.items:
        try:
            pairs += _pairs(item, wanted, found.io)
        except CatalogueError as error:
            progress.warn(f"The labels `{item.id}` are left out. {error}")
    if not pairs:
        raise DataError(
            "None of the pictures that the labels link to can be read, so nothing was fetched. "
            "Tell the catalogue's publisher."
        )
    return pairs


def _pairs(item: pystac.Item, wanted: Wanted, io: CatalogueIO) -> list[Pair]:
    mask = _mask_key(item)
    if mask is None:
        raise DataError(f"The item `{item.id}` has no asset with labels.")
    split = next(
        (
            _SPLITS[str(item.properties[name]).lower()]
            for name in _SPLIT_PROPERTIES
            if str(item.properties.get(name)).lower() in _SPLITS
        ),
        None,
    )
    sources = _sources(item)
    if not sources:
        without = item.clone()
        for key in [key for key, asset in item.assets.items() if is_mask(key, asset)]:
            del without.assets[key]
        return [Pair(item, tuple(choose_bands(without, wanted.bands)), item, mask, split)]
    pairs = []
    for href, keys in sources:
        picture = as_item(io.read_object(href), href)
        if keys and not wanted.bands:
            known = [key for key in keys if key in picture.assets]
            bands = [band for key in known for band in bands_of(key, picture.assets[key])]
        else:
            bands = choose_bands(picture, wanted.bands)
        pairs.append(Pair(picture, tuple(bands), item, mask, split))
    return pairs


def _sources(item: pystac.Item) -> list[tuple[str, list[str]]]:
    """Addresses of the pictures that an item labels, and which of their assets are meant."""
    found = []
    for link in item.links:
        href = link.get_absolute_href()
        if link.rel == "source" and href is not None:
            keys = link.extra_fields.get("label:assets") or []
            found.append((href, [str(key) for key in keys]))
    return found


def _mask_key(item: pystac.Item) -> str | None:
    """The asset with the labels: a raster before polygons, as it needs no drawing."""
    keys = [key for key, asset in item.assets.items() if is_mask(key, asset)]
    rasters = [key for key in keys if is_raster(item.assets[key])]
    drawn = [key for key in keys if (item.assets[key].media_type or "") in _GEOJSON]
    return next(iter([*rasters, *drawn]), None)


def _mask_bands(pair: Pair) -> list[AssetBand]:
    if not is_raster(pair.asset):
        return []
    band = bands_of(pair.mask, pair.asset)[0]
    return [replace(band, index=max(1, band.index), name="mask", is_code=True)]


# --- what the values mean ---------------------------------------------------------------------


def _read_drawings(pairs: Sequence[Pair], io: CatalogueIO) -> dict[int, dict[str, Any]]:
    """Place of a pair -> its polygons, for those that have no raster."""
    return {
        i: io.read_object(pair.asset.href)
        for i, pair in enumerate(pairs)
        if not is_raster(pair.asset)
    }


def _legend(pairs: Sequence[Pair], drawings: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """value -> name, for all pairs alike.

    Raises:
        DataError: A value has two names.
    """
    legend: dict[int, str] = {}
    names: dict[str, None] = {}
    for i, pair in enumerate(pairs):
        if i in drawings:
            told = [str(name) for name in _label_classes(pair.labels)]
            names |= dict.fromkeys(told or sorted(_names_of(pair, drawings[i])))
            continue
        for value, name in _raster_legend(pair).items():
            if legend.setdefault(value, name) != name:
                raise DataError(
                    f"In the masks {value} means `{legend[value]}`, but in that of the item "
                    f"`{pair.labels.id}` it means `{name}`. Fetch them into two folders."
                )
    if not names:
        return dict(sorted(legend.items()))
    if legend:
        raise DataError(
            "Some items have their labels as rasters, others as polygons. Fetch them into two "
            "folders."
        )
    if len(names) > 255:
        raise DataError(
            f"The polygons have {len(names)} different labels, and a mask has room for 255. Choose "
            "items with fewer classes."
        )
    return {0: BACKGROUND, **dict(enumerate(names, start=1))}


def _raster_legend(pair: Pair) -> dict[int, str]:
    """By the classification extension, by the file extension, or by numbers of the label one."""
    extra = pair.asset.extra_fields
    bands = [
        b for b in extra.get("raster:bands") or extra.get("bands") or () if isinstance(b, dict)
    ]
    for source in (extra, *bands[:1]):
        classes = source.get("classification:classes")
        if isinstance(classes, list):
            return {
                int(each["value"]): str(
                    each.get("title") or each.get("name") or each.get("description")
                )
                for each in classes
                if isinstance(each, dict) and isinstance(each.get("value"), int)
            }
    values = extra.get("file:values")
    if isinstance(values, list):
        return {
            int(value): str(each.get("summary"))
            for each in values
            if isinstance(each, dict)
            for value in each.get("values") or ()
            if isinstance(value, int)
        }
    # Names alone do not say which value is which, and are no reason to guess.
    told = _label_classes(pair.labels)
    return {each: str(each) for each in told if isinstance(each, int)}


def _label_classes(item: pystac.Item) -> list[Any]:
    """All classes that the label extension lists, for whatever property."""
    told = item.properties.get("label:classes")
    told = told if isinstance(told, list) else []
    return [name for each in told if isinstance(each, dict) for name in each.get("classes") or ()]


def _property(item: pystac.Item) -> str | None:
    """The property of a polygon that holds its class."""
    told = item.properties.get("label:classes")
    for each in told if isinstance(told, list) else []:
        if isinstance(each, dict) and each.get("name"):
            return str(each["name"])
    names = item.properties.get("label:properties")
    return str(names[0]) if isinstance(names, list) and names else None


def _names_of(pair: Pair, drawing: Mapping[str, Any]) -> set[str]:
    return {name for _, name in _features(pair, drawing)}


def _features(pair: Pair, drawing: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """Each polygon with the name of its class.

    Raises:
        DataError: The polygons do not have the property that the item names.
    """
    features = drawing.get("features")
    key = _property(pair.labels)
    if not isinstance(features, list):
        raise DataError(
            f"The labels of `{pair.labels.id}` are no GeoJSON FeatureCollection. Leave the item "
            "out, or tell the catalogue's publisher."
        )
    found: list[tuple[Mapping[str, Any], str]] = []
    for feature in features:
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        if not isinstance(geometry, dict):
            continue  # GeoJSON allows a feature without a place (RFC 7946, section 3.2)
        properties = feature.get("properties") or {}
        if key is not None and key not in properties:
            raise DataError(
                f"The item `{pair.labels.id}` says that its labels are in the property `{key}`, "
                f"but a shape has only {', '.join(map(repr, properties)) or 'none'}. Tell the "
                "catalogue's publisher."
            )
        found.append((geometry, str(properties[key]) if key is not None else "labelled"))
    return found


def _shapes(
    pair: Pair, drawing: Mapping[str, Any], classes: Mapping[int, str]
) -> tuple[list[tuple[Mapping[str, Any], int]], str]:
    """Polygons with their values, and their coordinate system."""
    values = {name: value for value, name in classes.items()}
    shapes: list[tuple[Mapping[str, Any], int]] = []
    for geometry, name in _features(pair, drawing):
        if name not in values:
            raise DataError(
                f"A shape of `{pair.labels.id}` is labelled `{name}`, which is none of the classes "
                f"that the item lists: {', '.join(map(repr, values))}. Tell the catalogue's "
                "publisher."
            )
        shapes.append((geometry, values[name]))
    crs = drawing.get("crs")  # of GeoJSON before RFC 7946; since then it is always WGS 84
    named = crs.get("properties", {}).get("name") if isinstance(crs, dict) else None
    return shapes, str(named or "EPSG:4326")


def _write_classes(path: Path, classes: Mapping[int, str]) -> None:
    with replacing(path) as temporary:
        values = {str(value): name for value, name in classes.items()}
        text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")
