"""Logistic regression on cached features, C by cross-validation: the default probe.

The objective is scikit-learn's, C * sum(losses) + 0.5 * ||W||^2 on standardised features with an
unpenalised bias; for two classes on one logit, for more on one logit each (softmax), for
multi-label on independent sigmoids. What is returned is a plain linear layer on raw features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from headstart.strategies.linear_fit import (
    DEFAULT_CS,
    CrossValidation,
    LabelledFeatures,
    LinearFit,
    check_cs,
    choose_c,
    fit_at,
    label_features,
    solve,
)
from headstart.strategies.linear_losses import Sigmoid, Softmax
from headstart.strategies.linear_solver import RotatedFeatures, Solutions, rotate

# Parts are fitted in groups whose logits have no more elements than this (64 MB in float32, and
# some eight arrays of that size at the peak).
_GROUP_ELEMENTS = 2**24


def fit_logistic(
    features: Tensor,
    targets: Tensor,
    *,
    num_classes: int,
    C: float,  # noqa: N803 - the name it has in the field
    class_weights: Tensor | None = None,
) -> LinearFit:
    """A logistic regression as a linear layer on raw features.

    A class without samples gets weights of 0 and a low bias (half a sample); a constant feature
    gets a weight of 0.

    Args:
        features: (n, num_features) float, finite.
        targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
        num_classes: At least 2, or 1 for multi-label.
        C: Inverse strength of the penalty.
        class_weights: (num_classes,) how much a sample of each class counts; for multi-label, how
            much a positive counts beside a negative.

    Raises:
        DataError: Shapes do not go together, a feature is not finite, or a target is no class.
        ConfigError: C or the class weights are not positive.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> targets = torch.tensor([0, 0, 1, 1])
        >>> fit = fit_logistic(features, targets, num_classes=2, C=1.0)
        >>> fit.logits(features).argmax(dim=1).tolist()
        [0, 0, 1, 1]
    """
    (c,) = check_cs([C])
    data = label_features(features, targets, num_classes=num_classes, class_weights=class_weights)
    return fit_at(rotate(data.features), data, _loss(data), c=c)


def cross_validate_logistic(
    features: Tensor,
    targets: Tensor,
    folds: Tensor,
    *,
    num_classes: int,
    Cs: Sequence[float] = DEFAULT_CS,  # noqa: N803
    class_weights: Tensor | None = None,
    basis: Tensor | None = None,
) -> CrossValidation:
    """The best C by log loss on unseen folds, and the fit on all samples with it.

    Log loss, not accuracy: it moves with every sample, where accuracy on few samples is the same
    for many C, and it is what calibrated probabilities need. The smallest C within a standard error
    of the least loss is taken. All features are standardised together, which uses no label.

    Args:
        features: (n, num_features) float, finite.
        targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
        folds: (n,) int64, the fold in which a sample is held out.
        num_classes: At least 2, or 1 for multi-label.
        Cs: What to try.
        class_weights: See `fit_logistic`; the log loss is then weighted alike.
        basis: `CrossValidation.basis` of other samples of the same backbone, where there is one.

    Raises:
        DataError: See `fit_logistic`; or there are fewer than two folds.
        ConfigError: A C or a class weight is not positive.
    """
    cs = check_cs(Cs)
    data = label_features(features, targets, num_classes=num_classes, class_weights=class_weights)
    rotated = rotate(data.features, basis=basis)
    return choose_c(rotated, data, _loss(data), folds=folds, cs=cs)


def fit_logistic_on_parts(
    features: Tensor,
    targets: Tensor,
    parts: Sequence[Tensor],
    *,
    num_classes: int,
    C: float,  # noqa: N803 - the name it has in the field
    class_weights: Tensor | None = None,
    basis: Tensor | None = None,
) -> tuple[LinearFit, ...]:
    """Fits on parts of the samples, all together for little more than the cost of one.

    As `fit_logistic` on each part, but all features are standardised together, which uses no label;
    the decomposition that a fit begins with is then the same for all.

    Args:
        features: (n, num_features) float, finite.
        targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
        parts: For each fit, the indices (m,) int64 of its samples.
        num_classes: At least 2, or 1 for multi-label.
        C: Inverse strength of the penalty.
        class_weights: See `fit_logistic`.
        basis: See `cross_validate_logistic`.

    Raises:
        DataError: See `fit_logistic`.
        ConfigError: C or the class weights are not positive.
    """
    data = label_features(features, targets, num_classes=num_classes, class_weights=class_weights)
    rotated = rotate(data.features, basis=basis)
    fits = []
    for found in _solve_parts(rotated, data, parts, c=C):
        weight, bias = rotated.to_raw(data.widen(found.coefficients[:, :, 0]))
        fits.append(LinearFit(weight, bias, bool(found.has_converged.all())))
    return tuple(fits)


def answer_by_parts(
    features: Tensor,
    targets: Tensor,
    parts: Sequence[Tensor],
    *,
    num_classes: int,
    C: float,  # noqa: N803
    class_weights: Tensor | None = None,
    basis: Tensor | None = None,
) -> Iterator[Tensor]:
    """What the fits of `fit_logistic_on_parts` answer to all samples, those of the part and others.

    The solver has these answers at hand, so that no layer has to be made of its solution.

    Yields:
        For each part, (n, num_classes) logits.

    Raises:
        DataError: See `fit_logistic`.
        ConfigError: C or the class weights are not positive.
    """
    data = label_features(features, targets, num_classes=num_classes, class_weights=class_weights)
    rotated = rotate(data.features, basis=basis)
    for found in _solve_parts(rotated, data, parts, c=C):
        yield data.widen(found.logits[:, :, 0])


def _solve_parts(
    rotated: RotatedFeatures, data: LabelledFeatures, parts: Sequence[Tensor], *, c: float
) -> Iterator[Solutions]:
    """For each part the solution of one problem, solved in groups as large as memory allows."""
    cs, loss, n = check_cs([c]), _loss(data), len(data.features)
    size = max(1, _GROUP_ELEMENTS // data.coded.numel())
    for start in range(0, len(parts), size):
        group = parts[start : start + size]
        seen = data.features.new_zeros(n, len(group))
        for column, part in enumerate(group):
            seen[part.to(seen.device), column] = 1.0
        found = solve(rotated, data, loss, seen=seen, cs=cs, tolerance=loss.search_tolerance)
        for column in range(len(group)):
            yield found.only(column)


def _loss(data: LabelledFeatures) -> Softmax | Sigmoid:
    return Sigmoid() if data.is_multilabel or data.has_one_output else Softmax()
