from __future__ import annotations

import numpy as np

from headstart.data.reservoir import Reservoir


def sampled(
    num_items: int, *, max_items: int, max_size: int, sizes: np.ndarray, seed: int
) -> list[int]:
    """The items that a stream leaves."""
    reservoir = Reservoir(max_items=max_items, max_size=max_size)
    kept: list[int] = []
    for item, number in enumerate(np.random.default_rng(seed).random(num_items)):
        if number < reservoir.threshold:
            kept.append(item)
            reservoir.add(number, int(sizes[item]))
            if reservoir.is_full:
                kept = [kept[i] for i in reservoir.keep_fewer()]
    return kept


def test_all_is_kept_while_it_fits() -> None:
    ones = np.ones(100, int)
    assert sampled(100, max_items=100, max_size=100, sizes=ones, seed=0) == list(range(100))


def test_each_item_has_the_same_chance_wherever_it_stands() -> None:
    ones = np.ones(400, int)
    times = np.zeros(400)
    for seed in range(300):
        kept = sampled(400, max_items=50, max_size=10**9, sizes=ones, seed=seed)
        assert 40 <= len(kept) <= 50
        times[kept] += 1
    expected = times.sum() / 400
    deviation = ((times - expected) ** 2 / expected).sum()  # chi-square with 399 degrees
    assert deviation < 399 + 5 * np.sqrt(2 * 399)


def test_long_items_are_kept_as_often_as_short_ones() -> None:
    sizes = np.where(np.arange(1000) % 2, 1, 9)
    share = []
    for seed in range(100):
        kept = np.array(sampled(1000, max_items=10**6, max_size=1000, sizes=sizes, seed=seed))
        assert sizes[kept].sum() <= 1000
        share.append((sizes[kept] == 9).mean())
    assert abs(np.mean(share) - 0.5) < 0.02


def test_an_item_larger_than_all_bounds_is_kept_alone() -> None:
    assert sampled(1, max_items=5, max_size=10, sizes=np.array([99]), seed=0) == [0]
