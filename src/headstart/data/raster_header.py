"""What the header of a raster, and the files beside it, say: plain data, without rasterio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class RasterFacts:
    """What the header of a raster, and the files beside it, say.

    Attributes:
        format: As GDAL calls it: `GTiff`, `PNG`, `JP2OpenJPEG`, ...
        width: Pixels.
        height: Pixels.
        bands: Names of the bands in order, the alpha band left out; `band_1` where one has none.
        dtype: Of the values, as NumPy calls it.
        nodata: The value that stands for no data; None when there is none. The transparent entry
            of a palette is not taken for one: it says how to draw.
        crs: `EPSG:4326` or WKT; empty when there is none.
        transform: (a, b, c, d, e, f) with x = a * column + b * row + c and y = d * column +
            e * row + f, which may be rotated; None when the raster is not georeferenced.
        has_alpha: Whether its last band, which is none of `bands`, is said to tell where it is
            opaque.
        block: (height, width) of the pieces in which it is stored.
        colours: Value -> (red, green, blue) of the palette; empty when there is none.
        categories: Value -> name, by GDAL's category names.
        sensor: A row of `bands.SENSORS`; empty when it is not known.
        scales: One a band, what values are multiplied by; empty when neither file nor item say.
        offsets: One a band, added after that.
        tags: What else it says of itself, and the properties of a STAC item beside it.
    """

    format: str
    width: int
    height: int
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None = None
    crs: str = ""
    transform: tuple[float, float, float, float, float, float] | None = None
    has_alpha: bool = False
    block: tuple[int, int] = (1, 1)
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)
    sensor: str = ""
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_georeferenced(self) -> bool:
        """Whether it is known where on Earth it lies."""
        return self.transform is not None and bool(self.crs)

    @property
    def readable_bands(self) -> tuple[str, ...]:
        """Names of all bands that can be asked for: also what is marked as alpha, by its number."""
        return (*self.bands, f"band_{len(self.bands) + 1}") if self.has_alpha else self.bands

    def part(self, window: tuple[int, int, int, int]) -> RasterFacts:
        """The header that a window (left, top, width, height) would have as a file of its own."""
        left, top, width, height = window
        transform = self.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a, b, a * left + b * top + c, d, e, d * left + e * top + f)
        return replace(self, width=width, height=height, transform=transform)

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """(x, y) of its four corners, from the first pixel's on; empty without a transform."""
        if self.transform is None:
            return ()
        a, b, c, d, e, f = self.transform
        places = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return tuple((a * i + b * j + c, d * i + e * j + f) for i, j in places)
