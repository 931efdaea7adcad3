"""From a decoded picture to the model's input, derived from the input contract.

Everything here ends in raw 8-bit values: a tensor (3, H, W) uint8, contiguous. Models normalise it
themselves, so that training, prediction and export cannot differ in it. Random transforms draw from
the global generators of torch, numpy and `random`, which `seeding.seeded_for` sets for each sample.
Knows nothing of files; torch and torchvision are imported where they are needed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from headstart.contracts import InputContract
from headstart.data.presets import PRESETS, find_preset, preset_description
from headstart.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "PRESETS",
    "Augment",
    "eval_transform",
    "preset_description",
    "shorter_side_for",
    "train_transform",
]

Augment: TypeAlias = str | Callable[..., Any]
"""A preset's name, a callable (PIL picture -> picture), or an `albumentations.Compose`."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


# --- evaluation -------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvalTransform:
    """Resizes a picture by the contract's rule. Thread-safe and picklable; see `eval_transform`."""

    contract: InputContract

    def __call__(self, image: Image.Image) -> Tensor:
        """image: RGB or L, any size -> (3, H, W) uint8."""
        contract = self.contract
        picture = _as_rgb(image)
        size = (contract.width, contract.height)
        if picture.size != size or contract.crop_fraction < 1.0:
            # Only the region that the crop keeps is resized. Pillow scales by box and lets the
            # filter look beyond it, so this equals resize-then-crop. Far larger pictures are
            # first averaged down to 3 times the size, which Pillow calls indistinguishable.
            picture = picture.resize(
                size,
                _FILTERS[contract.interpolation],
                box=_kept_box(contract, picture.size),
                reducing_gap=3.0,
            )
        return _to_tensor(picture)


def eval_transform(contract: InputContract) -> Callable[[Image.Image], Tensor]:
    """What a picture goes through when nothing is random: the contract's resize rule alone.

    Returns:
        A callable, PIL picture -> (3, height, width) uint8, contiguous.

    Raises:
        ConfigError: The contract does not describe RGB pictures, or its rule is impossible.

    Source: the rule is that of the weights (timm's `crop_pct`; shorter side, then centre crop).

    Example:
        >>> contract = InputContract(("R", "G", "B"), 32, 32, (0.5,) * 3, (0.5,) * 3)
        >>> eval_transform(contract)(Image.new("RGB", (60, 40))).shape
        torch.Size([3, 32, 32])
    """
    if len(contract.bands) != 3:
        raise ConfigError(
            f"The weights expect {len(contract.bands)} bands ({', '.join(contract.bands)}), but "
            "pictures are read as 3 (R, G, B). Use weights for photos."
        )
    if not 0.0 < contract.crop_fraction <= 1.0:
        raise ConfigError(
            f"The input contract has crop_fraction {contract.crop_fraction:g}, but the share of "
            "the picture that is kept must be above 0 and at most 1. Correct the contract."
        )
    return EvalTransform(contract)


def _resize_target(contract: InputContract) -> tuple[int, int]:
    """(width, height) that the resized picture has to cover before the centre is cropped."""
    if contract.resize == "squash":
        return contract.width, contract.height
    fraction = contract.crop_fraction
    return round(contract.width / fraction), round(contract.height / fraction)


def _kept_box(contract: InputContract, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The region (left, upper, right, lower) of a picture of `size` that evaluation keeps.

    Rounding is that of torchvision's Resize and CenterCrop.
    """
    width, height = size
    if contract.resize == "squash":
        return 0.0, 0.0, float(width), float(height)
    target_width, target_height = _resize_target(contract)
    if width * target_height <= height * target_width:
        resized_width, resized_height = target_width, target_width * height // width
    else:
        resized_width, resized_height = target_height * width // height, target_height
    left = round((resized_width - contract.width) / 2)
    upper = round((resized_height - contract.height) / 2)
    return (
        left * width / resized_width,
        upper * height / resized_height,
        min((left + contract.width) * width / resized_width, float(width)),
        min((upper + contract.height) * height / resized_height, float(height)),
    )


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "L":
        return image.convert("RGB")
    raise ConfigError(
        f"A picture of mode `{image.mode}` came where RGB is needed; turning it into RGB here "
        "could rescale its values unseen. Convert it first: `image.convert('RGB')`."
    )


def _to_tensor(image: Image.Image) -> Tensor:
    """An RGB picture -> (3, H, W) uint8, contiguous."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)))


# --- training ---------------------------------------------------------------------------------


def train_transform(contract: InputContract, augment: Augment) -> Callable[[Image.Image], Tensor]:
    """What a training picture goes through.

    Args:
        contract: The input contract of the weights.
        augment: A preset's name; or a callable that is given the whole RGB picture and returns a
            PIL picture, an (H, W, 3) uint8 array or a (3, H, W) uint8 tensor; or an
            `albumentations.Compose`. A result of another size than the contract's is then
            resized by the contract's own rule, as in evaluation.

    Returns:
        A callable, PIL picture -> (3, height, width) uint8, contiguous; picklable if `augment` is.

    Raises:
        ConfigError: No such preset, or `augment` is none of the above. The callable raises it
            when a result of `augment` is no 8-bit picture.

    Example:
        >>> contract = InputContract(("R", "G", "B"), 32, 32, (0.5,) * 3, (0.5,) * 3)
        >>> train_transform(contract, "light")(Image.new("RGB", (60, 40))).shape
        torch.Size([3, 32, 32])
    """
    evaluate = eval_transform(contract)
    if isinstance(augment, str):
        preset = find_preset(augment)
        if preset.steps is None:
            return evaluate
        from torchvision.transforms import v2

        return OwnTransform(contract, v2.Compose(preset.steps(contract)))
    if _is_albumentations(augment):
        return OwnTransform(contract, AlbumentationsCall(augment))
    if callable(augment):
        return OwnTransform(contract, augment)
    raise ConfigError(
        f"`augment` is {_describe(augment)}, but a preset ({', '.join(PRESETS)}), a callable "
        "(PIL picture -> picture) or an albumentations.Compose is needed. Pass one of these."
    )


@dataclass(frozen=True)
class OwnTransform:
    """An augmentation and, if its result has another size, the resize rule of the contract."""

    contract: InputContract
    augment: Callable[[Image.Image], Any]

    def __call__(self, image: Image.Image) -> Tensor:
        """image: RGB or L, any size -> (3, H, W) uint8."""
        picture = _picture_of(self.augment(_as_rgb(image)))
        if picture.size == (self.contract.width, self.contract.height):
            return _to_tensor(picture)
        return EvalTransform(self.contract)(picture)


@dataclass(frozen=True)
class AlbumentationsCall:
    """Calls an albumentations pipeline as the other transforms are called.

    Its transforms keep generators of their own, alike in each worker process; they are seeded from
    `random` at each call, so that a sample's randomness is decided where that of all others is.
    """

    compose: Callable[..., Any]

    def __call__(self, image: Image.Image) -> Any:
        """image: RGB -> whatever the pipeline makes of an (H, W, 3) uint8 array."""
        seed = getattr(self.compose, "set_random_seed", None)
        if seed is not None:  # older releases draw from the global generators
            seed(random.getrandbits(32))
        return self.compose(image=np.array(image))["image"]


def _is_albumentations(augment: object) -> bool:
    return any(
        cls.__module__.partition(".")[0] == "albumentations" for cls in type(augment).__mro__
    )


def _picture_of(result: Any) -> Image.Image:
    """What an augmentation returned, as a picture.

    Raises:
        ConfigError: It is no 8-bit picture.
    """
    import torch

    if isinstance(result, Image.Image) and result.mode in ("RGB", "L"):
        return _as_rgb(result)
    if isinstance(result, torch.Tensor) and result.ndim == 3 and result.shape[0] == 3:
        pixels = result.as_subclass(torch.Tensor).permute(1, 2, 0).numpy(force=True)
    else:
        pixels = result
    if (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.ndim == 3
        and pixels.shape[2] == 3
        and pixels.size > 0
    ):
        return Image.fromarray(np.ascontiguousarray(pixels))
    raise ConfigError(
        f"The augmentation returned {_describe(result)}, but a picture with 8-bit values is "
        "needed: a PIL picture (RGB), an (H, W, 3) uint8 array or a (3, H, W) uint8 tensor. Leave "
        "out steps that normalise or scale to 0-1: the model does that, by its input contract."
    )


def _describe(value: Any) -> str:
    if isinstance(value, Image.Image):
        return f"a PIL picture of mode {value.mode}, {value.width} x {value.height}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        shape = tuple(int(side) for side in value.shape)
        return f"{type(value).__name__} of shape {shape} and dtype {value.dtype}"
    return "None" if value is None else f"an object of type {type(value).__name__}"


def shorter_side_for(contract: InputContract, augment: Augment | None = None) -> int | None:
    """How many pixels the shorter side of a decoded picture needs, so that nothing is magnified.

    Args:
        contract: The input contract of the weights.
        augment: As for `train_transform`; None for evaluation.

    Returns:
        Pixels: what the resize rule reduces the picture to, and for a preset, more by as much as
        its smallest crop is magnified. None (the whole picture) for an augmentation of the user's
        own, which may crop in pixels.

    Raises:
        ConfigError: There is no such preset.

    Example:
        >>> contract = InputContract(("R", "G", "B"), 224, 224, (0.5,) * 3, (0.5,) * 3)
        >>> shorter_side_for(contract), shorter_side_for(contract, "light")
        (256, 290)
    """
    evaluated = max(_resize_target(contract))
    if augment is None:
        return evaluated
    if not isinstance(augment, str):
        return None
    side = max(contract.width, contract.height) / math.sqrt(find_preset(augment).min_scale)
    return max(evaluated, math.ceil(side))
