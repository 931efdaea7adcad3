"""How large the pixels of a raster are on the ground, whatever its coordinates are in."""

from __future__ import annotations

import math

from headstart.data.raster_header import RasterFacts
from headstart.data.rasters import reproject

_DEGREES = "EPSG:4326"
# The ellipsoid of WGS 84. Source: NIMA TR8350.2, table 3.1 and section 3.2.
_SEMI_MAJOR_M, _FLATTENING = 6_378_137.0, 1 / 298.257223563


def pixel_area_m2(facts: RasterFacts) -> float | None:
    """Square metres of the ground that the pixel in the middle covers; None where nobody knows.

    By its corners on the ellipsoid: a map that stretches the ground, as Web Mercator does, does not
    deceive.

    Raises:
        DataError: There is no way from its coordinates to degrees.

    Source: radii of curvature of the ellipsoid: J. P. Snyder, Map Projections: A Working Manual,
        USGS Professional Paper 1395, 1987, equations 4-18 and 4-20.

    Example:
        >>> place = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)
        >>> facts = RasterFacts("GTiff", 100, 100, ("red",), "uint8", None, "EPSG:32633", place)
        >>> round(pixel_area_m2(facts))
        100
    """
    if not facts.is_georeferenced or facts.transform is None:
        return None
    a, b, c, d, e, f = facts.transform
    column, row = facts.width // 2, facts.height // 2
    corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
    ring = [(a * i + b * j + c, d * i + e * j + f) for i, j in (*corners, corners[0])]
    square = {"type": "Polygon", "coordinates": [ring]}
    (found,) = reproject([square], source=facts.crs, target=_DEGREES)
    (degrees, *_) = found["coordinates"]
    # Turned to where no longitude jumps from 180 to -180.
    lons = [math.radians((lon - degrees[0][0] + 180) % 360 - 180) for lon, *_ in degrees]
    lats = [math.radians(lat) for _, lat, *_ in degrees]
    twice = sum(
        lons[i] * (lats[i + 1] - lats[0]) - lons[i + 1] * (lats[i] - lats[0]) for i in range(4)
    )
    squared = _FLATTENING * (2 - _FLATTENING)  # of the eccentricity
    bent = 1 - squared * math.sin(lats[0]) ** 2
    across_m = _SEMI_MAJOR_M / math.sqrt(bent) * math.cos(lats[0])  # a radian of longitude
    along_m = _SEMI_MAJOR_M * (1 - squared) / bent**1.5  # a radian of latitude
    return float(abs(twice) / 2 * across_m * along_m)
