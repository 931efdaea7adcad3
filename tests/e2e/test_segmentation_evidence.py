"""What a fit of masks leaves to judge it by: borders, doubt, bands, places, counts, a control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.backbones import load_backbone
from headstart.fitting import choosing
from headstart.report.chip_counts import read_chip_counts
from headstart.report.record import read_record
from headstart.rundir import RunFolder

rasterio = pytest.importorskip("rasterio")

SIDE = 96
OPTIONS: dict[str, Any] = {
    "backbone": "test_resnet",
    "epochs": 1,
    "batch_size": 4,
    "lr": 0.01,
    "strategy": "full",
}


def draw_scenes(folder: Path, *, num: int) -> None:
    """GeoTIFFs of bright discs side by side in zone 33 north, with masks; an edge is ignored."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    for number in range(num):
        row, column = generator.integers(25, SIDE - 25, size=2)
        is_disc = (rows - row) ** 2 + (columns - column) ** 2 < 18**2
        noise = generator.integers(0, 60, size=(3, SIDE, SIDE))
        origin = rasterio.transform.from_origin(500_000 + 20 * SIDE * number, 4_600_000, 10, 10)
        path = folder / "images" / f"{number:02}.tif"
        with rasterio.open(path, "w", crs="EPSG:32633", transform=origin, **profile) as file:
            file.write((noise + 150 * is_disc).astype(np.uint8))
        mask = is_disc.astype(np.uint8) + 1
        mask[:, :8] = 0
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    (folder / "classes.txt").write_text("1 ground\n2 disc\n", encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> headstart.Run:
    folder = tmp_path_factory.mktemp("evidence")
    draw_scenes(folder / "scenes", num=12)

    def as_if_pretrained(unit: str, reference: str, **options: Any) -> Any:
        return load_backbone(reference, weights="random", progress=options["progress"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "load_backbone_for", as_if_pretrained)
        return headstart.fit(
            folder / "scenes",
            output=folder / "run",
            ignore_value=[0],
            control="scratch",
            **OPTIONS,
        )


@pytest.fixture(scope="module")
def metrics(run: headstart.Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_borders_are_judged_and_the_tolerance_is_told(metrics: dict[str, Any]) -> None:
    boundary = metrics["metrics"]["boundary_f1"]
    assert 0 <= boundary["low"] <= boundary["value"] <= boundary["high"] <= 1
    assert metrics["boundary"] == {"share_of_diagonal": 0.0075, "tolerance_pixels": [1, 1]}


def test_each_labelled_pixel_is_counted_by_its_doubt(metrics: dict[str, Any]) -> None:
    right, wrong = (sum(metrics["doubt"][name]) for name in ("right", "wrong"))
    counts = np.array(metrics["confusion"]["counts"])
    assert right == np.trace(counts)
    assert right + wrong == counts.sum() == len(metrics["chips"]) * SIDE * (SIDE - 8)


def test_counts_of_each_chip_add_up_to_the_confusion(
    run: headstart.Run, metrics: dict[str, Any]
) -> None:
    chips = read_chip_counts(read_record(RunFolder(run.path)))
    assert set(chips.ids) == {chip["id"] for chip in metrics["chips"]}
    assert chips.counts.confusion.sum(axis=0).tolist() == metrics["confusion"]["counts"]
    assert chips.counts.boundary.shape == (len(chips.ids), 2, 4)


def test_pixels_of_each_class_are_counted_for_each_split(run: headstart.Run) -> None:
    dataset = json.loads((run.path / "dataset.json").read_text(encoding="utf-8"))
    total = sum(n for split in dataset["pixel_counts"].values() for n in split.values())
    assert total == 12 * SIDE * (SIDE - 8)
    assert set(dataset["pixel_counts"]["train"]) == {"ground", "disc"}


def test_chips_lie_where_their_rasters_say(metrics: dict[str, Any]) -> None:
    for chip in metrics["chips"]:
        (west, north), (east, _), (_, south), _ = chip["corners"]
        assert 14.9 < west < east < 16
        assert 41 < south < north < 42


def test_shown_chips_have_their_doubt_and_the_worst_its_bands(
    run: headstart.Run, metrics: dict[str, Any]
) -> None:
    folder = RunFolder(run.path)
    for row in metrics["shown"]:
        assert 0 <= row["doubt"] <= 1
        assert folder.chip_figure(row["number"], "doubt").is_file()
    worst = next(row for row in metrics["shown"] if row["why"] == "worst")
    assert [band["name"] for band in worst["bands"]] == ["R", "G", "B"]
    assert folder.chip_figure(worst["number"], "band-2").is_file()


def test_the_control_tells_what_the_weights_brought(metrics: dict[str, Any]) -> None:
    transfer = metrics["transfer"]
    assert transfer["metric"] == "miou"
    gain = transfer["gain"]
    assert gain["low"] <= gain["value"] <= gain["high"]
    sides = [transfer[name]["miou"]["value"] for name in ("pretrained", "scratch")]
    assert gain["value"] == pytest.approx(sides[0] - sides[1])
    assert sides[0] == metrics["metrics"]["miou"]["value"]
    assert transfer["curves"]["scratch"][-1]["value"] <= 1
    assert "points of mean IoU" in transfer["sentence"]


def test_the_page_has_it_all(run: headstart.Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    for anchor in ("maps", "bands", "places", "masks", "ladder"):
        assert f'id="{anchor}"' in page
    assert "Uncertainty: 0%, sure" in page
    assert "points of mean IoU" in page
    assert len(page) < 3_000_000
