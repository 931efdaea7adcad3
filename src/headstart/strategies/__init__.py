"""STRATEGIES: which parameters learn, when, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.errors import ConfigError, did_you_mean
from headstart.protocols import Strategy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StrategySettings:
    """What a strategy may want to know; plain values, settled beforehand.

    Attributes:
        classes: Class names.
        is_multilabel: Whether each class is decided alone.
        classifier: Of the probe: `logistic`, `svm` or `knn`.
        dropout: Before the last layer of a trained head.
        hidden: Width of a hidden layer of a trained head, 0 for none.
        layer_decay: Each layer group learns at this times the rate of the one above it; None for
            the strategy's own.
        class_weights: (num_classes,) float32, or None.
        pretrained_classes: What the backbone's own classifier tells apart.
        seed: For folds and random heads.
        is_dense: Whether the head is a decoder, which answers pixel by pixel.
    """

    classes: tuple[str, ...]
    is_multilabel: bool = False
    classifier: str = "logistic"
    dropout: float = 0.0
    hidden: int = 0
    layer_decay: float | None = None
    class_weights: Tensor | None = None
    pretrained_classes: tuple[str, ...] = ()
    seed: int = 0
    is_dense: bool = False

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)


def _as_is(settings: StrategySettings) -> Strategy:
    from headstart.strategies.as_is import AsIs

    return AsIs(settings)


def _probe(settings: StrategySettings) -> Strategy:
    from headstart.strategies.probe import Probe

    return Probe(settings)


def _head(settings: StrategySettings) -> Strategy:
    from headstart.strategies.head import Head

    return Head(settings)


def _gradual(settings: StrategySettings) -> Strategy:
    from headstart.strategies.gradual import Gradual

    return Gradual(settings)


def _full(settings: StrategySettings) -> Strategy:
    from headstart.strategies.full import Full

    return Full(settings)


def _lora(settings: StrategySettings) -> Strategy:
    from headstart.strategies.lora import Lora

    return Lora(settings)


def _contrastive(settings: StrategySettings) -> Strategy:
    from headstart.strategies.contrastive import Contrastive

    return Contrastive(settings)


def _scratch(settings: StrategySettings) -> Strategy:
    from headstart.strategies.scratch import Scratch

    return Scratch(settings)


def _tfidf(settings: StrategySettings) -> Strategy:
    from headstart.strategies.tfidf import Tfidf

    return Tfidf(settings)


STRATEGIES: dict[str, Callable[[StrategySettings], Strategy]] = {
    "as-is": _as_is,
    "probe": _probe,
    "head": _head,
    "gradual": _gradual,
    "full": _full,
    "lora": _lora,
    "contrastive": _contrastive,
    "scratch": _scratch,
    "tfidf": _tfidf,
}


def make_strategy(name: str, settings: StrategySettings) -> Strategy:
    """The strategy of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"There is no strategy `{name}`. {did_you_mean(name, STRATEGIES)}")
    return STRATEGIES[name](settings)
