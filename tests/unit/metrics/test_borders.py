from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from headstart.metrics.borders import at_border, near


def test_a_border_to_no_class_is_none() -> None:
    truth = np.array([[0, 0, -1, 1, 1, 1, 0, 0]])
    border = at_border(truth, truth >= 0)
    assert border[0].tolist() == [False] * 5 + [True] * 2 + [False]
    assert near(border, 1)[0].tolist() == [False] * 4 + [True] * 4


def test_both_sides_of_a_border_are_at_it_along_rows_and_columns_but_not_slantwise() -> None:
    classes = np.zeros((4, 4), dtype=np.int64)
    classes[0, 0] = 1
    expected = np.zeros((4, 4), dtype=bool)
    expected[0, 0] = expected[0, 1] = expected[1, 0] = True
    assert (at_border(classes, np.ones((4, 4), dtype=bool)) == expected).all()


@pytest.mark.parametrize("distance", [1, 2, 5, 60])
def test_near_is_a_square_around_each_mark(distance: int) -> None:
    marks = np.random.default_rng(distance).random((40, 57)) < 0.01
    square = np.ones((2 * distance + 1, 2 * distance + 1), dtype=bool)
    assert (near(marks, distance) == ndimage.binary_dilation(marks, square)).all()
