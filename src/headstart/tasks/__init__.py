"""TASKS: one file tells one task completely."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from headstart.contracts import Legend, Task
from headstart.errors import ConfigError, did_you_mean


def _image_classification(*, is_multilabel: bool, legend: Legend | None) -> Task:
    from headstart.tasks.image_classification import ImageClassification

    return ImageClassification(is_multilabel=is_multilabel)


def _semantic_segmentation(*, is_multilabel: bool, legend: Legend | None) -> Task:
    from headstart.tasks.semantic_segmentation import SemanticSegmentation

    assert legend is not None  # of every data set of masks
    # It answers with masks, and only what knows that asks it to: `fitting.segmenting` and
    # `mask_predictor`. What the engine asks of a task it has.
    return cast(Task, SemanticSegmentation(legend))


TASKS: dict[str, Callable[..., Task]] = {
    "image-classification": _image_classification,
    "semantic-segmentation": _semantic_segmentation,
}


def make_task(name: str, *, is_multilabel: bool, legend: Legend | None = None) -> Task:
    """The task of this name; one of masks goes by their legend.

    Raises:
        ConfigError: There is none.
    """
    if name not in TASKS:
        raise ConfigError(f"There is no task `{name}`. {did_you_mean(name, TASKS)}")
    return TASKS[name](is_multilabel=is_multilabel, legend=legend)
