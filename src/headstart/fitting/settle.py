"""Where each `auto` is settled, once, with its reason. Plain values in, plain values out.

Nothing below this module knows an `auto`; nothing above it decides one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.config import FitOptions
from headstart.progress import Progress

# What the weights of labels are chosen by. On SST-2 the log loss was least after 2 of 4 epochs, and
# the weights right on 0.861 of the test; calibrated it was least after the last: 0.890.
MONITOR = ("calibrated_loss", "the model is calibrated at the end, so that surer is not better")
GRADIENT_STRATEGIES = ("head", "gradual", "full", "lora", "contrastive", "scratch")


@dataclass(frozen=True)
class Choice:
    """An `auto` that was settled.

    Attributes:
        name: Of the option.
        value: What it was settled to.
        reason: In words.
        tried: What was compared for it, one row each; empty where nothing was.
    """

    name: str
    value: Any
    reason: str
    tried: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For config.json."""
        found = {"name": self.name, "value": self.value, "reason": self.reason}
        return {**found, "tried": list(self.tried)} if self.tried else found


@dataclass(frozen=True)
class DataSize:
    """What the choices look at.

    Attributes:
        num_train: Training samples.
        class_counts: Training samples a class.
    """

    num_train: int
    class_counts: Mapping[str, int]


class Choices:
    """What was settled so far, each told as it is added.

    Args:
        options: As the user gave them.
        progress: Is told of each choice.
        earlier: name -> value that a resumed fit began with.
    """

    def __init__(
        self, options: FitOptions, *, progress: Progress, earlier: Mapping[str, Any] | None = None
    ) -> None:
        self.options = options
        self.progress = progress
        self.earlier = dict(earlier or {})
        self.made: list[Choice] = []
        self._told: dict[str, Choice] = {}  # the last of each name, in any branch
        self._untold: list[Choice] | None = None

    def add(self, *choices: Choice) -> None:
        """Settle some; what was settled alike before is not told again."""
        for choice in choices:
            if choice == self._last().get(choice.name):
                continue
            self.made.append(choice)
            if self._untold is None:
                self._tell(choice)
            else:
                self._untold.append(choice)

    def tell(self) -> None:
        """Tell what was held back, and all that follows."""
        for choice in self._untold or ():
            self._tell(choice)
        self._untold = None

    def _tell(self, choice: Choice) -> None:
        """Once: what another branch told alike, and none told otherwise since, is known."""
        if self._told.get(choice.name) != choice:
            self._told[choice.name] = choice
            self.progress.choice(choice.name, choice.value, choice.reason)

    def value(self, name: str) -> Any:
        """An option's value: as settled last, or as given."""
        settled = self._last()
        return settled[name].value if name in settled else getattr(self.options, name)

    def _last(self) -> dict[str, Choice]:
        return {choice.name: choice for choice in self.made}

    def branch(self, *, is_held: bool = False) -> Choices:
        """Those made so far, to go on from by oneself.

        Args:
            is_held: Tell nothing until `tell`, as nobody may care.
        """
        other = Choices(self.options, progress=self.progress, earlier=self.earlier)
        other.made = list(self.made)
        other._told = self._told
        other._untold = [] if is_held else None
        return other


def settle_training(
    options: FitOptions, *, strategy: str, size: DataSize, device_type: str
) -> list[Choice]:
    """All other autos, in the order in which they are told."""
    choices = []

    def settle(name: str, value: Any, reason: str) -> None:
        if getattr(options, name) is None:
            choices.append(Choice(name, value, reason))

    settle("balance", *balance_for(size.class_counts))
    if strategy == "probe" and options.views:
        settle("augment", "light", "views that are all alike would teach nothing")
    elif strategy == "probe":
        settle("augment", "none", "the probe sees each picture once")
        settle("views", 0, "the probe sees each picture once")
    if strategy not in GRADIENT_STRATEGIES:
        return choices
    settle("augment", "light", "small changes are safe for almost any photos")
    if strategy == "head" and (options.mixup or options.cutmix):
        settle("views", 0, "pictures are mixed anew each epoch, so no view can be cached")
    elif strategy == "head":
        settle(
            "views", 3, "three cached views a picture cost three passes, and epochs are then free"
        )
    else:
        settle("views", 0, "the backbone learns, so features cannot be cached")
    batch_size, why = _batch_size(size.num_train, device_type)
    settle("batch_size", batch_size, why)
    epochs, why = _epochs(strategy, size.num_train)
    settle("epochs", epochs, why)
    settle("lr", *_LEARNING_RATES[strategy])
    settle("monitor", *MONITOR)
    schedule = options.schedule
    settle(
        "warmup",
        0.25 if schedule == "one-cycle" else 0.05,
        "as usual for one-cycle"
        if schedule == "one-cycle"
        else "a short warm-up for Adam's moments",
    )
    if schedule in ("plateau", "constant"):
        settle("patience", 6, f"the schedule {schedule} has no end of its own")
    cores = os.cpu_count() or 1
    if device_type == "cpu":
        workers = max(1, cores // 2)
        settle("workers", workers, "the processor also computes")
    else:
        settle("workers", min(cores, 8), "the graphics card must not wait for pictures")
    return choices


def balance_for(class_counts: Mapping[str, int]) -> tuple[str, str]:
    """How classes of unequal size are weighed, and why.

    Args:
        class_counts: Training samples a class.
    """
    largest, smallest = _extremes(class_counts)
    if largest > 3 * smallest:
        return "weights", f"the largest class has {largest} samples, the smallest {smallest}"
    return "none", "no class has over 3 times the samples of another"


def _extremes(counts: Mapping[str, int]) -> tuple[int, int]:
    present = [count for count in counts.values() if count]
    return (max(present), min(present)) if present else (0, 0)


def _batch_size(num_train: int, device_type: str) -> tuple[int, str]:
    """16 on a CPU, where larger ones train no faster (bench/formats.py); 64 elsewhere."""
    usual = 16 if device_type == "cpu" else 64
    fitting = max(2, min(usual, num_train // 8))
    if fitting < usual:
        return fitting, f"{num_train} training samples make at least 8 steps an epoch"
    return usual, f"more does not speed up a {device_type}"


# How many pictures a training should look at in all, and the bounds of epochs. Set by hand: on ant
# and bee photos (196 for training) the validation loss of head was flat long before its end, and
# full had its best at epoch 4 of 4 and of 6. On solar cells (1,668) full had its best at epoch 10
# of 12, and reached 0.887 on the test, 0.837 and 0.848 in 3 and 4 epochs, the probe alone 0.875.
# bench/strategies.py is there to do better.
_PICTURES = {
    "head": (20_000, 10, 60),
    "gradual": (3_000, 5, 20),
    "full": (20_000, 4, 15),
    "lora": (20_000, 4, 15),
    "scratch": (10_000, 10, 60),
}

# Rates of AdamW. Of 1e-4, 3e-4 and 1e-3, full did best on ant and bee photos with the least (lowest
# validation loss 0.12 with 1e-4, 0.20 with 3e-4). On solar cells it reached 0.837 on the test in 3
# epochs of 1e-4, 0.848 in 4 of 3e-4 and 0.829 in 4 of 1e-3; in 12 epochs 0.881 with 1e-4 and 0.887
# with 3e-4; the probe alone 0.875. The others were tried at these values alone.
_LEARNING_RATES: dict[str, tuple[float, str]] = {
    "head": (3e-3, "a new linear head on pooled features learns fast and cannot spoil them"),
    "gradual": (2e-3, "the head's rate; each group of layers below learns slower"),
    "full": (1e-4, "the head starts from the probe, so that little is left to move"),
    "lora": (5e-4, "low-rank changes start at nothing, and bear higher rates than weights"),
    "scratch": (2e-3, "random weights have far to go"),
}


def _epochs(strategy: str, num_train: int) -> tuple[int, str]:
    pictures, least, most = _PICTURES[strategy]
    epochs = min(max(math.ceil(pictures / max(num_train, 1)), least), most)
    return epochs, f"{strategy} on {num_train} training samples: about {epochs * num_train:,} views"
