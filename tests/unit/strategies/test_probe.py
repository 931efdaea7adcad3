"""What the probe hands on to those who fit on the same features after it."""

from __future__ import annotations

import pytest
import torch

from headstart.contracts import FeatureTable
from headstart.strategies import StrategySettings
from headstart.strategies.probe import fit_linear_probe


@pytest.mark.parametrize(("n", "is_lent"), [(80, True), (30, False)])
def test_its_decomposition_is_lent_where_there_are_more_samples_than_features(
    n: int, is_lent: bool
) -> None:
    features = torch.randn(n, 40, generator=torch.Generator().manual_seed(0))
    table = FeatureTable(features, torch.arange(n) % 2, torch.arange(n), num_classes=2)
    _, found = fit_linear_probe(table, StrategySettings(classes=("a", "b")))
    assert (found.basis is not None) is is_lent
    if found.basis is not None:
        unit = found.basis.T @ found.basis
        torch.testing.assert_close(unit, torch.eye(40), atol=1e-5, rtol=0)
