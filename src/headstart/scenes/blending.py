"""Lays the windows of a scene over each other, and writes what no later window reaches.

Holds the sums of one slab and of the columns that the next one reaches, too; the rows that the
next row of windows reaches wait on disk. So memory depends on the size of windows and batches, and
not on that of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.scenes.spec import NODATA
from headstart.scenes.windows import Grid, Slab, shares
from headstart.scenes.work import Work

# Probabilities are kept in 8 bits: the share of 254 steps. 255 is nodata.
PROBABILITY_STEPS = NODATA - 1


class Blender:
    """Takes the slabs of a scene in order.

    Args:
        grid: The windows of the scene.
        work: Where finished pixels go, and sums wait.
    """

    def __init__(self, grid: Grid, *, work: Work) -> None:
        self._grid = grid
        self._work = work
        self._num_classes = len(work.state.counts)
        self._down = shares(grid.tops, grid.window_height, grid.height)
        self._along = shares(grid.lefts, grid.window_width, grid.width)
        self._start_row()

    def _start_row(self) -> None:
        self._left_over = np.zeros((self._num_classes, self._grid.window_height, 0), np.float32)
        self._counts = np.zeros(256, np.int64)
        self._num_skipped = 0

    def add(
        self,
        row: int,
        slab: Slab,
        *,
        probabilities: np.ndarray,
        seen: Sequence[int],
        valid: np.ndarray,
    ) -> None:
        """Lay a slab over what is there, and write what is finished.

        Args:
            row: Number of the row of windows.
            slab: Follows the one of the call before.
            probabilities: (n, K, window_height, window_width) float32, of the windows in `seen`.
            seen: Numbers, in the slab, of the windows that hold data.
            valid: (window_height, slab width) bool, where there is data.
        """
        sums = np.zeros((self._num_classes, self._grid.window_height, slab.width), np.float32)
        sums[:, :, : self._left_over.shape[2]] = self._left_over
        for answer, number in zip(probabilities, seen, strict=True):
            start = slab.lefts[number] - slab.left
            share = self._down[row][:, None] * self._along[slab.first + number][None, :]
            sums[:, :, start : start + self._grid.window_width] += answer * share
        self._num_skipped += len(slab.lefts) - len(seen)
        num_done = slab.done - slab.left
        self._write(row, slab, sums[:, :, :num_done], valid[:, :num_done])
        self._left_over = sums[:, :, num_done:].copy()  # so that the rest of it can go
        if slab.done == self._grid.width:
            self._end_row()

    def _write(self, row: int, slab: Slab, sums: np.ndarray, valid: np.ndarray) -> None:
        grid, work = self._grid, self._work
        num_rows, width = grid.num_done_rows(row), sums.shape[2]
        if row > 0:
            num_open = grid.num_open_rows(row - 1)
            sums[:, :num_open] += work.sums.read(
                row, num_rows=num_open, left=slab.left, width=width
            )
        work.sums.write(row, sums[:, num_rows:], left=slab.left)
        is_empty = ~valid[:num_rows]
        classes = likeliest(sums[:, :num_rows])
        classes[is_empty] = NODATA
        self._counts += np.bincount(classes.ravel(), minlength=256)
        work.classes.write(classes[None], top=grid.tops[row], left=slab.left)
        if work.probabilities is not None:
            steps = np.rint(sums[:, :num_rows] * PROBABILITY_STEPS)
            kept = steps.clip(0, PROBABILITY_STEPS).astype(np.uint8)
            kept[:, is_empty] = NODATA
            work.probabilities.write(kept, top=grid.tops[row], left=slab.left)

    def _end_row(self) -> None:
        state = self._work.state.after_row(
            self._counts[: self._num_classes],
            num_nodata=int(self._counts[NODATA]),
            num_skipped=self._num_skipped,
        )
        self._work.save(state)
        self._start_row()


def likeliest(sums: np.ndarray) -> np.ndarray:
    """The first of the highest along the first axis, class by class.

    For few classes a tenth of the time of `argmax`, which goes from pixel to pixel.

    Args:
        sums: (K, height, width), of no more than 256 classes.

    Returns:
        (height, width) uint8.

    Example:
        >>> likeliest(np.array([[[0.2, 0.5]], [[0.8, 0.5]]])).tolist()
        [[1, 0]]
    """
    highest = sums[0].copy()
    classes = np.zeros(highest.shape, np.uint8)
    for number, values in enumerate(sums[1:], start=1):
        is_higher = (values > highest).view(np.uint8)
        np.maximum(classes, is_higher * np.uint8(number), out=classes)  # numbers only rise
        np.maximum(highest, values, out=highest)
    return classes
