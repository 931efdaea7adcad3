from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from headstart import stac
from headstart.progress import Progress
from headstart.stac import asking, reaching
from headstart.stac.asking import CatalogueError, CatalogueIO
from headstart.stac.fetching import file_names
from headstart.stac.reaching import AssetError
from headstart.stac.searching import Found, as_item
from headstart.stac.sign_in import SignIn

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
SIZE = 1024


@pytest.fixture
def scene(files: Any, scenes: Any) -> dict[str, Any]:
    """The assets of a scene, at 10 m and 20 m, and a band of codes."""
    codes = np.repeat(np.repeat(np.arange(1, 5, dtype=np.uint8).reshape(2, 2), 256, 0), 256, 1)
    kinds = {
        "B02": scenes.as_cog(scenes.noise(SIZE, 2)),
        "B04": scenes.as_cog(scenes.noise(SIZE, 4)),
        "B11": scenes.as_cog(scenes.noise(SIZE // 2, 11), pixel_m=20.0),
        "SCL": scenes.as_cog(codes[None], pixel_m=20.0),
    }
    return {
        name: {
            "href": files.add(f"/{name}.tif", content),
            "type": COG,
            "raster:bands": [{"name": name, "scale": 0.0001, "offset": -0.1}],
        }
        for name, content in kinds.items()
    }


@pytest.fixture
def found(files: Any, scenes: Any, make: Any) -> Callable[..., Found]:
    """What a search has found: `found({id: assets})`."""

    def find(assets: dict[str, Any], **properties: Any) -> Found:
        box = scenes.box_of_pixels(0, 0, SIZE, SIZE)
        items = [
            as_item(make.item(id_, box, each, **properties), f"{files.url}/{id_}.json")
            for id_, each in assets.items()
        ]
        return Found(tuple(items), CatalogueIO(files.url, SignIn.from_environment(files.url)))

    return find


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        pixels: np.ndarray = file.read()
    return pixels


# --- what is written --------------------------------------------------------------------------


def test_the_window_is_cut_out_to_the_pixel(
    files: Any, scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(300.2, 400.2, 555.8, 600.8)
    fetched = stac.fetch(found({"S1": scene}), tmp_path, bands="B04,B02", bbox=box)
    with rasterio.open(fetched.paths[0]) as file:
        assert file.crs == scenes.CRS
        left = round((file.transform.c - scenes.WEST) / 10)
        top = round((scenes.NORTH - file.transform.f) / 10)
        assert (file.transform.a, file.transform.e) == (10, -10)
        assert left <= 300
        assert left + file.width >= 556
        assert file.width < 270
        pixels = file.read()
    for number, seed in enumerate((4, 2)):
        whole = scenes.noise(SIZE, seed)[0]
        expected = whole[top : top + pixels.shape[1], left : left + pixels.shape[2]]
        np.testing.assert_array_equal(pixels[number], expected)


def test_only_a_part_of_each_file_is_asked_for(
    files: Any, scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(10, 10, 100, 100)
    stac.fetch(found({"S1": scene}), tmp_path, bands="B02", bbox=box)
    assert files.num_bytes < len(files.files["/B02.tif"][0]) / 4
    assert {path for path, _ in files.requests} == {"/B02.tif"}


def test_a_file_says_what_it_is_and_where_it_came_from(
    files: Any, scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    told = {"platform": "sentinel-2a", "s2:processing_baseline": "05.09", "license": "CC0-1.0"}
    box = scenes.box_of_pixels(0, 0, 64, 64)
    fetched = stac.fetch(found({"S1": scene}, **told), tmp_path, bands="B02,B04", bbox=box)
    with rasterio.open(fetched.paths[0]) as file:
        assert file.descriptions == ("B02", "B04")
        assert file.scales == (0.0001, 0.0001)
        assert file.offsets == (-0.1, -0.1)
        assert file.nodata == 0
        tags = file.tags()
        assert file.tags(1)["source"] == f"{files.url}/B02.tif"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert tags["stac_item"] == "S1"
    assert tags["stac_source"] == f"{files.url}/S1.json"
    assert tags["processing_baseline"] == "05.09"
    assert tags["platform"] == "sentinel-2a"
    assert tags["datetime"] == "2023-06-10T14:00:00Z"
    assert tags["cloud_cover"] == "5.0"
    assert tags["license"] == "CC0-1.0"


def test_beside_each_file_lies_a_valid_item_and_all_are_in_the_index(
    scene: Any,
    scenes: Any,
    found: Callable[..., Found],
    tmp_path: Path,
    validate_core: Callable[[dict[str, Any]], None],
) -> None:
    import pystac

    box = scenes.box_of_pixels(0, 0, 64, 64)
    items = found({"S1": scene, "S2": scene}, license="CC0-1.0")
    fetched = stac.fetch(items, tmp_path, bands="B02", bbox=box)
    values = json.loads((tmp_path / "S1.json").read_text())
    assert pystac.Item.from_dict(values).assets["image"].href == "./S1.tif"
    validate_core(values)
    [band] = values["assets"]["image"]["bands"]
    assert band == {"name": "B02", "raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0}
    index = json.loads(fetched.index.read_text())
    assert [f["assets"]["image"]["href"] for f in index["features"]] == ["./S1.tif", "./S2.tif"]


def test_bands_of_several_resolutions_come_onto_the_finest_grid(
    scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(100, 100, 200, 200)
    fetched = stac.fetch(found({"S1": scene}), tmp_path, bands="B02,SCL", bbox=box)
    with rasterio.open(fetched.paths[0]) as file:
        assert file.transform.a == 10
        assert file.dtypes == ("uint16", "uint16")
        codes = file.read(2)
    assert set(np.unique(codes)) <= {1, 2, 3, 4}


def test_a_coarser_grid_takes_means_of_what_is_measured_and_the_commonest_of_codes(
    scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    fetched = stac.fetch(found({"S1": scene}), tmp_path, bands="B02,SCL", resolution_m=40)
    with rasterio.open(fetched.paths[0]) as file:
        assert file.transform.a == 40
        assert (file.transform.c % 40, file.transform.f % 40) == (0, 0)
        pixels = file.read()
    whole = scenes.noise(SIZE, 2)[0].astype(float)
    blocks = whole.reshape(SIZE // 4, 4, SIZE // 4, 4).mean((1, 3))
    inner = pixels[0][: SIZE // 4, : SIZE // 4].astype(float)
    assert np.abs(inner - blocks)[5:-5, 5:-5].max() <= 1
    assert set(np.unique(pixels[1])) == {1, 2, 3, 4}


def test_another_coordinate_system_puts_pixels_where_they_are_on_earth(
    scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(100, 100, 200, 200)
    fetched = stac.fetch(
        found({"S1": scene}), tmp_path, bands="SCL", bbox=box, crs="EPSG:4326", resolution_m=20
    )
    with rasterio.open(fetched.paths[0]) as file:
        assert file.crs.to_epsg() == 4326
        west, south, east, north = box
        assert file.bounds.left <= west
        assert file.bounds.right >= east
        assert file.bounds.bottom <= south
        assert file.bounds.top >= north
        assert (file.read() == 1).all()


def test_pixels_that_nothing_covers_are_masked_where_no_value_says_so(
    files: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    small = {
        "B02": {
            "href": files.add("/s.tif", scenes.as_cog(scenes.noise(64, 1), nodata=None)),
            "type": COG,
        }
    }
    fetched = stac.fetch(found({"S1": small}), tmp_path, bands="B02", crs="EPSG:4326")
    with rasterio.open(fetched.paths[0]) as file:
        assert file.nodata is None
        mask = file.dataset_mask()
        covered = file.read(1)[mask > 0]
    assert 0 < (mask == 0).mean() < 0.2
    assert covered.min() > 0


def test_bands_of_several_types_are_written_in_one_that_holds_both(
    files: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    heights = np.full((1, 64, 64), -1.5, dtype=np.float32)
    heights[0, 0, 0] = np.nan
    assets = {
        "B02": {"href": files.add("/a.tif", scenes.as_cog(scenes.noise(64, 1))), "type": COG},
        "dem": {"href": files.add("/b.tif", scenes.as_cog(heights, nodata=np.nan)), "type": COG},
    }
    fetched = stac.fetch(found({"S1": assets}), tmp_path, bands="dem,B02")
    with rasterio.open(fetched.paths[0]) as file:
        assert file.dtypes == ("float32", "float32")
        assert np.isnan(file.nodata)
        pixels = file.read()
    assert np.isnan(pixels[0, 0, 0])
    np.testing.assert_array_equal(pixels[1], scenes.noise(64, 1)[0])


# --- resuming ---------------------------------------------------------------------------------


def test_what_is_there_is_not_fetched_again(
    files: Any, scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(0, 0, 64, 64)
    stac.fetch(found({"S1": scene}, license="CC0-1.0"), tmp_path, bands="B02", bbox=box)
    files.requests.clear()
    fetched = stac.fetch(found({"S1": scene}, license="CC0-1.0"), tmp_path, bands="B02", bbox=box)
    assert fetched.num_kept == 1
    assert files.requests == []


@pytest.mark.parametrize("what", ["truncated", "other bands", "without its item"])
def test_what_is_not_whole_or_something_else_is_fetched_again(
    what: str, scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(0, 0, 600, 600)
    bands = "B04" if what == "other bands" else "B02"
    [path] = stac.fetch(found({"S1": scene}), tmp_path, bands=bands, bbox=box).paths
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    if what == "without its item":
        path.with_suffix(".json").unlink()
    fetched = stac.fetch(found({"S1": scene}), tmp_path, bands="B02", bbox=box)
    assert fetched.num_kept == 0
    with rasterio.open(path) as file:
        assert file.descriptions == ("B02",)
        assert file.read().min() > 0


def test_what_was_fetched_is_kept_when_another_item_fails(
    files: Any, scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    box = scenes.box_of_pixels(0, 0, 64, 64)
    gone = {"B02": {**scene["B02"], "href": f"{files.url}/gone.tif"}}
    items = found({"S1": scene, "S2": gone, "S3": scene}, license="CC0-1.0")
    with pytest.raises(AssetError, match=r"1 of 3 files(.|\n)*S2.tif:.*status 404(.|\n)*2 are in"):
        stac.fetch(items, tmp_path, bands="B02", bbox=box)
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == ["S1.tif", "S3.tif"]
    assert len(json.loads((tmp_path / "items.geojson").read_text())["features"]) == 2
    files.add("/gone.tif", files.files["/B02.tif"][0])
    files.requests.clear()
    assert stac.fetch(items, tmp_path, bands="B02", bbox=box).num_kept == 2
    assert {path for path, _ in files.requests} == {"/gone.tif"}


def test_nothing_half_written_is_left(
    files: Any, scene: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    files.faults["/B02.tif"] = "cuts"
    with pytest.raises(AssetError):
        stac.fetch(found({"S1": scene}), tmp_path, bands="B02,B04")
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tif" or p.is_dir()] == []


# --- servers that fail or lie -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing", r"nothing at .*/B02.tif \(status 404\), though the item names it"),
        ("broken", r"/B02.tif answered with status 500, 3 times"),
        ("login-page", r"no GeoTIFF.*sent as text/html and begins with `<html>Please"),
        ("forbidden", r'status 403.*not sent there.*ASSET_HEADERS="127.0.0.1:\d+ Name: value"'),
        ("no-ranges-no-size", r"ignores ranges and sends a file of a size it does not tell"),
        ("cuts", r"only [1-9][\d,]+ came.*damaged, or its server sends less than it promises"),
        ("hangs-later", r"could not be read: of a piece of [\d,]+ bytes only 0 came"),
        ("hangs", r"did not answer within 0.2 s, 3 times"),
    ],
)
def test_a_fault_of_an_asset_is_told_with_what_to_do(
    fault: str,
    says: str,
    files: Any,
    scene: Any,
    found: Callable[..., Found],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault.startswith("hangs"):
        monkeypatch.setattr(asking, "TIMEOUT_S", (0.2, 0.2))
    files.faults["/B02.tif"] = fault
    with pytest.raises(AssetError, match=says):
        stac.fetch(found({"S1": scene}), tmp_path, bands="B02")


@pytest.mark.parametrize("fault", ["broken-once", "cuts-once", "no-ranges"])
def test_a_fault_that_passes_or_can_be_helped_changes_no_pixel(
    fault: str, files: Any, scene: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    files.faults["/B02.tif"] = fault
    [path] = stac.fetch(found({"S1": scene}), tmp_path, bands="B02").paths
    np.testing.assert_array_equal(read(path), scenes.noise(SIZE, 2))


def test_a_large_file_of_a_server_without_ranges_is_not_fetched_whole(
    files: Any,
    scene: Any,
    found: Callable[..., Found],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaching, "_MOST_WHOLE_BYTES", 1000)
    files.faults["/B02.tif"] = "no-ranges"
    with pytest.raises(AssetError, match="ignores ranges and sends all of its 2 MB"):
        stac.fetch(found({"S1": scene}), tmp_path, bands="B02")


def test_a_sign_in_for_assets_reaches_the_host_that_it_names(
    files: Any,
    scene: Any,
    make: Any,
    scenes: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = files.url.removeprefix("http://")
    monkeypatch.setenv("HEADSTART_STAC_ASSET_HEADERS", f"{host} X-Key: sesame")
    monkeypatch.setenv("HEADSTART_STAC_TOKEN", "secret")
    catalogue = "https://stac.example.org"
    files.faults["/B02.tif"] = "forbidden"
    item = as_item(make.item("S1", scenes.box_of_pixels(0, 0, 9, 9), scene), catalogue)
    io = CatalogueIO(catalogue, SignIn.from_environment(catalogue))
    [path] = stac.fetch(Found((item,), io), tmp_path, bands="B02").paths
    np.testing.assert_array_equal(read(path), scenes.noise(SIZE, 2))
    assert all("Authorization" not in headers for _, headers in files.headers)


def test_no_sign_in_follows_a_redirect_of_an_asset(
    files: Any,
    scene: Any,
    found: Callable[..., Found],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADSTART_STAC_HEADERS", "X-Key: secret")
    files.redirects["/moved.tif"] = files.url.replace("127.0.0.1", "localhost") + "/B02.tif"
    moved = {"B02": {**scene["B02"], "href": f"{files.url}/moved.tif"}}
    stac.fetch(found({"S1": moved}), tmp_path, bands="B02")
    keys = [(path, headers.get("X-Key")) for path, headers in files.headers]
    assert ("/moved.tif", "secret") in keys
    assert {key for path, key in keys if path == "/B02.tif"} == {None}


def test_a_catalogue_on_the_web_cannot_have_files_of_this_machine_read(
    found: Callable[..., Found], tmp_path: Path
) -> None:
    for href in (str(tmp_path / "secret.tif"), "file:///etc/passwd", "s3://bucket/a.tif"):
        assets = {"B02": {"href": href, "type": COG}}
        with pytest.raises((CatalogueError, AssetError), match=r"status 404|have https://"):
            stac.fetch(found({"S1": assets}), tmp_path / "out", bands="B02")


def test_a_script_in_the_place_of_a_raster_is_not_run(
    files: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    vrt = b'<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand/></VRTDataset>'
    assets = {"B02": {"href": files.add("/a.tif", vrt), "type": COG}}
    with pytest.raises(AssetError, match="no GeoTIFF or JPEG 2000"):
        stac.fetch(found({"S1": assets}), tmp_path, bands="B02")


def test_a_raster_without_a_place_is_refused(
    files: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    content = scenes.as_cog(scenes.noise(64, 1), crs=None)
    assets = {"B02": {"href": files.add("/a.tif", content), "type": COG}}
    with pytest.raises(AssetError, match="no coordinate system"):
        stac.fetch(found({"S1": assets}), tmp_path, bands="B02")


def test_a_band_that_is_promised_but_not_there_is_told(
    files: Any, scenes: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    bands = [{"name": "R"}, {"name": "G"}]
    content = scenes.as_cog(scenes.noise(64, 1))
    assets = {"rgb": {"href": files.add("/a.tif", content), "type": COG, "eo:bands": bands}}
    with pytest.raises(AssetError, match=r"has 1 bands, but the item promises a band `G`"):
        stac.fetch(found({"S1": assets}), tmp_path, bands="G")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"resolution_m": 0.0}, "--resolution 0 cannot be"),
        ({"resolution_m": 0.0001}, "smaller --bbox or a coarser"),
        ({"crs": "EPSG:1"}, "no coordinate system"),
        ({"bbox": "10,40,11,41"}, r"No item has a pixel.*lies outside the picture"),
        ({"bbox": "170,-20,-170,-10"}, "across the date line"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    option: dict[str, Any], says: str, scene: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    from headstart.errors import HeadstartError

    with pytest.raises(HeadstartError, match=says):
        stac.fetch(found({"S1": scene}), tmp_path, bands="B02", **option)


def test_an_item_without_a_pixel_in_the_box_is_left_out(
    files: Any,
    scene: Any,
    scenes: Any,
    found: Callable[..., Found],
    tmp_path: Path,
    told: Any,
    progress: Any,
) -> None:
    small = {
        "B02": {**scene["B02"], "href": files.add("/s.tif", scenes.as_cog(scenes.noise(64, 1)))}
    }
    box = scenes.box_of_pixels(500, 500, 600, 600)
    items = found({"S1": scene, "S2": small})
    fetched = stac.fetch(items, tmp_path, bands="B02", bbox=box, progress=progress)
    assert [path.name for path in fetched.paths] == ["S1.tif"]
    assert "`S2` is left out" in told.warnings


def test_a_file_that_is_not_of_a_fetch_is_never_replaced(
    files: Any, scene: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    from headstart.errors import DataError

    for content in (b"my notes", files.files["/B04.tif"][0]):
        (tmp_path / "S1.tif").write_bytes(content)
        with pytest.raises(DataError, match="in the way: it is not of a fetch"):
            stac.fetch(found({"S1": scene}), tmp_path, bands="B02")
        assert (tmp_path / "S1.tif").read_bytes() == content


def test_what_a_killed_fetch_has_left_is_removed(
    scene: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    (tmp_path / ".fetching-S1.tif").mkdir()
    (tmp_path / ".fetching-S1.tif" / "raw.tif").write_bytes(b"half")
    (tmp_path / ".S1.tif.abc").write_bytes(b"half")
    stac.fetch(found({"S1": scene}), tmp_path, bands="B02")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["S1.json", "S1.tif", "items.geojson"]


def test_an_interrupted_fetch_stops_at_once_and_keeps_what_is_whole(
    files: Any, scene: Any, found: Callable[..., Found], tmp_path: Path
) -> None:
    class Impatient:
        def handle(self, event: Any) -> None:
            if event.kind == "advance":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stac.fetch(
            found({"S1": scene}), tmp_path, bands="B02,B04", progress=Progress([Impatient()])
        )
    assert list(tmp_path.glob("*.tif")) == []
    assert list(tmp_path.glob(".fetching-*")) == []
    assert len(stac.fetch(found({"S1": scene}), tmp_path, bands="B02,B04").paths) == 1


def test_an_item_cannot_choose_where_its_file_goes(make: Any) -> None:
    ids = ["../../etc/passwd", ".hidden", "a b/c", "A B/C", "..", "a b/c"]
    items = [as_item(make.item(id_, (0, 0, 1, 1), {}), "https://example.org/x") for id_ in ids]
    names = file_names(items)
    assert names == ["etc_passwd", "hidden", "a_b_c", "A_B_C-2", "item", "a_b_c-3"]


def test_nothing_found_is_nothing_fetched(found: Callable[..., Found], tmp_path: Path) -> None:
    from headstart.errors import DataError

    with pytest.raises(DataError, match="Nothing matches"):
        stac.fetch(found({}), tmp_path / "out", bands="B02")
    assert not (tmp_path / "out").exists()


def test_assets_of_a_local_catalogue_are_read_where_they_lie(
    files: Any, scene: Any, scenes: Any, make: Any, tmp_path: Path
) -> None:
    (tmp_path / "B02.tif").write_bytes(files.files["/B02.tif"][0])
    item = make.item("S1", (0, 0, 1, 1), {"B02": {"href": "./B02.tif", "type": COG}})
    (tmp_path / "S1.json").write_text(json.dumps(item))
    found = stac.search(str(tmp_path / "S1.json"))
    [path] = stac.fetch(found, tmp_path / "out").paths
    np.testing.assert_array_equal(read(path), scenes.noise(SIZE, 2))
    shutil.rmtree(tmp_path / "out")


def test_real_chips_come_back_as_they_are(
    files: Any, make: Any, tmp_path: Path, amazon_chips: list[Path]
) -> None:
    items = []
    for path in amazon_chips[:3]:
        with rasterio.open(path) as file:
            box = file.bounds
        asset = {"href": files.add(f"/{path.name}", path.read_bytes()), "type": "image/tiff"}
        items.append(as_item(make.item(path.stem, tuple(box), {"image": asset}), files.url))
    io = CatalogueIO(files.url, SignIn.from_environment(files.url))
    fetched = stac.fetch(Found(tuple(items), io), tmp_path)
    for path, source in zip(fetched.paths, amazon_chips, strict=False):
        with rasterio.open(path) as ours, rasterio.open(source) as theirs:
            assert ours.crs == theirs.crs
            assert ours.transform.almost_equals(theirs.transform)
            np.testing.assert_array_equal(ours.read(), theirs.read())
