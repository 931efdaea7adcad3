"""What can be known of samples without any pretrained weights: what these have to beat.

Of pictures colour and brightness, of texts which words are in them. Wiring of classifiers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from headstart.contracts import Initialised, Sample
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import feature_table
from headstart.strategies.probe import fit_linear_probe
from headstart.strategies.tfidf import TfidfModel, fit_tfidf


class Baseline(Protocol):
    """A classifier that looks at nothing but what is plain to see."""

    @property
    def looks_at(self) -> str:
        """What that is, for sentences such as `a logistic regression on ...`."""
        ...

    def out_of_fold(self, attempt: LabelAttempt, samples: Sequence[Sample]) -> Tensor | None:
        """(n, num_classes) logits, each row from a fit without it; None where there are too few.

        Args:
            attempt: Whose classes, groups and weights are taken.
            samples: Labelled.
        """
        ...

    def answers(
        self, attempt: LabelAttempt, learnt: Sequence[Sample], asked: Sequence[Sample]
    ) -> Tensor:
        """(n, num_classes) logits of some samples from a fit to others."""
        ...


@dataclass(frozen=True)
class OfPictures:
    """By colour and brightness.

    Attributes:
        statistics: sample id -> (m,) of all samples that may be asked about.
    """

    statistics: Mapping[str, Tensor]
    looks_at: str = "colour and brightness alone"

    def out_of_fold(self, attempt: LabelAttempt, samples: Sequence[Sample]) -> Tensor | None:
        """See `Baseline`."""
        table = feature_table(attempt, [self.statistics], samples)
        return fit_linear_probe(table, attempt.settings)[1].out_of_fold

    def answers(
        self, attempt: LabelAttempt, learnt: Sequence[Sample], asked: Sequence[Sample]
    ) -> Tensor:
        """See `Baseline`."""
        table = feature_table(attempt, [self.statistics], learnt)
        fit, _ = fit_linear_probe(table, attempt.settings)
        return fit.logits(torch.stack([self.statistics[sample.id] for sample in asked]))


@dataclass
class OfTexts:
    """By words and pairs of words, each weighed by how rare it is (TF-IDF).

    Attributes:
        fitted: What gave the last answers out of fold: a model that may be kept.
    """

    looks_at: str = "words alone (TF-IDF)"
    fitted: tuple[TfidfModel, Initialised] | None = None

    def out_of_fold(self, attempt: LabelAttempt, samples: Sequence[Sample]) -> Tensor | None:
        """See `Baseline`."""
        self.fitted = fit_words(attempt, samples)
        return self.fitted[1].out_of_fold

    def answers(
        self, attempt: LabelAttempt, learnt: Sequence[Sample], asked: Sequence[Sample]
    ) -> Tensor:
        """See `Baseline`."""
        model, _ = fit_words(attempt, learnt)
        return model.logits([sample.text or "" for sample in asked])


def fit_words(attempt: LabelAttempt, samples: Sequence[Sample]) -> tuple[TfidfModel, Initialised]:
    """TF-IDF with logistic regression on some texts; see `fit_tfidf`.

    Args:
        attempt: Whose classes, groups and weights are taken.
        samples: Labelled.
    """
    nothing = {sample.id: torch.zeros(0) for sample in samples}
    table = feature_table(attempt, [nothing], samples)
    return fit_tfidf(
        [sample.text or "" for sample in samples],
        table.targets,
        num_classes=table.num_classes,
        groups=table.groups.numpy(),
        class_weights=attempt.settings.class_weights,
        seed=attempt.settings.seed,
    )


def baseline_for(unit: str, statistics: Mapping[str, Tensor]) -> Baseline:
    """The one for pictures or texts.

    Args:
        unit: `picture` or `text`.
        statistics: sample id -> (m,), of pictures.
    """
    return OfTexts() if unit == "text" else OfPictures(statistics)
