"""What a fit has before it tries a strategy: the nouns that all its steps share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import torch

from headstart.config import FitOptions
from headstart.fitting.preparing import PreparedData
from headstart.fitting.settle import Choice, Choices
from headstart.interrupt import StopSignal
from headstart.option_values import parse_duration_s
from headstart.progress import Progress
from headstart.protocols import Task
from headstart.rundir import RunFolder

# What the ladder takes where no budget was given, from the beginning of the fit.
DEFAULT_BUDGET = "5m"
# Of the budget, what reading samples may take before some are left out.
_READING_SHARE = 0.7

TaskT = TypeVar("TaskT", bound=Task)
TaskT_co = TypeVar("TaskT_co", bound=Task, covariant=True)


@dataclass(frozen=True)
class Situation(Generic[TaskT_co]):
    """What a fit has before it tries a strategy, and keeps while it tries several.

    Attributes:
        options: As the user gave them.
        own_augment: A Python caller's augmentation, or None.
        task: With its usual loss.
        started: `time.monotonic()` at the beginning of the fit.
        deadline: `time.monotonic()` at which all must be over, or None.
        seconds: step -> how long it took.
    """

    data: PreparedData
    options: FitOptions
    own_augment: Any
    task: TaskT_co
    device: torch.device
    folder: RunFolder
    progress: Progress
    stop: StopSignal
    started: float
    deadline: float | None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def reading_ends(self) -> float:
        """`time.monotonic()` by which the samples should have been read through the backbone."""
        if self.deadline is None:
            return math.inf
        return self.started + _READING_SHARE * (self.deadline - self.started)


def with_usual_budget(where: Situation[TaskT], choices: Choices) -> Situation[TaskT]:
    """The situation with the end that a ladder has where no budget was given.

    Args:
        where: Without an end, if none was given.
        choices: Are told of the budget.
    """
    if where.deadline is not None or where.options.strategy != "auto":
        return where
    choices.add(Choice("budget", DEFAULT_BUDGET, "that of the ladder, unless you say otherwise"))
    return replace(where, deadline=where.started + parse_duration_s(DEFAULT_BUDGET))


class Situated(Protocol):
    """Gives the situation of a fit once its task is made."""

    def __call__(self, task: TaskT) -> Situation[TaskT]:
        """The situation, with this task."""
        ...
