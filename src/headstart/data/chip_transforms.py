"""What training changes in chips: picture and mask together, whatever the number of bands.

Pictures are tensors (bands, H, W) of raw values, masks (H, W) of class indices. Pictures are
interpolated, masks never: every pixel of a changed mask has a class that the mask had there.
Randomness comes from torch's global generator (and `random`, for pipelines of the user's own),
which `seeding.seeded_for` sets for each sample. torch is imported where it is needed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from headstart.contracts import IGNORE
from headstart.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

ChipAugment: TypeAlias = str | Callable[..., Any]
"""A preset, a callable (inputs, target) -> (inputs, target), or an `albumentations.Compose`."""


@dataclass(frozen=True)
class ChipPreset:
    """A named augmentation of chips. Those of photos have the same names, see `presets`.

    Attributes:
        lines: What it does, for people, a step a line.
        smallest: The least that a chip is magnified by before it is cropped; 1 is as it is.
        largest: The most.
        has_flips: Mirrored left to right half of the time.
        has_turns: All eight rotations and flips of the square, each equally often.
        jitter: Brightness and contrast of each band change by up to this share.
        noise: Standard deviation of noise, as a share of that of the band.
    """

    lines: tuple[str, ...]
    smallest: float = 1.0
    largest: float = 1.0
    has_flips: bool = False
    has_turns: bool = False
    jitter: float = 0.0
    noise: float = 0.0


# Sources. Sizes from 0.5 to 2 with flips: Chen et al. 2017, "Rethinking Atrous Convolution for
# Semantic Image Segmentation", section 4.1. Eight orientations: see `rotation.RandomRotate90`.
# Pixels have a ground size in pictures from above, so `aerial` changes sizes little.
CHIP_PRESETS: Mapping[str, ChipPreset] = {
    "none": ChipPreset(("a crop at a random place",)),
    "light": ChipPreset(
        ("a crop at a random place", "flipped left to right half of the time"), has_flips=True
    ),
    "medium": ChipPreset(
        (
            "a crop at a random place, of 0.75 to 1.33 times the size",
            "flipped left to right half of the time",
            "brightness and contrast of each band changed by up to 10%",
        ),
        smallest=0.75,
        largest=4 / 3,
        has_flips=True,
        jitter=0.1,
    ),
    "heavy": ChipPreset(
        (
            "a crop at a random place, of 0.5 to 2 times the size",
            "flipped left to right half of the time",
            "brightness and contrast of each band changed by up to 20%",
            "noise of 5% of the contrast of each band",
        ),
        smallest=0.5,
        largest=2.0,
        has_flips=True,
        jitter=0.2,
        noise=0.05,
    ),
    "aerial": ChipPreset(
        (
            "a crop at a random place, of 0.8 to 1.25 times the size",
            "all eight rotations and flips of the square",
            "brightness and contrast of each band changed by up to 10%",
        ),
        smallest=0.8,
        largest=1.25,
        has_turns=True,
        jitter=0.1,
    ),
}


def chip_preset_description(name: str) -> list[str]:
    """What a preset does to chips, a step a line, for reports.

    Raises:
        ConfigError: There is no such preset.

    Example:
        >>> chip_preset_description("light")[1]
        'flipped left to right half of the time'
    """
    return list(_find_preset(name).lines)


def chip_transform(
    augment: ChipAugment, *, size: tuple[int, int], fill: tuple[float, ...], num_classes: int
) -> ChipTransform:
    """What a training chip goes through.

    Args:
        augment: A preset's name; a callable that is given inputs (bands, H, W) and target (H, W)
            and returns both; or an `albumentations.Compose`, which is called with `image`
            (H, W, bands) and `mask` (H, W), whose classes are counted from 1 so that what it fills
            with 0 belongs to none.
        size: (height, width) of the crop that ends it.
        fill: One raw value a band, for what is beyond a chip that is smaller than the crop.
        num_classes: Of the legend.

    Raises:
        ConfigError: No such preset, `augment` is none of the above, or the size is below 1.
    """
    if min(size) < 1:
        raise ConfigError(f"Crops of {size[1]} x {size[0]} pixels have none. Give a larger size.")
    if isinstance(augment, str):
        return ChipTransform(size, fill, _find_preset(augment))
    if any(cls.__module__.partition(".")[0] == "albumentations" for cls in type(augment).__mro__):
        return ChipTransform(size, fill, own=AlbumentationsPair(augment, num_classes))
    if callable(augment):
        return ChipTransform(size, fill, own=augment)
    raise ConfigError(
        f"`augment` is an object of type {type(augment).__name__}, but a preset "
        f"({', '.join(CHIP_PRESETS)}), a callable (inputs, target) -> (inputs, target) or an "
        "albumentations.Compose is needed. Pass one of these."
    )


def _find_preset(name: str) -> ChipPreset:
    if name not in CHIP_PRESETS:
        raise ConfigError(f"`{name}` is no augmentation preset. {did_you_mean(name, CHIP_PRESETS)}")
    return CHIP_PRESETS[name]


@dataclass(frozen=True)
class ChipTransform:
    """Random changes, then a crop of one size at a random place. Made by `chip_transform`.

    Attributes:
        size: (height, width) of the crop.
        fill: See `chip_transform`.
        preset: What is changed.
        own: An augmentation of the user's own, done before the crop.
    """

    size: tuple[int, int]
    fill: tuple[float, ...]
    preset: ChipPreset = CHIP_PRESETS["none"]
    own: Callable[..., Any] | None = None

    def __call__(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """inputs (bands, H, W), target (H, W) -> the same of (bands, *size) and size."""
        if self.own is not None:
            inputs, target = _checked(self.own(inputs.clone(), target), inputs)
        inputs, target = self._crop(inputs, target)
        if self.preset.has_turns:
            inputs, target = _turned(inputs, target)
        if (self.preset.has_flips or self.preset.has_turns) and _draw() < 0.5:
            inputs, target = inputs.flip(-1), target.flip(-1)
        if self.preset.jitter or self.preset.noise:
            inputs = _recoloured(inputs, self.preset)
        return inputs.contiguous(), target.contiguous()

    def _crop(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """A window at a random place, magnified at random, as large as the crop in the end.

        No larger window is taken than the chip has: what would lie beyond teaches nothing.
        """
        height, width = target.shape
        turned = self.preset.has_turns and self.size[0] != self.size[1] and _draw() < 0.5
        out_height, out_width = self.size[::-1] if turned else self.size
        zoom = self._zoom(height / out_height, width / out_width)
        cut_height, cut_width = round(out_height / zoom), round(out_width / zoom)
        top = _place(height - cut_height)
        left = _place(width - cut_width)
        inputs, target = self._cut(inputs, target, (top, left, cut_height, cut_width))
        if (cut_height, cut_width) != (out_height, out_width):
            inputs, target = _resized(inputs, target, (out_height, out_width))
        if turned:
            inputs, target = inputs.transpose(-1, -2), target.transpose(-1, -2)
        return inputs, target

    def _zoom(self, *room: float) -> float:
        """How much to magnify: drawn evenly on a logarithmic scale, so that 2 and 1/2 are alike."""
        low, high = self.preset.smallest, self.preset.largest
        if low == high:
            return 1.0
        zoom: float = low * (high / low) ** _draw()
        return max(zoom, min(1.0, 1 / min(room)))

    def _cut(
        self, inputs: Tensor, target: Tensor, window: tuple[int, int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """A window (top, left, height, width), which may reach beyond the chip, at any side."""
        top, left, height, width = window
        inside = (
            slice(max(top, 0), min(top + height, target.shape[0])),
            slice(max(left, 0), min(left + width, target.shape[1])),
        )
        cut, cut_target = inputs[:, *inside], target[inside]
        if cut_target.shape == (height, width):
            return cut, cut_target
        place = (slice(max(-top, 0), max(-top, 0) + cut_target.shape[0]),
                 slice(max(-left, 0), max(-left, 0) + cut_target.shape[1]))  # fmt: skip
        filled = inputs.new_empty((len(inputs), height, width))
        for band, value in zip(filled, self.fill, strict=True):
            band.fill_(value if filled.is_floating_point() else min(max(round(value), 0), 255))
        filled_target = target.new_full((height, width), IGNORE)
        filled[:, *place] = cut
        filled_target[place] = cut_target
        return filled, filled_target


@dataclass(frozen=True)
class AlbumentationsPair:
    """Calls an albumentations pipeline with picture and mask.

    Its transforms keep generators of their own, alike in each worker process; they are seeded from
    `random` at each call, so that a sample's randomness is decided where that of all others is.

    Attributes:
        compose: The pipeline.
        num_classes: Of the legend; a mask value beyond them, which a pipeline may fill with (255),
            belongs to no class.
    """

    compose: Callable[..., Any]
    num_classes: int

    def __call__(self, inputs: Tensor, target: Tensor) -> tuple[Any, Any]:
        """inputs (bands, H, W), target (H, W) -> the same, of any size."""
        import torch

        seed = getattr(self.compose, "set_random_seed", None)
        if seed is not None:  # older releases draw from the global generators
            seed(random.getrandbits(32))
        # OpenCV, which turns and resizes them, takes masks of 8 bits or 16, but none of 64.
        kind = np.uint8 if self.num_classes < 255 else np.int16
        mask = (target.numpy() - IGNORE).astype(kind)  # 0 is what pipelines fill with
        image = np.ascontiguousarray(inputs.numpy().transpose(1, 2, 0))
        result = self.compose(image=image, mask=mask)
        picture, changed = result["image"], result["mask"]
        if isinstance(picture, np.ndarray) and picture.ndim == 3:
            picture = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        indices = torch.as_tensor(np.ascontiguousarray(changed)).to(torch.int64) + IGNORE
        is_class = (indices >= 0) & (indices < self.num_classes)
        return picture, torch.where(is_class, indices, IGNORE)


def _checked(result: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What an augmentation of the user's own returned.

    Raises:
        ConfigError: It is no pair of picture and mask, of the same bands, values and size.
    """
    import torch

    if isinstance(result, tuple) and len(result) == 2:
        picture, target = result
        if (
            isinstance(picture, torch.Tensor)
            and isinstance(target, torch.Tensor)
            and picture.ndim == 3
            and picture.shape == (len(inputs), *target.shape)
            and picture.dtype == inputs.dtype
            and target.numel() > 0
        ):
            return picture, target.to(torch.int64)
        told = " and ".join(
            f"{tuple(part.shape)} of {part.dtype}" if hasattr(part, "shape") else repr(type(part))
            for part in result
        )
    else:
        told = f"an object of type {type(result).__name__}"
    raise ConfigError(
        f"The augmentation returned {told}, but the picture as ({len(inputs)}, H, W) of "
        f"{inputs.dtype} and the mask as (H, W) are needed. Leave out steps that normalise or "
        "scale to 0-1: the model does that, by its input contract."
    )


def _draw() -> float:
    """A number from 0 to 1, from torch's global generator."""
    import torch

    return float(torch.rand(()))


def _place(room: int) -> int:
    """Where a window begins that has so much room; negative where it is larger than the chip."""
    import torch

    low, high = min(room, 0), max(room, 0)
    return int(torch.randint(low, high + 1, ()))


def _turned(inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Turned by 0, 90, 180 or 270 degrees; by 0 or 180 where that would change the shape."""
    import torch

    is_square = target.shape[0] == target.shape[1]
    turns = int(torch.randint(4 if is_square else 2, ())) * (1 if is_square else 2)
    return torch.rot90(inputs, turns, dims=(-2, -1)), torch.rot90(target, turns, dims=(-2, -1))


def _resized(inputs: Tensor, target: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The picture averaged or interpolated, of the mask the pixel nearest to each."""
    import torch
    from torch.nn import functional as F

    values = F.interpolate(
        inputs.float()[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]
    if inputs.dtype == torch.uint8:
        values = values.round().clamp(0, 255).to(torch.uint8)
    places = [
        ((torch.arange(wanted) + 0.5) * (there / wanted)).long()
        for wanted, there in zip(size, target.shape, strict=True)
    ]
    return values, target[places[0]][:, places[1]]


def _recoloured(inputs: Tensor, preset: ChipPreset) -> Tensor:
    """Brightness, contrast and noise, drawn anew for each band."""
    import torch

    values = inputs.float()
    num_bands = len(values)
    mean = values.mean(dim=(1, 2), keepdim=True)
    brightness, contrast = 1 + preset.jitter * (2 * torch.rand(2, num_bands, 1, 1) - 1)
    changed: Tensor = (values - mean) * contrast + mean * brightness
    if preset.noise:
        spread = values.std(dim=(1, 2), keepdim=True, correction=0)
        changed += preset.noise * spread * torch.randn(values.shape)
    if inputs.dtype == torch.uint8:
        return changed.round().clamp(0, 255).to(torch.uint8)
    return changed
