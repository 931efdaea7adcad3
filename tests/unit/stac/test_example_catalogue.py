"""The catalogue that the example notebooks search is one that others could read, too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio

from headstart import stac
from headstart.stac.labels import LabelledSet

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        patch.delenv("EXAMPLE_CHIPS", raising=False)
        import loopback_catalogue

        yield loopback_catalogue
    sys.modules.pop("loopback_catalogue")


@pytest.fixture(scope="module")
def published(example: ModuleType) -> Iterator[Any]:
    """Four chips of 64 pixels, and the scenes."""
    catalogue = example.publish(num_chips=4, side=64)
    yield catalogue
    catalogue.close()


def test_its_items_are_valid(
    published: Any, validate_core: Callable[[dict[str, Any]], None]
) -> None:
    assert len(published.items) == 4 + 3
    for item in published.items.values():
        validate_core(item)


def test_a_search_finds_the_one_clear_scene_of_a_month(published: Any) -> None:
    found = stac.search(published.url, collection="scenes", datetime="2023-06", max_cloud=20)
    assert [item.id for item in found.items] == ["scene-2023-06-10"]


def test_a_stac_api_with_its_items_finds_the_same(published: Any, make: Any) -> None:
    collections = [make.collection("chips"), make.collection("scenes")]
    with make.StacServer(collections, list(published.items.values())) as server:
        found = stac.search(server.url, collection="scenes", datetime="2023-06", max_cloud=20)
    assert [item.id for item in found.items] == ["scene-2023-06-10"]


def test_a_window_is_read_and_not_the_scene(published: Any, tmp_path: Path) -> None:
    found = stac.search(published.url, ids=["scene-2023-06-10"])
    west, south, east, north = found.items[0].bbox
    middle = ((west + east) / 2, (south + north) / 2)
    before = published.num_bytes
    fetched = stac.fetch(
        found, tmp_path, bands="red,nir", bbox=(*middle, middle[0] + 0.005, middle[1] + 0.005)
    )
    assert published.num_bytes - before < sum(published.sizes("scene-2023-06-10")) / 3
    with rasterio.open(fetched.paths[0]) as file:  # type: ignore[union-attr]
        assert file.descriptions == ("B04", "B08")
        assert file.tags()["license"] == "CC0-1.0"
        assert file.read().min() > 0


def test_its_chips_become_a_data_set(published: Any, example: ModuleType, tmp_path: Path) -> None:
    made = stac.fetch(stac.search(published.url, collection="chips"), tmp_path, bands="red,blue")
    assert isinstance(made, LabelledSet)
    assert made.classes == {1: "field", 2: "water", 3: "forest"}
    assert [p.name for p in (tmp_path / "val" / "images").glob("*.tif")] == ["chip-03.tif"]
    with rasterio.open(tmp_path / "train" / "masks" / "chip-00.tif") as file:
        np.testing.assert_array_equal(file.read(1), example.draw_land((64, 64), seed=100)[1])


def test_chips_of_ones_own_take_their_place(
    example: ModuleType, amazon_forest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        for name in ("images", "masks"):
            (tmp_path / split / name).mkdir(parents=True)
            first = sorted((amazon_forest / split / name).iterdir())[0]
            (tmp_path / split / name / first.name).symlink_to(first)
    (tmp_path / "unlabelled").mkdir()
    (tmp_path / "unlabelled" / "0.tiff").symlink_to(amazon_forest / "unlabelled" / "0.tiff")
    monkeypatch.setenv("EXAMPLE_CHIPS", str(tmp_path))
    catalogue = example.publish()
    try:
        found = stac.search(catalogue.url, collection="scenes", datetime="2023-06", max_cloud=20)
        chips = stac.search(catalogue.url, collection="chips")
    finally:
        catalogue.close()
    assert [item.id for item in found.items] == ["scene-0"]
    assert [item.properties["split"] for item in chips.items] == ["train", "val"]
