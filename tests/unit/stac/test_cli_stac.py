from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio

from headstart import cli

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.fixture
def api(serve: Callable[..., Any], files: Any, scenes: Any, make: Any) -> str:
    """A STAC API whose two scenes lie on another host, one of them cloudy."""
    asset = {"href": files.add("/B04.tif", scenes.as_cog(scenes.noise(256, 4))), "type": COG}
    box = scenes.box_of_pixels(0, 0, 256, 256)
    items = [
        make.item("clear", box, {"B04": asset}),
        make.item("hazy", box, {"B04": asset}, cloud=80.0),
    ]
    url: str = serve(items).url
    return url


def test_from_a_search_to_a_georeferenced_file(
    api: str, scenes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = ",".join(f"{v:.6f}" for v in scenes.box_of_pixels(10, 10, 60, 50))
    saved, output = tmp_path / "found.geojson", tmp_path / "scenes"
    common = ["--bbox", box, "--max-cloud", "20", "--datetime", "2023-06"]
    assert cli.run(["stac", "search", api, *common, "--save", str(saved)]) == 0
    told = capsys.readouterr()
    assert "clear" in told.out
    assert "hazy" not in told.out
    assert len(json.loads(saved.read_text())["features"]) == 1
    arguments = ["stac", "fetch", str(saved), "--bands", "B04", "--output", str(output)]
    assert cli.run([*arguments, *common]) == 0
    assert "1 GeoTIFFs" in capsys.readouterr().out
    with rasterio.open(output / "clear.tif") as file:
        assert file.crs == scenes.CRS
        assert file.width < 70
        assert file.tags()["license"] == "CC-BY-4.0"
    assert cli.run([*arguments, f"--bbox={box}", "--datetime=2023-06", "--max-cloud=20"]) == 0
    assert "1 of them kept" in capsys.readouterr().out


def test_items_are_fetched_by_id(api: str, tmp_path: Path) -> None:
    arguments = ["stac", "fetch", api, "--item", "hazy", "--bands", "B04"]
    assert cli.run([*arguments, "--resolution", "40", "--output", str(tmp_path)]) == 0
    with rasterio.open(tmp_path / "hazy.tif") as file:
        assert file.transform.a == 40


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--bbox", "1,2,3"], "no box of four numbers"),
        (["--datetime", "June"], "is no time"),
        (["--collection", "scene"], "Did you mean `scenes`"),
        (["--limit", "0"], "--limit 0 cannot be"),
    ],
)
def test_what_the_user_can_mend_exits_with_2_and_says_how(
    arguments: list[str], says: str, api: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["stac", "search", api, *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


def test_missing_packages_are_told_with_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec

    def without_rasterio(name: str, package: str | None = None) -> Any:
        return None if name == "rasterio" else found(name, package)

    monkeypatch.setattr("headstart.stac.find_spec", without_rasterio)
    assert cli.run(["stac", "search", "https://example.org"]) == 2
    assert "pip install 'headstart[geo]'" in capsys.readouterr().err


def test_the_token_is_in_nothing_that_is_written(
    api: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HEADSTART_STAC_TOKEN", "hunter2")
    arguments = ["stac", "fetch", api, "--item", "clear", "--output", str(tmp_path)]
    assert cli.run(arguments) == 0
    told = capsys.readouterr()
    assert "hunter2" not in told.out + told.err
    for path in tmp_path.iterdir():
        assert b"hunter2" not in path.read_bytes()
