"""`headstart predict` of a model that answers with masks: its options, and items of catalogues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart import mapping
from headstart.cli import run as command
from headstart.data.ground import pixel_area_m2
from headstart.data.rasters import raster_facts
from headstart.errors import ConfigError, DataError
from headstart.locking import locked
from headstart.map_options import MapOptions
from headstart.progress import Event, Progress
from headstart.stac import make_criteria

rasterio = pytest.importorskip("rasterio")
ColorInterp = rasterio.enums.ColorInterp
SIDE = 96
PLACE = rasterio.transform.from_origin(500_000, 4_600_000, 10, 10)


def disc(seed: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on dark ground (side, side, 3) uint8, and where it is."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    row, column = generator.integers(side // 4, 3 * side // 4, size=2)
    is_disc = (rows - row) ** 2 + (columns - column) ** 2 < (side // 5) ** 2
    noise = generator.integers(0, 60, size=(side, side, 3))
    return (noise + 150 * is_disc[..., None]).astype(np.uint8), is_disc


def save(path: Path, seed: int, side: int = SIDE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture, _ = disc(seed, side)
    if path.suffix != ".tif":
        Image.fromarray(picture).save(path)
        return path
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs="EPSG:32633", transform=PLACE) as file:
        file.write(picture.transpose(2, 0, 1))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields") / "fields"
    for seed in range(10):
        save(folder / "images" / f"{seed}.png", seed)
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(disc(seed)[1].astype(np.uint8)).save(folder / "masks" / f"{seed}.png")
    (folder / "classes.txt").write_text("0 ground\n1 disc\n", encoding="utf-8")
    return headstart.fit(
        folder,
        strategy="full",
        output=folder.with_name("run"),
        backbone="test_resnet",
        weights="random",
        epochs=2,
        precision="float32",
        batch_size=4,
        lr=0.01,
    ).path


def values_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        found: np.ndarray = file.read()
    return found


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_probabilities_and_polygons_are_those_of_the_mask(
    run: Path, tmp_path: Path, suffix: str
) -> None:
    picture = save(tmp_path / f"field{suffix}", 20)
    output = tmp_path / "maps"
    options = MapOptions(probabilities=True, polygons="geojson", min_area=0, simplify=0)
    (mapped,) = headstart.map_pictures(run, [picture], output, options=options)
    mask = np.asarray(Image.open(mapped.mask)) if suffix == ".png" else values_of(mapped.mask)[0]
    assert mapped.probabilities == output / "field-probabilities.tif"
    with rasterio.open(mapped.probabilities) as file:
        steps = file.read()
        assert file.descriptions == ("ground", "disc")
        assert file.scales == (1 / 254, 1 / 254)
        assert file.transform == (PLACE if suffix == ".tif" else rasterio.Affine.identity())
    is_clear = steps[0] != steps[1]
    assert is_clear.mean() > 0.9
    assert (steps.argmax(axis=0) == mask)[is_clear].all()
    assert mapped.polygons == output / "field.geojson"
    features = json.loads(mapped.polygons.read_text(encoding="utf-8"))["features"]
    assert mapped.num_polygons == len(features) > 0
    by_class = {"ground": 0, "disc": 0}
    for feature in features:
        by_class[feature["properties"]["class"]] += feature["properties"]["num_pixels"]
    assert [by_class["ground"], by_class["disc"]] == [(mask == 0).sum(), (mask == 1).sum()]
    assert {path.name for path in output.iterdir() if path.name.startswith(".")} == set()


def test_a_least_area_is_in_square_metres_where_the_picture_lies_somewhere(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = save(tmp_path / "field.tif", 21)
    photo = save(tmp_path / "photo.png", 21)
    output = tmp_path / "maps"
    arguments = ["predict", str(run), str(scene), str(photo), "--output", str(output)]
    assert command([*arguments, "--polygons", "gpkg", "--min-area", "1000"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "--min-area 1000 is 10 pixels of 100 m²" in told
    assert "--min-area 1000 is taken for pixels" in told
    pyogrio = pytest.importorskip("pyogrio")
    for name, least in (("field", 10), ("photo", 1000)):
        _, _, _, (_, sizes) = pyogrio.raw.read(output / f"{name}.gpkg")
        assert len(sizes) > 0
        assert sizes.min() >= least


def test_turns_change_the_answer_and_are_kept_apart_from_others(run: Path, tmp_path: Path) -> None:
    picture = save(tmp_path / "field.tif", 22)
    found = []
    for turns in ("none", "flips", "all"):
        options = MapOptions(probabilities=True, turns=turns)  # type: ignore[arg-type]
        (mapped,) = headstart.map_pictures(run, [picture], tmp_path / turns, options=options)
        assert mapped.probabilities is not None
        found.append(values_of(mapped.probabilities).astype(int))
    assert (found[0] != found[1]).any()
    assert (found[1] != found[2]).any()
    assert abs(found[0] - found[2]).mean() < 40  # of 254: it is the same picture


def test_a_photo_that_is_too_large_to_be_seen_whole_is_seen_by_windows(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, scene = (save(tmp_path / name, 23, side=700) for name in ("photo.png", "scene.tif"))
    monkeypatch.setattr(mapping, "MOST_PHOTO_PIXELS", 10_000)
    large, tiff = headstart.map_pictures(run, [photo, scene], tmp_path / "maps")
    assert (np.asarray(Image.open(large.mask)) == values_of(tiff.mask)[0]).all()
    assert large.overlay is not None
    with Image.open(large.overlay) as image:
        assert max(image.size) <= 768


def test_what_is_transparent_has_no_class(run: Path, tmp_path: Path) -> None:
    picture, _ = disc(24)
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[:10] = 0
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(tmp_path / "cut.png")
    (mapped,) = headstart.map_pictures(run, [tmp_path / "cut.png"], tmp_path / "maps")
    with Image.open(mapped.mask) as image:
        assert image.info["transparency"] == 255
        values = np.asarray(image)
    assert (values[:10] == 255).all()
    assert set(np.unique(values[10:])) <= {0, 1}
    assert sum(mapped.shares.values()) == pytest.approx(1)


def test_masks_keep_the_folders_that_their_pictures_are_in(run: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("a/x.png", "b/x.png", "b/deep/y.png")):
        save(tmp_path / "new" / name, number)
    new, output = tmp_path / "new", tmp_path / "maps"

    def names(paths: list[Path], folder: str) -> list[str]:
        mapped = headstart.map_pictures(run, paths, output / folder)
        return [each.mask.relative_to(output / folder).as_posix() for each in mapped]

    assert names([new], "one") == ["a/x.png", "b/deep/y.png", "b/x.png"]
    assert names([new / "a", new / "b"], "two") == ["a/x.png", "b/deep/y.png", "b/x.png"]
    assert names([new / "b"], "part") == ["deep/y.png", "x.png"]
    assert names([new / "b" / "x.png"], "file") == ["x.png"]
    assert names([new / "a" / ".." / "b" / "x.png", new / "a"], "dots") == ["b/x.png", "a/x.png"]


def test_two_processes_do_not_write_one_mask(run: Path, tmp_path: Path) -> None:
    for name in ("field.tif", "photo.png"):
        picture = save(tmp_path / name, 25)
        with (
            locked(tmp_path / "maps" / name),
            pytest.raises(ConfigError, match=r"is being written by process \d+"),
        ):
            headstart.map_pictures(run, [picture], tmp_path / "maps")


@pytest.mark.parametrize("name", ["field.tif", "photo.png"])
def test_a_least_area_that_leaves_no_polygon_is_told_with_the_largest_area(
    run: Path, tmp_path: Path, name: str
) -> None:
    picture = save(tmp_path / name, 32)
    (all_of_them,) = headstart.map_pictures(
        run, [picture], tmp_path / "a", options=MapOptions(polygons="geojson", min_area=0)
    )
    assert all_of_them.polygons is not None
    features = json.loads(all_of_them.polygons.read_text(encoding="utf-8"))["features"]
    largest = max(feature["properties"]["num_pixels"] for feature in features)
    recorder = Recorder()
    options = MapOptions(polygons="gpkg", min_area=5_000_000)
    (none,) = headstart.map_pictures(
        run, [picture], tmp_path / "b", options=options, progress=Progress([recorder])
    )
    assert none.num_polygons == 0
    (told,) = recorder.of("warning")
    size = f"{largest:,} pixels"
    if name == "field.tif":
        pixel_m2 = pixel_area_m2(raster_facts(picture))
        assert pixel_m2 is not None
        size += f" ({pixel_m2 * largest:,.0f} m²)"
    assert f"`{picture}` leaves no polygon: all of its {len(features):,} areas" in told
    assert f"smaller than --min-area 5e+06; the largest has {size}. Give a smaller" in told


def test_photos_of_16_bits_are_warned_of_where_the_model_knows_8(run: Path, tmp_path: Path) -> None:
    wide = np.asarray(Image.open(save(tmp_path / "x.png", 33)).convert("L")).astype(np.uint16)
    for number in range(2):
        Image.fromarray(wide * 257).save(tmp_path / f"wide{number}.png")
    recorder = Recorder()
    headstart.map_pictures(run, [tmp_path], tmp_path / "maps", progress=Progress([recorder]))
    (told,) = recorder.of("warning")
    assert f"2 pictures with 16 bits a pixel, such as `{tmp_path / 'wide0.png'}`" in told
    assert "fitted on pictures of 8: values are divided by 257" in told


def test_a_scene_with_a_band_that_is_marked_as_alpha_is_warned_of(
    run: Path, tmp_path: Path
) -> None:
    picture, is_disc = disc(39)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 4, "dtype": "uint8"}
    for name, last in (("nir", picture[..., 0]), ("opacity", 255 * is_disc)):
        with rasterio.open(
            tmp_path / f"{name}.tif",
            "w",
            **profile,
            transform=PLACE,
            photometric="RGB",
            alpha="YES",
        ) as file:
            file.write(np.concatenate([picture.transpose(2, 0, 1), last[None].astype(np.uint8)]))
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            assert file.colorinterp[3] is ColorInterp.alpha
        recorder = Recorder()
        progress = Progress([recorder])
        headstart.map_pictures(
            run, [tmp_path / f"{name}.tif"], tmp_path / "maps", progress=progress
        )
        told = recorder.of("warning")
        assert len(told) == (name == "nir")
        for sentence in told:
            assert f"Band 4 of `{tmp_path / 'nir.tif'}` is left out" in sentence
            assert "fit one with --bands 1,2,3,4" in sentence


def test_a_picture_that_is_refused_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    scene = save(new / "deep" / "cut.tif", 34, side=300)
    scene.write_bytes(scene.read_bytes()[:40_000])
    photo = save(new / "cut.png", 34)
    photo.write_bytes(photo.read_bytes()[:-3000])
    stretched = new / "wide.tif"
    profile = {"driver": "GTiff", "width": 40, "height": 40, "count": 3, "dtype": "uint16"}
    with rasterio.open(stretched, "w", **profile, transform=PLACE) as file:
        file.write(np.full((3, 40, 40), 4000, np.uint16))
    output = tmp_path / "some" / "maps"
    for picture in (scene, photo, stretched):
        with pytest.raises(DataError, match=picture.name):
            headstart.map_pictures(run, [picture, new], output)
        assert not output.parent.exists()
    assert headstart.map_pictures(run, [new], output, on_bad="skip") == []
    assert not output.parent.exists()
    output.mkdir(parents=True)
    with pytest.raises(DataError):
        headstart.map_pictures(run, [new], output)
    assert list(output.rglob("*")) == []
    good = save(new / "good.png", 35)
    assert len(headstart.map_pictures(run, [good, new], output, on_bad="skip")) == 1
    assert {path.name for path in output.rglob("*")} == {"good.png", "good-overlay.png"}


def test_files_that_no_prediction_wrote_are_not_replaced(run: Path, tmp_path: Path) -> None:
    pictures = [save(tmp_path / "new" / name, 36) for name in ("field.tif", "photo.png")]
    output = tmp_path / "maps"
    options = MapOptions(probabilities=True, polygons="gpkg")
    for name in ("photo.png", "photo-overlay.png", "field-probabilities.tif", "field.tif"):
        save(output / name, 37)
    (output / "field.gpkg").write_text("mine", encoding="utf-8")
    save(output / "field.png", 37)  # a scene writes none
    save(output / "field-overlay.png", 37)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(ConfigError, match="5 files would be replaced") as raised:
        headstart.map_pictures(run, pictures, output, options=options)
    for name in before.keys() - {"field.png", "field-overlay.png"}:
        assert f"- `{output / name}`" in str(raised.value)
    assert "Give --output another folder" in str(raised.value)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.parametrize("polygons", ["gpkg", "geojson"])
def test_what_an_earlier_prediction_wrote_is_replaced(
    run: Path, tmp_path: Path, polygons: Any
) -> None:
    pictures = [save(tmp_path / "new" / name, 38) for name in ("field.tif", "photo.png")]
    options = MapOptions(probabilities=True, polygons=polygons)

    def predict() -> dict[str, bytes]:
        headstart.map_pictures(run, pictures, tmp_path / "maps", options=options)
        files = (tmp_path / "maps").iterdir()
        return {path.name: path.read_bytes() for path in files if path.suffix != ".gpkg"}

    first = predict()
    assert len(first) == 6 + 2 * (polygons == "geojson")  # one is field.tif.aux.xml
    assert predict() == first


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--min-area", "5"], "Add --polygons gpkg"),
        (["--polygons", "gpkg", "--simplify=-1"], "--simplify -1 cannot be"),
        (["--max-cloud", "20"], "--max-cloud is of catalogues, and none is given"),
        (["--min-confidence", "0.9"], "not for masks"),
    ],
)
def test_options_that_go_nowhere_are_refused(
    run: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = save(tmp_path / "field.png", 26)
    given = ["predict", str(run), str(picture), "--output", str(tmp_path / "maps")]
    assert command([*given, *arguments]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "arguments",
    [["--probabilities"], ["--turns", "all"], ["--stac", "x"], ["--limit", "5"]],
)
def test_a_classifier_refuses_what_is_of_masks(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["predict", "timm:test_resnet", str(tmp_path), *arguments]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{arguments[0]} is of masks, and `timm:test_resnet` answers" in told


class Recorder:
    """A sink that keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[str]:
        return [event.message for event in self.events if event.kind == kind]


@pytest.fixture
def catalogue() -> Iterator[tuple[Any, Callable[..., Any]]]:
    """A STAC API with two scenes for the eye, one of them cloudy, and the server of their files."""
    pytest.importorskip("pystac_client", reason="needs the extra geo")
    pytest.importorskip("stac_fastapi.api", reason="needs stac-fastapi")
    import scenes
    import stac_server as make
    from range_server import RangeServer

    with RangeServer() as files:
        items = []
        for name, seed, cloud in (("clear", 30, 5.0), ("hazy", 31, 80.0)):
            picture = np.ascontiguousarray(disc(seed, 300)[0].transpose(2, 0, 1))
            names = (("B04", "red"), ("B03", "green"), ("B02", "blue"))
            asset = {
                "href": files.add(f"/{name}.tif", scenes.as_cog(picture, nodata=None)),
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "eo:bands": [{"name": n, "common_name": common} for n, common in names],
            }
            box = scenes.box_of_pixels(0, 0, 300, 300)
            items.append(make.item(name, box, {"visual": asset}, cloud=cloud))
        with make.StacServer([make.collection("scenes")], items) as server:
            yield server, scenes.box_of_pixels


def test_a_search_is_predicted_within_its_box_and_fetched_once(
    run: Path, catalogue: Any, tmp_path: Path
) -> None:
    server, box_of_pixels = catalogue
    box = ",".join(f"{v:.7f}" for v in box_of_pixels(50, 60, 170, 200))
    arguments = ["predict", str(run), "--stac", server.url, f"--bbox={box}", "--max-cloud", "20"]
    output = tmp_path / "maps"
    assert command([*arguments, "--datetime", "2023-06", "--output", str(output)]) == 0
    assert sorted(path.name for path in output.glob("*.tif")) == ["clear_2023-06-10.tif"]
    scene = output / "scenes" / "clear_2023-06-10.tif"
    with rasterio.open(output / scene.name) as mask, rasterio.open(scene) as source:
        assert mask.shape == source.shape
        assert mask.width < 180
        assert mask.transform == source.transform
        assert mask.crs == source.crs
        tags = mask.tags()
    assert tags["stac_item"] == "clear"
    assert tags["datetime"].startswith("2023-06-10T14:00:00")
    assert tags["license"] == "CC-BY-4.0"
    changed = scene.stat().st_mtime_ns
    assert command([*arguments, "--datetime", "2023-06", "--output", str(output)]) == 0
    assert scene.stat().st_mtime_ns == changed


def test_items_stand_among_pictures(run: Path, catalogue: Any, tmp_path: Path) -> None:
    server, _ = catalogue
    picture = save(tmp_path / "new" / "field.tif", 27)
    item = f"{server.url}/collections/scenes/items/hazy"
    saved = tmp_path / "found.geojson"
    assert command(["stac", "search", server.url, "--max-cloud=20", "--save", str(saved)]) == 0
    output = tmp_path / "maps"
    mapped = headstart.map_pictures(run, [item, picture, saved], output)
    assert [each.mask.relative_to(output).as_posix() for each in mapped] == [
        *("hazy_2023-06-10.tif", "field.tif", "clear_2023-06-10.tif")
    ]
    with pytest.raises(DataError, match="No item fits"):
        headstart.fetch_scenes(run, server.url, output, criteria=make_criteria(max_cloud=1))
