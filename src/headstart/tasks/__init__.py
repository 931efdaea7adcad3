"""The tasks, in a table for each kind of answer: one file tells one task completely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from headstart.contracts import Legend
from headstart.errors import ConfigError, did_you_mean
from headstart.protocols import LabelTask, MaskTask

_Maker = TypeVar("_Maker")


def _image_classification(*, is_multilabel: bool) -> LabelTask:
    from headstart.tasks.image_classification import ImageClassification

    return ImageClassification(is_multilabel=is_multilabel)


def _text_classification(*, is_multilabel: bool) -> LabelTask:
    from headstart.tasks.text_classification import TextClassification

    return TextClassification(is_multilabel=is_multilabel)


def _semantic_segmentation(legend: Legend) -> MaskTask:
    from headstart.tasks.semantic_segmentation import SemanticSegmentation

    return SemanticSegmentation(legend)


LABEL_TASKS: dict[str, Callable[..., LabelTask]] = {
    "image-classification": _image_classification,
    "text-classification": _text_classification,
}
MASK_TASKS: dict[str, Callable[[Legend], MaskTask]] = {
    "semantic-segmentation": _semantic_segmentation,
}


def make_label_task(name: str, *, is_multilabel: bool) -> LabelTask:
    """The task of this name, which gives one answer a sample.

    Raises:
        ConfigError: There is none.
    """
    return _named(name, LABEL_TASKS, kind="with one answer a sample")(is_multilabel=is_multilabel)


def make_mask_task(name: str, legend: Legend) -> MaskTask:
    """The task of this name, which answers with masks, by what their values stand for.

    Raises:
        ConfigError: There is none.
    """
    return _named(name, MASK_TASKS, kind="that answers with masks")(legend)


def _named(name: str, table: Mapping[str, _Maker], *, kind: str) -> _Maker:
    if name not in table:
        raise ConfigError(f"There is no task `{name}` {kind}. {did_you_mean(name, table)}")
    return table[name]
