"""What neighbourhoods kept whole are worth, from made-up tables of pixels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from headstart.contracts import Dataset, Legend, Sample
from headstart.data.leaks import LeakedSample
from headstart.data.splits import split_dataset
from headstart.fitting.mask_leakage import measure_mask_leakage
from headstart.strategies import StrategySettings
from headstart.tasks import make_mask_task

LEGEND = Legend(("land", "water"), ((0,), (1,)))
BLOCKS, CHIPS = 15, 4


def attempt_on(*, grouped: bool = True, leaks: tuple[LeakedSample, ...] = ()) -> Any:
    samples = tuple(
        Sample(f"{b:02}-{c}", Path(f"{b}-{c}"), LEGEND.names, mask=Path("m"))
        for b in range(BLOCKS)
        for c in range(CHIPS)
    )
    dataset = Dataset(
        Path(), "masks", "", "semantic-segmentation", samples, LEGEND.names,
        is_multilabel=True, legend=LEGEND,
    )  # fmt: skip
    blocks = {s.id: f"block {s.id[:2]}" for s in samples} if grouped else {}
    split = split_dataset(dataset, seed=0, blocks=blocks)
    data = SimpleNamespace(
        dataset=dataset, split=split, left_out={}, leaks=leaks,
        samples=lambda name: [s for s in samples if split.assignment[s.id] == name],
    )  # fmt: skip
    return SimpleNamespace(
        where=SimpleNamespace(data=data, options=SimpleNamespace(seed=0)),
        classes=LEGEND.names,
        settings=StrategySettings(classes=LEGEND.names, is_multilabel=False),
        task=make_mask_task("semantic-segmentation", LEGEND),
    )


def pixels_of(attempt: Any, *, is_local: bool) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Forty pixels a chip: classes show everywhere alike, or in each block in a way of its own."""
    generator = torch.Generator().manual_seed(0)
    ways = torch.randn(BLOCKS, 60, generator=generator)
    table = {}
    for sample in attempt.where.data.dataset:
        targets = torch.arange(40) % 2
        way = ways[int(sample.id[:2]) if is_local else 0]
        noise = torch.randn(40, 60, generator=generator)
        table[sample.id] = (noise + (2.0 * targets[:, None] - 1) * way, targets)
    return table


def test_what_only_neighbours_share_is_told_as_a_gap() -> None:
    attempt = attempt_on()
    found = measure_mask_leakage(attempt, pixels_of(attempt, is_local=True))
    assert found is not None
    assert found["num_leaked"] == 0
    grouped, shuffled = found["grouped"]["miou"], found["random"]["miou"]
    assert shuffled["value"] > grouped["value"] + 0.1
    assert grouped["low"] <= grouped["value"] <= grouped["high"]
    gap = f"{100 * (shuffled['value'] - grouped['value']):.1f} points higher"
    assert gap in found["sentence"]
    assert "neighbourhoods and groups" in found["sentence"]


def test_what_all_places_share_leaves_no_gap() -> None:
    attempt = attempt_on()
    found = measure_mask_leakage(attempt, pixels_of(attempt, is_local=False))
    assert found is not None
    assert found["random"]["miou"]["value"] == pytest.approx(
        found["grouped"]["miou"]["value"], abs=0.02
    )


def test_without_groups_there_is_nothing_to_tell() -> None:
    attempt = attempt_on(grouped=False)
    assert measure_mask_leakage(attempt, pixels_of(attempt, is_local=True)) is None


def test_leaks_are_listed() -> None:
    leak = LeakedSample("00-0", "place", "01-0", "train", "same place, 40% of it")
    attempt = attempt_on(grouped=False, leaks=(leak,))
    found = measure_mask_leakage(attempt, pixels_of(attempt, is_local=True))
    assert found is not None
    assert found["leaked"] == [{"id": "00-0", "partner": "01-0", "why": "same place, 40% of it"}]
    assert found["sentence"].startswith("1 of ")
