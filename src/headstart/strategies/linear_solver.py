"""Many L2-penalised linear classifiers on the same features, solved together.

Every problem shares the features and differs in C and in the samples it may see (the folds of a
cross-validation). They are rotated once into the eigenvectors of the features' Gram matrix, where
the curvature bound of all of them is diagonal, and then minimised side by side by preconditioned
conjugate gradients: two matrix products a step serve every fold and every C. Knows nothing of how C
is chosen.

Source: the curvature bound: Böhning, "Multinomial logistic regression algorithm" (Ann. Inst.
Statist. Math. 1992). Conjugate gradients for this objective: Minka, "A comparison of numerical
optimizers for logistic regression" (2003). Times against scikit-learn: bench/logistic.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from headstart.strategies.linear_losses import LinearLoss
from headstart.strategies.linear_steering import Steering
from headstart.strategies.sparse_design import SparseDesign

# A line search ends when the slope fell to this share of the first one; conjugate gradients need a
# fairly exact search (Nocedal and Wright, "Numerical Optimization", 2006, section 3.1: 0.1).
_SLOPE_SHARE = 0.1
_MAX_TRIALS = 12
# After so many steps the curvature is taken anew: at the start all answers are equal, and soon most
# are decided. Measured on 5,452 questions in 6 classes, features of 1,152: 79 steps to the last fit
# instead of 144; more often, or later, is no better.
_STEERS_ANEW_AT = (3, 10)
# A feature is constant when it deviates by no more than float32 rounding of its size, or of what
# the middle one of all features deviates by. (Of MiniLM's 384 three are dead, of 1e-9 and less. A
# weight that makes them count is some 1e7, and the first step of fine-tuning then throws the loss
# from 0.4 to 500.)
_ROUNDING = 1e-6


class Solvable(Protocol):
    """What the solver needs of features: `RotatedFeatures`, or sparse ones as they are."""

    @property
    def design(self) -> Tensor | SparseDesign:
        """(n, r + 1), features and then a column of ones."""
        ...

    @property
    def gram(self) -> Tensor:
        """(r + 1,) the diagonal of `design.T @ design`: the solver steers by it alone."""
        ...


@dataclass(frozen=True, eq=False)
class RotatedFeatures:
    """Standardised features in the coordinates in which their Gram matrix is diagonal.

    Attributes:
        design: (n, r + 1) float32, rotated features and then a column of ones; r is the smaller of
            n and num_features.
        gram: (r + 1,) the diagonal of `design.T @ design`, which is 0 elsewhere or nearly.
        rotation: (num_features, r) with orthonormal columns: standardised features @ rotation is
            the design without its last column.
        mean: (num_features,) of the raw features.
        scale: (num_features,) standard deviation of the raw features; infinite for a constant one,
            whose weight is thereby 0.
    """

    design: Tensor
    gram: Tensor
    rotation: Tensor
    mean: Tensor
    scale: Tensor

    @property
    def basis(self) -> Tensor | None:
        """(num_features, num_features): what `rotate` can take for other samples; None if less."""
        is_whole = self.rotation.shape[0] == self.rotation.shape[1]
        return self.rotation if is_whole else None

    def to_raw(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and biases for raw features.

        Args:
            coefficients: (r + 1, K) for `design`, the biases last.

        Returns:
            (K, num_features) and (K,) float32.
        """
        exact = coefficients.double()
        weight = self.rotation.double() @ exact[:-1] / self.scale.double()[:, None]
        bias = exact[-1] - self.mean.double() @ weight
        return weight.T.float().contiguous(), bias.float()


def rotate(features: Tensor, *, basis: Tensor | None = None) -> RotatedFeatures:
    """Standardise features and rotate them.

    With fewer samples than features all solutions lie in the span of the samples, so that an
    orthonormal basis of it makes the problem n-dimensional without changing its solution.

    Args:
        features: (n, num_features) float, finite.
        basis: (num_features, num_features) orthonormal, of `RotatedFeatures.basis` of other samples
            of the same backbone: it spares the decomposition. Their Gram matrices differ little, so
            that this one is nearly diagonal, and any basis leads to the same solutions.

    Source: Hastie and Tibshirani, "Efficient quadratic regularization for expression arrays"
    (Biostatistics 2004), for the reduction to n dimensions.
    """
    features = features.detach().float()
    variance, mean = torch.var_mean(features, dim=0, correction=0)
    scale = variance.sqrt()
    size = features.abs().amax(dim=0).clamp(min=scale.median())
    scale = scale.masked_fill(scale <= _ROUNDING * size, torch.inf)
    standard = (features - mean) / scale
    standard -= standard.mean(dim=0)  # float32 sums leave a rest of the mean, which this removes
    n, width = standard.shape
    if basis is not None:
        rotation = basis.to(standard)
        design = standard @ rotation
    elif n < width:
        design, rotation = _rotate_rows(standard)
    else:
        # In float32, half the time of float64: what the basis lacks in precision costs no more than
        # a step, as its Gram matrix is only what the solver steers by.
        rotation = torch.linalg.eigh(standard.T @ standard)[1]
        design = standard @ rotation
    gram = design.square().sum(dim=0)
    return RotatedFeatures(
        design=torch.cat([design, standard.new_ones(n, 1)], dim=1),
        gram=torch.cat([gram, gram.new_full((1,), n)]),
        rotation=rotation,
        mean=mean,
        scale=scale,
    )


def _rotate_rows(standard: Tensor) -> tuple[Tensor, Tensor]:
    """Design and rotation of a matrix (n, width) with n < width.

    From the products of the samples, (n, n), in float64: ten times as fast as a QR decomposition of
    the whole. Directions that rounding made up are left out; no sample has a share in them.
    """
    wide = standard.double()
    squares, vectors = torch.linalg.eigh(wide @ wide.T)
    is_real = squares > squares.amax() * _ROUNDING**2
    squares, vectors = squares[is_real], vectors[:, is_real]
    lengths = squares.sqrt()
    rotation = wide.T @ (vectors / lengths)
    return (vectors * lengths).float(), rotation.float()


@dataclass(frozen=True, eq=False)
class Problems:
    """P linear classifiers with K outputs on the same n samples.

    Each minimises C * sum(sample weight * loss) + 0.5 * ||weights||^2, the bias unpenalised.

    Attributes:
        loss: What is summed.
        targets: (n, K) in 0..1; rows sum to 1 for softmax.
        weights: (n, 1, P), or (n, K, P) for a loss that takes its outputs one by one; 0 hides a
            sample from a problem.
        is_live: (K, P) bool; an output that is not live keeps weights of 0 and has no say in the
            others. Such is a class without a sample: its best bias would be minus infinity.
        Cs: (P,) positive.
    """

    loss: LinearLoss
    targets: Tensor
    weights: Tensor
    is_live: Tensor
    Cs: Tensor

    def only(self, index: Tensor) -> Problems:
        """Some of the problems."""
        weights, is_live = self.weights[:, :, index], self.is_live[:, index]
        return Problems(self.loss, self.targets, weights, is_live, self.Cs[index])

    def residual(self, response: Tensor) -> Tensor:
        """(n, K, P): derivative of the weighted loss by the logits."""
        residual = self.loss.residual(response, self.targets[:, :, None])
        return residual.mul_(self.weights).mul_(self.is_live)

    def bend(self, response: Tensor, turn: Tensor) -> Tensor:
        """(P,): second derivative of the weighted loss along `turn` (n, K, P) in the logits."""
        bend = self.loss.bend(response, self.targets[:, :, None], turn)
        return (bend * self.weights).sum(dim=(0, 1))


@dataclass(frozen=True, eq=False)
class Solutions:
    """Where the minimisation of P problems ended.

    Attributes:
        coefficients: (r + 1, K, P), the biases last.
        logits: (n, K, P) of every sample, also of those that a problem did not see.
        has_converged: (P,) bool.
        num_steps: Of the problem that took longest.
    """

    coefficients: Tensor
    logits: Tensor
    has_converged: Tensor
    num_steps: int

    def only(self, problem: int) -> Solutions:
        """That of one problem, P = 1."""
        own = slice(problem, problem + 1)
        coefficients, logits = self.coefficients[:, :, own], self.logits[:, :, own]
        return Solutions(coefficients, logits, self.has_converged[own], self.num_steps)


@dataclass(eq=False)
class _State:
    """Of the problems still active; the last dimension of each tensor is the problem."""

    coefficients: Tensor  # (r + 1, K, P)
    logits: Tensor  # (n, K, P)
    response: Tensor  # (n, K, P), what the loss derives its slope and bend from
    gradient: Tensor  # (r + 1, K, P)
    direction: Tensor  # (r + 1, K, P)
    decrement: Tensor  # (P,) gradient . preconditioned gradient

    def only(self, index: Tensor) -> _State:
        return _State(*(value[..., index] for value in vars(self).values()))


def minimise(
    features: Solvable,
    problems: Problems,
    *,
    tolerance: float,
    start: Tensor | None = None,
    max_steps: int = 1000,
) -> Solutions:
    """Solve all problems; those that are done leave the batch.

    Args:
        features: Of all of them.
        problems: What is minimised.
        tolerance: A problem has converged when the squared gradient, measured in the bound on the
            curvature, is below this times C times the summed sample weights: twice the decrease in
            mean loss that one more step at the bound is sure to bring.
        start: (r + 1, K, P) coefficients to begin with, such as those of problems alike; None: 0.
        max_steps: After so many the rest is returned as not converged.
    """
    state = _start(features.design, problems, start)
    coefficients, logits = torch.empty_like(state.coefficients), torch.empty_like(state.logits)
    has_converged = torch.zeros_like(problems.Cs, dtype=torch.bool)
    active = torch.arange(problems.Cs.numel(), device=has_converged.device)
    floor = tolerance * problems.Cs * problems.weights.mean(dim=1).sum(dim=0)
    steering = _steering(features, problems, state)
    _aim(state, steering, previous=None)
    step = 0
    while True:
        is_done = _decrease(features.gram, problems, state.gradient) <= floor
        has_converged[active[is_done]] = True
        is_last = step == max_steps or bool(is_done.all())
        if is_last or int(is_done.sum()) * 4 >= active.numel():
            leaving = torch.ones_like(is_done) if is_last else is_done
            coefficients[:, :, active[leaving]] = state.coefficients[:, :, leaving]
            logits[:, :, active[leaving]] = state.logits[:, :, leaving]
            if is_last:
                break
            active, floor = active[~is_done], floor[~is_done]
            state, problems = state.only(~is_done), problems.only(~is_done)
            steering = steering.only(~is_done)
        _advance(features.design, problems, state)
        previous: Tensor | None = state.gradient
        state.gradient = _gradient(features.design, problems, state)
        step += 1
        if step in _STEERS_ANEW_AT:
            steering, previous = _steering(features, problems, state), None
        _aim(state, steering, previous=previous)
    return Solutions(coefficients, logits, has_converged, step)


def _decrease(gram: Tensor, problems: Problems, gradient: Tensor) -> Tensor:
    """(P,): the squared gradient in the bound on the curvature.

    Source: Böhning 1992 for curvature = bound of the loss * Gram + ridge. It need not hold
    strictly, so that mean weights stand for the samples seen.
    """
    bound = problems.loss.bound(problems.targets.shape[1])
    seen = problems.weights.mean(dim=(0, 1))  # (P,)
    ridge = torch.ones_like(gram)
    ridge[-1] = 0.0  # the bias
    curvature = bound * gram[:, None] * (seen * problems.Cs) + ridge[:, None]
    return (gradient.square().sum(dim=1) / curvature).sum(dim=0)


def _steering(features: Solvable, problems: Problems, state: _State) -> Steering:
    return Steering.of(
        features.gram,
        problems.Cs,
        problems.loss,
        response=state.response,
        targets=problems.targets[:, :, None],
        weights=problems.weights * problems.is_live,
    )


def _start(
    design: Tensor | SparseDesign, problems: Problems, coefficients: Tensor | None
) -> _State:
    """At these coefficients, or all of them 0; outputs that are not live are out of the way."""
    if coefficients is None:
        num_outputs, num_problems = problems.is_live.shape
        coefficients = problems.weights.new_zeros(design.shape[1], num_outputs, num_problems)
        logits = problems.weights.new_zeros(design.shape[0], num_outputs, num_problems)
    else:
        coefficients = coefficients * problems.is_live
        product = _product(design, coefficients.flatten(1))
        logits = product.view(design.shape[0], *coefficients.shape[1:])
    logits = problems.loss.silence(logits, ~problems.is_live)
    state = _State(
        coefficients=coefficients,
        logits=logits,
        response=problems.loss.respond(logits),
        gradient=coefficients,
        direction=coefficients,
        decrement=problems.Cs,
    )
    state.gradient = _gradient(design, problems, state)
    return state


def _gradient(design: Tensor | SparseDesign, problems: Problems, state: _State) -> Tensor:
    residual = problems.residual(state.response)
    gradient = _product(design.T, residual.flatten(1)).view_as(state.coefficients)
    gradient *= problems.Cs
    gradient[:-1] += state.coefficients[:-1]
    return gradient


def _product(matrix: Tensor | SparseDesign, columns: Tensor) -> Tensor:
    """`matrix @ columns`, with the few columns laid out as rows.

    Matrix products on CPU are made for wide right-hand sides: with a matrix of 2,083 x 1,281 and 2
    columns this takes a tenth of the time, with 10 a quarter, with 20 and more the same.
    """
    if isinstance(matrix, SparseDesign):
        return matrix.times(columns)
    return (columns.T.contiguous() @ matrix.T).T.contiguous()


def _aim(state: _State, steering: Steering, *, previous: Tensor | None) -> None:
    """Set the next direction: conjugate to the last, or steepest descent where that leads up.

    Source: Polak and Ribière, restarted (Nocedal and Wright 2006, equations 5.44 and 5.45).
    """
    steepest = steering.apply(state.gradient)
    decrement = (state.gradient * steepest).sum(dim=(0, 1))
    if previous is None:
        state.direction = -steepest
    else:
        change = decrement - (previous * steepest).sum(dim=(0, 1))
        blend = (change / state.decrement.clamp_min(1e-30)).clamp_min(0.0)
        direction = blend * state.direction - steepest
        slope = (direction * state.gradient).sum(dim=(0, 1))
        state.direction = torch.where(slope < 0, direction, -steepest)
    state.decrement = decrement


def _advance(design: Tensor | SparseDesign, problems: Problems, state: _State) -> None:
    """Step to about the minimum along the direction, each problem on its own.

    Along a line the logits are linear in the step, so that a trial needs no matrix product. The
    objective is convex: slopes of different sign bracket its minimum, and Newton's method finds it.
    """
    turn = _product(design, state.direction.flatten(1)).view_as(state.logits)
    direction = state.direction[:-1]
    along = (state.coefficients[:-1] * direction).sum(dim=(0, 1))
    square = direction.square().sum(dim=(0, 1))
    slope = (state.gradient * state.direction).sum(dim=(0, 1))
    goal = _SLOPE_SHARE * slope.abs()
    low, high = torch.zeros_like(slope), torch.full_like(slope, torch.inf)
    steps, response, logits = low, state.response, state.logits
    for _ in range(_MAX_TRIALS):
        bend = problems.Cs * problems.bend(response, turn) + square
        newton = steps - slope / bend.clamp_min(1e-30)
        middle = torch.where(high.isinf(), 2.0 * low + 1.0, 0.5 * (low + high))
        guess = torch.where((newton > low) & (newton < high), newton, middle)
        steps = torch.where(slope.abs() > goal, guess, steps)
        logits = torch.addcmul(state.logits, turn, steps)
        response = problems.loss.respond(logits)
        residual = problems.residual(response).mul_(turn)
        slope = problems.Cs * residual.sum(dim=(0, 1)) + along + steps * square
        low = torch.where(slope < 0, steps, low)
        high = torch.where(slope > 0, steps, high)
        if bool((slope.abs() <= goal).all()):
            break
    state.logits, state.response = logits, response
    state.coefficients = torch.addcmul(state.coefficients, state.direction, steps)
