"""TASKS: one file tells one task completely."""

from __future__ import annotations

from collections.abc import Callable

from headstart.contracts import Task
from headstart.errors import ConfigError, did_you_mean


def _image_classification(*, is_multilabel: bool) -> Task:
    from headstart.tasks.image_classification import ImageClassification

    return ImageClassification(is_multilabel=is_multilabel)


TASKS: dict[str, Callable[..., Task]] = {
    "image-classification": _image_classification,
}


def make_task(name: str, *, is_multilabel: bool) -> Task:
    """The task of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in TASKS:
        raise ConfigError(f"There is no task `{name}`. {did_you_mean(name, TASKS)}")
    return TASKS[name](is_multilabel=is_multilabel)
