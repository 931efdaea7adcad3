"""`probe`: a classical classifier on features of the frozen backbone, each picture seen once.

Logistic regression with C by cross-validation, a linear SVM, or nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.contracts import Backbone, FeatureTable, Initialised, ParameterGroup
from headstart.data.folds import folds
from headstart.errors import DataError
from headstart.model import Model
from headstart.strategies import StrategySettings
from headstart.strategies.freezing import freeze
from headstart.strategies.heads import LinearHead, linear_head
from headstart.strategies.knn import KNNHead, cross_validate_knn
from headstart.strategies.linear_fit import CrossValidation, LinearFit
from headstart.strategies.logistic import cross_validate_logistic, fit_logistic
from headstart.strategies.svm import cross_validate_svm

# Five, as usual; fewer where the training samples are fewer (Kohavi 1995 recommends five to ten).
_NUM_FOLDS = 5
# The C of a fit that is too small for cross-validation: the default of scikit-learn.
_UNCHOSEN_C = 1.0


class Probe:
    """Fits the head in closed form, or as good as that; nothing is trained by gradient steps."""

    name = "probe"
    needs_features = True

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """A linear head, to be filled (or exchanged, for kNN) by `initialise`."""
        num_features = backbone.spec.num_features
        return linear_head(num_features, self.settings.num_classes, dropout=0.0, hidden=0)

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Fit the classifier on the features; returns its choices and their evidence."""
        assert table is not None
        model.head, found = CLASSIFIERS[self.settings.classifier](table, self.settings)
        return found

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """Nothing is left to learn."""
        freeze(model)
        return []

    def train_mode(self, model: Model) -> None:
        model.eval()

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        return "fitted"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""


def fit_linear_probe(
    table: FeatureTable, settings: StrategySettings
) -> tuple[LinearFit, Initialised]:
    """Logistic regression with C by cross-validation, and what was found on the way.

    Raises:
        DataError: A feature is not finite.
    """
    held_out = hold_out_folds(table, settings)
    if held_out is None:
        fit = fit_logistic(
            table.features,
            table.targets,
            num_classes=table.num_classes,
            C=_UNCHOSEN_C,
            class_weights=settings.class_weights,
        )
        return fit, Initialised({"classifier": "logistic", "C": _UNCHOSEN_C, "num_folds": 0})
    found = cross_validate_logistic(
        table.features,
        table.targets,
        held_out,
        num_classes=table.num_classes,
        class_weights=settings.class_weights,
    )
    return found.fit, _told("logistic", found, held_out)


def _logistic(table: FeatureTable, settings: StrategySettings) -> tuple[nn.Module, Initialised]:
    fit, found = fit_linear_probe(table, settings)
    return _as_head(fit), found


def _svm(table: FeatureTable, settings: StrategySettings) -> tuple[nn.Module, Initialised]:
    held_out = hold_out_folds(table, settings)
    if held_out is None:
        raise DataError(
            f"{len(table.targets)} training samples are too few to calibrate an SVM. "
            "Use --classifier logistic, or add samples: at least 2 a class."
        )
    found = cross_validate_svm(
        table.features,
        table.targets,
        held_out,
        num_classes=table.num_classes,
        class_weights=settings.class_weights,
    )
    return _as_head(found.fit), _told("svm", found, held_out)


def _knn(table: FeatureTable, settings: StrategySettings) -> tuple[nn.Module, Initialised]:
    held_out = hold_out_folds(table, settings)
    facts: dict[str, Any] = {"classifier": "knn", "k": 1, "num_folds": 0}
    if held_out is None:
        head = KNNHead.of(table.features, table.targets, num_classes=table.num_classes, k=1)
        return head, Initialised(facts)
    found = cross_validate_knn(
        table.features, table.targets, held_out, num_classes=table.num_classes
    )
    facts.update(k=found.k, num_folds=int(held_out.max()) + 1)
    return found.head, Initialised(facts, found.out_of_fold_logits)


CLASSIFIERS: dict[
    str, Callable[[FeatureTable, StrategySettings], tuple[nn.Module, Initialised]]
] = {"logistic": _logistic, "svm": _svm, "knn": _knn}


def hold_out_folds(table: FeatureTable, settings: StrategySettings) -> Tensor | None:
    """(n,) int64, stratified and grouped; None where there are too few samples to hold any out.

    Augmented views have no say in it, and share the fold of their group: whatever a classifier
    learns from, it is judged on the same folds.
    """
    as_is = slice(table.num_as_is)
    groups = table.groups[as_is].numpy()
    names, first = np.unique(groups, return_index=True)
    num_folds = min(_NUM_FOLDS, len(names) // 2)
    if num_folds < 2:
        return None
    assigned = folds(table.targets[as_is].numpy(), groups, num_folds=num_folds, seed=settings.seed)
    places = np.searchsorted(names, table.groups.numpy())
    return torch.from_numpy(assigned[first][places])


def _as_head(fit: LinearFit) -> LinearHead:
    num_classes, num_features = fit.weight.shape
    head = linear_head(num_features, num_classes, dropout=0.0, hidden=0)
    head.load(fit.weight, fit.bias)
    return head


def _told(classifier: str, found: CrossValidation, held_out: Tensor) -> Initialised:
    rows = zip(found.Cs, found.log_loss, found.accuracy, strict=True)
    facts = {
        "classifier": classifier,
        "C": found.C,
        "num_folds": int(held_out.max()) + 1,
        "cross_validation": [
            {"C": c, "log_loss": float(log_loss), "accuracy": float(accuracy)}
            for c, log_loss, accuracy in rows
        ],
        "has_converged": found.fit.has_converged,
    }
    return Initialised(facts, found.out_of_fold_logits, found.basis)
