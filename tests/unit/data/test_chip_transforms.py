from __future__ import annotations

import random

import albumentations
import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.contracts import IGNORE
from headstart.data.chip_transforms import (
    CHIP_PRESETS,
    ChipPreset,
    ChipTransform,
    chip_preset_description,
    chip_transform,
)
from headstart.data.presets import PRESETS
from headstart.errors import ConfigError

FILL = (10.0, 20.0)


def chip(height: int, width: int, *, dtype: torch.dtype = torch.uint8) -> tuple[Tensor, Tensor]:
    """A chip whose second band is its class: the picture tells whether the mask was moved along."""
    target = torch.arange(height)[:, None] // 4 % 2 + torch.arange(width) // 6 % 2
    inputs = torch.stack([torch.randint(60, 180, (height, width)), 40 + 80 * target])
    return inputs.to(dtype), target


def make(augment: object = "none", size: tuple[int, int] = (16, 16)) -> ChipTransform:
    return chip_transform(augment, size=size, fill=FILL, num_classes=3)  # type: ignore[arg-type]


def test_chips_have_the_presets_of_photos() -> None:
    assert list(CHIP_PRESETS) == list(PRESETS)
    assert all(chip_preset_description(name) for name in CHIP_PRESETS)


@pytest.mark.parametrize("name", CHIP_PRESETS)
@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_picture_and_mask_are_moved_together(
    name: str, size: tuple[int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    agreement = []
    for _ in range(12):
        inputs, target = make(name, size)(*chip(40, 36, dtype=dtype))
        assert inputs.shape == (2, *size)
        assert inputs.dtype == dtype
        assert target.shape == size
        assert set(target.unique().tolist()) <= {0, 1, 2}
        band = inputs[1].double().flatten()
        if target.unique().numel() > 1:
            agreement.append(np.corrcoef(band.numpy(), target.flatten().numpy())[0, 1])
    # Where a chip is resized, the picture is blurred at edges and the mask is not.
    assert np.mean(agreement) > (0.9999 if name in ("none", "light") else 0.9)


def test_turns_and_flips_reach_all_eight_orientations() -> None:
    torch.manual_seed(0)
    inputs, target = chip(16, 16)
    target = torch.arange(256).reshape(16, 16)
    transform = ChipTransform((16, 16), FILL, ChipPreset(("turns",), has_turns=True))
    seen = {tuple(transform(inputs, target)[1].flatten().tolist()) for _ in range(120)}
    assert len(seen) == 8


def test_what_lies_beyond_a_small_chip_belongs_to_no_class() -> None:
    torch.manual_seed(0)
    corners = set()
    for name in CHIP_PRESETS:
        for _ in range(8):
            inputs, target = make(name, (24, 24))(*chip(10, 30))
            is_beyond = target == IGNORE
            assert is_beyond.float().mean() >= 0.15  # also at twice the size
            assert (target[~is_beyond] >= 0).all()
            corners.add(bool(is_beyond[0, 0]))
            if name == "light":
                filled = inputs[:, is_beyond]
                assert filled.unique(dim=1).flatten().tolist() == list(FILL)
    assert corners == {True, False}  # the chip is not always at the same side


def test_only_presets_with_colour_change_it_and_each_band_by_itself() -> None:
    torch.manual_seed(0)
    flat = torch.full((2, 16, 16), 100.0), torch.zeros(16, 16, dtype=torch.int64)
    assert make("light")(*flat)[0].unique().tolist() == [100.0]
    means = torch.stack([make("medium")(*flat)[0].mean(dim=(1, 2)) for _ in range(30)])
    assert means.min() >= 89.9
    assert means.max() <= 110.1
    assert (means[:, 0] - means[:, 1]).abs().mean() > 1


def test_an_albumentations_pipeline_is_called_with_picture_and_mask() -> None:
    compose = albumentations.Compose(
        [albumentations.HorizontalFlip(p=1.0), albumentations.PadIfNeeded(30, 30, fill_mask=255)]
    )
    inputs, target = chip(20, 24)
    changed, mask = make(compose, (30, 30))(inputs, target)
    assert (mask == IGNORE).sum() == 30 * 30 - 20 * 24
    top, left = (mask != IGNORE).nonzero()[0].tolist()
    assert torch.equal(mask[top : top + 20, left : left + 24], target.flip(-1))
    assert torch.equal(changed[:, top : top + 20, left : left + 24], inputs.flip(-1))


def test_what_albumentations_fills_with_zero_is_no_class() -> None:
    compose = albumentations.Compose([albumentations.Rotate((45, 45), p=1.0, border_mode=0)])
    _, mask = make(compose, (20, 20))(*chip(20, 20, dtype=torch.float32))
    assert mask[0, 0] == IGNORE
    assert mask[10, 10] >= 0


def test_the_randomness_of_albumentations_is_that_of_the_sample() -> None:
    compose = albumentations.Compose([albumentations.RandomCrop(10, 10), albumentations.D4()])
    inputs, target = chip(20, 24)
    results = []
    for _ in range(2):
        random.seed(4)
        torch.manual_seed(4)
        results.append(make(compose, (10, 10))(inputs, target)[0])
    assert torch.equal(*results)


def test_a_callable_of_ones_own_gets_and_returns_both() -> None:
    transform = make(lambda inputs, target: (inputs.flip(-2), target.flip(-2)), (20, 24))
    inputs, target = chip(20, 24)
    changed, mask = transform(inputs, target)
    assert torch.equal(changed, inputs.flip(-2))
    assert torch.equal(mask, target.flip(-2))


@pytest.mark.parametrize(
    "own",
    [
        lambda inputs, target: inputs,
        lambda inputs, target: (inputs.float() / 255, target),
        lambda inputs, target: (inputs[:, :5], target),
    ],
)
def test_a_result_that_is_no_chip_is_refused(own: object) -> None:
    with pytest.raises(ConfigError, match=r"the picture as \(2, H, W\) of torch.uint8"):
        make(own)(*chip(20, 24))


def test_what_is_no_augmentation_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean `heavy`"):
        make("havy")
    with pytest.raises(ConfigError, match="of type int"):
        make(3)
    with pytest.raises(ConfigError, match="0 x 16 pixels"):
        make("none", (16, 0))
