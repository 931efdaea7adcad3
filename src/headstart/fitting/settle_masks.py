"""Where each `auto` of a fit of masks is settled, once, with its reason; see `settle`."""

from __future__ import annotations

import math
import os
from typing import Any

from headstart.config import FitOptions
from headstart.fitting.settle import Choice

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


def settle_masks(
    options: FitOptions, *, strategy: str, num_train: int, crops_a_chip: int, device_type: str
) -> list[Choice]:
    """All other autos, in the order in which they are told.

    Args:
        options: As the user gave them.
        strategy: Its name.
        num_train: Training samples.
        crops_a_chip: Crops of each in an epoch.
        device_type: `cpu`, `cuda`, ...
    """
    choices = []

    def settle(name: str, value: Any, reason: str) -> None:
        if getattr(options, name) is None:
            choices.append(Choice(name, value, reason))

    if strategy == "as-is":  # nothing learns
        return choices
    settle("balance", "none", "the Dice loss counts every class alike, however rare its pixels")
    settle("augment", "light", "random crops, mirrored, are safe for almost any pictures")
    settle("views", 0, "maps of features are not cached")
    is_cpu = device_type == "cpu"
    settle("batch_size", 8 if is_cpu else 16, "crops of 256 x 256 pixels; batch norms need a few")
    crops = max(1, num_train * crops_a_chip)
    epochs = min(max(math.ceil(_CROPS[strategy] / crops), _LEAST_EPOCHS), _MOST_EPOCHS)
    settle("epochs", epochs, f"{strategy} on {crops} crops an epoch: about {epochs * crops:,}")
    settle("lr", *_LEARNING_RATES[strategy])
    settle("warmup", 0.25 if options.schedule == "one-cycle" else 0.05, "a short warm-up")
    if options.schedule in ("plateau", "constant"):
        settle("patience", 10, f"the schedule {options.schedule} has no end of its own")
    cores = os.cpu_count() or 1
    workers = max(1, cores // 2) if is_cpu else min(cores, 8)
    settle("workers", workers, "the processor also computes" if is_cpu else "it must not wait")
    return choices
