from __future__ import annotations

import numpy as np
import pytest

from headstart.report.chip_figures import answer_figure, segmentation_figures


@pytest.mark.parametrize("side", [40, 1000])
def test_the_answer_alone_is_drawn_as_among_the_four(side: int) -> None:
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (side, side, 3), np.uint8)
    answer = generator.integers(-1, 3, (side, side))
    colours = [(250, 0, 0), (0, 0, 250), (0, 250, 0)]
    four = segmentation_figures(picture, np.zeros((side, side), np.int64), answer, colours)
    assert answer_figure(picture, answer, colours) == four["answer"]
