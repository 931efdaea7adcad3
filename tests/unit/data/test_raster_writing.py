from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio

from headstart.data.raster_header import RasterFacts
from headstart.data.raster_writing import RasterLook, outlines, write_cog, write_plain
from headstart.data.rasters import raster_facts, read_window
from headstart.errors import DataError

# Digits that a text of fewer than 17 would lose, and a turn.
TRANSFORM = (0.1 + 0.2, 1 / 7, 500000.1, 1 / 7, -(0.1 + 0.2), 5300000.7)
PLACE = RasterFacts("GTiff", 700, 600, ("x",), "uint8", crs="EPSG:32632", transform=TRANSFORM)
LOOK = RasterLook(("class",), 255, colours={0: (1, 2, 3)}, categories=("a & b", "c"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "rows.raw"
    noise = np.random.default_rng(0).integers(0, 256, (2, 600, 700), np.uint8)
    path.write_bytes(noise.tobytes())
    return path


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """As on a disk that is nearly full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_bytes_place_colours_and_names_are_kept_exactly(raw: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    write_cog(raw, output, place=PLACE, look=LOOK)
    facts = raster_facts(output)
    assert facts.transform == TRANSFORM
    assert facts.crs == PLACE.crs
    assert facts.colours[0] == (1, 2, 3)
    assert facts.categories == {0: "a & b", 1: "c"}
    with rasterio.open(output) as file:
        assert file.read(1).tobytes() == raw.read_bytes()[: 600 * 700]
        assert file.overviews(1) == [2]


def test_several_bands_have_names_and_a_scale(raw: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    look = RasterLook(
        ("p", "q"), 255, scale=1 / 254, tags={"made_by": "<us>"}, resampling="average"
    )
    write_cog(raw, output, place=PLACE, look=look)
    facts = raster_facts(output)
    assert facts.bands == ("p", "q")
    assert facts.scales == (1 / 254, 1 / 254)
    assert facts.tags["made_by"] == "<us>"
    with rasterio.open(output) as file:
        assert file.read().tobytes() == raw.read_bytes()


def test_names_of_what_stood_there_before_do_not_stay(raw: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    write_cog(raw, output, place=PLACE, look=LOOK)
    write_cog(raw, output, place=PLACE, look=RasterLook(("class",), 255))
    assert raster_facts(output).categories == {}


def test_a_full_disk_is_told_and_the_earlier_file_stays(raw: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("earlier")
    with room_for(100_000), pytest.raises(DataError, match="room on the disk"):
        write_cog(raw, output, place=PLACE, look=LOOK)
    assert output.read_text() == "earlier"


def test_outlines_join_pixels_by_their_sides_only() -> None:
    values = np.array([[1, 1, 0], [0, 0, 1], [7, 7, 7]], np.uint8)
    found = list(outlines(values, values != 7, top=10))
    assert sorted(value for _, value in found) == [0, 0, 1, 1]
    rows = {y for shape, _ in found for x, y in shape["coordinates"][0]}
    assert rows == {10, 11, 12}


def test_what_was_written_is_read_by_window_with_its_nodata(raw: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    write_cog(raw, output, place=PLACE, look=LOOK)
    stored = np.frombuffer(raw.read_bytes(), np.uint8)[: 600 * 700].reshape(600, 700)
    _, valid = read_window(output)
    assert (valid == (stored != 255)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_plain_pixels_are_read_as_they_were_with_what_holds_data(
    tmp_path: Path, dtype: type
) -> None:
    values = np.random.default_rng(0).integers(1, 200, (4, 30, 40)).astype(dtype)
    valid = np.ones((30, 40), bool)
    valid[3:5, 7] = False
    write_plain(tmp_path / "plain.tif", values, valid=valid)
    found, is_known = read_window(tmp_path / "plain.tif")
    assert (is_known == valid).all()
    assert (found[:, valid] == values[:, valid]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["plain.tif"]
