"""What the page of an inspection says of bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from headstart.inspecting import DataOptions, inspect
from headstart.report.band_inspection import BandPage, ReadBands, draw_bands

NAMES = tuple(f"B{i:02}" for i in range(1, 14))


def write(folder: Path, number: int, values: np.ndarray, *, names: tuple[str, ...] = ()) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    with rasterio.open(
        folder / "images" / f"{number}.tif", "w", driver="GTiff", width=width, height=height,
        count=bands, dtype=values.dtype, crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 53e5),
    ) as file:  # fmt: skip
        file.write(values)
        if names:
            file.descriptions = names
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 1
    Image.fromarray(mask).save(folder / "masks" / f"{number}.png")


def values(seed: int, *, bands: int = 13) -> np.ndarray:
    blobs = np.random.default_rng(seed).random((bands, 6, 6))
    return np.kron(blobs, np.ones((1, 8, 8)))


def page_of(folder: Path, **reading: object) -> str:
    output = folder.parent / "page.html"
    inspect(folder, output=output, **DataOptions(**reading))  # type: ignore[typeddict-item]
    return output.read_text(encoding="utf-8")


def test_thirteen_bands_of_sixteen_bits_are_drawn_by_name_with_their_type(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / "d", i, (1000 + 3000 * values(i)).astype(np.uint16), names=NAMES)
    page = page_of(tmp_path / "d")
    assert all(f"Band {i}: {name}" in page for i, name in enumerate(NAMES, 1))
    assert "value, uint16" in page
    assert "cannot be told" in page  # times 10,000, with an offset or without
    assert "--units dn10000-offset" in page
    told = page_of(tmp_path / "d", units="dn10000-offset")
    assert "value, uint16 (dn10000-offset)" in told
    assert "as --units says" in told


def test_floating_point_bands_are_told_to_be_reflectance(tmp_path: Path) -> None:
    for i in range(4):
        scene = values(i, bands=5).astype(np.float32)
        scene[:, :3, :3] = np.nan
        write(tmp_path / "d", i, scene)
    page = page_of(tmp_path / "d", bands=("2", "band_5"))
    assert "value, float32 (reflectance)" in page
    assert "Band 1: band_2" in page
    assert "Band 2: band_5" in page
    assert "Band 3" not in page


def test_a_band_without_data_leaves_the_others_to_be_told_of(tmp_path: Path) -> None:
    for i in range(4):
        scene = values(i, bands=3).astype(np.float32)
        scene[1] = np.nan
        write(tmp_path / "d", i, scene)
    page = page_of(tmp_path / "d")
    assert "band_1" in page
    assert "Band 2: band_3" in page


def read(
    seed: int, *, names: tuple[str, ...] = ("a", "b"), dtype: str = "uint8", valid: bool = True
) -> ReadBands:
    drawn = (200 * values(seed, bands=len(names))).astype(dtype)
    return ReadBands(f"{seed}.tif", names, drawn, np.full(drawn.shape[1:], valid), None)


def test_pictures_with_other_bands_are_told_and_not_counted() -> None:
    page = draw_bands([read(0, names=("x",)), read(1), read(2), read(3, dtype="uint16")])
    assert [row.name for row in page.rows] == ["a", "b"]
    assert page.num_read == 2
    assert "2 pictures of those read have other bands" in page.notes[0]


def test_where_there_is_nothing_to_tell_that_is_said() -> None:
    assert draw_bands([]) == BandPage()
    page = draw_bands([read(0, valid=False)])
    assert page.rows == ()
    assert "No pixel of those read holds data" in page.notes[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_figures_are_those_of_the_pixels(dtype: str) -> None:
    each = read(0, dtype=dtype)
    row = draw_bands([each]).rows[1]
    assert row.low == f"{each.values[1].min():,.4g}"
    assert row.high == f"{each.values[1].max():,.4g}"
    assert float(row.mean.replace(",", "")) == pytest.approx(float(each.values[1].mean()), rel=0.05)
