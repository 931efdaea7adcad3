from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from headstart.backbones import load_backbone
from headstart.backbones.stem import stem_is_adapted
from headstart.config import make_options
from headstart.contracts import Backbone
from headstart.data.chips import read_chip
from headstart.errors import DataError
from headstart.fitting.preparing import PreparedData, prepare_data
from headstart.fitting.sensing import Sensed, refuse_senseless, sense, sensing_backbone
from headstart.fitting.settle import Choices
from headstart.progress import Event, Progress

NAMES = ("B02", "B03", "B04", "B08")
OLD, NEW = {"PROCESSING_BASELINE": "03.01"}, {"PROCESSING_BASELINE": "04.00"}
SIDE = 24

Add = Callable[..., str]


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """`add(values, bands=..., tags=...)` puts one more picture and its mask into `tmp_path`."""
    numbers = iter(range(100))

    def one(
        count: int = 4,
        dtype: str = "uint16",
        *,
        bands: tuple[str, ...] = (),
        tags: dict[str, str] | None = None,
        high: float = 4000,
        **more: Any,
    ) -> str:
        number = next(numbers)
        generator = np.random.default_rng(number)
        values = generator.uniform(high / 2, high, (count, SIDE, SIDE)).astype(dtype)
        mask = np.ones((SIDE, SIDE), np.uint8)
        mask[:, generator.integers(5, 20) :] = 2
        for name in ("images", "masks"):
            (tmp_path / name).mkdir(exist_ok=True)
        path = tmp_path / "images" / f"{number:02}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=SIDE, height=SIDE, count=count, dtype=dtype,
            transform=rasterio.Affine(10, 0, 0, 0, -10, 240), photometric="MINISBLACK", **more,
        ) as file:  # fmt: skip
            file.write(values)
            file.update_tags(**(tags or {}))
            if bands:
                file.descriptions = bands
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number:02}.png")
        return path.name

    return one


def prepared(folder: Path, **options: Any) -> PreparedData:
    return prepare_data(folder, make_options(options), decode=False, progress=Progress())


def sensed(folder: Path, known: tuple[str, ...] = ("R", "G", "B"), **options: Any) -> Sensed:
    return sense(make_options(options), prepared(folder), known=known)


def test_named_bands_are_all_learnt_from_in_reflectance(tmp_path: Path, add: Add) -> None:
    for tags in (OLD, OLD, NEW, NEW, NEW, OLD):
        add(bands=NAMES, tags=tags)
    found = sensed(tmp_path)
    assert (found.bands, found.units, found.sensor) == (NAMES, "reflectance", "sentinel-2")
    assert found.why_bands == "all that every picture has"
    assert len(found.told) == 2
    assert "03.01. (3 pictures)" in found.told[0]
    assert "04.00. (3 pictures)" in found.told[1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("red,nir", ("red", "nir")),
        ("B08", ("B08",)),
        ("3,2,1", ("R", "G", "B")),
        ("B04,B03,B02", ("R", "G", "B")),
        ("4,1", ("B08", "B02")),
    ],
)
def test_bands_that_are_asked_for_are_taken(
    tmp_path: Path, add: Add, given: str, expected: tuple[str, ...]
) -> None:
    for _ in range(6):
        add(bands=NAMES, tags=OLD)
    found = sensed(tmp_path, bands=given)
    assert (found.bands, found.why_bands) == (expected, "as --bands says")


def test_files_that_lack_a_band_are_listed_together(tmp_path: Path, add: Add) -> None:
    for _ in range(12):
        add(bands=NAMES, tags=OLD)
    first, second = (add(3, bands=NAMES[:3], tags=OLD) for _ in range(2))
    more = add(5, bands=(*NAMES, "B11"), tags=OLD)
    with pytest.raises(DataError) as raised:
        sensed(tmp_path)
    message = str(raised.value)
    assert message.startswith("3 pictures without all of the bands B02, B03, B04, B08,")
    for name in (first, second):
        assert f"{name}` has no band `B08`" in message
    assert f"{more}` has others besides: B02, B03, B04, B08, B11." in message
    assert "--bands" in message
    assert "--on-bad skip" in message
    assert sensed(tmp_path, bands="B04,B03").bands == ("B04", "B03")
    data = prepared(tmp_path, on_bad="skip")
    refuse_senseless(make_options({"on_bad": "skip"}), data)
    assert {Path(id_).name for id_ in data.left_out} == {first, second, more}


def test_bands_without_names_are_told_with_the_choices(tmp_path: Path, add: Add) -> None:
    for _ in range(6):
        add(4)
    with pytest.raises(DataError, match=r"6 pictures of 4 bands without names(.|\n)*1,2,3,4"):
        sensed(tmp_path)
    found = sensed(tmp_path, bands="1,2,3,4", units="dn10000")
    assert (found.bands, found.units) == (("1", "2", "3", "4"), "dn10000")


def test_a_unit_that_cannot_be_told_lists_the_choices(tmp_path: Path, add: Add) -> None:
    for _ in range(6):
        add(4, bands=("blue", "green", "red", "nir"))
    with pytest.raises(DataError, match=r"cannot be told(.|\n)*--units dn10000(.|\n)*6 pictures"):
        sensed(tmp_path)
    for on_bad in ("stop", "skip"):  # leaving all of them out is no remedy
        with pytest.raises(DataError, match=r"reach(.|\n)*--units dn10000(.|\n)*6 pictures"):
            sensed(tmp_path, units="reflectance", on_bad=on_bad)


def test_the_choices_of_units_are_listed_once(tmp_path: Path, add: Add) -> None:
    for _ in range(4):
        add(4, bands=("blue", "green", "red", "nir"))
    for _ in range(3):
        add(4, "uint8", bands=("blue", "green", "red", "nir"), high=200)
    with pytest.raises(DataError, match="4 pictures that cannot be read") as raised:
        sensed(tmp_path)
    assert str(raised.value).count("`--units dn10000`") == 1
    assert str(raised.value).count("cannot be told") == 4


def test_a_split_of_which_skipping_leaves_nothing_is_told(tmp_path: Path, add: Add) -> None:
    for _ in range(8):
        add(4, bands=("blue", "green", "red", "nir"))
    data = prepared(tmp_path, on_bad="skip")
    held_out = {sample.path for sample in data.samples("test")}
    for path in held_out:
        with rasterio.open(path, "r+") as file:
            file.set_band_description(4, "swir16")
    options = make_options({"on_bad": "skip", "units": "dn10000"})
    data = prepared(tmp_path, on_bad="skip")
    assert {sample.path for sample in data.samples("test")} == held_out
    with pytest.raises(DataError, match=r"Nothing is left of test(.|\n)*no band `nir`"):
        refuse_senseless(options, data)


def test_a_unit_that_some_files_contradict_is_told_with_them(tmp_path: Path, add: Add) -> None:
    for _ in range(5):
        add(bands=NAMES, tags=OLD)
    odd = add(bands=NAMES, tags=NEW)
    with pytest.raises(DataError, match=rf"1 picture that cannot be(.|\n)*contradicts .*{odd}"):
        sensed(tmp_path, units="dn10000")


def test_stretched_pictures_do_not_stand_beside_reflectance(tmp_path: Path, add: Add) -> None:
    for _ in range(5):
        add(bands=NAMES, tags=OLD)
    odd = add(4, "uint8", bands=NAMES, high=200)
    with pytest.raises(DataError, match=rf"{odd}` is of 8 bits, 0 to 255, others of reflectance"):
        sensed(tmp_path)


def test_pictures_of_8_bits_stay_as_they_are_stored(tmp_path: Path, add: Add) -> None:
    for _ in range(6):
        add(3, "uint8", high=200)
    assert sensed(tmp_path).units == ""
    assert sensed(tmp_path).bands == ("R", "G", "B")
    assert sensed(tmp_path, bands="3,1").bands == ("B", "R")
    assert sensed(tmp_path, bands="3,1").units == ""


def test_red_green_and_blue_are_a_photo_in_whatever_order(tmp_path: Path, add: Add) -> None:
    for bands in (("B02", "B03", "B04"),) * 4 + (("red", "green", "blue"),) * 2:
        add(3, "uint8", high=200, bands=bands)
    found = sensed(tmp_path)
    assert (found.bands, found.units) == (("R", "G", "B"), "")


def test_bands_of_one_name_are_told_by_number(tmp_path: Path, add: Add) -> None:
    for _ in range(6):
        add(2, "float32", high=0.5, bands=("red", "red"))
    with pytest.raises(DataError, match=r"No picture can be read so.*2 bands that may be `red`"):
        sensed(tmp_path)


def test_more_bands_of_8_bits_are_shares_of_their_range(tmp_path: Path, add: Add) -> None:
    for _ in range(6):
        add(4, "uint8", high=200, bands=("red", "green", "blue", "band_4"))
    found = sensed(tmp_path)
    assert (found.bands[3], found.units) == ("band_4", "8bit")


def test_a_single_band_leaves_nothing_to_choose(tmp_path: Path, add: Add) -> None:
    for _ in range(6):
        add(1, "float32", high=0.6)
    found = sensed(tmp_path)
    assert (found.bands, found.units) == (("1",), "reflectance")


def test_bands_of_landsat_go_by_what_they_are_called(tmp_path: Path, add: Add) -> None:
    scales = {"platform": "landsat-8"}
    for _ in range(6):
        add(3, "float32", bands=("B4", "B5", "B6"), tags=scales, high=0.5)
    found = sensed(tmp_path)
    assert found.sensor == "landsat-8"
    assert found.bands == ("red", "nir08", "swir16")


def test_the_bands_that_the_weights_know_come_first(tmp_path: Path, add: Add) -> None:
    for _ in range(6):
        add(bands=NAMES, tags=OLD)
    assert sensed(tmp_path, known=("B08", "B04", "B03")).bands == ("B08", "B04", "B03")
    assert sensed(tmp_path, known=("B11", "B04", "B03")).bands == NAMES


def settled(
    folder: Path, backbone: Backbone, **options: Any
) -> tuple[Backbone, dict[str, Any], list[Event]]:
    given = make_options(options)
    events: list[Event] = []

    class Sink:
        def handle(self, event: Event) -> None:
            events.append(event)

    progress = Progress([Sink()])
    choices = Choices(given, progress=progress)
    data = prepared(folder, **options)
    found = sensing_backbone(backbone, data, given, choices=choices, progress=progress)
    return found, {choice.name: choice.value for choice in choices.made}, events


@pytest.fixture
def backbone() -> Backbone:
    from dataclasses import replace

    made = load_backbone("test_resnet", weights="random")
    return replace(made, spec=replace(made.spec, weights="a.safetensors"))


def test_the_contract_tells_bands_units_and_their_statistics(
    tmp_path: Path, add: Add, backbone: Backbone
) -> None:
    for tags in (OLD, OLD, OLD, OLD, OLD, OLD):
        add(bands=NAMES, tags=tags)
    found, made, events = settled(tmp_path, backbone)
    contract = found.contract
    assert (contract.bands, contract.units, contract.scale) == (NAMES, "reflectance", 1.0)
    assert contract.mean == pytest.approx((0.3,) * 4, abs=0.01)
    assert contract.std == pytest.approx((0.2 / 12**0.5,) * 4, rel=0.1)
    assert stem_is_adapted(found)
    assert set(made) == {"bands", "units", "stem", "normalisation"}
    assert any("baseline 03.01" in event.message for event in events)
    assert any("B08 from R" in event.message for event in events)


def test_photos_leave_the_backbone_alone(tmp_path: Path, add: Add, backbone: Backbone) -> None:
    for _ in range(6):
        add(3, "uint8", high=200)
    found, made, events = settled(tmp_path, backbone)
    assert found is backbone
    assert (made, events) == ({}, [])


@pytest.fixture
def add_marked(tmp_path: Path, add: Add) -> Callable[..., Path]:
    """`add_marked()` adds a picture of 8 bits whose fourth band has no name and is marked alpha."""

    def one(*, is_opacity: bool = False, first: ColorInterp = ColorInterp.red) -> Path:
        path = tmp_path / "images" / add(4, "uint8", high=200)
        colours = (first, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        with rasterio.open(path, "r+") as file:
            file.colorinterp = colours
            band = file.read(4)
            band[:2] = 0
            file.write(np.where(band > 0, 255, 0).astype(np.uint8) if is_opacity else band, 4)
        return path

    return one


def test_what_may_be_near_infrared_and_is_marked_as_alpha_is_left_out_and_told(
    tmp_path: Path, add_marked: Callable[..., Path], backbone: Backbone
) -> None:
    for _ in range(6):
        add_marked()
    found, _, events = settled(tmp_path, backbone)
    assert found is backbone
    (told,) = [event.message for event in events if event.kind == "warning"]
    assert told.startswith("Band 4 of `images/00.tif` is left out: it has no name and is marked as")
    assert "--bands 1,2,3,4" in told
    _, _, events = settled(tmp_path, backbone, bands="1,2,3")
    assert not [event for event in events if event.kind == "warning"]


def test_what_is_marked_as_alpha_and_asked_for_by_number_is_learnt_from(
    tmp_path: Path, add_marked: Callable[..., Path], backbone: Backbone
) -> None:
    path = [add_marked() for _ in range(6)][-1]
    found, made, events = settled(tmp_path, backbone, bands="1,2,3,4")
    assert found.contract.bands == ("red", "green", "blue", "4")
    assert (found.contract.units, made["units"]) == ("8bit", "8bit")
    assert found.contract.mean[3] == pytest.approx(150 / 255, abs=0.1)
    assert not [event for event in events if event.kind == "warning"]
    values, valid = read_chip(path, found.contract)
    with rasterio.open(path) as file:
        assert values[3] == pytest.approx(file.read(4) / 255)
    assert valid.all()  # 0 is a value, and not transparent


def test_pictures_without_any_name_are_read_with_the_band_that_is_marked_as_alpha(
    tmp_path: Path, add_marked: Callable[..., Path], backbone: Backbone
) -> None:
    for _ in range(6):
        add_marked(first=ColorInterp.gray)
    contract = settled(tmp_path, backbone, bands="4,1")[0].contract
    assert contract.bands[0] == "4"


def test_opacity_is_left_out_without_a_word(
    tmp_path: Path, add_marked: Callable[..., Path], backbone: Backbone
) -> None:
    for _ in range(6):
        add_marked(is_opacity=True)
    found, made, events = settled(tmp_path, backbone)
    assert found is backbone
    assert (made, events) == ({}, [])


def test_weights_that_know_bands_and_units_keep_their_statistics(
    tmp_path: Path, add: Add, backbone: Backbone
) -> None:
    from dataclasses import replace

    from headstart.backbones.stem import adapt_stem

    for _ in range(6):
        add(bands=NAMES, tags=OLD)
    domain = adapt_stem(backbone, NAMES)
    arguments = {k: v for k, v in domain.spec.arguments.items() if k != "stem"}
    domain = replace(
        domain,
        spec=replace(domain.spec, arguments=arguments),
        contract=replace(domain.contract, units="reflectance", scale=1.0, mean=(0.1, 0.2, 0.3, 4)),
    )
    found, made, _ = settled(tmp_path, domain)
    assert found.contract == domain.contract
    assert set(made) == {"bands", "units"}
    found, _, _ = settled(tmp_path, domain, bands="B04,B02")
    assert found.contract.mean == (0.3, 0.1)
