"""Small georeferenced scenes and polygons on them, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine
from rasterio.warp import transform_geom

UTM = "EPSG:32632"
PLACE = Affine(10, 0, 500000, 0, -10, 5300000)


def write_scene(path: Path, values: np.ndarray, **profile: Any) -> Path:
    """A GeoTIFF of (bands, height, width) with pixels of 10 m whose corner is that of PLACE."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    profile = {"crs": UTM, "transform": PLACE, **profile}
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=values.dtype,
        **profile,
    ) as file:  # fmt: skip
        file.write(values)
    return path


def box(left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    """A rectangle in UTM, given in pixels of PLACE."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    ring = [(500000 + 10 * x, 5300000 - 10 * y) for x, y in corners]
    return {"type": "Polygon", "coordinates": [ring]}


def write_polygons(path: Path, *shapes: tuple[dict[str, Any], str], column: str = "label") -> Path:
    """A GeoJSON file, which is in degrees, of shapes in UTM and their labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = [
        {
            "type": "Feature",
            "geometry": transform_geom(UTM, "EPSG:4326", geometry),
            "properties": {column: label},
        }
        for geometry, label in shapes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def drawn(shape: tuple[int, int], boxes: Sequence[tuple[int, int, int, int]]) -> np.ndarray:
    """(height, width) bool: True in boxes of (left, top, right, bottom)."""
    mask = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def picture(is_bright: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """(3, height, width) uint8 noise, brighter where told; never 0."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(1, 60, (3, *is_bright.shape))
    return (noise + 150 * is_bright).astype(np.uint8)
