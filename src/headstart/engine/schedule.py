"""How the learning rate moves: pure functions of how far the training has come."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from headstart.errors import ConfigError, did_you_mean

# Warm-up starts at 1/25 of the peak and one-cycle ends far below it. Source: Smith & Topin 2018,
# Super-Convergence, section 4, with the divisors that fastai made usual.
_START_DIVISOR = 25.0
_FINAL_DIVISOR = 1e4


def one_cycle(progress: float, warmup: float) -> float:
    """Cosine up to the peak, cosine down to almost nothing. Source: Smith & Topin 2018."""
    if progress < warmup:
        return _cosine(1 / _START_DIVISOR, 1.0, progress / warmup)
    return _cosine(1.0, 1 / _FINAL_DIVISOR, (progress - warmup) / (1 - warmup))


def cosine(progress: float, warmup: float) -> float:
    """Linear warm-up, then cosine to zero. Source: Loshchilov & Hutter 2017 (SGDR)."""
    if progress < warmup:
        return max(progress / warmup, 1 / _START_DIVISOR)
    return _cosine(1.0, 0.0, (progress - warmup) / (1 - warmup))


def step(progress: float, warmup: float) -> float:
    """A tenth at one half and again at three quarters. Source: He et al. 2016, section 4.2."""
    if progress < warmup:
        return max(progress / warmup, 1 / _START_DIVISOR)
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def constant(progress: float, warmup: float) -> float:
    """Linear warm-up, then the peak. Plateau multiplies it by its own factor."""
    if progress < warmup:
        return max(progress / warmup, 1 / _START_DIVISOR)
    return 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "one-cycle": one_cycle,
    "cosine": cosine,
    "step": step,
    "plateau": constant,
    "constant": constant,
}


def lr_factor(schedule: str, progress: float, *, warmup: float) -> float:
    """What the peak learning rate is multiplied by.

    Args:
        schedule: A row of SCHEDULES.
        progress: Share of the training that is over, 0 to 1.
        warmup: Share in which the rate rises.

    Raises:
        ConfigError: There is no such schedule.
    """
    if schedule not in SCHEDULES:
        raise ConfigError(f"There is no schedule `{schedule}`. {did_you_mean(schedule, SCHEDULES)}")
    return SCHEDULES[schedule](min(progress, 1.0), warmup)


@dataclass
class Plateau:
    """Lowers the rate when validation stands still; its state goes into the checkpoint.

    Source: the rule is that of torch's ReduceLROnPlateau; three epochs of patience suit the short
    trainings of fine-tuning.
    """

    factor: float = 1.0
    num_bad: int = 0

    PATIENCE = 3
    SHRINK = 0.3

    def after_epoch(self, *, is_better: bool) -> None:
        """Count an epoch, and shrink the factor when patience is at its end."""
        self.num_bad = 0 if is_better else self.num_bad + 1
        if self.num_bad >= self.PATIENCE:
            self.factor *= self.SHRINK
            self.num_bad = 0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
