from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from headstart import stac
from headstart.errors import DataError
from headstart.stac.asking import CatalogueIO
from headstart.stac.labels import LabelledSet, is_labelled
from headstart.stac.searching import Found, as_item
from headstart.stac.sign_in import SignIn

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
SIZE = 128
CLASSES = [{"value": 1, "name": "other"}, {"value": 2, "name": "forest"}]


@pytest.fixture
def mask() -> np.ndarray:
    values = np.ones((1, SIZE, SIZE), dtype=np.uint8)
    values[:, : SIZE // 2] = 2
    return values


@pytest.fixture
def collect(files: Any) -> Callable[[list[Any]], Found]:
    def find(items: list[Any]) -> Found:
        found = tuple(as_item(item, f"{files.url}/{item['id']}.json") for item in items)
        return Found(found, CatalogueIO(files.url, SignIn.from_environment(files.url)))

    return find


@pytest.fixture
def chip(files: Any, scenes: Any, make: Any, mask: np.ndarray) -> Callable[..., Any]:
    """An item with a picture and a mask: `chip("a", split="train")`."""

    def make_chip(id_: str, *, classes: Any = CLASSES, **properties: Any) -> Any:
        picture = files.add(f"/{id_}.tif", scenes.as_cog(scenes.noise(SIZE, len(id_))))
        labels = files.add(f"/{id_}-mask.tif", scenes.as_cog(mask, nodata=None))
        told = {"classification:classes": classes} if classes else {}
        assets = {
            "image": {"href": picture, "type": COG, "roles": ["data"]},
            "annotation": {"href": labels, "type": COG, "roles": ["labels"], **told},
        }
        box = scenes.box_of_pixels(0, 0, SIZE, SIZE)
        return make.item(id_, box, assets, license="CC-BY-4.0", **properties)

    return make_chip


def test_items_with_picture_and_mask_become_a_data_set(
    chip: Callable[..., Any], collect: Callable[..., Found], mask: np.ndarray, tmp_path: Path
) -> None:
    made = stac.fetch(collect([chip("a"), chip("bb")]), tmp_path)
    assert isinstance(made, LabelledSet)
    assert made.classes == {1: "other", 2: "forest"}
    assert made.licences == ("CC-BY-4.0",)
    assert sorted(p.name for p in (tmp_path / "images").glob("*.tif")) == ["a.tif", "bb.tif"]
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["a.tif", "bb.tif"]
    assert json.loads((tmp_path / "classes.json").read_text()) == {"1": "other", "2": "forest"}
    with rasterio.open(tmp_path / "masks" / "a.tif") as file:
        np.testing.assert_array_equal(file.read(), mask)
        assert file.tags()["license"] == "CC-BY-4.0"


def test_a_mask_lies_on_the_pixels_of_its_picture(
    chip: Callable[..., Any], collect: Callable[..., Found], scenes: Any, tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(20, 40, 60, 90)
    stac.fetch(collect([chip("a")]), tmp_path, bbox=box, resolution_m=20)
    with (
        rasterio.open(tmp_path / "images" / "a.tif") as picture,
        rasterio.open(tmp_path / "masks" / "a.tif") as labels,
    ):
        assert labels.shape == picture.shape
        assert labels.transform == picture.transform
        assert labels.crs == picture.crs
        values = labels.read(1)
    middle = round((SIZE // 2 - 40) / 2)
    assert (values[: middle - 1] == 2).all()
    assert (values[middle + 1 :] == 1).all()


def test_the_split_of_the_publisher_is_kept(
    chip: Callable[..., Any],
    collect: Callable[..., Found],
    tmp_path: Path,
    told: Any,
    progress: Any,
) -> None:
    items = [chip("a", split="train"), chip("b", **{"ml-aoi:split": "validate"}), chip("c")]
    stac.fetch(collect(items), tmp_path, progress=progress)
    assert (tmp_path / "train" / "images" / "a.tif").is_file()
    assert (tmp_path / "val" / "masks" / "b.tif").is_file()
    assert (tmp_path / "train" / "masks" / "c.tif").is_file()
    assert "Some items tell no split" in told.warnings


def test_masks_whose_values_nobody_names_are_warned_about(
    chip: Callable[..., Any],
    collect: Callable[..., Found],
    tmp_path: Path,
    told: Any,
    progress: Any,
) -> None:
    made = stac.fetch(collect([chip("a", classes=None)]), tmp_path, progress=progress)
    assert isinstance(made, LabelledSet)
    assert made.classes == {}
    assert not (tmp_path / "classes.json").exists()
    assert "do not say what the values of their masks mean" in told.warnings


def test_a_value_with_two_names_is_refused(
    chip: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    items = [chip("a"), chip("b", classes=[{"value": 1, "name": "water"}])]
    with pytest.raises(DataError, match="1 means `other`, but in that of the item `b`"):
        stac.fetch(collect(items), tmp_path)


def test_a_mask_that_fails_is_told_and_the_rest_is_kept(
    chip: Callable[..., Any], collect: Callable[..., Found], files: Any, tmp_path: Path
) -> None:
    items = [chip("a"), chip("b")]
    files.faults["/b-mask.tif"] = "missing"
    with pytest.raises(DataError, match=r"masks/b.tif: There is nothing at"):
        stac.fetch(collect(items), tmp_path)
    assert (tmp_path / "masks" / "a.tif").is_file()
    del files.faults["/b-mask.tif"]
    files.requests.clear()
    stac.fetch(collect(items), tmp_path)
    assert {path for path, _ in files.requests} == {"/b-mask.tif"}


@pytest.fixture
def polygons(files: Any, scenes: Any, make: Any) -> Callable[..., Any]:
    """An item of the label extension, with polygons, that links to a picture."""

    def make_labels(*, kind: str = "forest", told: Any = ("water", "forest")) -> Any:
        box = scenes.box_of_pixels(0, 0, SIZE, SIZE)
        picture = files.add("/p.tif", scenes.as_cog(scenes.noise(SIZE, 1)))
        scene = make.item(
            "scene", box, {"image": {"href": picture, "type": COG}}, license="CC0-1.0"
        )
        files.add("/scene.json", json.dumps(scene).encode(), kind="application/json")
        w, s, e, n = scenes.box_of_pixels(32, 32, 96, 64)
        ring = [[w, s], [e, s], [e, n], [w, n], [w, s]]
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"class": kind},
        }
        drawing = {"type": "FeatureCollection", "features": [feature]}
        href = files.add(
            "/labels.geojson", json.dumps(drawing).encode(), kind="application/geo+json"
        )
        labels = make.item(
            "labels",
            box,
            {"labels": {"href": href, "type": "application/geo+json", "roles": ["labels-vector"]}},
            license="CC-BY-SA-4.0",
            **{"label:type": "vector", "label:properties": ["class"], "label:description": "x"},
            **({"label:classes": [{"name": "class", "classes": list(told)}]} if told else {}),
        )
        link = {"rel": "source", "href": "./scene.json", "type": "application/geo+json"}
        extensions = ["https://stac-extensions.github.io/label/v1.0.1/schema.json"]
        return {**labels, "links": [link], "stac_extensions": extensions}

    return make_labels


def test_polygons_of_the_label_extension_are_drawn_over_the_pictures_they_link_to(
    polygons: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    found = collect([polygons()])
    assert is_labelled(found.items[0])
    made = stac.fetch(found, tmp_path)
    assert isinstance(made, LabelledSet)
    assert made.classes == {0: "background", 1: "water", 2: "forest"}
    assert made.licences == ("CC-BY-SA-4.0",)
    with rasterio.open(tmp_path / "masks" / "scene.tif") as file:
        values = file.read(1)
        assert file.tags()["stac_item"] == "labels"
    assert (values[33:63, 33:95] == 2).all()
    assert (values[:31] == 0).all()
    assert (values[66:] == 0).all()
    assert (tmp_path / "images" / "scene.tif").is_file()


def test_a_mask_that_somebody_has_mended_is_not_drawn_over(
    polygons: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    stac.fetch(collect([polygons()]), tmp_path)
    path = tmp_path / "masks" / "scene.tif"
    with rasterio.open(path, "r+") as file:
        file.write(np.full((SIZE, SIZE), 1, dtype=np.uint8), 1)
    stac.fetch(collect([polygons()]), tmp_path)
    with rasterio.open(path) as file:
        assert (file.read() == 1).all()


def test_masks_are_drawn_anew_when_their_values_get_another_meaning(
    polygons: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    stac.fetch(collect([polygons()]), tmp_path)
    stac.fetch(collect([polygons(told=("forest", "water"))]), tmp_path)
    with rasterio.open(tmp_path / "masks" / "scene.tif") as file:
        assert set(np.unique(file.read())) == {0, 1}


def test_polygons_without_a_list_of_classes_bring_their_own(
    polygons: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    made = stac.fetch(collect([polygons(told=())]), tmp_path)
    assert isinstance(made, LabelledSet)
    assert made.classes == {0: "background", 1: "forest"}


def test_labels_whose_picture_is_gone_are_left_out(
    polygons: Callable[..., Any],
    collect: Callable[..., Found],
    tmp_path: Path,
    told: Any,
    progress: Any,
) -> None:
    labels = polygons()
    lost = {**labels, "id": "lost", "links": [{**labels["links"][0], "href": "./gone.json"}]}
    made = stac.fetch(collect([lost, labels]), tmp_path, progress=progress)
    assert isinstance(made, LabelledSet)
    assert made.num_masks == 1
    assert "The labels `lost` are left out. There is nothing at" in told.warnings
    with pytest.raises(DataError, match="None of the pictures"):
        stac.fetch(collect([lost]), tmp_path / "other")


def test_a_polygon_of_a_class_that_is_not_listed_is_refused(
    polygons: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="labelled `lava`, which is none of the classes"):
        stac.fetch(collect([polygons(kind="lava")]), tmp_path)


def test_a_scene_without_labels_stays_a_scene(
    chip: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    plain = chip("a")
    del plain["assets"]["annotation"]
    found = collect([plain])
    assert not is_labelled(found.items[0])
    stac.fetch(found, tmp_path)
    assert (tmp_path / "a.tif").is_file()


def test_the_data_set_is_recognised_by_the_reader_of_masks(
    chip: Callable[..., Any], collect: Callable[..., Found], tmp_path: Path
) -> None:
    pytest.importorskip("headstart.data.masks", reason="masks are not read yet")
    from headstart.data import open_dataset

    stac.fetch(collect([chip("a"), chip("bb"), chip("ccc")]), tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset.task == "semantic-segmentation"
    assert len(dataset) == 3
    assert set(dataset.classes) == {"forest", "other"}
