from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from headstart.contracts import InputContract, Sample
from headstart.data.band_statistics import measure_bands, warn_of_strange_values
from headstart.data.chips import read_chip
from headstart.data.raster_values import file_unit, recognise_file
from headstart.errors import DataError
from headstart.progress import Event, Progress

NAMES = ("B02", "B03", "B04", "B08")


def write(path: Path, values: np.ndarray, *, bands: tuple[str, ...] = (), **more: Any) -> Path:
    tags, scales = more.pop("tags", {}), more.pop("scales", None)
    num, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=num, dtype=values.dtype,
        crs="EPSG:32632", transform=rasterio.Affine(10, 0, 500000, 0, -10, 5300000),
        photometric="MINISBLACK", **more,
    ) as file:  # fmt: skip
        file.write(values)
        file.update_tags(**tags)
        if bands:
            file.descriptions = bands
        if scales is not None:
            file.scales, file.offsets = scales
    return path


def contract(*bands: str, units: str = "reflectance", **more: Any) -> InputContract:
    n = len(bands)
    more = {"mean": (0.2,) * n, "std": (0.1,) * n, "scale": 1.0, **more}
    return InputContract(bands, 16, 16, units=units, **more)


@pytest.fixture
def reflectance() -> np.ndarray:
    """In steps of 1/10,000, so that integers hold it exactly."""
    drawn = np.random.default_rng(0).integers(100, 5000, (4, 20, 24))
    return (drawn / 10_000).astype(np.float32)


def test_every_way_to_store_reflectance_is_read_alike(
    tmp_path: Path, reflectance: np.ndarray
) -> None:
    numbers = np.rint(reflectance * 10_000)
    old = write(
        tmp_path / "old.tif", numbers.astype(np.uint16), bands=NAMES,
        tags={"PROCESSING_BASELINE": "03.01"},
    )  # fmt: skip
    new = write(
        tmp_path / "new.tif", (numbers + 1000).astype(np.uint16), bands=NAMES,
        tags={"PROCESSING_BASELINE": "04.00"},
    )  # fmt: skip
    floats = write(tmp_path / "floats.tif", reflectance, bands=NAMES)
    scaled = write(
        tmp_path / "scaled.tif", (numbers * 2).astype(np.int16), bands=NAMES,
        scales=((0.5e-4,) * 4, (0.0,) * 4),
    )  # fmt: skip
    for path in (old, new, floats, scaled):
        values, valid = read_chip(path, contract("B08", "B02"))
        assert values.dtype == np.float32
        assert valid.all()
        assert np.allclose(values, reflectance[[3, 0]], atol=1e-6), path.name


def test_scales_of_single_bands_go_with_their_bands(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", np.full((2, 4, 4), 100, np.int16), bands=("red", "nir"),
        scales=((0.001, 0.01), (0.0, -0.5)),
    )  # fmt: skip
    values, _ = read_chip(path, contract("nir", "red"))
    assert np.allclose(values[:, 0, 0], [0.5, 0.1])


def test_what_holds_no_data_is_0_in_any_unit(tmp_path: Path) -> None:
    numbers = np.full((4, 8, 8), 3000, np.uint16)
    numbers[:, 2, 3] = 0
    path = write(
        tmp_path / "a.tif", numbers, bands=NAMES, nodata=0, tags={"PROCESSING_BASELINE": "05.00"}
    )
    values, valid = read_chip(path, contract(*NAMES))
    assert not valid[2, 3]
    assert not values[:, 2, 3].any()
    assert np.allclose(values[:, 0, 0], 0.2)


def test_a_unit_that_cannot_be_told_is_never_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((2, 8, 8), 700, np.uint16), bands=("red", "nir"))
    with pytest.raises(DataError, match=r"cannot be told: uint16.*\n- `--units reflectance`"):
        read_chip(path, contract("red", "nir"))
    values, _ = read_chip(path, contract("red", "nir", units="dn10000"))
    assert np.allclose(values, 0.07)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_stretched_pictures_are_no_reflectance(tmp_path: Path, dtype: str) -> None:
    more = {"NBITS": 12} if dtype == "uint16" else {}
    path = write(tmp_path / "a.tif", np.full((1, 8, 8), 200, dtype), bands=("red",), **more)
    with pytest.raises(DataError, match=r"takes reflectance, which `.*a\.tif` does not hold"):
        read_chip(path, contract("red"))


def test_a_declared_unit_that_the_file_contradicts_is_refused(tmp_path: Path) -> None:
    numbers = np.full((4, 8, 8), 3000, np.uint16)
    path = write(tmp_path / "a.tif", numbers, bands=NAMES, tags={"PROCESSING_BASELINE": "05.00"})
    with pytest.raises(DataError, match=r"`--units dn10000` .* contradicts .*baseline 05\.00"):
        read_chip(path, contract(*NAMES, units="dn10000"))
    bytes_ = write(tmp_path / "b.tif", np.full((1, 8, 8), 9, np.uint8), bands=("red",))
    with pytest.raises(DataError, match=r"`--units 16bit` .* contradicts .*8 bits wide"):
        read_chip(bytes_, contract("red", units="16bit"))
    with pytest.raises(DataError, match=r"its values reach 3,000, uint16"):
        read_chip(write(tmp_path / "c.tif", numbers), contract("1", units="8bit"))


def test_a_model_of_8_bits_refuses_other_values(tmp_path: Path) -> None:
    photo = InputContract(("R", "G", "B"), 16, 16, (0.5,) * 3, (0.25,) * 3)
    wide = write(tmp_path / "wide.tif", np.full((3, 8, 8), 9000, np.uint16))
    with pytest.raises(DataError, match=r"wide\.tif` holds uint16 .* 9,000.*8 bits.*--units"):
        read_chip(wide, photo)
    small = write(tmp_path / "small.tif", np.full((3, 8, 8), 0.4, np.float32))
    with pytest.raises(DataError, match=r"holds float32 with values from 0\.4 to 0\.4"):
        read_chip(small, photo)
    fits = write(tmp_path / "fits.tif", np.full((3, 8, 8), 200, np.uint16))
    assert read_chip(fits, photo)[0].max() == 200


def test_one_band_of_a_photo_can_be_had(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (9, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    one = contract("G", units="", scale=255.0)
    assert np.array_equal(read_chip(tmp_path / "a.png", one)[0], pixels[None, :, :, 1])
    plain = write(tmp_path / "a.tif", pixels.transpose(2, 0, 1))
    assert np.array_equal(read_chip(plain, one)[0], pixels[None, :, :, 1])
    with pytest.raises(DataError, match="is a photo of 8 bits, but the model takes reflectance"):
        read_chip(tmp_path / "a.png", contract("R"))


def test_a_glint_is_still_reflectance_for_a_model_of_it(
    tmp_path: Path, reflectance: np.ndarray
) -> None:
    reflectance[0, 0, 0] = 3.5
    path = write(tmp_path / "a.tif", reflectance, bands=NAMES)
    with pytest.raises(DataError, match="cannot be told"):
        recognise_file(path, bands=NAMES)
    assert file_unit(path, bands=NAMES, units="reflectance").name == "reflectance"
    write(path, reflectance * 10_000, bands=NAMES)
    os.utime(path, ns=(1, 1))  # else a file system of coarse times may not tell the two apart
    with pytest.raises(DataError, match=r"takes reflectance.*cannot be told"):
        file_unit(path, bands=NAMES, units="reflectance")


def test_statistics_are_of_what_holds_data_and_forgive_a_few_outliers(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    samples = []
    for number in range(4):
        values = generator.normal([[[0.1]], [[0.4]], [[0.3]]], [[[0.02]], [[0.1]], [[0]]],
                                  (3, 300, 300)).astype(np.float32)  # fmt: skip
        values[:, :100] = -9
        values[0, 150, 150] = 1.9
        path = write(tmp_path / f"{number}.tif", values, bands=("red", "nir", "green"), nodata=-9)
        samples.append(Sample(path.name, path))
    found = measure_bands(samples, contract("nir", "red", "green"))
    assert found.mean[:2] == pytest.approx((0.4, 0.1), abs=0.005)
    assert found.std[:2] == pytest.approx((0.1, 0.02), rel=0.05)
    assert (found.constant, found.std[2], found.num_samples) == (("green",), 1.0, 4)


def test_pictures_unlike_training_are_told_once(tmp_path: Path, reflectance: np.ndarray) -> None:
    told: list[str] = []

    class Sink:
        def handle(self, event: Event) -> None:
            told.append(event.message)

    samples = []
    for number in range(3):
        path = write(tmp_path / f"{number}.tif", reflectance, bands=NAMES)
        samples.append(Sample(path.name, path))
    samples.append(Sample("gone.tif", tmp_path / "gone.tif"))
    usual = contract("B04", "B08", mean=(0.25, 0.25), std=(0.14, 0.14))
    warn_of_strange_values(samples, usual, progress=Progress([Sink()]))
    assert told == []
    other = contract("B04", "B08", mean=(0.25, 0.001), std=(0.14, 0.001))
    warn_of_strange_values(samples, other, progress=Progress([Sink()]))
    (sentence,) = told
    assert sentence.startswith("`0.tif` is unlike what the model was fitted on: the median of B08")
    assert "In all it is so of 3 of the 3 that were looked at." in sentence
