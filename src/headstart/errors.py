"""The exception tree. Every message says what was found, what is needed, and what to do.

HeadstartError
├── ConfigError        an option has a value that cannot work, or does not exist
├── DataError          the data cannot be used as it is
│   └── PictureError       one picture cannot (in data.images)
├── WeightsError       weights cannot be reached, verified or mapped
│   └── UnreachableError   a hub or registry did not answer in time
├── TrainingError      training itself failed (loss not finite, out of memory)
├── RunError           a run folder is missing, unfinished or not what it says
├── MissingExtraError  an optional dependency is needed; the message has the install command
└── InterruptedFit     stopped by Ctrl-C or SIGTERM; the run can be resumed

The command line shows the message of any of these alone and exits with 2 (130 for InterruptedFit);
everything else is a defect of Headstart and exits with 1. Knows nothing of the rest of the package.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HeadstartError(Exception):
    """What the user can mend. Subclasses are raised, never this class."""


class ConfigError(HeadstartError):
    """An option has a value that cannot work, or does not exist."""


class DataError(HeadstartError):
    """The data cannot be used as it is."""


class WeightsError(HeadstartError):
    """Weights cannot be reached, verified or mapped onto the architecture."""


class UnreachableError(WeightsError):
    """A hub or package registry did not answer in time."""


class TrainingError(HeadstartError):
    """Training itself failed: a loss that is not finite, memory that ran out."""


class RunError(HeadstartError):
    """A run folder is missing, unfinished, or does not hold what it says."""


class MissingExtraError(HeadstartError):
    """An optional dependency is needed."""

    def __init__(self, purpose: str, *, extra: str) -> None:
        super().__init__(
            f"{purpose} needs packages that are not installed. "
            f"Install them with: pip install 'headstart[{extra}]'"
        )


class InterruptedFit(HeadstartError):  # noqa: N818 - it is an interruption, not an error
    """A fit was stopped by Ctrl-C or SIGTERM after its state had been written."""


def nearest(name: str, valid: Iterable[str], *, count: int = 3) -> list[str]:
    """The valid names nearest to a mistyped one, best first (may be empty).

    Example:
        >>> nearest("prob", ["probe", "head", "full"])
        ['probe']
    """
    return difflib.get_close_matches(name, list(valid), n=count, cutoff=0.5)


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A sentence with the nearest valid names, or with all of them when none is near."""
    valid = list(valid)
    close = nearest(name, valid)
    if close:
        return "Did you mean " + " or ".join(f"`{c}`" for c in close) + "?"
    return "Choose one of: " + ", ".join(f"`{v}`" for v in valid) + "."
