"""Small cloud-optimised GeoTIFFs, generated: bands of a scene in UTM, at two resolutions."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster
from rasterio.transform import Affine

WEST, NORTH = 600_000.0, 9_700_000.0  # EPSG:32720, near Manaus
CRS = "EPSG:32720"


def as_cog(
    bands: np.ndarray, *, pixel_m: float = 10.0, nodata: float | None = 0, crs: str | None = CRS
) -> bytes:
    """A COG of bands (count, height, width) whose upper left corner is (WEST, NORTH)."""
    count, height, width = bands.shape
    profile = {"width": width, "height": height, "count": count, "dtype": bands.dtype}
    place = {"crs": crs, "transform": Affine(pixel_m, 0, WEST, 0, -pixel_m, NORTH)}
    with MemoryFile() as raw, MemoryFile() as cog:
        with raw.open(driver="GTiff", nodata=nodata, **profile, **place) as file:
            file.write(bands)
        with rasterio.open(raw.name) as file:
            how = {"driver": "COG", "compress": "DEFLATE", "overview_resampling": "AVERAGE"}
            copy_raster(file, cog.name, blocksize=256, **how)
        content: bytes = cog.read()
    return content


def noise(size: int, seed: int, *, low: int = 1, high: int = 10_000) -> np.ndarray:
    """One band of (1, size, size) uint16 that does not compress away."""
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (1, size, size), dtype=np.uint16)


def box_of_pixels(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    """The box in degrees that lies within some pixels of 10 m, a little inside their edges."""
    from rasterio.warp import transform

    xs = [WEST + left * 10, WEST + right * 10, WEST + left * 10, WEST + right * 10]
    ys = [NORTH - top * 10, NORTH - top * 10, NORTH - bottom * 10, NORTH - bottom * 10]
    lon, lat = transform(CRS, "EPSG:4326", xs, ys)
    return (min(lon), min(lat), max(lon), max(lat))
