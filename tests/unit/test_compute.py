from __future__ import annotations

import functools

import pytest
import timm
import torch
from torch import nn

from headstart import compute
from headstart.compute import (
    FrozenTwin,
    candidate_formats,
    choose_device,
    choose_format,
    fold_norms,
    module_fingerprint,
)
from headstart.contracts import ComputeFormat
from headstart.errors import ConfigError


def with_statistics(module: nn.Module) -> nn.Module:
    """Norms as after training: random statistics, scales and shifts."""
    torch.manual_seed(0)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            nn.init.uniform_(child.weight, 0.5, 1.5)
            nn.init.normal_(child.bias, std=0.2)
            assert child.running_mean is not None
            assert child.running_var is not None
            child.running_mean.normal_(std=0.2)
            child.running_var.uniform_(0.5, 2.0)
    return module.eval()


@pytest.mark.parametrize(("ratio", "dtypes"), [(0.3, ["bfloat16", "float32"]), (30, ["float32"])])
def test_a_processor_without_bfloat16_is_not_tried_in_it(
    ratio: float, dtypes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([ratio, 1.0])  # of a product in bfloat16, then in float32
    threads: list[int] = []

    def timed(step: object, device: torch.device, best_s: float) -> tuple[float, bool]:
        threads.append(torch.get_num_threads())
        return next(times), True

    monkeypatch.setattr(compute, "_timed", timed)
    monkeypatch.setattr(
        compute, "computes_bfloat16", functools.cache(compute.computes_bfloat16.__wrapped__)
    )
    before = torch.get_num_threads()
    found = candidate_formats(torch.device("cpu"), mode="inference", has_layouts=False)
    assert [f.dtype for f in found] == dtypes
    assert threads == [1, 1]
    assert torch.get_num_threads() == before


def test_bfloat16_that_was_asked_for_is_measured_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "computes_bfloat16", lambda: False)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    chosen = choose_format(
        module, torch.rand(1, 3, 8, 8), mode="training", precision="bfloat16", name="asked"
    )
    assert chosen.compute_format.dtype == "bfloat16"
    assert "many times faster in float32" in chosen.reason


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
@torch.no_grad()
def test_the_frozen_twin_computes_what_the_module_computes(name: str) -> None:
    module = with_statistics(timm.create_model(name, num_classes=0))
    images = torch.rand(3, 3, 160, 160)
    twin = FrozenTwin(module, ComputeFormat(channels_last=True), example=images[:1])
    expected = module(images)
    assert torch.allclose(
        twin(images), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
    )


def test_norms_are_folded_where_there_are_any() -> None:
    module = with_statistics(timm.create_model("test_resnet", num_classes=0))
    num_norms = sum(isinstance(child, nn.BatchNorm2d) for child in module.modules())
    assert num_norms > 0
    assert fold_norms(module, torch.rand(1, 3, 160, 160), is_checked=True) == (num_norms, True)


def test_nothing_is_folded_where_a_convolution_is_used_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            convolved = self.conv(images)
            return (self.norm(convolved) + 5 * convolved).mean((2, 3))

    module = with_statistics(Twice())
    images = torch.rand(2, 3, 8, 8)
    twin = FrozenTwin(module, ComputeFormat(), example=images[:1])
    assert twin.num_folded == 0
    with torch.no_grad():
        assert torch.allclose(twin(images), module(images))


def test_the_module_itself_is_left_as_it_was() -> None:
    module = with_statistics(timm.create_model("test_efficientnet", num_classes=0))
    before = module_fingerprint(module)
    FrozenTwin(module, ComputeFormat("bfloat16"), example=torch.rand(1, 3, 160, 160))
    assert module_fingerprint(module) == before


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_format_is_measured_once_and_then_remembered(mode: str) -> None:
    class OfAnyDtype(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = timm.create_model("test_resnet", num_classes=0)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.inner(images.to(next(self.parameters()).dtype))
            return features

    module = OfAnyDtype()
    example = torch.rand(1, 3, 64, 64)
    chosen = choose_format(module, example, mode=mode, name=f"x{mode}")  # type: ignore[arg-type]
    again = choose_format(module, example, mode=mode, name=f"x{mode}")  # type: ignore[arg-type]
    assert again.compute_format == chosen.compute_format
    assert again.samples_per_s == chosen.samples_per_s > 0
    assert "samples a second" in chosen.reason
    assert again.reason == chosen.reason + ", measured earlier"


def test_a_given_precision_is_kept_to() -> None:
    formats = candidate_formats(torch.device("cpu"), mode="training", precision="float32")
    assert {f.dtype for f in formats} == {"float32"}


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--device"):
        choose_device(name)


def test_the_fingerprint_tells_weights_apart() -> None:
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    assert module_fingerprint(one) != module_fingerprint(other)
    other.load_state_dict(one.state_dict())
    assert module_fingerprint(one) == module_fingerprint(other)


class _Averaged(nn.Module):
    """Token ids -> the mean of their vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.table(ids)
        return vectors.mean(dim=1)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_token_ids_are_never_cast_and_have_no_layout(mode: str) -> None:
    ids = torch.tensor([[1, 2, 3]])
    chosen = choose_format(_Averaged(), ids, mode=mode, name=f"ids{mode}")  # type: ignore[arg-type]
    assert not chosen.compute_format.channels_last
    assert "channels-last" not in chosen.reason


def test_a_frozen_twin_of_token_ids_casts_the_weights_alone() -> None:
    module, ids = _Averaged(), torch.tensor([[1, 2, 3], [4, 5, 6]])
    twin = FrozenTwin(module, ComputeFormat("bfloat16"), example=ids[:1])
    assert twin.module.table.weight.dtype == torch.bfloat16
    assert module.table.weight.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(twin(ids), module(ids), rtol=2e-2, atol=2e-2)
