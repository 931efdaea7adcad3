"""Linear support vector machine on cached features, calibrated: a probe.

The objective is LIBLINEAR's default with the bias unpenalised, C * sum(max(0, 1 - margin)^2) +
0.5 * ||w||^2 on standardised features, one class against the rest. It is solved as the logistic
regression is, for all folds and values of C together. Decision values are no probabilities: a scale
and a shift, fitted on decision values of samples that the machine had not seen, make them logits,
so that what is returned is a plain linear layer.

Source: Fan et al., "LIBLINEAR" (JMLR 2008); Platt, "Probabilistic outputs for support vector
machines" (1999), for the calibration and its smoothed targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.strategies.linear_fit import (
    DEFAULT_CS,
    Calibration,
    CrossValidation,
    LabelledFeatures,
    check_cs,
    choose_c,
    label_features,
)
from headstart.strategies.linear_losses import SquaredHinge
from headstart.strategies.linear_solver import rotate

_MAX_NEWTON_STEPS = 50
_LEAST_SCALE = 1e-6


def cross_validate_svm(
    features: Tensor,
    targets: Tensor,
    folds: Tensor,
    *,
    num_classes: int,
    Cs: Sequence[float] = DEFAULT_CS,  # noqa: N803 - the name it has in the field
    class_weights: Tensor | None = None,
    basis: Tensor | None = None,
) -> CrossValidation:
    """A calibrated linear SVM; the best C by log loss on unseen folds, once calibrated.

    Args:
        features: (n, num_features) float, finite.
        targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
        folds: (n,) int64, the fold in which a sample is held out.
        num_classes: At least 2, or 1 for multi-label.
        Cs: What to try.
        class_weights: (num_classes,) how much a sample of each class counts; for multi-label, how
            much a positive counts beside a negative.
        basis: `CrossValidation.basis` of other samples of the same backbone, where there is one.

    Returns:
        With `fit` and `out_of_fold_logits` calibrated: their softmax (multi-label: sigmoid) is the
        probability.

    Raises:
        DataError: Shapes do not go together, a feature is not finite, a target is no class, or
            there are fewer than two folds.
        ConfigError: A C or a class weight is not positive.
    """
    cs = check_cs(Cs)
    data = label_features(features, targets, num_classes=num_classes, class_weights=class_weights)
    rotated = rotate(data.features, basis=basis)
    return choose_c(rotated, data, SquaredHinge(), folds=folds, cs=cs, calibrate=calibrate)


def calibrate(decisions: Tensor, data: LabelledFeatures) -> Calibration:
    """Scale and shift of least log loss: one scale for exclusive classes, else one a class.

    Args:
        decisions: (n, num_classes) of samples that the classifier had not seen.
        data: Their labels and weights.

    Source: Platt 1999, section 2.2: a target is (n + 1) / (n + 2) for a class of n samples, not 1,
    so that separable decisions do not end in certainty. With several exclusive classes the others
    share what it leaves.
    """
    values, weights = decisions.double(), data.weights.double()
    if not data.is_multilabel:
        scale, shift = _scale_and_shift(values, data.targets, weights=weights[:, 0])
        return Calibration(scale.expand(len(shift)).float(), shift.float())
    scales, shifts = [], []
    weights = weights.expand_as(values)
    for k in range(values.shape[1]):  # a yes or no is two exclusive classes
        halves = torch.stack([-0.5 * values[:, k], 0.5 * values[:, k]], dim=1)
        scale, shift = _scale_and_shift(halves, data.targets[:, k].long(), weights=weights[:, k])
        scales.append(scale)
        shifts.append(shift[1] - shift[0])
    return Calibration(torch.stack(scales).float(), torch.stack(shifts).float())


def _scale_and_shift(values: Tensor, targets: Tensor, *, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The scale () and shifts (K,) of a softmax over (n, K) values, by damped Newton steps."""
    num_classes = values.shape[1]
    one_hot = F.one_hot(targets, num_classes).double()
    missed = (1.0 / (one_hot.sum(dim=0) + 2.0))[targets][:, None]
    soft = one_hot * (1.0 - missed) + (1.0 - one_hot) * missed / (num_classes - 1)
    weights = (weights / weights.sum())[:, None]

    def loss(point: Tensor) -> float:
        log_p = (values * point[0] + point[1:]).log_softmax(dim=1)
        return float(-(soft * log_p * weights).sum())

    point = values.new_zeros(num_classes + 1)
    least = loss(point)
    for _ in range(_MAX_NEWTON_STEPS):
        p = (values * point[0] + point[1:]).softmax(dim=1)
        residual, share = (p - soft) * weights, p * weights
        spread = values - (p * values).sum(dim=1, keepdim=True)
        gradient = torch.cat([(residual * values).sum()[None], residual.sum(dim=0)])
        hessian = torch.zeros_like(point).diag()
        hessian[0, 0] = (share * spread.square()).sum()
        hessian[0, 1:] = hessian[1:, 0] = (share * spread).sum(dim=0)
        hessian[1:, 1:] = share.sum(dim=0).diag() - share.T @ p
        hessian.diagonal().add_(1e-10)  # equal shifts of all classes change nothing
        step = torch.linalg.solve(hessian, gradient)
        length = 1.0
        while (now := loss(point - length * step)) > least and length > 1e-6:
            length *= 0.5
        point = point - length * step
        if least - now < 1e-12:
            break
        least = now
    if point[0] <= 0:  # decisions that say nothing, or the contrary: what is left is the base rate
        return torch.full_like(point[0], _LEAST_SCALE), (soft * weights).sum(dim=0).log()
    return point[0], point[1:]
