from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
import rasterio

from headstart import stac
from headstart.contracts import InputContract
from headstart.errors import DataError
from headstart.progress import Progress
from headstart.stac.bands import choose_bands

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
PHOTOS = InputContract(("R", "G", "B"), 64, 64, (0.5,) * 3, (0.5,) * 3)
MEASURED = InputContract(("nir", "red"), 64, 64, (0.5,) * 2, (0.5,) * 2, units="reflectance")
PIXELS = {"B04": 4, "B03": 3, "B02": 2, "B08": 8}


@pytest.fixture
def assets(files: Any, scenes: Any) -> dict[str, Any]:
    """Four measured bands of an item, and a picture of three for the eye."""
    import numpy as np

    found: dict[str, Any] = {
        name: {"href": files.add(f"/{name}.tif", scenes.as_cog(scenes.noise(96, n))), "type": COG}
        for name, n in PIXELS.items()
    }
    eye = np.concatenate([scenes.noise(96, n, high=255) for n in (2, 3, 4)]).astype(np.uint8)
    found["visual"] = {
        "href": files.add("/visual.tif", scenes.as_cog(eye)),
        "type": COG,
        "roles": ["visual"],
        "eo:bands": [
            {"name": name, "common_name": colour}
            for name, colour in (("B04", "red"), ("B03", "green"), ("B02", "blue"))
        ],
    }
    return found


def test_a_model_of_photos_takes_the_picture_for_the_eye_and_others_what_was_measured(
    assets: dict[str, Any], make: Any
) -> None:
    item = pystac.Item.from_dict(make.item("S2A_1", (0, 0, 1, 1), assets))
    eye = choose_bands(item, PHOTOS.bands, is_for_the_eye=True)
    assert [(band.asset, band.index) for band in eye] == [
        *(("visual", 1), ("visual", 2), ("visual", 3))
    ]
    measured = choose_bands(item, MEASURED.bands)
    assert [band.asset for band in measured] == ["B08", "B04"]
    with pytest.raises(DataError, match="has no band `swir16`"):
        choose_bands(item, ["swir16"])


def test_scenes_are_called_after_their_item_and_its_day_and_are_fetched_once(
    assets: dict[str, Any],
    serve: Callable[..., Any],
    scenes: Any,
    make: Any,
    files: Any,
    tmp_path: Path,
) -> None:
    box = scenes.box_of_pixels(0, 0, 96, 96)
    items = [make.item("tile", box, assets), make.item("tile_20230610", box, assets)]
    found = stac.search(serve(items).url)
    window = scenes.box_of_pixels(10, 20, 50, 60)
    fetched = stac.fetch_scenes(found, tmp_path, contract=MEASURED, bbox=window)
    assert [path.name for path in fetched.paths] == ["tile_2023-06-10.tif", "tile_20230610.tif"]
    with rasterio.open(fetched.paths[0]) as file:
        assert file.descriptions == ("B08", "B04")
        assert file.width < 50
        assert file.tags()["stac_item"] == "tile"
    num_requests = len(files.requests)
    again = stac.fetch_scenes(found, tmp_path, contract=MEASURED, bbox=window)
    assert again.num_kept == 2
    assert len(files.requests) == num_requests


def test_what_cannot_be_fetched_stops_or_is_left_out(
    assets: dict[str, Any],
    serve: Callable[..., Any],
    scenes: Any,
    make: Any,
    files: Any,
    tmp_path: Path,
    progress: Progress,
    told: Any,
) -> None:
    box = scenes.box_of_pixels(0, 0, 96, 96)
    gone = {"href": files.url + "/gone.tif", "type": COG}
    items = [
        make.item("whole", box, assets),
        make.item("broken", box, {**assets, "B08": gone}),
        make.item("poor", box, {"B04": assets["B04"]}),
    ]
    found = stac.search(serve(items).url)
    with pytest.raises(DataError, match="has no band `nir`"):
        stac.fetch_scenes(found, tmp_path, contract=MEASURED)
    fetched = stac.fetch_scenes(
        found, tmp_path, contract=MEASURED, on_bad="skip", progress=progress
    )
    assert [path.stem for path in fetched.paths] == ["whole_2023-06-10"]
    assert "`broken_2023-06-10` is left out" in told.warnings
    assert "`poor` has no band `nir`" in told.warnings
    with pytest.raises(DataError, match="No item fits"):
        stac.fetch_scenes(
            stac.search(serve(items).url, ids=(), max_cloud=0), tmp_path, contract=MEASURED
        )
