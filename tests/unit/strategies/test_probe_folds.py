"""Who is held out with whom is decided by the pictures; their augmented views follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from headstart.contracts import FeatureTable
from headstart.strategies import StrategySettings
from headstart.strategies.probe import hold_out_folds

NUM = 40
GROUPS = torch.tensor([*range(30), *(i // 2 for i in range(60, 70))])  # the last in pairs
CLASSES = torch.arange(NUM) // 7 % 3
SEVERAL = torch.stack([CLASSES == 0, CLASSES != 1], dim=1).float()


def held_out(targets: Tensor, rows: Tensor, *, num_as_is: int | None) -> Tensor:
    table = FeatureTable(
        torch.zeros(len(rows), 1), targets[rows], GROUPS[rows], 3, num_as_is=num_as_is
    )
    found = hold_out_folds(table, StrategySettings(("a", "b", "c"), seed=3))
    assert found is not None
    return found


@pytest.mark.parametrize("targets", [CLASSES, SEVERAL], ids=["single", "multi"])
@pytest.mark.parametrize("viewed", [range(NUM), range(5, 33), range(0, NUM, 3)])
def test_views_of_any_of_the_pictures_change_no_fold(targets: Tensor, viewed: range) -> None:
    pictures = torch.arange(NUM)
    alone = held_out(targets, pictures, num_as_is=None)
    rows = torch.cat([pictures, *[torch.tensor(viewed)] * 2])
    together = held_out(targets, rows, num_as_is=NUM)
    assert torch.equal(together[:NUM], alone)
    assert torch.equal(together, alone[rows])
    assert set(alone.tolist()) == set(range(5))
