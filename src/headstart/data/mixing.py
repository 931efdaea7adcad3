"""Mixup and cutmix: each picture of a batch mixed with another one of it, and the targets alike.

A mixed batch is a pure function of the batch and (seed, epoch, step), so that a resumed run mixes
alike. Written out here because torchvision's draw from the global generator, and mix 8-bit values
in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.contracts import Batch
from headstart.data.loader import TrainLoader
from headstart.data.seeding import MIXING_STREAM
from headstart.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mixes the pictures of a batch in pairs. When both kinds are on, each batch gets one of them.

    Attributes:
        mixup_alpha: Of the beta distribution that the share of a picture is drawn from; 0 is off.
        cutmix_alpha: The same for the share of the area that is not pasted over; 0 is off.
        num_classes: Number of columns of the mixed targets.

    Raises:
        ConfigError: A strength is negative or not finite, or both are 0.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2; Yun et al.
    2019, "CutMix", section 3.1. An even choice between the two: Touvron et al. 2021, "DeiT".

    Example:
        >>> batch = Batch(("a", "b"), torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]))
        >>> mixing = Mixing(mixup_alpha=0.2, cutmix_alpha=0.0, num_classes=2)
        >>> mixing(batch, seed=0, epoch=0, step=0).targets.shape
        torch.Size([2, 2])
    """

    mixup_alpha: float
    cutmix_alpha: float
    num_classes: int

    def __post_init__(self) -> None:
        alphas = (self.mixup_alpha, self.cutmix_alpha)
        if not all(math.isfinite(a) and a >= 0 for a in alphas) or max(alphas) == 0:
            raise ConfigError(
                f"mixup is {alphas[0]:g} and cutmix is {alphas[1]:g}, but both must be at least 0, "
                "and one above it. Usual are 0.2 for mixup and 1 for cutmix."
            )

    def __call__(self, batch: Batch, *, seed: int, epoch: int, step: int) -> Batch:
        """The batch with mixed inputs and targets.

        Args:
            batch: inputs (B, bands, H, W) raw values, any dtype; targets (B,) int64 class indices
                or (B, num_classes) float.
            seed: Of the run.
            epoch: From 0.
            step: Of the batch within its epoch.

        Returns:
            inputs (B, bands, H, W) float32 in the same unit, targets (B, num_classes) float32.

        Raises:
            ConfigError: The batch has no pictures or no targets, or targets of another width.
        """
        if batch.inputs is None or batch.targets is None:
            missing = "pictures (its features are cached)" if batch.inputs is None else "targets"
            raise ConfigError(
                f"A batch without {missing} cannot be mixed: mixup and cutmix need labelled "
                "pictures. Turn them off, or with strategy `head` pass --views 0."
            )
        targets = self._as_vectors(batch.targets)
        rng = np.random.default_rng([MIXING_STREAM, seed, epoch, step])
        partner = torch.from_numpy(rng.permutation(len(batch))).to(batch.inputs.device)
        inputs = batch.inputs.float()
        is_cutmix = self.mixup_alpha == 0 or (self.cutmix_alpha > 0 and rng.random() < 0.5)
        mix = self._cutmix if is_cutmix else self._mixup
        mixed, share = mix(inputs, inputs[partner], rng=rng)
        return replace(
            batch, inputs=mixed, targets=share * targets + (1 - share) * targets[partner]
        )

    def _mixup(
        self, inputs: Tensor, others: Tensor, *, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        share = float(rng.beta(self.mixup_alpha, self.mixup_alpha))
        return share * inputs + (1 - share) * others, share

    def _cutmix(
        self, inputs: Tensor, others: Tensor, *, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        height, width = inputs.shape[-2:]
        side = math.sqrt(1 - rng.beta(self.cutmix_alpha, self.cutmix_alpha))
        top, bottom = _cut(height, side=side, rng=rng)
        left, right = _cut(width, side=side, rng=rng)
        mixed = inputs.clone()
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        # The border may have cut the rectangle, so the share is what is really left.
        return mixed, 1 - (bottom - top) * (right - left) / (height * width)

    def _as_vectors(self, targets: Tensor) -> Tensor:
        if targets.ndim == 1:
            return F.one_hot(targets, self.num_classes).float()
        if targets.shape[1] != self.num_classes:
            raise ConfigError(
                f"Targets have {targets.shape[1]} columns, but there are {self.num_classes} "
                "classes. Give one column a class."
            )
        return targets.float()


def _cut(length: int, *, side: float, rng: np.random.Generator) -> tuple[int, int]:
    """Start and end of a cut of `side * length` about a uniform centre, clipped to the picture."""
    centre, half = int(rng.integers(length)), round(side * length / 2)
    return max(centre - half, 0), min(centre + half, length)


class MixedBatches:
    """The batches of a loader, mixed; they come and resume as the loader's own do.

    Args:
        loader: Where the batches come from.
        mixing: What is done to each.
        seed: Of the run.
    """

    def __init__(self, loader: TrainLoader, mixing: Mixing, *, seed: int) -> None:
        self._loader = loader
        self._mixing = mixing
        self._seed = seed

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._loader)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the one numbered `start` on; see `TrainLoader.batches`."""
        plain = self._loader.batches(epoch, start=start)
        for step, batch in enumerate(plain, start):
            yield self._mixing(batch, seed=self._seed, epoch=epoch, step=step)

    def close(self) -> None:
        """End the workers of the loader."""
        self._loader.close()
