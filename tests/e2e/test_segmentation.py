"""Masks from end to end: a folder of pictures and masks becomes a model that draws masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.cli import main
from headstart.errors import ConfigError

Stopping = Callable[[], AbstractContextManager[None]]

SIDE = 96
OPTIONS = {"backbone": "test_resnet", "weights": "random", "epochs": 3, "batch_size": 4, "lr": 0.01}


def draw_fields(folder: Path, *, num: int, seed: int, suffix: str = ".png") -> None:
    """Pictures of bright discs on dark ground in `images/`, and where they are in `masks/`."""
    generator = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(num):
        row, column = generator.integers(25, SIDE - 25, size=2)
        is_disc = (rows - row) ** 2 + (columns - column) ** 2 < generator.integers(12, 24) ** 2
        noise = generator.integers(0, 60, size=(SIDE, SIDE, 3))
        picture = (noise + 150 * is_disc[..., None]).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{number:02}{suffix}")
        Image.fromarray(is_disc.astype(np.uint8) + 1).save(folder / "masks" / f"{number:02}.png")


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks") / "fields"
    draw_fields(folder, num=20, seed=0)
    (folder / "classes.txt").write_text("1 ground\n2 disc\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(fields: Path) -> headstart.Run:
    return headstart.fit(fields, strategy="full", output=fields.with_name("run"), **OPTIONS)


def test_a_folder_of_masks_becomes_a_model_with_a_report(run: headstart.Run) -> None:
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    config = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    assert metrics["task"] == config["task"] == "semantic-segmentation"
    assert config["model"]["legend"]["names"] == ["ground", "disc"]
    assert metrics["n"] == len(metrics["chips"]) == 4
    miou = metrics["metrics"]["miou"]
    assert 0 <= miou["low"] <= miou["value"] <= miou["high"] <= 1
    assert set(metrics["per_class"]) == {"ground", "disc"}
    losses = [chip["loss"] for chip in metrics["chips"]]
    assert losses == sorted(losses, reverse=True)
    pixels = np.array(metrics["confusion"]["counts"])
    assert pixels.sum() == 4 * SIDE * SIDE
    for shown in metrics["shown"]:
        for name in ("picture", "truth", "answer", "error"):
            assert (run.path / "figures" / "chips" / f"{shown['number']}-{name}.png").is_file()
    assert "Maps 2 classes" in run.report.read_text(encoding="utf-8")
    assert not (run.path / "checkpoint").exists()


def test_the_ladder_sets_it_beside_single_pixels(fields: Path, tmp_path: Path) -> None:
    run = headstart.fit(fields, output=tmp_path / "run", **OPTIONS)
    rungs = {
        rung["strategy"]: rung
        for rung in json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))["rungs"]
    }
    assert list(rungs) == ["majority", "trivial", "probe", "full"]
    (kept,) = (name for name, rung in rungs.items() if rung["kept"])
    mious = {name: rung["metrics"]["miou"]["value"] for name, rung in rungs.items()}
    assert mious[kept] == max(mious["probe"], mious["full"])
    config = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    assert config["strategy"] == kept
    # Discs are bright, so that a pixel alone tells which class it is.
    assert rungs["trivial"]["metrics"]["miou"]["value"] > 0.95
    assert rungs["majority"]["metrics"]["miou"]["value"] < 0.6
    gain = rungs["trivial"]["gain"]
    assert gain["over"] == "majority"
    assert gain["low"] > 0
    assert {rung["judged_on"] for rung in rungs.values()} == {"validation"}


def test_masks_of_new_photos_are_written(run: headstart.Run, tmp_path: Path) -> None:
    draw_fields(tmp_path / "new", num=2, seed=1)
    mapped = headstart.map_pictures(run.path, [tmp_path / "new" / "images"], tmp_path / "masks")
    assert [each.mask.name for each in mapped] == ["00.png", "01.png"]
    for each in mapped:
        values = np.asarray(Image.open(each.mask))
        assert values.shape == (SIDE, SIDE)
        assert each.shares["disc"] == pytest.approx((values == 1).mean())
        assert each.overlay is not None
        assert each.overlay.is_file()


def test_a_scene_keeps_its_coordinates(run: headstart.Run, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.transform.from_origin(500_000, 4_600_000, 10, 10)
    values = np.random.default_rng(0).integers(0, 255, size=(3, 700, 300), dtype=np.uint8)
    scene = tmp_path / "scene.tif"
    with rasterio.open(
        scene,
        "w",
        driver="GTiff",
        width=300,
        height=700,
        count=3,
        dtype="uint8",
        crs="EPSG:32633",
        transform=transform,
    ) as file:
        file.write(values)
    (mapped,) = headstart.map_pictures(run.path, [scene], tmp_path / "maps")
    with rasterio.open(mapped.mask) as found:
        assert found.transform == transform
        assert found.crs == "EPSG:32633"
        assert found.shape == (700, 300)
        assert set(np.unique(found.read(1))) <= {0, 1}


def test_a_run_is_evaluated_on_other_masks(run: headstart.Run, tmp_path: Path) -> None:
    draw_fields(tmp_path / "more", num=5, seed=2)
    (tmp_path / "more" / "classes.txt").write_text("1 ground\n2 disc\n", encoding="utf-8")
    found = headstart.evaluate(run.path, tmp_path / "more")
    assert found.n == 5
    assert found.confusion is not None
    assert np.sum(found.confusion["counts"]) == 5 * SIDE * SIDE
    grouped = headstart.evaluate(run.path, tmp_path / "more", group=r"([0-4])[^0-9]*$")
    assert grouped.metrics["miou"].value == found.metrics["miou"].value
    with pytest.raises(headstart.HeadstartError, match=r"--group sea.* has no bracket"):
        headstart.evaluate(run.path, tmp_path / "more", group="sea")
    (tmp_path / "more" / "classes.txt").write_text("1 sea\n2 disc\n", encoding="utf-8")
    with pytest.raises(headstart.HeadstartError, match=r"Unknown to it: \W?sea"):
        headstart.evaluate(run.path, tmp_path / "more")


def test_classes_of_other_masks_go_by_their_names(run: headstart.Run, tmp_path: Path) -> None:
    draw_fields(tmp_path / "same", num=4, seed=3)
    draw_fields(tmp_path / "swapped", num=4, seed=3)
    for path in (tmp_path / "swapped" / "masks").iterdir():
        Image.fromarray(3 - np.asarray(Image.open(path))).save(path)
    (tmp_path / "same" / "classes.txt").write_text("1 ground\n2 disc\n", encoding="utf-8")
    (tmp_path / "swapped" / "classes.txt").write_text("1 disc\n2 ground\n", encoding="utf-8")
    same, swapped = (headstart.evaluate(run.path, tmp_path / n) for n in ("same", "swapped"))
    assert same.confusion == swapped.confusion
    assert same.metrics == swapped.metrics


def test_a_scene_is_read_by_the_names_of_its_bands(run: headstart.Run, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    draw_fields(tmp_path / "new", num=1, seed=4)
    values = np.asarray(Image.open(tmp_path / "new" / "images" / "00.png")).transpose(2, 0, 1)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    profile["transform"] = rasterio.transform.from_origin(0, 0, 10, 10)
    for name, order, bands in (("plain", [0, 1, 2], None), ("blue", [2, 1, 0], "B02,B03,B04")):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as file:
            file.write(values[order])
            if bands:
                file.descriptions = tuple(bands.split(","))
    scenes = [tmp_path / "plain.tif", tmp_path / "blue.tif"]
    plain, blue = headstart.map_pictures(run.path, scenes, tmp_path / "maps")
    with rasterio.open(plain.mask) as first, rasterio.open(blue.mask) as second:
        assert np.array_equal(first.read(1), second.read(1))


def test_no_file_is_written_twice(run: headstart.Run, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ("a", "a-overlay"):
        Image.new("RGB", (SIDE, SIDE)).save(folder / f"{name}.jpg")
    with pytest.raises(ConfigError, match=r"a-overlay\.png"):
        headstart.map_pictures(run.path, [folder], tmp_path / "masks")
    Image.new("RGB", (SIDE, SIDE)).save(folder / "b.png")
    with pytest.raises(ConfigError, match=r"would replace the picture"):
        headstart.map_pictures(run.path, [folder / "b.png"], folder)


def test_a_file_that_is_no_picture_can_be_skipped(run: headstart.Run, tmp_path: Path) -> None:
    draw_fields(tmp_path / "new", num=1, seed=5)
    (tmp_path / "new" / "images" / "bad.png").write_text("hello", encoding="utf-8")
    mapped = headstart.map_pictures(
        run.path, [tmp_path / "new" / "images"], tmp_path / "masks", on_bad="skip"
    )
    assert [each.mask.name for each in mapped] == ["00.png"]


def test_the_shell_wants_a_folder_for_masks(
    run: headstart.Run, fields: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(run.path), str(fields / "images")])
    assert ended.value.code == 2
    assert "give --output MASKS/" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ConfigError, match=r"headstart\.map_pictures"):
        headstart.load(run.path)


def test_an_interrupted_fit_of_masks_goes_on_to_the_same_end(
    run: headstart.Run, fields: Path, tmp_path: Path, stopping_after_an_epoch: Stopping
) -> None:
    with stopping_after_an_epoch():
        headstart.fit(fields, strategy="full", output=tmp_path / "cut", **OPTIONS)
    headstart.resume(tmp_path / "cut")
    first, second = ((path / "model.safetensors") for path in (run.path, tmp_path / "cut"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "as-is"}, "brings no decoder, so it cannot draw masks as it is"),
        ({"classifier": "knn"}, "the probe of masks is a logistic regression"),
        ({"balance": "sampling"}, "Take --balance weights, which weighs their pixels"),
        ({"strategy": "probe", "views": 2}, "draws pixels of the chips as they are"),
        ({"strategy": "head", "hidden": 8}, "masks have a decoder"),
    ],
)
def test_what_is_not_for_masks_is_refused(
    given: dict[str, Any], message: str, fields: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        headstart.fit(fields, output=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_mask_that_is_cut_off_is_left_out_and_makes_no_classes(tmp_path: Path) -> None:
    draw_fields(tmp_path / "cut", num=12, seed=6)
    mask = tmp_path / "cut" / "masks" / "03.png"
    mask.write_bytes(mask.read_bytes()[: mask.stat().st_size // 2])
    with pytest.raises(headstart.HeadstartError, match=r"03\.png` is truncated"):
        headstart.fit(tmp_path / "cut", output=tmp_path / "stopped", **OPTIONS)
    run = headstart.fit(
        tmp_path / "cut", on_bad="skip", strategy="full", output=tmp_path / "run", **OPTIONS
    )
    config = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["classes"] == ["1", "2"]


def test_bands_without_names_are_told_before_a_fit(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    draw_fields(tmp_path / "four", num=6, seed=7)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 4, "dtype": "uint8"}
    profile["transform"] = rasterio.transform.from_origin(0, 0, 10, 10)
    profile["photometric"] = "MINISBLACK"  # else the fourth would be taken for opacity
    for path in sorted((tmp_path / "four" / "images").iterdir()):
        values = np.asarray(Image.open(path)).transpose(2, 0, 1)
        with rasterio.open(path.with_suffix(".tif"), "w", **profile) as file:
            file.write(values[[0, 1, 2, 0]])
        path.unlink()
    with pytest.raises(headstart.HeadstartError, match="6 pictures of 4 bands without names"):
        headstart.fit(tmp_path / "four", output=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_what_does_not_race_for_masks_is_refused(fields: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="do not race for masks yet"):
        headstart.fit(fields, backbone="a,b", output=tmp_path / "run")
    with pytest.raises(ConfigError, match="holds masks"):
        headstart.rank(fields)
    with pytest.raises(ConfigError, match="which masks are not"):
        headstart.fit(fields, mixup=0.2, output=tmp_path / "mixed")


def test_the_forest_just_works(amazon_forest: Path, tmp_path: Path) -> None:
    with pytest.raises(headstart.HeadstartError, match=r"Amazon_181\.tiff_34\.tiff.*515 x 512"):
        headstart.fit(amazon_forest, output=tmp_path / "stopped", **OPTIONS)
    run = headstart.fit(
        amazon_forest,
        on_bad="skip",
        output=tmp_path / "run",
        strategy="head",
        **{**OPTIONS, "epochs": 1},
    )
    assert run.metrics["miou"].n == 15
