"""A resumed fit computes in the format that it began with, and knows how fast the machine is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from headstart.compute import MeasuredFormat
from headstart.config import FitOptions
from headstart.contracts import ComputeFormat
from headstart.fitting import attempt
from headstart.fitting.settle import Choices
from headstart.progress import Progress


@pytest.mark.parametrize("earlier", [{}, {"training format": "bfloat16"}])
def test_the_format_is_kept_and_the_speed_is_known(
    earlier: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = MeasuredFormat(ComputeFormat(), 500.0, "as the test has it")
    for name, found in (("choose_format", measured), ("typical_input", None), ("speed_name", "")):
        monkeypatch.setattr(attempt, name, lambda *_, found=found, **__: found)
    data = SimpleNamespace(samples=lambda name: [])
    where: Any = SimpleNamespace(
        task=SimpleNamespace(is_dense=True), data=data, device=None, options=FitOptions()
    )
    backbone: Any = SimpleNamespace(contract=None, spec=SimpleNamespace(reference="a"))
    model: Any = nn.Identity()
    choices = Choices(FitOptions(), progress=Progress(), earlier=earlier)
    found = attempt.measure_format(model, backbone, mode="training", where=where, choices=choices)
    assert found.samples_per_s == 500.0
    assert found.compute_format == ComputeFormat("bfloat16" if earlier else "float32")
    assert choices.value("training format") == str(found.compute_format)
