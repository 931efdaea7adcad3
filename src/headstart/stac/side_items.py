"""The STAC item that is written beside each GeoTIFF: what its pixels are, and where they came from.

Whoever reads the file later finds bands, units and licence in it. All of them together are the
index of a folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pystac

from headstart.atomic import replacing
from headstart.errors import DataError
from headstart.stac.cogs import Layer
from headstart.stac.grids import Grid
from headstart.stac.sign_in import is_remote, shown

INDEX = "items.geojson"
ASSET = "image"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
# What the unit of the pixels, their sensor and their use hang on. Of Sentinel-2: stored values have
# an offset of 1,000 since baseline 04.00 (ESA, 25 January 2022), unless the publisher has
# taken it out again.
_TAGS = {
    **{name: name for name in ("datetime", "start_datetime", "end_datetime", "created")},
    **{name: name for name in ("platform", "constellation", "instruments")},
    "eo:cloud_cover": "cloud_cover",
    "s2:processing_baseline": "processing_baseline",
    "processing:version": "processing_version",
    "earthsearch:boa_offset_applied": "boa_offset_applied",
}


def side_path(path: Path) -> Path:
    """Where the item of a GeoTIFF lies."""
    return path.with_suffix(".json")


def write_side_item(
    path: Path,
    item: pystac.Item,
    *,
    layers: Sequence[Layer],
    grid: Grid,
    licence: str,
) -> None:
    """Write the item of a GeoTIFF beside it.

    Args:
        path: The GeoTIFF.
        item: What it was cut out of.
        layers: Its bands.
        grid: Its pixels.
        licence: Of the item.
    """
    west, south, east, north = grid.bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    asset = {
        "href": f"./{path.name}",
        "type": COG,
        "roles": ["data"],
        "proj:shape": [grid.height, grid.width],
        "proj:transform": list(grid.transform)[:6],
        "bands": [_band(layer) for layer in layers],
    }
    epsg = grid.crs.to_epsg()
    if epsg is not None:
        asset["proj:code"] = f"EPSG:{epsg}"
    values = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
        ],
        "id": item.id,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {**_plain(item), "license": licence},
        "links": _links(item),
        "assets": {ASSET: asset},
    }
    if item.collection_id is not None and any(link["rel"] == "collection" for link in _links(item)):
        values["collection"] = item.collection_id
    _write(side_path(path), values)


def tags_of(item: pystac.Item, licence: str) -> dict[str, str]:
    """The same in short, as tags of the GeoTIFF itself; GDAL allows no colon in their names."""
    own = item.get_self_href()
    told = {
        "stac_item": item.id,
        "stac_collection": item.collection_id,
        "stac_source": shown(own) if own is not None and is_remote(own) else None,
        **{tag: item.properties.get(name) for name, tag in _TAGS.items()},
        "license": licence,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def write_index(folder: Path, paths: Sequence[Path]) -> Path:
    """All items of a folder as one GeoJSON file, those of earlier fetches too.

    Raises:
        DataError: There is such a file already, and it is no index.
    """
    index = folder / INDEX
    features = {str(f["assets"][ASSET]["href"]): f for f in _earlier(index)}
    for path in paths:
        values = json.loads(side_path(path).read_text(encoding="utf-8"))
        href = "./" + os.path.relpath(path, folder).replace(os.sep, "/")
        values["assets"][ASSET] |= {"href": href, "file:size": path.stat().st_size}
        features[href] = values
    _write(index, {"type": "FeatureCollection", "features": list(features.values())})
    return index


def _earlier(index: Path) -> list[Mapping[str, Any]]:
    """What an earlier fetch has written, as far as its files are still there."""
    if not index.is_file():
        return []
    try:
        features = json.loads(index.read_text(encoding="utf-8"))["features"]
        return [f for f in features if (index.parent / f["assets"][ASSET]["href"]).is_file()]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"`{index}` is not what a fetch has written ({error!r}). Remove it, or give --output "
            "another folder."
        ) from None


def _band(layer: Layer) -> dict[str, Any]:
    band = layer.band
    wavelength_um = None if band.wavelength_nm is None else band.wavelength_nm / 1000
    told = {
        "name": band.name,
        "eo:common_name": band.common_name,
        "eo:center_wavelength": wavelength_um,
        "raster:scale": band.scale,
        "raster:offset": band.offset,
        "nodata": "nan" if layer.nodata != layer.nodata else layer.nodata,
    }
    return {name: value for name, value in told.items() if value is not None}


def _plain(item: pystac.Item) -> dict[str, Any]:
    """The properties, but for those that tell of other files than the one beside the item."""
    other = ("proj:", "label:", "links", "mgrs:tile_url")
    return {k: v for k, v in item.properties.items() if not k.startswith(other)}


def _links(item: pystac.Item) -> list[dict[str, str]]:
    """To the item on the web that this was cut out of, to its collection and its licence."""
    links = []
    own = item.get_self_href()
    if own is not None and is_remote(own):
        links.append({"rel": "derived_from", "href": shown(own), "type": "application/geo+json"})
    for link in item.links:
        href = link.get_absolute_href()
        if link.rel in ("collection", "license") and href is not None and is_remote(href):
            links.append({"rel": str(link.rel), "href": shown(href)})
    return links


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")
