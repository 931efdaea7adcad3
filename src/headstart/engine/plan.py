"""What a training is told, where it takes place, and how it ends: plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headstart.contracts import Batch, ComputeFormat
from headstart.engine.schedule import Plateau
from headstart.interrupt import StopSignal
from headstart.progress import Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TrainBatches(Protocol):
    """Batches of an epoch, in an order that is a function of the epoch alone."""

    def __len__(self) -> int: ...
    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]: ...
    def close(self) -> None: ...


def score_of(metrics: Mapping[str, float], monitor: str) -> float:
    """The validation metric that decides, so that higher is better: losses are minimised."""
    value = metrics[monitor]
    return -value if monitor.endswith("loss") else value


@dataclass(frozen=True)
class TrainingPlan:
    """How to train; plain values, all settled.

    Attributes:
        lr: Peak learning rate, before a group's own scale.
        warmup: Share of the steps in which the rate rises.
        ema: Decay of the moving average; 0 for none.
        patience: Epochs without a better validation score after which to stop, or None.
        monitor: The validation metric that decides; see `score_of`.
        num_kept: Weights of so many epochs are kept, those that scored best.
        keep_from: Share of the epochs after which these are looked for; what came before counts
            only where training stops before that.
        ends_after: The epoch, from 1, after which training is over, at the rates of the whole plan;
            None: the last one.
        is_rehearsed: Whether the first steps, a validation and a saving are tried beforehand. A
            training of a few seconds needs no rehearsal that takes as long.
        most_inputs: So many numbers of input, such as token ids, go through the model at once at
            the most; larger batches go in parts, whose gradients add up. None: no bound.
        checkpoint_s: Write the state at least so often, besides at the end of each epoch.
    """

    num_epochs: int
    lr: float
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    schedule: str = "one-cycle"
    warmup: float = 0.25
    accumulate: int = 1
    clip_norm: float | None = 1.0
    ema: float = 0.0
    patience: int | None = None
    monitor: str = "loss"
    seed: int = 0
    num_kept: int = 1
    keep_from: float = 0.0
    ends_after: int | None = None
    is_rehearsed: bool = True
    most_inputs: int | None = None
    checkpoint_s: float = 60.0


@dataclass(frozen=True)
class Surroundings:
    """Where a fit takes place.

    Attributes:
        checkpoint: The file that holds its state.
        deadline: `time.monotonic()` by which training must be over, or None.
        rehearse: Called once the first steps are done, to draw and save what the end will need.
        training_s: Training must be over so long after its rehearsal, or None.
    """

    device: torch.device
    compute_format: ComputeFormat
    checkpoint: Path
    stop: StopSignal
    progress: Progress
    deadline: float | None = None
    rehearse: Callable[[], None] | None = None
    training_s: float | None = None


@dataclass
class FitState:
    """All that a resumed fit must know besides tensors; goes into the checkpoint as JSON."""

    num_epochs: int
    total_steps: int
    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    step: int = 0  # optimizer steps that are done
    loss_sum: float = 0.0  # over the samples of this epoch
    num_seen: int = 0
    kept_scores: list[float] = field(default_factory=list)  # best first
    kept_epochs: list[int] = field(default_factory=list)
    num_bad_epochs: int = 0
    seconds: float = 0.0
    phase: str = ""
    plateau: Plateau = field(default_factory=Plateau)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FitState:
        """What `asdict` gave."""
        return cls(**{**values, "plateau": Plateau(**values["plateau"])})


@dataclass(frozen=True)
class FitResult:
    """How a training ended. The model holds the best weights.

    Attributes:
        stopped: `epochs`, `patience` or `budget`.
        planned_epochs: Those that the learning rates went by.
        kept_epochs: Numbers of the best epochs, from 1, the best first.
        seconds: Of all epochs, also of those before an interruption.
        kept: Their weights.
    """

    num_epochs: int
    planned_epochs: int
    kept_epochs: tuple[int, ...]
    best_score: float
    stopped: str
    num_steps: int
    seconds: float
    kept: tuple[dict[str, Tensor], ...] = field(default=(), compare=False)

    @property
    def best_epoch(self) -> int:
        """The number of the best one."""
        return self.kept_epochs[0]
