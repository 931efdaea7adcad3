"""A linear head from cached features, its C chosen by cross-validation, for any linear loss.

`logistic` and `svm` say which loss; this file codes the labels, hides each fold from the problem
that is judged on it, and turns coefficients into a plain linear layer. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import ConfigError, DataError
from headstart.strategies.linear_losses import LinearLoss
from headstart.strategies.linear_solver import (
    Problems,
    RotatedFeatures,
    Solutions,
    minimise,
    rotate,
)

# Ten values, a factor of about 5 apart. On standardised EfficientNet-Lite0 features the best lay
# between 1e-5 and 3e-2 (bench/logistic.py); the rest is room for narrow and for easy features.
DEFAULT_CS: tuple[float, ...] = (1e-6, 1e-5, 5e-5, 2e-4, 1e-3, 5e-3, 2e-2, 1e-1, 5e-1, 2.0)

# Problems are solved in groups whose logits have no more elements than this (64 MB in float32, and
# some eight arrays of that size at the peak).
_GROUP_ELEMENTS = 2**24
# In cross-validation, log loss to about 1e-3 for the values of C worth choosing; see bench/.
_SEARCH_TOLERANCE = 1e-7
_FINAL_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A linear layer on raw features: `logits = features @ weight.T + bias`.

    Attributes:
        weight: (num_classes, num_features) float32.
        bias: (num_classes,) float32.
        has_converged: Whether the minimum was reached to tolerance.
    """

    weight: Tensor
    bias: Tensor
    has_converged: bool = True

    def logits(self, features: Tensor) -> Tensor:
        """(B, num_classes) from (B, num_features)."""
        return F.linear(features, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What each C was worth on samples that its fit had not seen.

    Attributes:
        Cs: Ascending.
        log_loss: Mean over samples (multi-label: over samples and classes), one a C; weighted when
            class weights were given.
        accuracy: Share of samples (multi-label: of decisions) that were right, one a C.
        best_C: The one of least log loss.
        out_of_fold_logits: (n, num_classes) at `best_C`, each row from the fit that had not seen it.
        fit: On all samples at `best_C`.
    """

    Cs: tuple[float, ...]
    log_loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    best_C: float
    out_of_fold_logits: Tensor
    fit: LinearFit

    @property
    def is_at_edge(self) -> bool:
        """Whether a C outside the ones tried may be better."""
        return len(self.Cs) > 1 and self.best_C in (self.Cs[0], self.Cs[-1])


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features and labels as the solver takes them.

    Attributes:
        features: (n, num_features) float32, finite.
        targets: As given: (n,) int64, or (n, num_classes) float32 for multi-label.
        coded: (n, K) float32 in 0..1. Two exclusive classes share one output, K = 1: the second
            class against the first.
        weights: (n, 1) or, for weighted multi-label, (n, K) float32.
    """

    features: Tensor
    targets: Tensor
    coded: Tensor
    weights: Tensor

    @property
    def is_multilabel(self) -> bool:
        """Whether a sample may have several labels."""
        return self.targets.ndim == 2

    @property
    def has_one_output(self) -> bool:
        """Whether two exclusive classes share one output."""
        return not self.is_multilabel and self.coded.shape[1] == 1

    def widen(self, outputs: Tensor) -> Tensor:
        """Outputs (..., K) as logits (..., num_classes).

        A shared output is split in halves of opposite sign, whose softmax is its sigmoid.
        """
        if self.has_one_output:
            return torch.cat([-0.5 * outputs, 0.5 * outputs], dim=-1)
        return outputs

    def scores(self, logits: Tensor) -> tuple[float, float]:
        """Log loss and accuracy of (n, num_classes) logits; see CrossValidation."""
        logits = logits.double()
        if self.is_multilabel:
            losses = F.binary_cross_entropy_with_logits(
                logits, self.targets.double(), reduction="none"
            )
            is_right = (logits >= 0) == (self.targets >= 0.5)
        else:
            losses = F.cross_entropy(logits, self.targets, reduction="none")[:, None]
            is_right = logits.argmax(dim=1) == self.targets
        weights = self.weights.double().expand_as(losses)
        return float((losses * weights).sum() / weights.sum()), float(is_right.double().mean())


def label_features(
    features: Tensor, targets: Tensor, *, num_classes: int, class_weights: Tensor | None = None
) -> LabelledFeatures:
    """Check features and labels, and code the labels for the solver.

    Args:
        features: (n, num_features) float.
        targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
        num_classes: At least 2, or 1 for multi-label.
        class_weights: (num_classes,) positive: how much a sample of each class counts; for
            multi-label, how much a positive counts beside a negative.

    Raises:
        DataError: Shapes do not go together, a feature is not finite, or a target is no class.
    """
    if features.ndim != 2 or len(features) == 0 or len(features) != len(targets):
        raise DataError(
            f"Features of shape {tuple(features.shape)} and targets of shape "
            f"{tuple(targets.shape)} do not go together. Features must be (n, num_features) and "
            "targets have the same n, at least 1."
        )
    check_finite(features)
    features = features.detach().float()
    if targets.ndim == 2:
        if targets.shape[1] != num_classes or not bool(((targets >= 0) & (targets <= 1)).all()):
            raise DataError(
                f"Multi-label targets of shape {tuple(targets.shape)} must have {num_classes} "
                "columns of zeros and ones. Make one column a class."
            )
        coded = targets = targets.float()
    else:
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= num_classes or num_classes < 2:
            raise DataError(
                f"Targets range from {low} to {high}, but with num_classes={num_classes} they must "
                f"lie between 0 and {num_classes - 1}, and there must be at least 2 classes. "
                "Check the list of classes."
            )
        coded = F.one_hot(targets.long(), num_classes).to(features)
        coded = coded[:, 1:] if num_classes == 2 else coded
    weights = features.new_ones(len(features), 1)
    if class_weights is not None:
        if class_weights.shape != (num_classes,) or not bool((class_weights > 0).all()):
            raise ConfigError(
                f"Class weights of shape {tuple(class_weights.shape)} must be {num_classes} "
                "positive numbers, one a class."
            )
        by_class = class_weights.to(features)
        weights = 1 + targets * (by_class - 1) if targets.ndim == 2 else by_class[targets][:, None]
    return LabelledFeatures(features, targets, coded, weights)


def check_finite(features: Tensor) -> None:
    """Raise for features with NaN or infinity.

    Raises:
        DataError: With the number of such samples and the rows of the first.
    """
    bad = (~torch.isfinite(features)).any(dim=1).nonzero()[:, 0].tolist()
    if bad:
        rows = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise DataError(
            f"{len(bad)} of {len(features)} samples have features that are not finite (rows {rows})."
            " A classifier needs finite numbers. Compute the features in float32 (--precision "
            "float32); if that does not help, the backbone's weights are damaged: pull them again."
        )


def check_folds(folds: Tensor, *, num_samples: int) -> list[int]:
    """The numbers of the folds.

    Raises:
        DataError: There is not one number a sample, or fewer than two folds.
    """
    numbers = sorted(set(folds.tolist()))
    if folds.shape != (num_samples,) or len(numbers) < 2:
        raise DataError(
            f"Folds of shape {tuple(folds.shape)} with {len(numbers)} different numbers cannot "
            f"cross-validate {num_samples} samples: each sample needs a fold, and there must be at "
            "least two folds. Add samples (or groups), or fit with a fixed C."
        )
    return numbers


def check_cs(cs: Sequence[float]) -> tuple[float, ...]:
    """The values of C in ascending order.

    Raises:
        ConfigError: There is none, or one is not positive and finite.
    """
    if not cs or not all(0.0 < c < float("inf") for c in cs):
        raise ConfigError(f"C must be positive and finite, not {list(cs)}. Try {DEFAULT_CS[4]}.")
    return tuple(sorted(set(cs)))


def fit_at(
    rotated: RotatedFeatures, data: LabelledFeatures, loss: LinearLoss, *, c: float
) -> LinearFit:
    """The linear layer that minimises the loss on all samples."""
    seen = torch.ones_like(data.weights[:, :1])
    solutions = _solve(rotated, data, loss, seen=seen, cs=[c], tolerance=_FINAL_TOLERANCE)
    coefficients = data.widen(solutions.coefficients[:, :, 0])
    weight, bias = rotated.to_raw(coefficients)
    return LinearFit(weight, bias, bool(solutions.has_converged.all()))


def out_of_fold(
    rotated: RotatedFeatures, data: LabelledFeatures, loss: LinearLoss, *, folds: Tensor,
    cs: Sequence[float],
) -> Iterator[Tensor]:
    """For each C, (n, num_classes) logits of which each row is from a fit that had not seen it."""
    n, num_outputs = data.coded.shape
    numbers = check_folds(folds, num_samples=n)
    place = torch.searchsorted(torch.tensor(numbers, device=folds.device), folds)
    seen = torch.stack([folds != number for number in numbers], dim=1).to(data.features)
    size = max(1, _GROUP_ELEMENTS // (n * num_outputs * len(numbers)))
    for start in range(0, len(cs), size):
        group = list(cs[start : start + size])
        solutions = _solve(rotated, data, loss, seen=seen, cs=group, tolerance=_SEARCH_TOLERANCE)
        logits = solutions.logits.unflatten(2, (len(group), len(numbers)))
        own = logits[torch.arange(n, device=place.device), :, :, place]  # (n, K, len(group))
        for i in range(len(group)):
            yield data.widen(own[:, :, i])


def _solve(
    rotated: RotatedFeatures, data: LabelledFeatures, loss: LinearLoss, *, seen: Tensor,
    cs: Sequence[float], tolerance: float,
) -> Solutions:
    """Problems for each C and each column of `seen` (n, S); the last dimension is C-major."""
    weights = (data.weights[:, :, None] * seen[:, None, :]).repeat(1, 1, len(cs))  # (n, ., P)
    by_problem = seen.repeat(1, len(cs))  # (n, P)
    positives = data.coded.T @ by_problem  # (K, P)
    is_live = positives > 0
    if not loss.is_joint:
        is_live = is_live & (positives < by_problem.sum(dim=0))
    scale = torch.tensor(cs, dtype=weights.dtype, device=weights.device)
    problems = Problems(
        loss, data.coded, weights, is_live, scale.repeat_interleave(seen.shape[1])
    )
    solutions = minimise(rotated, problems, tolerance=tolerance)
    if bool(is_live.all()):
        return solutions
    rest = loss.rest(solutions.logits, data.coded[:, :, None], weights)
    coefficients = solutions.coefficients.clone()
    coefficients[-1] = torch.where(is_live, coefficients[-1], rest)
    return replace(
        solutions,
        coefficients=coefficients,
        logits=torch.where(is_live, solutions.logits, rest),
    )
