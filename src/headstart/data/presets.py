"""Named augmentations, as data: what each does, in v2 transforms and in words.

Knows the input contract; how a pipeline is run and ended is told in `transforms`. torchvision takes
seconds to import, so it is imported where a pipeline is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headstart.contracts import InputContract
from headstart.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class AugmentPreset:
    """A named augmentation.

    Attributes:
        lines: What it does, for people, a step a line.
        min_scale: Smallest share of the picture's area that a random crop keeps.
        steps: The v2 transforms, PIL picture -> picture of the contract's size (or tensor); None
            when nothing is random.
    """

    lines: tuple[str, ...]
    min_scale: float = 1.0
    steps: Callable[[InputContract], list[Any]] | None = None


def _light(contract: InputContract) -> list[Any]:
    from torchvision.transforms import v2

    return [_random_crop(contract, "light"), v2.RandomHorizontalFlip()]


def _medium(contract: InputContract) -> list[Any]:
    from torchvision.transforms import v2

    return [
        _random_crop(contract, "medium"),
        v2.RandomHorizontalFlip(),
        v2.RandomRotation(10, v2.InterpolationMode.BILINEAR, fill=_mean_colour(contract)),
        v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
    ]


def _heavy(contract: InputContract) -> list[Any]:
    from torchvision.transforms import v2

    fill = _mean_colour(contract)
    return [
        _random_crop(contract, "heavy"),
        v2.RandomHorizontalFlip(),
        v2.RandAugment(2, 9, interpolation=v2.InterpolationMode.BILINEAR, fill=fill),
        v2.PILToTensor(),
        v2.RandomErasing(p=0.25, scale=(0.02, 0.15), value=fill),
    ]


def _aerial(contract: InputContract) -> list[Any]:
    from torchvision.transforms import v2

    from headstart.data.rotation import RandomRotate90

    return [
        RandomRotate90(),  # before the crop, so that the result has the contract's shape
        v2.RandomHorizontalFlip(),
        _random_crop(contract, "aerial"),
        v2.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1),
    ]


def _random_crop(contract: InputContract, preset: str) -> Any:
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(
        (contract.height, contract.width),
        scale=(PRESETS[preset].min_scale, 1.0),
        interpolation=v2.InterpolationMode(contract.interpolation),
    )


def _mean_colour(contract: InputContract) -> list[int]:
    """The colour that normalisation turns into zero: empty corners then say nothing."""
    return [round(value * contract.scale) for value in contract.mean]


# Sources. Random resized crop, aspect ratio 3:4 to 4:3: Szegedy et al. 2015, "Going Deeper with
# Convolutions", section 6. Its smallest share of 0.08 is for training from scratch on a million
# pictures. Shares here are larger: with few pictures a crop beside the object is a wrong label, and
# crops that magnify make objects look larger than in evaluation (Touvron et al. 2019, "Fixing
# the train-test resolution discrepancy"). Colour jitter: 0.3 in Touvron et al. 2022, "DeiT III"
# (3-Augment), made milder. Two operations of magnitude 9: Cubuk et al. 2020, "RandAugment", for
# ResNet-50. Erasing: Zhong et al. 2020, "Random Erasing Data Augmentation", with the probability of
# Touvron et al. 2021, "DeiT", but never a third of the picture: that hid whole ants. Orientations:
# see `rotation.RandomRotate90`. That pictures stay recognisable was judged by eye, on the sheets of
# `augment_sheet` for the ant and bee photos.
PRESETS: Mapping[str, AugmentPreset] = {
    "none": AugmentPreset(("no random change: pictures as in evaluation",)),
    "light": AugmentPreset(
        ("a random crop of 60 to 100% of the picture", "flipped left to right half of the time"),
        min_scale=0.6,
        steps=_light,
    ),
    "medium": AugmentPreset(
        (
            "a random crop of 50 to 100% of the picture",
            "flipped left to right half of the time",
            "turned by up to 10 degrees",
            "brightness, contrast and saturation changed by up to 20%",
        ),
        min_scale=0.5,
        steps=_medium,
    ),
    "heavy": AugmentPreset(
        (
            "a random crop of 40 to 100% of the picture",
            "flipped left to right half of the time",
            "RandAugment: 2 random changes of colour or geometry, of magnitude 9 of 30",
            "a rectangle of 2 to 15% erased in a quarter of the pictures",
        ),
        min_scale=0.4,
        steps=_heavy,
    ),
    "aerial": AugmentPreset(
        (
            "all eight rotations and flips of the square",
            "a random crop of 70 to 100% of the picture",
            "brightness, contrast and saturation changed by up to 10%",
        ),
        min_scale=0.7,
        steps=_aerial,
    ),
}


def preset_description(name: str) -> list[str]:
    """What a preset does, a step a line, for reports.

    Raises:
        ConfigError: There is no such preset.

    Example:
        >>> preset_description("light")[1]
        'flipped left to right half of the time'
    """
    return list(find_preset(name).lines)


def find_preset(name: str) -> AugmentPreset:
    """The row of PRESETS.

    Raises:
        ConfigError: There is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"`{name}` is no augmentation preset. {did_you_mean(name, PRESETS)}")
    return PRESETS[name]
