"""A resumed fit computes in the format that it began with, and knows how fast the machine is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from headstart.compute import MeasuredFormat
from headstart.config import FitOptions
from headstart.contracts import ComputeFormat
from headstart.fitting import embedding
from headstart.fitting.settle import Choices
from headstart.progress import Progress

BEGUN = {"training format": "bfloat16"}


@pytest.mark.parametrize(
    ("earlier", "has_it", "dtype"),
    [({}, True, "float32"), (BEGUN, True, "bfloat16"), (BEGUN, False, "float32")],
)
def test_the_format_is_kept_where_it_can_be_and_the_speed_is_known(
    earlier: dict[str, str], has_it: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.compute.computes_bfloat16", lambda: has_it)
    measured = MeasuredFormat(ComputeFormat(), 500.0, "as the test has it")
    for name, found in (("choose_format", measured), ("typical_input", None), ("speed_name", "")):
        monkeypatch.setattr(embedding, name, lambda *_, found=found, **__: found)
    data = SimpleNamespace(samples=lambda name: [])
    where: Any = SimpleNamespace(
        task=SimpleNamespace(is_dense=True),
        data=data,
        device=torch.device("cpu"),
        options=FitOptions(),
    )
    backbone: Any = SimpleNamespace(contract=None, spec=SimpleNamespace(reference="a"))
    model: Any = nn.Identity()
    choices = Choices(FitOptions(), progress=Progress(), earlier=earlier)
    found = embedding.measure_format(model, backbone, mode="training", where=where, choices=choices)
    assert found.samples_per_s == 500.0
    assert found.compute_format == ComputeFormat(dtype)
    assert choices.value("training format") == str(found.compute_format)
