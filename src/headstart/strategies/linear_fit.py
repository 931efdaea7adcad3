"""A linear head from cached features, its C chosen by cross-validation, for any linear loss.

`logistic` and `svm` say which loss; this file codes the labels, hides each fold from the problem
that is judged on it, and turns coefficients into a plain linear layer. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    Solvable,
    minimise,
)

# A factor of about 5 apart. Measured on EfficientNet-Lite0 features of ant and bee photos and of
# solar cells, the best lay between 2e-4 (SVM) and 2; the rest is room for other features.
DEFAULT_CS: tuple[float, ...] = (1e-5, 5e-5, 2e-4, 1e-3, 5e-3, 2e-2, 1e-1, 5e-1, 2.0, 10.0)

# Values of C are tried one after the other, until log loss has risen by a tenth over the least: far
# past the best C the fits cost most and are worth nothing, as each takes twice the steps of the one
# before it. Measured on solar cells, where the best of ten is the fifth: one by one took 0.7 s, two
# together 1.0, four together 2.1.
_RISE = 1.1


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
class Calibration:
    """How decision values become logits: `scale * value + shift`.

    Attributes:
        scale: (num_classes,) float32, positive.
        shift: (num_classes,) float32.
    """

    scale: Tensor
    shift: Tensor

    def apply(self, decisions: Tensor) -> Tensor:
        """(n, num_classes) logits."""
        return decisions * self.scale + self.shift

    def apply_to_fit(self, fit: LinearFit) -> LinearFit:
        """The linear layer whose logits are those of `fit`, calibrated."""
        weight = fit.weight * self.scale[:, None]
        return replace(fit, weight=weight, bias=fit.bias * self.scale + self.shift)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What each C was worth on samples that its fit had not seen.

    Attributes:
        Cs: Those tried, ascending. Larger ones were left out once log loss had risen by a tenth.
        log_loss: Mean over samples (multi-label: over samples and classes), one a C; weighted when
            class weights were given.
        accuracy: Share of samples (multi-label: of decisions) that were right, one a C.
        C: The smallest one whose log loss is within a standard error of the least.
        out_of_fold_logits: (n, num_classes) at `C`, each row from a fit that had not seen it.
        fit: On all samples at `C`.
        basis: (num_features, num_features) that later fits on features of this backbone can take
            instead of finding their own; None with fewer samples than features.
    """

    Cs: tuple[float, ...]
    log_loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    C: float
    out_of_fold_logits: Tensor
    fit: LinearFit
    basis: Tensor | None = None


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

    def losses(self, logits: Tensor) -> Tensor:
        """(n,) float64 log losses of (n, num_classes) logits, whose mean is the weighted mean loss.

        For multi-label a sample's loss is the mean over the classes.
        """
        logits = logits.double()
        if self.is_multilabel:
            exact = self.targets.double()
            losses = F.binary_cross_entropy_with_logits(logits, exact, reduction="none")
        else:
            losses = F.cross_entropy(logits, self.targets, reduction="none")[:, None]
        weights = self.weights.double()
        return (losses * (weights / weights.mean())).mean(dim=1)

    def accuracy(self, logits: Tensor) -> float:
        """Share of samples (multi-label: of decisions) that (n, num_classes) logits get right."""
        if self.is_multilabel:
            is_right = (logits >= 0) == (self.targets >= 0.5)
        else:
            is_right = logits.argmax(dim=1) == self.targets
        return float(is_right.double().mean())


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
            f"{len(bad)} of {len(features)} samples have features that are not finite (rows "
            f"{rows}). A classifier needs finite numbers. Compute the features in float32 "
            "(--precision float32); if that does not help, the backbone's weights are damaged: "
            "pull them again."
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
    rotated: RotatedFeatures,
    data: LabelledFeatures,
    loss: LinearLoss,
    *,
    c: float,
    start: Tensor | None = None,
) -> LinearFit:
    """The linear layer that minimises the loss on all samples; see `solve` for `start`."""
    seen, tolerance = torch.ones_like(data.weights[:, :1]), loss.final_tolerance
    solutions = solve(rotated, data, loss, seen=seen, cs=[c], tolerance=tolerance, start=start)
    coefficients = data.widen(solutions.coefficients[:, :, 0])
    weight, bias = rotated.to_raw(coefficients)
    return LinearFit(weight, bias, bool(solutions.has_converged.all()))


def choose_c(
    rotated: RotatedFeatures,
    data: LabelledFeatures,
    loss: LinearLoss,
    *,
    folds: Tensor,
    cs: Sequence[float],
    calibrate: Callable[[Tensor, LabelledFeatures], Calibration] | None = None,
) -> CrossValidation:
    """The best C by log loss on unseen folds, and the fit on all samples with it.

    Args:
        rotated: Of `data.features`.
        data: Features and labels.
        loss: What is minimised.
        folds: (n,) int64, the fold in which a sample is held out.
        cs: What to try, ascending.
        calibrate: Turns unseen decision values (n, num_classes) into logits, where the loss is not
            a log loss; the fit is changed alike.

    Raises:
        DataError: There are fewer than two folds.
    """
    losses: list[Tensor] = []
    logits_at: list[Tensor] = []
    changes: list[Calibration | None] = []
    starts: list[Tensor] = []
    for decisions, mean in _out_of_fold(rotated, data, loss, folds=folds, cs=cs):
        change = calibrate(decisions, data) if calibrate else None
        logits = change.apply(decisions) if change else decisions
        losses.append(data.losses(logits))
        logits_at.append(logits)
        changes.append(change)
        starts.append(mean)
        if losses[-1].mean() > _RISE * min(each.mean() for each in losses):
            break
    place = simplest_of_the_best(torch.stack(losses))
    change = changes[place]
    fit = fit_at(rotated, data, loss, c=cs[place], start=starts[place])
    return CrossValidation(
        Cs=tuple(cs[: len(losses)]),
        log_loss=tuple(float(each.mean()) for each in losses),
        accuracy=tuple(data.accuracy(logits) for logits in logits_at),
        C=cs[place],
        out_of_fold_logits=logits_at[place],
        fit=change.apply_to_fit(fit) if change else fit,
        basis=rotated.basis,
    )


def simplest_of_the_best(losses: Tensor) -> int:
    """The smallest C that is within one standard error of the C of least loss.

    The standard error is that of the difference between the two on the same samples, which is far
    smaller than that of either.

    Args:
        losses: (num_cs, n) of each sample, C ascending.

    Source: the one-standard-error rule of Breiman et al., "Classification and Regression Trees"
    (1984), section 3.4.3. Measured on EfficientNet-Lite0 features of ant and bee photos (100 and
    245 of them) and of solar cells (200 and 600), over 4 to 12 splits each: log loss on other
    samples 0 to 9% lower than with the C of least loss, accuracy within 0.002.
    """
    best = int(losses.mean(dim=1).argmin())
    if losses.shape[1] < 2:
        return best
    excess = losses - losses[best]
    error = excess.std(dim=1) / losses.shape[1] ** 0.5
    return int((excess.mean(dim=1) <= error).nonzero()[0, 0])


def _out_of_fold(
    rotated: RotatedFeatures,
    data: LabelledFeatures,
    loss: LinearLoss,
    *,
    folds: Tensor,
    cs: Sequence[float],
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each C, what fits of the other folds answer, and their mean, from which others can start.

    Yields:
        (n, num_classes) logits of which each row is from a fit that had not seen it, and
        (r + 1, K, 1) coefficients.
    """
    n = len(data.coded)
    numbers = check_folds(folds, num_samples=n)
    place = torch.searchsorted(torch.tensor(numbers, device=folds.device), folds)
    seen = torch.stack([folds != number for number in numbers], dim=1).to(data.features)
    rows, tolerance = torch.arange(n, device=place.device), loss.search_tolerance
    start: Tensor | None = None
    for c in cs:
        found = solve(rotated, data, loss, seen=seen, cs=[c], tolerance=tolerance, start=start)
        start = found.coefficients
        yield data.widen(found.logits[rows, :, place]), start.mean(dim=2, keepdim=True)


def solve(
    features: Solvable,
    data: LabelledFeatures,
    loss: LinearLoss,
    *,
    seen: Tensor,
    cs: Sequence[float],
    tolerance: float,
    start: Tensor | None = None,
) -> Solutions:
    """Problems for each C and each column of `seen` (n, S); the last dimension is C-major.

    `start` is what to begin with, (r + 1, K, len(cs) * S); None: 0.
    """
    weights = (data.weights[:, :, None] * seen[:, None, :]).repeat(1, 1, len(cs))  # (n, ., P)
    by_problem = seen.repeat(1, len(cs))  # (n, P)
    positives = data.coded.T @ by_problem  # (K, P)
    is_live = positives > 0
    if not loss.is_joint:
        is_live = is_live & (positives < by_problem.sum(dim=0))
    scale = torch.tensor(cs, dtype=weights.dtype, device=weights.device)
    problems = Problems(loss, data.coded, weights, is_live, scale.repeat_interleave(seen.shape[1]))
    solutions = minimise(features, problems, tolerance=tolerance, start=start)
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
