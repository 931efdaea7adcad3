"""The four pictures of a map: what is in which colour, and where."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.report import (
    class_colours,
    segmentation_figures,
    visible_picture,
    write_chip_figures,
)
from headstart.report.chip_figures import CHIP_FIGURES, WRONG, WRONG_AT_BORDER
from headstart.rundir import RunFolder

RED, BLUE = np.array(WRONG), np.array(WRONG_AT_BORDER)


def opened(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture
def halves() -> tuple[np.ndarray, np.ndarray]:
    """A picture of one grey, and a truth: class 0 left, class 1 right, none in the last row."""
    truth = np.zeros((40, 40), dtype=np.int64)
    truth[:, 20:] = 1
    truth[-1] = -1
    return np.full((40, 40, 3), 100, dtype=np.uint8), truth


def test_classes_are_drawn_in_their_colours(halves: tuple[np.ndarray, np.ndarray]) -> None:
    picture, truth = halves
    colours = [(250, 0, 0), (0, 0, 250)]
    drawn = segmentation_figures(picture, truth, 1 - truth.clip(0), colours)
    assert tuple(drawn) == CHIP_FIGURES
    left, right = opened(drawn["truth"])[5, 5], opened(drawn["truth"])[5, 35]
    assert left[0] > left[2]
    assert right[2] > right[0]
    assert (opened(drawn["answer"])[5, 5] == right).all()
    assert (opened(drawn["picture"]) == 100).all()


def test_errors_are_red_and_blue_at_borders(halves: tuple[np.ndarray, np.ndarray]) -> None:
    picture, truth = halves
    answer = truth.clip(0)
    answer[:5, :10] = 1  # far from the border
    answer[20:25, 19] = 1  # at it
    answer[-1] = 1  # where nothing is known
    errors = opened(segmentation_figures(picture, truth, answer, class_colours(2))["error"])
    is_red = np.abs(errors - RED).max(axis=2) < 20
    is_blue = np.abs(errors - BLUE).max(axis=2) < 20
    assert is_red.sum() == 50
    assert is_red[:5, :10].all()
    assert is_blue.sum() == 5
    assert is_blue[20:25, 19].all()


def test_places_of_no_class_are_hatched(halves: tuple[np.ndarray, np.ndarray]) -> None:
    picture, truth = halves
    drawn = segmentation_figures(picture, truth, truth.clip(0), class_colours(2))
    unknown = opened(drawn["truth"])[-1]
    assert len(np.unique(unknown)) == 2
    assert (unknown[:, 0] == unknown[:, 2]).all()


def test_large_pictures_are_shrunk_and_keep_their_shape() -> None:
    truth = np.zeros((600, 1200), dtype=np.int64)
    truth[:, 900:] = 1
    picture = np.zeros((600, 1200, 3), dtype=np.uint8)
    drawn = segmentation_figures(picture, truth, truth, class_colours(2))
    shapes = {name: opened(data).shape for name, data in drawn.items()}
    assert set(shapes.values()) == {(384, 768, 3)}
    columns = opened(drawn["truth"])[100, :, 0]
    assert np.flatnonzero(np.diff(columns)).tolist() == [575]


def test_sizes_that_differ_are_refused(halves: tuple[np.ndarray, np.ndarray]) -> None:
    picture, truth = halves
    with pytest.raises(ValueError, match="several sizes"):
        segmentation_figures(picture, truth[1:], truth, class_colours(2))


def test_figures_are_written_where_the_run_keeps_them(
    halves: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    picture, truth = halves
    drawn = segmentation_figures(picture, truth, truth.clip(0), class_colours(2))
    folder = RunFolder(tmp_path)
    write_chip_figures(folder, drawn, number=3)
    written = {path.name for path in (folder.figures / "chips").iterdir()}
    assert written == {f"3-{name}.png" for name in CHIP_FIGURES}


def test_the_bands_of_a_picture_are_found_by_name() -> None:
    values = np.stack([np.full((4, 4), v, dtype=np.uint8) for v in (110, 120, 130, 140)])
    shown = visible_picture(values, ["B02", "B03", "B04", "B08"])
    assert shown[0, 0].tolist() == [130, 120, 110]
    assert visible_picture(values, ["a", "b", "c", "d"])[0, 0].tolist() == [110, 120, 130]
    assert visible_picture(values[:1], ["pan"])[0, 0].tolist() == [110, 110, 110]


def test_values_of_more_than_eight_bits_are_stretched() -> None:
    ramp = np.linspace(0, 3000, 10_000, dtype=np.float32).reshape(1, 100, 100)
    ramp[0, 0, 0] = np.nan
    shown = visible_picture(ramp, ["pan"])[..., 0]
    assert (shown[0, 0], shown[0, 1], shown[-1, -1]) == (0, 0, 255)
    assert 125 <= shown[50, 0] <= 130
    assert (visible_picture(np.full((1, 2, 2), np.nan), ["pan"]) == 0).all()
    assert (visible_picture(np.ones((1, 2, 2)), ["pan"]) == 0).all()


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len(set(class_colours(40))) == 40


@pytest.mark.parametrize(
    "own",
    [
        None,
        [(255, 0, 0)],
        [(9, 200, 9), (9, 200, 9), (255, 0, 0)],
        [(0, 0, 0), (255, 255, 255), (255, 0, 0)],
    ],
    ids=["none", "too few", "alike", "mostly greys"],
)
def test_colours_that_tell_no_classes_apart_are_not_taken(
    own: list[tuple[int, int, int]] | None,
) -> None:
    assert class_colours(3, own=own) == class_colours(3)


def test_the_colours_of_the_data_are_taken() -> None:
    own = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert class_colours(3, own=own) == tuple(own)
