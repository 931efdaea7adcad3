"""Where the linear solver goes from a gradient: about the inverse of the curvature. No search.

The curvature of a linear classifier is taken for that of the features (diagonal, as they are
rotated) times that of the outputs, averaged over the samples. Of outputs that compete the latter is
a matrix: what raises all of them alike changes nothing, and what tells a rare class from the rest
little, so that one number for all would lead far too short a way.

Source: the product of two averages as a preconditioner: Martens and Grosse, "Optimizing neural
networks with Kronecker-factored approximate curvature" (ICML 2015), here for one layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.strategies.linear_losses import LinearLoss

# No output is taken to bend less than this share of the most that it could: samples that are all
# decided already would lead to steps without end.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True, eq=False)
class Steering:
    """An approximate inverse of the second derivative of P problems with K outputs.

    Attributes:
        inverse: (P, K, r + 1) positive, one over the curvature, the biases last.
        turn: (P, K, K) with orthonormal columns, in whose coordinates of the outputs `inverse` is
            diagonal; None where it is so already.
    """

    inverse: Tensor
    turn: Tensor | None

    @classmethod
    def of(
        cls,
        gram: Tensor,
        Cs: Tensor,  # noqa: N803 - the name it has in the field
        loss: LinearLoss,
        *,
        response: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> Steering:
        """At what the problems answer by now.

        Args:
            gram: (r + 1,) the diagonal of the features' Gram matrix.
            Cs: (P,) positive.
            loss: What is summed.
            response: (n, K, P) of `loss.respond`.
            targets: (n, K, 1) in 0..1.
            weights: (n, 1 or K, P) of the samples.
        """
        bends = loss.curvature(response, targets, weights)
        turn = None
        if bends.ndim == 3:  # the outputs compete
            values, vectors = torch.linalg.eigh(bends.double())
            bends, turn = values.to(gram).T, vectors.to(gram).contiguous()
        least = _LEAST_SHARE * loss.bound(targets.shape[1]) * weights.mean(dim=(0, 1))
        bends = torch.maximum(bends, least) * Cs
        curvature = bends.T[:, :, None] * gram
        curvature[:, :, :-1] += 1.0  # the ridge, which spares the biases
        return cls(1.0 / curvature, turn)

    def only(self, index: Tensor) -> Steering:
        """Of some of the problems."""
        return Steering(self.inverse[index], None if self.turn is None else self.turn[index])

    def apply(self, gradient: Tensor) -> Tensor:
        """(r + 1, K, P) from as many: the gradient times the inverse."""
        by_problem = gradient.permute(2, 1, 0)  # (P, K, r + 1)
        if self.turn is None:
            return (by_problem * self.inverse).permute(2, 1, 0).contiguous()
        turned = self.turn.transpose(1, 2) @ by_problem.contiguous()
        turned *= self.inverse
        return (self.turn @ turned).permute(2, 1, 0).contiguous()
