"""What the page of a segmentation tells of uncertainty, bands, places, borders and class shares."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.errors import RunError
from headstart.report import model_card, write_report
from headstart.report.chip_figures import (
    band_figure_name,
    band_figures,
    doubt_figure,
    false_colour,
    visible_picture,
    write_chip_figures,
)
from headstart.report.colour_map import VIRIDIS, map_colours
from headstart.report.doubt import read_doubt
from headstart.report.error_map import error_map
from headstart.report.record import read_record
from headstart.rundir import RunFolder

MakeMaps = Callable[..., RunFolder]


def opened(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def text_of(folder: RunFolder) -> str:
    page = write_report(folder).read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours (n, 3) uint8."""
    shares = colours / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ np.array([0.2126, 0.7152, 0.0722])) - 16


def corners(longitude: float, latitude: float, *, side: float) -> list[list[float]]:
    return [
        [longitude, latitude],
        [longitude + side, latitude],
        [longitude + side, latitude - side],
        [longitude, latitude - side],
    ]


def placed(folder: RunFolder, *, side: float = 0.5, num: int | None = None) -> RunFolder:
    """The run, its test pictures in a row from west to east, the last of them nowhere."""
    metrics = folder.read_json(folder.metrics)
    for i, chip in enumerate(metrics["chips"][:num]):
        chip["corners"] = corners(-60.0 + i, -3.0 - i % 4, side=side)
    folder.write_json(folder.metrics, metrics)
    return folder


def test_equal_steps_look_equal_and_never_turn_back() -> None:
    steps = np.diff(lightness(map_colours(np.linspace(0, 1, 21))))
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.min()
    assert map_colours(np.array([-1.0, 2.0])).tolist() == [list(VIRIDIS[0]), list(VIRIDIS[-1])]


def test_the_unsure_are_bright() -> None:
    doubt = np.zeros((8, 8), dtype=np.float32)
    doubt[:, 4:] = 1
    drawn = opened(doubt_figure(doubt))
    assert drawn[0, 0].tolist() == list(VIRIDIS[0])
    assert drawn[0, 7].tolist() == list(VIRIDIS[-1])


def test_each_band_is_told_with_its_range_where_there_is_data() -> None:
    ramp = np.linspace(100, 1100, 64 * 64, dtype=np.float32).reshape(64, 64)
    values = np.stack([ramp, ramp / 2])
    values[:, 0] = 0  # no data
    (first, picture), (second, _) = band_figures(values, ["B04", "B08"])
    assert (first["name"], second["name"]) == ("B04", "B08")
    known = values[0, 1:]
    assert first["low"] == pytest.approx(np.percentile(known, 2), rel=1e-3)
    assert first["high"] == pytest.approx(np.percentile(known, 98), rel=1e-3)
    assert second["high"] == pytest.approx(first["high"] / 2, rel=1e-3)
    assert (opened(picture)[0] == 0).all()
    assert opened(picture)[-1, -1].tolist() == [255, 255, 255]


def test_plants_are_red_in_false_colour() -> None:
    values = np.full((4, 10, 10), 500, dtype=np.float32)
    values[3, :5] = 4000  # they reflect near infrared
    drawn = opened(false_colour(values, ["B02", "B03", "B04", "B08"]) or b"")
    assert drawn[0, 0].tolist() == [255, 0, 0]
    assert drawn[9, 0].tolist() == [0, 0, 0]
    assert false_colour(values[:3], ["B02", "B03", "B04"]) is None


def test_a_dark_picture_of_eight_bits_is_brightened_and_a_bright_one_is_not() -> None:
    ramp = np.linspace(20, 60, 100, dtype=np.uint8).reshape(1, 10, 10)
    assert visible_picture(ramp, ["pan"]).max() == 255
    assert visible_picture(ramp + 60, ["pan"]).max() == 120
    assert (visible_picture(np.full((3, 4, 4), 30, np.uint8), ["R", "G", "B"]) == 30).all()


def test_what_the_run_drew_is_shown(make_maps: MakeMaps) -> None:
    folder = make_maps()
    metrics = folder.read_json(folder.metrics)
    bands = [{"name": f"B0{i}", "low": 0.01, "high": 0.3} for i in (2, 3, 4, 8)]
    values = np.random.default_rng(0).random((4, 32, 32)).astype(np.float32)
    for row in metrics["shown"]:
        row["doubt"] = 0.25
        figures = {"doubt": doubt_figure(values[0])}
        if row["why"] in ("worst", "best"):
            row["bands"] = bands
            drawn = band_figures(values, [band["name"] for band in bands])
            figures |= {band_figure_name(i): picture for i, (_, picture) in enumerate(drawn)}
            figures["false-colour"] = false_colour(values, ["B02", "B03", "B04", "B08"]) or b""
        write_chip_figures(folder, figures, number=row["number"])
    folder.write_json(folder.metrics, metrics)
    text = text_of(folder)
    assert text.count("uncertainty 25.0% on average") == len(metrics["shown"])
    assert "Uncertainty: 0%, sure" in text
    assert "no longer in" not in text
    # Of the worst and of the best picture one each.
    assert text.count("B08: 0.01 to 0.3") == text.count("Near infrared, red, green") == 2
    assert folder.report.stat().st_size < 1_000_000


def test_a_run_that_drew_less_has_no_empty_places(make_maps: MakeMaps) -> None:
    text = text_of(make_maps())
    for words in ("Uncertainty", "band by band", "Where the errors lie", "least sure"):
        assert words not in text
    assert "no longer" not in text


def test_where_errors_lie_is_drawn_of_georeferenced_pictures(make_maps: MakeMaps) -> None:
    folder = placed(make_maps(), num=14)
    drawn = error_map(read_record(folder))
    assert drawn is not None
    assert drawn.svg.count("<polygon") == 14
    worst = min(read_record(folder).chips.scores[:14], key=lambda c: c.pixel_accuracy or 1)
    assert drawn.rows[0][0] == worst.id
    assert "14 of 15 test pictures are georeferenced." in text_of(folder)
    assert (folder.figures / "errors.svg").is_file()


def test_a_picture_too_small_for_the_map_is_a_dot(make_maps: MakeMaps) -> None:
    drawn = error_map(read_record(placed(make_maps(), side=0.001)))
    assert drawn is not None
    assert drawn.svg.count("<circle") == 15
    assert "<polygon" not in drawn.svg


def test_doubt_that_points_at_errors_is_told_from_doubt_that_does_not(make_maps: MakeMaps) -> None:
    right, wrong = [900, 0, 0, 0, 0], [0, 0, 0, 0, 100]
    doubt = read_doubt(read_record(make_maps(metrics={"doubt": {"right": right, "wrong": wrong}})))
    assert doubt is not None
    assert "holds 100% of the errors: that is where to look" in doubt.sentence


def test_doubt_alike_everywhere_says_little(make_maps: MakeMaps) -> None:
    entry = {"right": [90] * 10, "wrong": [10] * 10}
    doubt = read_doubt(read_record(make_maps(metrics={"doubt": entry})))
    assert doubt is not None
    assert "holds 10.0% of the errors: its uncertainty says little" in doubt.sentence
    assert dict(doubt.drawing.rows)["50.0%"] == "50.0%"


def test_nothing_wrong_leaves_nothing_to_find(make_maps: MakeMaps) -> None:
    entry = {"right": [90, 5], "wrong": [0, 0]}
    assert read_doubt(read_record(make_maps(metrics={"doubt": entry}))) is None


@pytest.mark.parametrize("entry", [{"right": [1, 2]}, {"right": [1], "wrong": [1, 2]}])
def test_damaged_doubt_is_named(make_maps: MakeMaps, entry: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="entry `doubt`"):
        read_doubt(read_record(make_maps(metrics={"doubt": entry})))


def test_a_boundary_f1_comes_with_its_tolerance(make_maps: MakeMaps) -> None:
    measures = {
        "miou": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 15},
        "boundary_f1": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 15},
    }
    told = {"share_of_diagonal": 0.0075, "tolerance_pixels": [3, 5]}
    folder = make_maps(metrics={"metrics": measures, "boundary": told})
    words = "A border counts as found when it is at most 3 to 5 pixels off, 0.75%"
    assert words in text_of(folder)
    assert words in model_card(folder)
    assert "Boundary F1 60.0% 50.0–70.0%" in text_of(folder)


def test_shares_of_truth_and_answer_stand_side_by_side(make_maps: MakeMaps) -> None:
    counts = [[50, 0, 0], [10, 30, 0], [0, 0, 10]]
    confusion = {"classes": ["forest", "water", "bare ground"], "counts": counts}
    text = text_of(make_maps(metrics={"confusion": confusion}))
    assert "forest 50.0% 60.0% +10.0" in text
    assert "water 40.0% 30.0% -10.0" in text


def test_shares_of_pixels_are_told_for_each_split(make_maps: MakeMaps) -> None:
    counted = {
        "train": {"forest": 60, "water": 30, "bare ground": 10},
        "test": {"forest": 10, "water": 80, "bare ground": 10},
    }
    text = text_of(make_maps(dataset={"pixel_counts": counted}))
    assert "Share of the labelled pixels" in text
    assert "forest 60.0% 10.0% 35.0%" in text


def test_suspect_pictures_are_drawn_where_they_are_named(make_maps: MakeMaps) -> None:
    folder = make_maps()
    metrics = folder.read_json(folder.metrics)
    metrics["shown"][0]["why"] = "suspect"
    folder.write_json(folder.metrics, metrics)
    text, id_ = text_of(folder), metrics["shown"][0]["id"]
    section = text[text.index("Masks to look at", text.index("Its maps")) :]
    assert section.index(id_) < section.index("Labelled pixels")
