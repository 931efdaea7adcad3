"""What is told of a raster by the files beside it: a STAC item, and GDAL's `.aux.xml`.

Opens no raster. A side file that is damaged is an error, not as if it were not there: bands and
units may hang on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from headstart.errors import DataError


@dataclass(frozen=True)
class SideItem:
    """What a STAC item beside a raster says of it.

    Attributes:
        path: The JSON file.
        bands: Names in order, by `bands` or `eo:bands` (an empty one where it gives none).
        scales: One a band, by `raster:bands`; empty when it gives none.
        offsets: One a band, added after the scale; empty when it gives none.
        properties: Of the item, as they stand there.
    """

    path: Path
    bands: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


def side_item(path: Path) -> SideItem | None:
    """The STAC item `scene.json` or `scene.tif.json` beside `scene.tif`; None when there is none.

    JSON files that are no STAC item are passed over.

    Raises:
        DataError: There is one, but it is no JSON, or its bands are not what STAC says they are.
    """
    for candidate in (path.with_name(path.name + ".json"), path.with_suffix(".json")):
        if candidate.is_file():
            item = _read_json(candidate)
            if isinstance(item, dict) and isinstance(item.get("assets"), dict):
                return _side_item(candidate, item, path.name)
    return None


def category_names(path: Path) -> dict[int, str]:
    """Value -> name, as GDAL keeps category names of a raster's first band in `.aux.xml`.

    Source: GDAL, Raster Data Model, "Category Names": the name of value i is the i-th.

    Raises:
        DataError: The file is no XML.
    """
    side = path.with_name(path.name + ".aux.xml")
    if not side.is_file():
        return {}
    try:
        root = ElementTree.parse(side).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise DataError(
            f"`{side}` cannot be read ({error}). It may name the classes of `{path.name}`: mend "
            "it, or remove it."
        ) from None
    names = root.find("PAMRasterBand/CategoryNames")
    if names is None:
        return {}
    return {i: (c.text or "").strip() for i, c in enumerate(names) if (c.text or "").strip()}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(
            f"`{path}` lies beside a raster and may tell its bands, but cannot be read ({error}). "
            "Mend it, or remove it."
        ) from None


def _side_item(path: Path, item: Mapping[str, Any], name: str) -> SideItem:
    assets = [a for a in item["assets"].values() if isinstance(a, dict)]
    own = [a for a in assets if str(a.get("href", "")).rsplit("/", 1)[-1] == name]
    if not own:
        own = [a for a in assets if "eo:bands" in a or "bands" in a]
    properties = item.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if len(own) != 1:  # it cannot be told which asset this file is
        return SideItem(path, properties=properties)
    described = own[0].get("bands") or own[0].get("eo:bands") or []
    raster = own[0].get("raster:bands") or described
    if not all(isinstance(bands, list) for bands in (described, raster)) or not all(
        isinstance(band, dict) for band in (*described, *raster)
    ):
        raise DataError(
            f"The bands of the asset `{name}` in `{path}` are no list of objects, as STAC has "
            "them. Mend the item, or remove it."
        )
    return SideItem(
        path,
        tuple(_band_name(band) for band in described),
        _numbers(raster, ("scale", "raster:scale"), 1.0, path),
        _numbers(raster, ("offset", "raster:offset"), 0.0, path),
        properties,
    )


def _band_name(band: Mapping[str, Any]) -> str:
    for key in ("name", "eo:common_name", "common_name"):
        if band.get(key):
            return str(band[key])
    return ""


def _numbers(
    bands: list[Mapping[str, Any]], keys: tuple[str, str], default: float, path: Path
) -> tuple[float, ...]:
    """A number of each band; empty when no band has it."""
    found = [next((band[key] for key in keys if key in band), None) for band in bands]
    if all(value is None for value in found):
        return ()
    try:
        return tuple(default if value is None else float(value) for value in found)
    except (TypeError, ValueError):
        raise DataError(
            f"The {keys[0]} of a band in `{path}` is no number ({found}). Mend the item, or remove "
            "it."
        ) from None
