from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from headstart.contracts import Dataset, Finding, Legend, Sample
from headstart.data.checks import check_dataset, leave_out_bad, raise_for_errors
from headstart.data.legends import settle_legend
from headstart.data.mask_checks import CheckedMasks, check_masks
from headstart.errors import DataError
from headstart.progress import Event, Progress

LEGEND = Legend(("land", "water"), ((1,), (2,)), ignored=(9,))
PLACE = Affine(10, 0, 500000, 0, -10, 5300000)


def moved(x: float, y: float) -> Affine:
    """PLACE, but x metres further east and y further north."""
    return Affine(10, 0, 500000 + x, 0, -10, 5300000 + y)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six sound pairs of GeoTIFFs in images/ and masks/, called 0 to 5."""
    for index in range(6):
        rng = np.random.default_rng(index)
        write(tmp_path / f"images/{index}.tif", rng.integers(0, 255, (3, 8, 10), np.uint8))
        write(tmp_path / f"masks/{index}.tif", np.tile([1, 2], (1, 8, 5)).astype(np.uint8))
    return tmp_path


def write(path: Path, values: np.ndarray, **profile: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    profile = {"crs": "EPSG:32632", "transform": PLACE, **profile}
    bands, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=values.dtype,
        **profile,
    ) as file:  # fmt: skip
        file.write(values)


def mask(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (1, 8, 10))


def check(
    folder: Path, legend: Legend = LEGEND, *, ignore_values: tuple[int, ...] = ()
) -> CheckedMasks:
    samples = [
        Sample(f"images/{p.name}", p, mask=folder / "masks" / p.name)
        for p in sorted((folder / "images").iterdir())
    ]
    dataset = Dataset(
        folder, "masks", "", "semantic-segmentation", tuple(samples), legend.names,
        is_multilabel=True, legend=legend,
    )  # fmt: skip
    return check_masks(dataset, progress=Progress(), ignore_values=ignore_values)


def only(checked: CheckedMasks) -> Finding:
    (finding,) = checked.findings
    assert finding.severity == "error"
    return finding


def test_sound_masks_have_no_findings_but_facts_and_labels(folder: Path) -> None:
    checked = check(folder)
    assert checked.findings == ()
    facts = checked.facts["images/0.tif"]
    assert (facts.width, facts.height, facts.pixels, facts.num_ignored) == (10, 8, (40, 40), 0)
    assert {sample.labels for sample in checked.dataset} == {("land", "water")}
    assert len({of_mask.sha256 for of_mask in checked.facts.values()}) == 1


def test_all_that_is_wrong_is_found_at_once_and_can_be_left_out(folder: Path) -> None:
    write(folder / "masks/0.tif", mask(1, 2)[:, :, :9])
    write(folder / "masks/1.tif", mask(9))
    write(folder / "masks/2.tif", mask(1, 2, 7))
    write(folder / "masks/3.tif", mask(1, 2), transform=moved(30, 0))
    checked = check(folder)
    assert {f.kind: f.ids for f in checked.findings} == {
        "size-mismatch": ("images/0.tif",),
        "empty-mask": ("images/1.tif",),
        "unknown-value": ("images/2.tif",),
        "elsewhere": ("images/3.tif",),
    }
    checkup = check_dataset(checked.dataset, decode=False, progress=Progress())
    with pytest.raises(DataError, match="leave 4 files out with `--on-bad skip`") as caught:
        raise_for_errors(checkup)
    assert all(f"images/{i}.tif" in str(caught.value) for i in range(4))
    kept, checkup = leave_out_bad(checked.dataset, checkup)
    raise_for_errors(checkup)
    assert [sample.id for sample in kept] == ["images/4.tif", "images/5.tif"]
    assert kept.classes == ("land", "water")


def test_an_unknown_value_is_told_with_the_legend_and_the_way_out(folder: Path) -> None:
    write(folder / "masks/2.tif", mask(1, 7))
    write(folder / "masks/3.tif", mask(7, 8))
    finding = only(check(folder))
    assert finding.message == (
        "2 masks with values that the legend does not have: 7 in 2 (`masks/2.tif` for one), 8 in 1 "
        "(`masks/3.tif`). Known are 1 land, 2 water; ignored 9."
    )
    assert "a classes.csv or classes.txt that names them all" in finding.remedy
    assert "`--ignore-value 7,8`" in finding.remedy


def test_what_is_ignored_already_stays_ignored_by_the_option_that_is_proposed(folder: Path) -> None:
    write(folder / "masks/2.tif", mask(1, 7, 9))
    assert "`--ignore-value 7,9`" in only(check(folder)).remedy


@pytest.mark.parametrize("name", ["classes.txt", "classes.json", "classes.csv", "labelmap.txt"])
def test_the_legend_that_lacks_a_value_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("names nothing: it is not read here")
    write(folder / "masks/2.tif", mask(1, 7))
    finding = only(check(folder))
    assert f"values that `{name}` does not have: 7 in 1 (`masks/2.tif`)" in finding.message
    assert f"in `{folder / name}`" in finding.remedy


def test_unknown_colours_are_told_as_colours(folder: Path) -> None:
    legend = Legend(("road", "sky"), ((0x804080,), (0x4682B4,)), is_coloured=True)
    for path in (folder / "masks").iterdir():
        picture = np.full((8, 10, 3), (128, 64, 128), np.uint8)
        picture[4:] = (70, 130, 180)
        if path.stem == "3":
            picture[0, 0] = (255, 0, 0)
        write(path, picture.transpose(2, 0, 1))
    finding = only(check(folder, legend))
    assert "colours that the legend does not have: (255, 0, 0) in 1" in finding.message
    assert "Known are (128, 64, 128) road, (70, 130, 180) sky." in finding.message
    assert "`--ignore-value '#ff0000'`" in finding.remedy


def test_very_many_unknown_values_are_no_classes(folder: Path) -> None:
    values = np.arange(80, dtype=np.int32).reshape(1, 8, 10) + 70_000
    write(folder / "masks/2.tif", values)
    finding = only(check(folder))
    assert "74 more" in finding.message
    assert "resized with interpolation" in finding.remedy
    assert "--ignore-value" not in finding.remedy


def test_a_value_to_be_ignored_that_no_mask_has_is_told(folder: Path) -> None:
    write(folder / "masks/3.tif", mask(1, 2, 9))
    assert check(folder, ignore_values=(9,)).findings == ()
    legend = Legend(("land", "water"), ((1,), (2,)), ignored=(7, 9))
    write(folder / "masks/2.tif", mask(1, 2, 9))
    (finding,) = check(folder, legend, ignore_values=(7, 9)).findings
    assert (finding.kind, finding.severity) == ("absent-value", "warning")
    assert "No mask has the value 7 that --ignore-value gives" in finding.message
    assert "1 land, 2 water" in finding.message


def test_another_crs_is_found(folder: Path) -> None:
    write(folder / "masks/2.tif", mask(1, 2), crs="EPSG:32633")
    finding = only(check(folder))
    assert finding.kind == "crs-mismatch"
    assert "`images/2.tif` is in EPSG:32632, its mask in EPSG:32633" in finding.message


def test_a_mask_elsewhere_is_told_in_pixels(folder: Path) -> None:
    write(folder / "masks/2.tif", mask(1, 2), transform=moved(30, 40))
    finding = only(check(folder))
    assert finding.kind == "elsewhere"
    assert "5 pixels apart" in finding.message


def test_rounded_corners_and_missing_georeference_are_no_fault(folder: Path) -> None:
    write(folder / "masks/2.tif", mask(1, 2), transform=moved(0.5, 0))
    Image.fromarray(mask(1, 2)[0]).save(folder / "masks/3.tif")
    assert check(folder).findings == ()


def test_masks_that_cannot_be_read_are_listed_by_kind(folder: Path) -> None:
    (folder / "masks/0.tif").write_text("no mask")
    (folder / "masks/1.tif").unlink()
    write(folder / "masks/2.tif", np.full((1, 8, 10), 1.5, np.float32))
    write(folder / "masks/3.tif", np.random.default_rng(0).integers(0, 9, (3, 8, 10), np.uint8))
    write(folder / "masks/4.tif", np.zeros((2, 8, 10), np.uint8), photometric="minisblack")
    found = {f.kind: f for f in check(folder).findings}
    assert found.keys() == {"unreadable-mask", "coloured-mask"}
    assert found["coloured-mask"].ids == ("images/3.tif",)
    assert found["unreadable-mask"].ids == tuple(f"images/{i}.tif" for i in (0, 1, 2, 4))
    assert "4 masks that cannot be read, for one: `" in found["unreadable-mask"].message


def test_nodata_of_a_mask_is_ignored_unless_it_is_a_class(folder: Path) -> None:
    write(folder / "masks/2.tif", mask(0, 1, 2, 2), nodata=0)
    assert check(folder).facts["images/2.tif"].num_ignored == 20
    write(folder / "masks/2.tif", mask(1, 2), nodata=1)
    assert check(folder).facts["images/2.tif"].pixels == (40, 40)


@pytest.mark.parametrize("nodata", [float("nan"), -3.4028234663852886e38, float("inf"), 0.5])
def test_nodata_that_is_no_class_is_ignored_whatever_it_is(folder: Path, nodata: float) -> None:
    values = mask(1, 2).astype(np.float32)
    values[0, 0, 0] = nodata
    write(folder / "masks/2.tif", values, nodata=nodata)
    checked = check(folder)
    assert checked.findings == ()
    assert checked.facts["images/2.tif"].pixels == (39, 40)
    assert settle_legend([folder / "masks/2.tif"])[0].names == ("1", "2")


def test_values_too_large_to_be_whole_are_told(folder: Path) -> None:
    values = mask(1, 2).astype(np.float32)
    values[0, 0, 0] = 1e30
    write(folder / "masks/2.tif", values)
    finding = only(check(folder))
    assert finding.kind == "unreadable-mask"
    assert "values such as 1e+30" in finding.message


def test_floats_and_wide_integers_that_are_whole_are_read(folder: Path) -> None:
    values = mask(1, 2).astype(np.float32)
    values[0, 0, 0] = np.nan
    write(folder / "masks/2.tif", values)
    write(folder / "masks/3.tif", mask(1, 2).astype(np.int32))
    checked = check(folder)
    assert checked.findings == ()
    assert checked.facts["images/2.tif"].pixels == (39, 40)
    assert checked.facts["images/2.tif"].num_ignored == 1


def test_a_photo_is_compared_as_it_will_be_turned(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8, 10)).save(folder / "images/0.jpg", exif=exif)
    (folder / "masks/0.tif").rename(folder / "masks/0.jpg")
    assert check(folder).findings == ()


@pytest.mark.parametrize(("orientation", "size"), [(6, (8, 8)), (3, (10, 8)), (2, (10, 8))])
def test_a_turned_photo_whose_mask_fits_both_ways_is_told(
    folder: Path, orientation: int, size: tuple[int, int]
) -> None:
    photo = as_photos(folder, size=size)
    assert check(folder).findings == ()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(photo, exif=exif)
    (finding,) = check(folder).findings
    assert (finding.kind, finding.severity) == ("turned-picture", "warning")
    assert finding.ids == ("images/0.jpg",)
    assert "remove the EXIF orientation" in finding.remedy


def test_a_mask_of_a_photo_as_it_is_stored_is_told_to_be_so(folder: Path) -> None:
    photo = as_photos(folder, size=(10, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 8)).save(photo, exif=exif)
    finding = only(check(folder))
    assert finding.kind == "size-mismatch"
    assert "`images/0.jpg` is 8 x 10, its mask 10 x 8" in finding.message
    assert "as it is stored, before it is turned as its EXIF data say" in finding.message


def as_photos(folder: Path, *, size: tuple[int, int]) -> Path:
    """A single photo of this (width, height), and its mask, in place of the rasters."""
    for path in (folder / "images").iterdir():
        path.unlink()
    width, height = size
    values = np.resize(np.array([1, 2], np.uint8), (height, width))
    Image.fromarray(values).save(folder / "masks/0.png")
    (folder / "masks/0.png").rename(folder / "masks/0.jpg")
    Image.new("RGB", size).save(folder / "images/0.jpg")
    return folder / "images/0.jpg"


def test_a_single_class_is_nothing_to_tell_apart(folder: Path) -> None:
    finding = only(check(folder, Legend(("land",), ((1,),), ignored=(2,))))
    assert finding.kind == "one-class"
    with pytest.raises(DataError, match="nothing to tell apart"):
        raise_for_errors(
            check_dataset(
                check(folder, Legend(("land",), ((1, 2),))).dataset,
                decode=False,
                progress=Progress(),
            )
        )


def test_progress_counts_every_mask(folder: Path) -> None:
    class Sink:
        seen: list[Event]

        def handle(self, event: Event) -> None:
            self.seen.append(event)

    sink = Sink()
    sink.seen = []
    samples = (Sample("a", folder / "images/0.tif", mask=folder / "masks/0.tif"),)
    dataset = Dataset(folder, "", "", "", samples, LEGEND.names, legend=LEGEND)
    check_masks(dataset, progress=Progress([sink]))
    assert any("checking masks" in str(event) for event in sink.seen)
