"""The losses of linear classifiers, as slope and bend along the logits; knows no features.

Shapes: n samples, K outputs, P problems side by side. `targets` is (n, K, 1) in 0..1.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

# Far below any logit, so that its exponential is 0; finite, so that 0 times it is 0.
_NEVER = -1e30


class LinearLoss(Protocol):
    """A convex loss with a bounded second derivative.

    Attributes:
        is_joint: Whether the outputs compete, so that one without negatives is still of use.
        search_tolerance: Of `linear_solver.minimise` while C is chosen. Measured on ant and bee
            photos and solar cells: a tolerance ten times smaller moves the least log loss by no
            more than 0.002.
        final_tolerance: For the fit that is kept: probabilities to some 1e-4.
    """

    is_joint: bool
    search_tolerance: float
    final_tolerance: float

    def respond(self, logits: Tensor) -> Tensor:
        """(n, K, P): what slope and bend are derived from, such as probabilities."""
        ...

    def residual(self, response: Tensor, targets: Tensor) -> Tensor:
        """(n, K, P), newly made: derivative by the logits."""
        ...

    def bend(self, response: Tensor, targets: Tensor, turn: Tensor) -> Tensor:
        """(n, 1 or K, P): second derivative along `turn` (n, K, P) in the logits."""
        ...

    def bound(self, num_outputs: int) -> float:
        """About the greatest second derivative by one logit."""
        ...

    def curvature(self, response: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The second derivative by the logits, averaged over the samples as `weights` count them.

        Returns:
            (K, P), or (P, K, K) where the outputs compete.
        """
        ...

    def silence(self, logits: Tensor, is_silent: Tensor) -> Tensor:
        """`logits` in which the outputs of `is_silent` (K, P) take no part."""
        ...

    def rest(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """(K, P): the bias that an output without positives (or without negatives) gets.

        Its best bias is infinite, which no sample can justify; half a sample is added instead.

        Source: Jeffreys' prior for a proportion (Brown, Cai and DasGupta, "Interval estimation for
        a binomial proportion", Statistical Science 2001).
        """
        ...


class Softmax:
    """Cross-entropy over all outputs."""

    is_joint = True
    search_tolerance = 1e-7
    final_tolerance = 1e-10

    def respond(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1)

    def residual(self, response: Tensor, targets: Tensor) -> Tensor:
        return response - targets

    def bend(self, response: Tensor, targets: Tensor, turn: Tensor) -> Tensor:
        first = response * turn
        spread = (first * turn).sum(dim=1, keepdim=True)
        return spread - first.sum(dim=1, keepdim=True).square()

    def bound(self, num_outputs: int) -> float:
        """At equal probabilities; Böhning's strict bound is 1/2, which slows many outputs down."""
        return 1.0 / num_outputs

    def curvature(self, response: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        by_problem = response.permute(2, 1, 0)  # (P, K, n)
        weighed = by_problem * weights.permute(2, 1, 0)
        shared = weighed @ by_problem.transpose(1, 2) / len(response)
        return torch.diag_embed(weighed.mean(dim=2)) - shared

    def silence(self, logits: Tensor, is_silent: Tensor) -> Tensor:
        return logits.masked_fill(is_silent, _NEVER)

    def rest(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        seen = weights.sum(dim=0)  # (1, P)
        level = (logits.logsumexp(dim=1, keepdim=True) * weights).sum(dim=0) / seen
        return (level + torch.log(0.5 / seen)).expand(logits.shape[1:])


class Sigmoid:
    """Binary cross-entropy of each output alone."""

    is_joint = False
    search_tolerance = 1e-7
    final_tolerance = 1e-10

    def respond(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def residual(self, response: Tensor, targets: Tensor) -> Tensor:
        return response - targets

    def bend(self, response: Tensor, targets: Tensor, turn: Tensor) -> Tensor:
        return (response - response.square()).mul_(turn).mul_(turn)

    def bound(self, num_outputs: int) -> float:
        return 0.25

    def curvature(self, response: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return ((response - response.square()) * weights).mean(dim=0)

    def silence(self, logits: Tensor, is_silent: Tensor) -> Tensor:
        return logits

    def rest(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        positives = (weights * targets).sum(dim=0)  # (K, P)
        negatives = (weights * (1.0 - targets)).sum(dim=0)
        return torch.log((positives + 0.5) / (negatives + 0.5))


class SquaredHinge:
    """max(0, 1 - sign * logit)^2 of each output alone: the linear support vector machine.

    Source: the default loss of LIBLINEAR (Fan et al., JMLR 2008, section 2), whose curvature is
    bounded, unlike that of the plain hinge.
    """

    is_joint = False
    search_tolerance = 1e-5
    final_tolerance = 1e-8

    def respond(self, logits: Tensor) -> Tensor:
        return logits

    def residual(self, response: Tensor, targets: Tensor) -> Tensor:
        signs = 2.0 * targets - 1.0
        return (1.0 - signs * response).clamp_min_(0.0).mul_(-2.0 * signs)

    def bend(self, response: Tensor, targets: Tensor, turn: Tensor) -> Tensor:
        is_inside = (2.0 * targets - 1.0) * response < 1.0
        return turn.square().mul_(is_inside).mul_(2.0)

    def bound(self, num_outputs: int) -> float:
        return 2.0

    def curvature(self, response: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        is_inside = (2.0 * targets - 1.0) * response < 1.0
        return 2.0 * (is_inside * weights).mean(dim=0)

    def silence(self, logits: Tensor, is_silent: Tensor) -> Tensor:
        return logits

    def rest(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The margin itself: +1 or -1, by which side the samples are on."""
        positives = (weights * targets).sum(dim=0)
        negatives = (weights * (1.0 - targets)).sum(dim=0)
        return torch.sign(positives - negatives)
