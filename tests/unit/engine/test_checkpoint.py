from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from headstart.engine.checkpoint import (
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
    under_prefix,
    with_prefix,
)
from headstart.errors import RunError


def test_floats_survive_bit_for_bit(tmp_path: Path) -> None:
    scalars = {"third": 1 / 3, "tiny": 5e-324, "pi": math.pi, "none": None, "words": ["a", "ü"]}
    tensors = {"x": torch.rand(3, 4), "half": torch.rand(2).bfloat16(), "step": torch.tensor(7)}
    save_state(tmp_path / "deep" / "state.safetensors", tensors, scalars)
    found_tensors, found = load_state(tmp_path / "deep" / "state.safetensors")
    assert found == scalars
    assert all(torch.equal(found_tensors[name], tensor) for name, tensor in tensors.items())


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    save_state(tmp_path / "s", {"a": shared, "b": shared, "c": shared[::2]}, {})
    found, _ = load_state(tmp_path / "s")
    assert found["c"].tolist() == [0.0, 2.0]


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        load_state(path)


def test_prefixes_come_off_as_they_were_put_on() -> None:
    tensors = {"a.b": torch.zeros(1), "c": torch.ones(1)}
    both = {**with_prefix("model", tensors), **with_prefix("modelled", tensors)}
    assert under_prefix("model", both) == tensors


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_a_restored_optimizer_makes_the_same_step(kind: type[Optimizer], tmp_path: Path) -> None:
    options = {"momentum": 0.9, "nesterov": True} if kind is SGD else {}
    torch.manual_seed(0)
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    frozen = nn.Parameter(torch.zeros(2))  # has no state, as in a stage that is not yet unfrozen
    first = kind([*one.parameters(), frozen], lr=0.1, **options)
    second = kind([*other.parameters(), nn.Parameter(torch.zeros(2))], lr=0.1, **options)

    def step(module: nn.Module, optimizer: Optimizer) -> None:
        optimizer.zero_grad()
        module(torch.tensor([[1.0, -2.0, 3.0]])).square().sum().backward()
        optimizer.step()

    for _ in range(3):
        step(one, first)
    other.load_state_dict(one.state_dict())
    save_state(tmp_path / "state", optimizer_tensors(first), {})
    restore_optimizer(second, load_state(tmp_path / "state")[0])
    step(one, first)
    step(other, second)
    assert torch.equal(one.weight, other.weight)
