from __future__ import annotations

import math

import pytest

from headstart.data.ground import pixel_area_m2
from headstart.data.raster_header import RasterFacts


def facts(crs: str, transform: tuple[float, ...] | None) -> RasterFacts:
    return RasterFacts("GTiff", 100, 100, ("red",), "uint8", crs=crs, transform=transform)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("crs", "transform", "wanted"),
    [
        # UTM is true to within 0.1% of its length on the central meridian
        ("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0), 100 / 0.9996**2),
        # a turned grid has pixels as large
        ("EPSG:32633", (6.0, 8.0, 500_000.0, 8.0, -6.0, 4_600_000.0), 100 / 0.9996**2),
        # Web Mercator stretches by 1 / cos(latitude), here 60 degrees
        ("EPSG:3857", (20.0, 0.0, 0.0, 0.0, -20.0, 8_399_738.0), 400 * 0.25),
        # a second of arc on the equator, 30.92 m by 30.72 m
        ("EPSG:4326", (1 / 3600, 0.0, 10.0, 0.0, -1 / 3600, 50 / 3600), 30.922 * 30.715),
        # across the date line
        ("EPSG:4326", (1 / 3600, 0.0, 180 - 50.5 / 3600, 0.0, -1 / 3600, 50 / 3600), 949.8),
    ],
)
def test_pixels_are_as_large_as_the_ground_they_cover(
    crs: str, transform: tuple[float, ...], wanted: float
) -> None:
    found = pixel_area_m2(facts(crs, transform))
    assert found is not None
    assert math.isclose(found, wanted, rel_tol=0.008)


def test_without_a_place_nobody_knows() -> None:
    assert pixel_area_m2(facts("", None)) is None
    assert pixel_area_m2(facts("", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0))) is None
