"""Statistics of batch norms, taken anew."""

from __future__ import annotations

import torch
from torch import nn

from headstart.engine.norms import renew_norms


def test_statistics_become_those_of_the_batches_and_can_be_put_back() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5))
    inputs = [torch.randn(4, 2, 8, 8) * 3 + 5 for _ in range(6)]
    before = renew_norms(model.train(), inputs)
    means = torch.stack([each.mean(dim=(0, 2, 3)) for each in inputs]).mean(dim=0)
    norm = model[0]
    torch.testing.assert_close(norm.running_mean, means)
    assert norm.momentum == 0.1
    assert not any(module.training for module in model.modules())
    assert before is not None
    model.load_state_dict(before, strict=False)
    assert torch.equal(norm.running_mean, torch.zeros(2))
    assert torch.equal(norm.running_var, torch.ones(2))


def test_a_norm_in_eval_keeps_what_it_has() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1).eval(), nn.BatchNorm2d(1))
    model[1].train()
    renew_norms(model, [torch.full((2, 1, 4, 4), 7.0)])
    assert float(model[0].running_mean) == 0.0
    assert float(model[1].running_mean) != 0.0


def test_nothing_changes_without_norms_or_without_batches() -> None:
    assert renew_norms(nn.Linear(2, 2), [torch.zeros(1, 2)]) is None
    model = nn.BatchNorm2d(1)
    model.running_mean.fill_(3.0)
    assert renew_norms(model, []) is None
    assert float(model.running_mean) == 3.0
