"""Rasters with masks are checked as rasters: any number of bands, any values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from headstart.contracts import Dataset
from headstart.data import open_dataset
from headstart.data.checks import Checkup, check_dataset, leave_out_bad
from headstart.data.mask_checks import check_masks
from headstart.data.near_duplicates import find_near_duplicates
from headstart.data.raster_miniatures import (
    bands_without_data,
    raster_miniature,
    visible_bands,
)
from headstart.data.rasters import Window, open_raster
from headstart.progress import Progress


def write(path: Path, values: np.ndarray, *, names: Sequence[str] = (), **profile: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=values.dtype,
        crs="EPSG:32632", transform=rasterio.Affine(10, 0, 500000, 0, -10, 5300000), **profile,
    ) as file:  # fmt: skip
        file.write(values)
        file.descriptions = names or file.descriptions


def scene(seed: int, *, bands: int = 13) -> np.ndarray:
    blobs = np.random.default_rng(seed).random((bands, 6, 6))
    return np.kron(blobs, np.ones((1, 8, 8)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pairs: 13 bands of 16 bits, and of floating-point values."""
    for i in range(8):
        values = scene(i)
        stored = values.astype(np.float32) if i % 2 else (1000 + 3000 * values).astype(np.uint16)
        write(tmp_path / "d" / "images" / f"{i}.tif", stored)
        mask = (values[0] > 0.5).astype(np.uint8)
        (tmp_path / "d" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "d" / "masks" / f"{i}.png")
    return tmp_path / "d"


def check(folder: Path, *, decode: bool = True) -> tuple[Dataset, Checkup]:
    checked = check_masks(open_dataset(folder), progress=Progress())
    checkup = check_dataset(
        checked.dataset, decode=decode, progress=Progress(), hashed=True, masks=checked.facts
    )
    return checked.dataset, checkup


def test_any_bands_and_values_are_welcome(folder: Path) -> None:
    _, checkup = check(folder)
    assert checkup.findings == ()
    facts = checkup.facts["images/1.tif"]
    assert (facts.format, facts.mode, facts.width) == ("GTiff", "13 x float32", 48)
    assert facts.raster is not None
    assert len(facts.raster.bands) == 13
    assert checkup.sixteen_bit_divisor == 257


@pytest.mark.parametrize("decode", [True, False])
def test_a_cut_raster_is_found_and_left_out(folder: Path, *, decode: bool) -> None:
    path = folder / "images" / "3.tif"
    path.write_bytes(path.read_bytes()[:30_000])
    (folder / "images" / "4.tif").write_bytes(b"")
    dataset, checkup = check(folder, decode=decode)
    assert {f.kind: f.ids for f in checkup.errors} == {
        "truncated": ("images/3.tif",),
        "zero-byte": ("images/4.tif",),
    }
    kept, after = leave_out_bad(dataset, checkup)
    assert len(kept) == len(after.facts) == len(after.masks) == 6
    assert after.errors == ()


def test_near_duplicates_are_found_by_what_a_person_would_see(folder: Path) -> None:
    write(folder / "images" / "8.tif", (1010 + 2900 * scene(4)).astype(np.uint16))
    Image.fromarray(np.eye(48, dtype=np.uint8)).save(folder / "masks" / "8.png")
    near = find_near_duplicates(check(folder)[1].facts)
    assert {(pair.first, pair.second) for pair in near.pairs} == {("images/4.tif", "images/8.tif")}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_only_visible_bands_make_a_near_duplicate(folder: Path, dtype: str) -> None:
    """The same red, green and blue, and all else from another place."""
    names = [f"B{i:02}" for i in range(1, 14)]
    seen = [names.index(name) for name in ("B04", "B03", "B02")]
    values, other = scene(4), scene(100)
    other[seen] = values[seen]
    for number, of in ((8, values), (9, other)):
        most = {"uint8": 250, "uint16": 4000, "float32": 1}[dtype]
        write(folder / "images" / f"{number}.tif", (most * of).astype(dtype), names=names)
        Image.fromarray(np.eye(48, dtype=np.uint8)).save(folder / "masks" / f"{number}.png")
    near = find_near_duplicates(check(folder)[1].facts)
    assert ("images/8.tif", "images/9.tif") in {(pair.first, pair.second) for pair in near.pairs}


def test_bands_without_names_are_seen_as_the_first_three() -> None:
    assert visible_bands(["band_1", "band_2", "band_3", "band_4"]) == [0, 1, 2]
    assert visible_bands(["vv", "vh"]) == [0]
    assert visible_bands(["B2", "B3", "B4"], sensor="landsat-8") == [2, 1, 0]


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("nodata", [0, float("nan"), -9999])
def test_a_picture_without_data_is_found_and_left_out(
    folder: Path, nodata: float, *, decode: bool
) -> None:
    dtype = np.uint16 if nodata == 0 else np.float32
    write(folder / "images" / "3.tif", np.full((13, 48, 48), nodata, dtype), nodata=nodata)
    dataset, checkup = check(folder, decode=decode)
    assert {f.kind: f.ids for f in checkup.errors} == {"empty-picture": ("images/3.tif",)}
    kept, after = leave_out_bad(dataset, checkup)
    assert after.errors == ()
    assert "images/3.tif" not in {sample.id for sample in kept}


def test_a_constant_picture_is_not_empty_and_one_pixel_is_enough(folder: Path) -> None:
    write(folder / "images" / "3.tif", np.full((13, 48, 48), 7, np.uint8), nodata=0)
    lonely = np.zeros((13, 48, 48), np.uint8)
    lonely[:, 47, 47] = 5
    write(folder / "images" / "4.tif", lonely, nodata=0)
    assert check(folder)[1].findings == ()


def test_a_band_without_data_is_told(folder: Path) -> None:
    values = scene(3).astype(np.float32)
    values[7] = np.nan
    write(folder / "images" / "3.tif", values)
    (finding,) = check(folder)[1].findings
    assert (finding.kind, finding.severity) == ("empty-band", "warning")
    assert "`images/3.tif`: band_8." in finding.message
    assert "--bands" in finding.remedy


def test_a_photo_that_is_transparent_all_over_is_empty(folder: Path) -> None:
    for number, alpha in ((8, 0), (9, 255)):
        values = np.random.default_rng(number).integers(0, 255, (48, 48, 4), np.uint8)
        values[..., 3] = alpha
        Image.fromarray(values).save(folder / "images" / f"{number}.png")
        Image.fromarray(np.eye(48, dtype=np.uint8)).save(folder / "masks" / f"{number}.png")
    errors = check(folder)[1].errors
    assert {f.kind: f.ids for f in errors} == {"empty-picture": ("images/8.png",)}


def test_a_long_strip_is_looked_at_piece_by_piece(folder: Path) -> None:
    strip = np.zeros((1, 12, 40_000), np.uint8)
    strip[0, :, 39_000:] = np.random.default_rng(0).integers(1, 255, (12, 1000), np.uint8)
    write(folder / "images" / "3.tif", strip, nodata=0)
    with open_raster(folder / "images" / "3.tif") as raster:
        assert bands_without_data(raster) == ()
        assert bands_without_data(raster, Window(0, 0, 38_000, 12)) == ("band_1",)
        assert len(raster_miniature(raster)) == 256


def test_miniatures_of_rasters_are_kept_apart_from_those_of_photos(folder: Path) -> None:
    first = check(folder)[1].facts
    again = check(folder)[1].facts
    for id_, facts in first.items():
        assert facts.perceptual == again[id_].perceptual
        assert len(facts.perceptual) == 256
        assert facts.miniature_key != bytes.fromhex(facts.sha256)


def test_the_fingerprint_is_of_the_masks_too(folder: Path) -> None:
    before = check(folder)[1].fingerprint
    assert check(folder)[1].fingerprint == before
    mask = np.asarray(Image.open(folder / "masks" / "2.png")).copy()
    mask[0, 0] = 1 - mask[0, 0]
    Image.fromarray(mask).save(folder / "masks" / "2.png")
    assert check(folder)[1].fingerprint != before


def test_copies_with_different_masks_conflict_though_they_show_the_same_classes(
    folder: Path,
) -> None:
    for number, turned in ((8, False), (9, True)):
        (folder / "images" / f"{number}.tif").write_bytes((folder / "images/2.tif").read_bytes())
        mask = Image.open(folder / "masks" / "2.png")
        mask = mask.transpose(Image.Transpose.ROTATE_180) if turned else mask
        mask.save(folder / "masks" / f"{number}.png")
    kinds = {f.kind for f in check(folder)[1].findings}
    assert "conflicting-labels" in kinds
