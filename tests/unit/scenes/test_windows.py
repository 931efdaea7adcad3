from __future__ import annotations

import numpy as np
import pytest

from headstart.scenes.windows import make_grid, shares


@pytest.mark.parametrize("length", [1, 31, 32, 33, 57, 58, 100, 1000])
@pytest.mark.parametrize("overlap", [0, 8, 20, 31])
def test_windows_cover_a_scene_overlap_enough_and_never_leave_it(length: int, overlap: int) -> None:
    grid = make_grid(length, 32, window=32, overlap=overlap)
    assert grid.tops[0] == 0
    assert grid.tops[-1] + grid.window_height == length
    steps = np.diff(grid.tops)
    assert (steps <= 32 - overlap).all()
    assert (steps > 0).all()


@pytest.mark.parametrize("length", [513, 700, 897, 1000, 3000, 10_000])
@pytest.mark.parametrize("overlap", [0, 100, 128, 448, 480, 500])
def test_windows_begin_at_multiples_of_what_a_model_shrinks_by(length: int, overlap: int) -> None:
    *starts, last = make_grid(length, 512, window=512, overlap=overlap).tops
    assert last == length - 512
    assert (np.diff([*starts, last]) > 0).all()
    assert (np.diff([*starts, last]) <= 512 - overlap).all()
    if overlap <= 480:  # nearer windows than that cannot
        assert all(start % 32 == 0 for start in starts)


@pytest.mark.parametrize(("length", "overlap"), [(100, 8), (57, 20), (65, 0), (20, 8)])
def test_the_shares_of_all_windows_sum_to_one_and_none_is_nothing(
    length: int, overlap: int
) -> None:
    grid = make_grid(length, length, window=32, overlap=overlap)
    total = np.zeros(length)
    for start, share in zip(grid.tops, shares(grid.tops, grid.window_height, length), strict=True):
        assert (share > 0).all()
        total[start : start + grid.window_height] += share
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_slabs_are_batches_of_one_size_that_share_out_the_columns() -> None:
    grid = make_grid(32, 32 + 9 * 24, window=32, overlap=8)
    slabs = grid.slabs(4)
    assert [len(slab.lefts) for slab in slabs] == [3, 3, 4]
    assert sum((slab.lefts for slab in slabs), ()) == grid.lefts
    assert [slab.left for slab in slabs] == [0, *(slab.done for slab in slabs[:-1])]
    assert slabs[-1].done == grid.width


def test_no_more_windows_are_laid_than_needed() -> None:
    assert make_grid(10_000, 10_000, window=512, overlap=128).num_windows == 26 * 26
