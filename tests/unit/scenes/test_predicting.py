from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from torch import Tensor

from headstart.data.images import PictureError
from headstart.data.rasters import raster_facts
from headstart.errors import ConfigError, DataError, RunError
from headstart.locking import locked
from headstart.progress import Event, Progress
from headstart.scenes.predicting import predict_scene
from headstart.scenes.spec import NODATA, SceneSpec
from headstart.scenes.work import work_folder

WriteScene = Callable[..., Path]
PLACE = Affine(10.000000000000123, 0, 500000.1234567, 0, -10.000000000000123, 5300000.7654321)
SPEC = SceneSpec(("low", "middle", "high"), window=32, overlap=8, batch_size=4)
TWO = replace(SPEC, classes=("low", "high"))


@pytest.fixture
def write_scene(tmp_path: Path) -> WriteScene:
    """Writes a GeoTIFF: `write_scene(values, crs=None)`."""

    def make(values: np.ndarray, name: str = "scene.tif", **profile: Any) -> Path:
        path = tmp_path / name
        bands, height, width = values.shape
        profile = {"crs": "EPSG:32632", "transform": PLACE, **profile}
        profile = {k: v for k, v in profile.items() if v is not None}
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=values.dtype,
            **profile,
        ) as file:  # fmt: skip
            file.write(values)
        return path

    return make


def smooth_noise(bands: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """(bands, height, width) uint8 from 1 to 255, in patches of some pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(1, 256, (bands, height // 4 + 1, width // 4 + 1))
    return np.kron(coarse, np.ones((1, 4, 4)))[:, :height, :width].astype(np.uint8)


def by_pixel(images: Tensor) -> Tensor:
    """Three classes by the value of each pixel alone: images (B, bands, h, w) -> logits."""
    value = images.float().mean(dim=1)
    return torch.stack([90 - value, 30 - (value - 128).abs(), value - 166], dim=1) / 8


def by_surroundings(images: Tensor) -> Tensor:
    """Two classes by the mean of 5 x 5 pixels, which windows see cut at their edges."""
    mean = torch.nn.functional.avg_pool2d(
        images.float().mean(dim=1, keepdim=True), 5, stride=1, padding=2, count_include_pad=False
    )
    return torch.cat([(128 - mean) / 16, (mean - 128) / 16], dim=1)


def classes_of(path: Path) -> np.ndarray:
    """(height, width) uint8, as stored."""
    with rasterio.open(path) as file:
        values: np.ndarray = file.read(1)
    return values


class Notes:
    """A sink that keeps messages."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)


class Killed(BaseException):
    """As a kill: nobody handles it."""


def dies_after(forward: Callable[[Tensor], Tensor], num_calls: int) -> Callable[[Tensor], Tensor]:
    calls = iter(range(num_calls))

    def dying(images: Tensor) -> Tensor:
        if next(calls, None) is None:
            raise Killed
        return forward(images)

    return dying


def predict(scene: Path, forward: Any = by_pixel, spec: SceneSpec = SPEC, **more: Any) -> Any:
    more = {"progress": Progress(), **more}
    output = more.pop("output", scene.with_name("classes.tif"))
    return predict_scene(scene, output, forward=forward, spec=spec, **more)


def test_a_scene_that_cannot_be_read_leaves_only_finished_rows_behind(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    scene = write_scene(smooth_noise(3, 120, 130))
    output = tmp_path / "maps" / "classes.tif"

    def fails_after(num_calls: int) -> Callable[[Tensor], Tensor]:
        calls = iter(range(num_calls))

        def failing(images: Tensor) -> Tensor:
            if next(calls, None) is None:
                raise DataError("cannot be read")
            return by_pixel(images)

        return failing

    with pytest.raises(DataError):
        predict(scene, fails_after(1), output=output)
    assert list(output.parent.iterdir()) == []
    with pytest.raises(DataError):
        predict(scene, fails_after(7), output=output)
    assert [path.name for path in output.parent.iterdir()] == [".classes.tif.unfinished"]
    assert predict(scene, output=output).num_resumed > 0


def expected(values: np.ndarray, forward: Any = by_pixel) -> np.ndarray:
    """The answer to the whole scene at once."""
    return forward(torch.from_numpy(values)[None])[0].argmax(dim=0).numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize("overlap", [0, 8, 21])
@pytest.mark.parametrize(("height", "width"), [(101, 150), (33, 34), (20, 90), (7, 5)])
def test_windows_give_what_the_whole_scene_would(
    write_scene: WriteScene, height: int, width: int, overlap: int
) -> None:
    values = smooth_noise(3, height, width)
    done = predict(write_scene(values), spec=replace(SPEC, overlap=overlap))
    found = classes_of(done.path)
    assert (found == expected(values)).all()
    assert done.num_pixels["low"] == (found == 0).sum()
    assert sum(done.num_pixels.values()) == height * width


def test_a_model_that_looks_around_it_leaves_no_seams(write_scene: WriteScene) -> None:
    values = smooth_noise(1, 120, 130)
    wrong = []
    for overlap in (0, 8, 16):
        done = predict(write_scene(values), by_surroundings, replace(TWO, overlap=overlap))
        wrong.append((classes_of(done.path) != expected(values, by_surroundings)).mean())
    assert wrong[0] > 5 * wrong[1] > 0
    assert wrong[2] < 0.002


def test_probabilities_are_those_of_the_model(write_scene: WriteScene, tmp_path: Path) -> None:
    values = smooth_noise(3, 70, 80)
    spec = replace(SPEC, probabilities=tmp_path / "probabilities.tif")
    predict(write_scene(values), spec=spec)
    with rasterio.open(tmp_path / "probabilities.tif") as file:
        found = file.read() * np.array(file.scales)[:, None, None]
        assert file.descriptions == spec.classes
        assert file.nodata == NODATA
    wanted = by_pixel(torch.from_numpy(values)[None])[0].softmax(dim=0).numpy()
    np.testing.assert_allclose(found, wanted, atol=0.5 / 254 + 1e-5)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of writing it
@pytest.mark.parametrize(
    "place",
    [
        {},
        {"transform": Affine(10, 2, 500000, 2, -10, 5300000)},
        {"transform": Affine(1 / 3600, 0, 9.1, 0, -1 / 3600, 47.3), "crs": "EPSG:4326"},
        {"crs": None},
        {"crs": None, "transform": None},
    ],
    ids=["metres", "rotated", "degrees", "no-crs", "nowhere"],
)
def test_the_place_of_the_scene_is_kept_exactly(
    write_scene: WriteScene, place: dict[str, Any]
) -> None:
    scene = write_scene(smooth_noise(1, 40, 50), **place)
    done = predict(scene)
    wanted, found = raster_facts(scene), raster_facts(done.path)
    assert (found.width, found.height) == (wanted.width, wanted.height)
    assert found.transform == wanted.transform
    assert found.crs == wanted.crs


def test_the_output_is_a_tiled_raster_with_overviews_colours_and_names(
    write_scene: WriteScene,
) -> None:
    spec = replace(SPEC, window=256, colours=((1, 2, 3), (40, 50, 60), (7, 8, 9)))
    done = predict(write_scene(smooth_noise(1, 700, 600)), spec=spec)
    facts = raster_facts(done.path)
    assert facts.dtype == "uint8"
    assert facts.nodata == NODATA
    assert facts.block == (512, 512)
    assert facts.colours[1] == (40, 50, 60)
    assert facts.categories == {0: "low", 1: "middle", 2: "high"}
    with rasterio.open(done.path) as file:
        assert file.overviews(1) == [2]
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert not work_folder(done.path).exists()
    assert sorted(p.name for p in done.path.parent.iterdir()) == [
        *("classes.tif", "classes.tif.aux.xml", "scene.tif"),
    ]


@pytest.mark.parametrize("num_calls", [0, 3, 11, 17])
def test_a_killed_prediction_goes_on_with_the_same_bits(
    write_scene: WriteScene, tmp_path: Path, num_calls: int
) -> None:
    scene = write_scene(smooth_noise(3, 130, 200))
    spec = replace(SPEC, batch_size=2, probabilities=tmp_path / "p.tif")
    whole = predict(scene, spec=spec)
    wanted = (whole.path.read_bytes(), (tmp_path / "p.tif").read_bytes())
    whole.path.unlink()
    with pytest.raises(Killed):
        predict(scene, dies_after(by_pixel, num_calls), spec)
    assert not whole.path.exists()
    again = predict(scene, spec=spec)
    assert (again.path.read_bytes(), (tmp_path / "p.tif").read_bytes()) == wanted
    assert again.num_pixels == whole.num_pixels
    assert (again.num_resumed > 0) == (num_calls > 5)


def test_what_is_done_is_not_computed_again(write_scene: WriteScene) -> None:
    scene = write_scene(smooth_noise(3, 130, 200))
    seen = []

    def counting(images: Tensor) -> Tensor:
        seen.append(len(images))
        return by_pixel(images)

    with pytest.raises(Killed):
        predict(scene, dies_after(counting, 7))
    num_before = sum(seen)
    done = predict(scene, counting)
    assert done.num_resumed > 0
    assert sum(seen) == done.num_windows + num_before - done.num_resumed
    assert num_before - done.num_resumed < len(set(range(0, 200, 24)))  # less than a row


@pytest.mark.parametrize("change", ["model", "scene", "window", "no-resume"])
def test_another_prediction_starts_anew(write_scene: WriteScene, change: str) -> None:
    values = smooth_noise(3, 130, 200)
    scene = write_scene(values)
    with pytest.raises(Killed):
        predict(scene, dies_after(by_pixel, 9))
    assert json.loads((work_folder(scene.with_name("classes.tif")) / "state.json").read_text())
    spec = {
        "model": replace(SPEC, model_key="another"),
        "window": replace(SPEC, window=40),
    }.get(change, SPEC)
    if change == "scene":
        values = values[:, ::-1].copy()
        write_scene(values, compress="deflate")
    done = predict(scene, spec=spec, resume=change != "no-resume")
    assert done.num_resumed == 0
    assert (classes_of(done.path) == expected(values)).all()


def test_windows_without_data_are_skipped_and_their_pixels_are_nodata(
    write_scene: WriteScene,
) -> None:
    values = smooth_noise(2, 100, 160)
    values[:, :, 60:] = 0
    values[:, 10:14, 20] = 0
    seen = []

    def counting(images: Tensor) -> Tensor:
        seen.append(len(images))
        return by_pixel(images)

    done = predict(write_scene(values, nodata=0), counting)
    found = classes_of(done.path)
    is_empty = (values == 0).all(axis=0)
    assert (found[is_empty] == NODATA).all()
    assert (found[~is_empty] == expected(values)[~is_empty]).all()
    assert done.num_skipped == done.num_windows - sum(seen) > 0
    assert done.num_nodata == is_empty.sum()


def test_a_scene_without_data_is_answered_by_nodata_and_a_warning(write_scene: WriteScene) -> None:
    notes = Notes()
    scene = write_scene(np.zeros((1, 50, 60), np.uint8), nodata=0)
    done = predict(scene, dies_after(by_pixel, 0), progress=Progress([notes]))
    assert (classes_of(done.path) == NODATA).all()
    assert [e.message for e in notes.events if e.kind == "warning"] == [
        f"{scene} holds no data: neither does classes.tif."
    ]


def test_nan_is_no_data_and_never_reaches_the_model(write_scene: WriteScene) -> None:
    values = smooth_noise(1, 40, 50).astype(np.float32)
    values[0, 5:9, 7] = np.nan
    done = predict(write_scene(values))
    found = classes_of(done.path)
    assert (found[5:9, 7] == NODATA).all()
    assert (found == NODATA).sum() == 4


def test_integers_of_16_bits_reach_the_model_as_they_are(write_scene: WriteScene) -> None:
    values = smooth_noise(1, 40, 50).astype(np.uint16) * 250

    def scaled(images: Tensor) -> Tensor:
        assert images.dtype == torch.float32
        return by_pixel(images / 250)

    done = predict(write_scene(values), scaled)
    assert (classes_of(done.path) == expected(values.astype(np.float32) / 250)).all()


def test_bands_are_chosen_by_name_or_number_in_the_order_wanted(write_scene: WriteScene) -> None:
    values = smooth_noise(4, 40, 50)

    def last_of_two(images: Tensor) -> Tensor:
        return by_pixel(images[:, 1:])

    scene = write_scene(values, photometric="minisblack")  # or the fourth would be alpha
    done = predict(scene, last_of_two, replace(SPEC, bands=(4, "band_2")))
    assert (classes_of(done.path) == expected(values[1:2])).all()
    with pytest.raises(DataError, match="has no band `nir`"):
        predict(scene, spec=replace(SPEC, bands=("nir",)))


def test_a_wide_strip_is_predicted(write_scene: WriteScene) -> None:
    values = smooth_noise(1, 5, 40_000)
    done = predict(write_scene(values), spec=replace(SPEC, window=512, overlap=64))
    assert (classes_of(done.path) == expected(values)).all()


@pytest.mark.parametrize("turns", ["flips", "all"])
def test_turns_are_turned_back_before_they_are_averaged(
    write_scene: WriteScene, turns: Any
) -> None:
    values = smooth_noise(3, 45, 60)
    num_seen = []

    def counting(images: Tensor) -> Tensor:
        num_seen.append(len(images))
        return by_pixel(images)

    done = predict(write_scene(values), counting, replace(SPEC, turns=turns))
    assert (classes_of(done.path) == expected(values)).all()
    assert sum(num_seen) == done.num_windows * (4 if turns == "flips" else 8)


def test_a_model_that_shrinks_pictures_answers_alike_in_every_window(
    write_scene: WriteScene,
) -> None:
    """Squares of 32 pixels, from the first of the window on, each with one answer."""
    values = smooth_noise(1, 300, 330)

    def by_squares(images: Tensor) -> Tensor:
        mean = torch.nn.functional.avg_pool2d(
            images.float(), 32, ceil_mode=True, count_include_pad=False
        )
        wide = mean.repeat_interleave(32, -2).repeat_interleave(32, -1)
        wide = wide[..., : images.shape[-2], : images.shape[-1]]
        return torch.cat([128 - wide, wide - 128], dim=1)

    done = predict(write_scene(values), by_squares, replace(TWO, window=128, overlap=32))
    found, wanted = classes_of(done.path), expected(values, by_squares)
    inner = slice(0, 160)  # what the last windows, which end with the scene, do not reach
    assert (found[inner, inner] == wanted[inner, inner]).all()


def test_a_second_process_is_kept_from_a_scene(write_scene: WriteScene) -> None:
    scene = write_scene(smooth_noise(1, 40, 50))
    with (
        locked(scene.with_name("classes.tif")),
        pytest.raises(ConfigError, match=r"classes\.tif` is being written by process \d+"),
    ):
        predict(scene)
    assert predict(scene).num_nodata == 0


def test_tags_are_those_of_the_spec(write_scene: WriteScene, tmp_path: Path) -> None:
    spec = replace(SPEC, tags={"stac_item": "a <b>"}, probabilities=tmp_path / "p.tif")
    done = predict(write_scene(smooth_noise(1, 40, 50)), spec=spec)
    assert spec.probabilities is not None
    for path in (done.path, spec.probabilities):
        assert raster_facts(path).tags["stac_item"] == "a <b>"


def test_turns_make_a_lopsided_model_even(write_scene: WriteScene, tmp_path: Path) -> None:
    def lopsided(images: Tensor) -> Tensor:
        ramp = torch.linspace(-1, 1, images.shape[-1]).expand(len(images), *images.shape[-2:])
        return torch.stack([ramp, -ramp], dim=1)

    spec = replace(TWO, turns="flips", probabilities=tmp_path / "p.tif")
    predict(write_scene(smooth_noise(1, 32, 32)), lopsided, spec)
    with rasterio.open(tmp_path / "p.tif") as file:
        assert (file.read() == 127).all()


def test_memory_does_not_grow_with_the_scene(write_scene: WriteScene) -> None:
    def peak(height: int, width: int) -> int:
        # In tiles, as a scene in strips is held as wide as it is.
        scene = write_scene(
            np.ones((1, height, width), np.uint8), tiled=True, blockxsize=64, blockysize=64
        )
        tracemalloc.start()
        predict(scene, by_surroundings, replace(TWO, window=128, overlap=32))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small = peak(320, 1568)  # 16 windows wide: four whole batches
    assert small > 2 * 4 * 128 * 128  # what NumPy holds is counted
    # How many batches wait at the peak varies by one; a byte a pixel would double it.
    assert peak(320, 6176) < 1.5 * small
    assert peak(1280, 1568) < 1.5 * small


def test_wrong_specs_are_told_all_at_once(write_scene: WriteScene) -> None:
    scene = write_scene(smooth_noise(1, 40, 50))
    spec = replace(SPEC, overlap=32, batch_size=0, colours=((0, 0, 0),))
    with pytest.raises(ConfigError) as caught:
        predict(scene, spec=spec, output=scene)
    for told in ("overlap by 32", "`batch_size` is 0", "1 colours", "the scene itself"):
        assert told in str(caught.value)
    with pytest.raises(ConfigError, match=r"only be written as \.tif"):
        predict(scene, output=scene.with_suffix(".png"))


def test_a_model_with_other_classes_is_refused(write_scene: WriteScene) -> None:
    with pytest.raises(ConfigError, match="2, 32, 32"):
        predict(write_scene(smooth_noise(1, 40, 50)), by_surroundings)


def test_values_that_are_no_numbers_are_an_error(write_scene: WriteScene) -> None:
    with pytest.raises(RunError, match="no finite numbers"):
        predict(write_scene(smooth_noise(1, 40, 50)), lambda images: by_pixel(images) / 0 * 0)


def test_complex_numbers_are_refused(write_scene: WriteScene) -> None:
    with pytest.raises(DataError, match="complex numbers"):
        predict(write_scene(smooth_noise(1, 40, 50).astype(np.complex64)))


def test_a_truncated_scene_is_told_and_what_was_done_is_kept(write_scene: WriteScene) -> None:
    scene = write_scene(smooth_noise(3, 130, 200))
    content = scene.read_bytes()
    scene.write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match="truncated"):
        predict(scene)
    assert not scene.with_name("classes.tif").exists()


def test_a_prediction_that_lost_a_file_starts_anew(write_scene: WriteScene) -> None:
    scene = write_scene(smooth_noise(3, 130, 200))
    spec = replace(SPEC, probabilities=scene.with_name("probabilities.tif"))
    with pytest.raises(Killed):
        predict(scene, dies_after(by_pixel, 9), spec=spec)
    (work_folder(scene.with_name("classes.tif")) / "probabilities.raw").unlink()
    assert predict(scene, spec=spec).num_resumed == 0
