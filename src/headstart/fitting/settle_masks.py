"""Where each `auto` of a fit of masks is settled, once, with its reason; see `settle`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.config import FitOptions
from headstart.fitting.settle import Choice

# Side of the crops that are learnt from, in pixels: a multiple of nearly every backbone's stride.
CROP_SIDE = 256
# How many crops a training should look at in all, and the bounds of epochs.
_CROPS = {"full": 3_000, "gradual": 3_000, "head": 3_000, "scratch": 6_000}
_LEAST_EPOCHS, _MOST_EPOCHS = 5, 100
# Rates of AdamW for the decoder, which begins at random; the backbone's are lower, layer by layer.
_LEARNING_RATES = {
    "full": (1e-3, "the decoder has far to go; the backbone below it learns slower"),
    "gradual": (1e-3, "the decoder's rate; each group of layers below learns slower"),
    "head": (1e-3, "only the decoder learns"),
    "scratch": (1e-3, "random weights have far to go"),
}
# Augmented views whose maps are cached: as for pictures, see `settle`. All maps together take no
# more than this on the disk, in bytes; what is above `map_feed.MOST_IN_MEMORY` is put there.
_VIEWS, MOST_CACHED = 3, 20 * 10**9
# A class with less of the pixels is rare, see `loss_for`.
_RARE_SHARE = 0.01


@dataclass(frozen=True)
class MaskSizes:
    """What the choices look at.

    Attributes:
        num_train: Training samples.
        crops_a_chip: Crops of each in an epoch.
        map_bytes: Of the feature maps of all of them as they are.
        is_from_above: Whether they know where on Earth they lie, so that no side of them is up.
        learns_stem: Whether the first filters learn though the rest of the backbone is frozen.
    """

    num_train: int
    crops_a_chip: int
    map_bytes: int
    is_from_above: bool = False
    learns_stem: bool = False


def settle_model(options: FitOptions, pixels: Mapping[str, int]) -> list[Choice]:
    """Decoder and loss.

    Args:
        options: As the user gave them.
        pixels: Class -> pixels in the training masks.
    """
    choices = []
    if options.decoder is None:
        why = "what most are compared with, from few pictures on (Ronneberger et al. 2015)"
        choices.append(Choice("decoder", "unet", why))
    if options.loss is None:
        losses, why = loss_for(pixels)
        choices.append(Choice("loss", ",".join(losses), why))
    return choices


def loss_for(pixels: Mapping[str, int]) -> tuple[tuple[str, ...], str]:
    """The losses that are summed, and why.

    Cross-entropy and Dice together: the one is smooth, the other minds small classes. Where a class
    is rare, the many pixels that are right already drown its own in the cross-entropy: focal loss
    counts them less.

    Args:
        pixels: Class -> pixels in the training masks.

    Source: Taghanaki et al., "Combo Loss" (Computerized Medical Imaging and Graphics 2019);
    Isensee et al., "nnU-Net" (Nature Methods 2021). Of focal loss and Dice, for structures of some
    thousandths of the volume: Zhu et al., "AnatomyNet" (Medical Physics 2019), table 2; Ma et al.,
    "Loss odyssey in medical image segmentation" (Medical Image Analysis 2021), who find sums with
    Dice the most robust. That rare begins at a hundredth is set by hand.

    Example:
        >>> loss_for({"soil": 70, "forest": 30})[0]
        ('cross-entropy', 'dice')
    """
    present = {name: n for name, n in pixels.items() if n}
    total = sum(present.values())
    rarest = min(present, key=lambda name: present[name], default="")
    if not rarest or present[rarest] >= _RARE_SHARE * total:
        told = f"the rarest class, {rarest}, has {present[rarest] / total:.1%}" if rarest else ""
        return ("cross-entropy", "dice"), f"{told} of the pixels: no class is very rare"
    return ("focal", "dice"), (
        f"the rarest class, {rarest}, has {present[rarest] / total:.2%} of the pixels, whose part "
        "in a cross-entropy would drown"
    )


def settle_masks(
    options: FitOptions, *, strategy: str, sizes: MaskSizes, device_type: str
) -> list[Choice]:
    """All other autos, in the order in which they are told.

    Args:
        options: As the user gave them.
        strategy: Its name.
        sizes: What there is to learn from.
        device_type: `cpu`, `cuda`, ...
    """
    choices = []

    def settle(name: str, value: Any, reason: str) -> None:
        if getattr(options, name) is None:
            choices.append(Choice(name, value, reason))

    if strategy == "as-is":  # nothing learns
        return choices
    if strategy == "probe":
        settle("balance", "none", "as many pixels of each class are drawn")
        settle("augment", "none", "each chip is seen once")
        settle("views", 0, "each chip is seen once")
        return choices
    settle("balance", "none", "the Dice loss counts every class alike, however rare its pixels")
    if sizes.is_from_above:
        # On the Amazon forest the last epoch's mean IoU was 0.89 with it and 0.88 with `light`.
        settle("augment", "aerial", "pictures from above have no side that is up")
    else:
        settle("augment", "light", "random crops, mirrored, are safe for almost any pictures")
    if strategy == "head" and sizes.learns_stem:
        settle("views", 0, "the first filters learn for these bands, so no maps can be cached")
    elif strategy == "head":
        settle("views", *_views(sizes.map_bytes))
    else:
        settle("views", 0, "the backbone learns, so maps of features cannot be cached")
    is_cpu = device_type == "cpu"
    settle("batch_size", 8 if is_cpu else 16, "crops of 256 x 256 pixels; batch norms need a few")
    crops = max(1, sizes.num_train * sizes.crops_a_chip)
    epochs = min(max(math.ceil(_CROPS[strategy] / crops), _LEAST_EPOCHS), _MOST_EPOCHS)
    settle("epochs", epochs, f"{strategy} on {crops} crops an epoch: about {epochs * crops:,}")
    settle("lr", *_LEARNING_RATES[strategy])
    settle("monitor", "loss", "it looks at each pixel")
    settle("warmup", 0.25 if options.schedule == "one-cycle" else 0.05, "a short warm-up")
    if options.schedule in ("plateau", "constant"):
        settle("patience", 10, f"the schedule {options.schedule} has no end of its own")
    if strategy == "head" and _has_views(options, choices):
        settle("workers", 0, "maps are cut without reading anything")
        return choices
    cores = os.cpu_count() or 1
    workers = max(1, cores // 2) if is_cpu else min(cores, 8)
    settle("workers", workers, "the processor also computes" if is_cpu else "it must not wait")
    return choices


def _views(map_bytes: int) -> tuple[int, str]:
    """Augmented views of each chip, beside the chip as it is, whose maps are cached; and why."""
    views = min(_VIEWS, MOST_CACHED // max(map_bytes, 1) - 1)
    size = f"{(1 + max(views, 0)) * map_bytes / 1e6:,.0f} MB"
    if views < 1:
        return 0, (
            f"maps of all chips take {map_bytes / 1e9:.0f} GB, more than is cached: pictures go "
            "through the backbone anew in each epoch"
        )
    passes = f"{1 + views} passes with that of the chips as they are"
    return views, f"{passes} give {size} of maps, and epochs learn from those"


def _has_views(options: FitOptions, choices: Sequence[Choice]) -> bool:
    """Whether maps are cached, as given or as settled."""
    settled = next((choice.value for choice in choices if choice.name == "views"), options.views)
    return bool(settled)
