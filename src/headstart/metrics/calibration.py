"""Whether stated confidence can be believed: reliability by bins, and a temperature that mends it.

Plain arrays; knows no model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.folds import folds
from headstart.errors import DataError
from headstart.metrics.classification import (
    NUM_BINS,
    ExclusiveAnswers,
    answers_of,
    bins_of,
)
from headstart.metrics.intervals import Floats, Integers, ratio_interval

# With fewer independent samples no temperature is tried: a half of five says nothing of the other.
FEWEST_UNITS = 10
# Where the search for a temperature ends; beyond, logits tell their classes apart without error.
_HOTTEST = 20.0


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of about the same confidence.

    Attributes:
        start: Lower end of the confidences of the bin, which it does not hold.
        stop: Upper end, which it holds.
        confidence: Mean of the answers in it.
        accuracy: Share of them that are right.
        low: Lower end of the 95% interval of the accuracy.
        high: Upper end.
        n: How many answers there are.
    """

    start: float
    stop: float
    confidence: float
    accuracy: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram.

    Attributes:
        bins: Those that have answers, the least confident first.
        ece: Expected calibration error: the mean gap of confidence and accuracy, by answers.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float

    def to_json(self) -> dict[str, Any]:
        """`{"ece": ..., "bins": [{"start", "stop", "confidence", "accuracy", ...}]}`."""
        return {"ece": self.ece, "bins": [asdict(one) for one in self.bins]}


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by before they become probabilities.

    Attributes:
        value: Over 1 makes them less sure, under 1 surer; 1 when it was not kept.
        log_loss_before: Of the logits as they are.
        log_loss_after: Of each half of the samples under the temperature fitted to the other.
        is_kept: Whether the latter is lower.
    """

    value: float
    log_loss_before: float
    log_loss_after: float
    is_kept: bool

    def to_json(self) -> dict[str, Any]:
        """All attributes by name."""
        return asdict(self)


def reliability(
    probabilities: NDArray[Any],
    truth: NDArray[Any],
    *,
    groups: Integers | None = None,
    num_bins: int = NUM_BINS,
) -> Reliability:
    """How often answers of each confidence are right.

    For single-label tasks an answer is the likeliest class with its probability; for multi-label
    ones each yes or no with its probability, from 0.5 on.

    Args:
        probabilities: (n, K).
        truth: (n,) class indices, or (n, K) of 0 and 1 for multi-label.
        groups: (n,) numbers; samples of one group are not independent of each other.
        num_bins: Bins of equal width from 0 to 1.

    Raises:
        DataError: As for `evaluate_single_label` and `evaluate_multilabel`.

    Source: DeGroot and Fienberg, "The comparison and evaluation of forecasters" (The Statistician
    1983); Guo et al., "On calibration of modern neural networks" (ICML 2017), section 2.
    """
    num_classes = probabilities.shape[-1]
    answers = answers_of(probabilities, truth, num_classes=num_classes, groups=groups)
    units = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if isinstance(answers, ExclusiveAnswers):
        confidence, is_right = probabilities.max(axis=1).astype(np.float64), answers.is_right
    else:
        sure = np.maximum(probabilities, 1 - probabilities)
        confidence = sure.ravel().astype(np.float64)
        is_right = (answers.is_predicted == answers.is_true).ravel().astype(np.float64)
        units = np.repeat(units, num_classes)
    places = bins_of(confidence, num_bins=num_bins)
    found, gap = [], 0.0
    for place in np.unique(places):
        members = places == place
        right, stated, n = is_right[members], confidence[members], int(members.sum())
        inside = np.unique(units[members], return_inverse=True)[1]
        low, high = ratio_interval(
            np.bincount(inside, right).astype(np.float64), np.bincount(inside).astype(np.float64)
        )
        gap += abs(float(right.sum() - stated.sum()))
        start = float(place) / num_bins
        stop = (float(place) + 1) / num_bins
        share = float(right.mean())
        found.append(ReliabilityBin(start, stop, float(stated.mean()), share, low, high, n))
    return Reliability(tuple(found), gap / len(confidence))


def fit_temperature(logits: Any, targets: Any, *, groups: Any = None, seed: int = 0) -> Temperature:
    """The temperature with the lowest log loss, kept only if it lowers log loss on unseen samples.

    Whether it does is judged by cross-fitting: each half of the samples (groups whole, classes
    alike) is measured under the temperature fitted to the other half.

    Args:
        logits: (n, K), out of fold: from models that did not learn from these samples. numpy or
            torch.
        targets: (n,) class indices, or (n, K) of 0 and 1 for multi-label, where each class is a
            yes or no.
        groups: (n,) numbers; samples of one group stay in one half.
        seed: Of the halves.

    Raises:
        DataError: Shapes do not fit, or a logit is not finite.

    Source: Guo et al., "On calibration of modern neural networks" (ICML 2017), section 4.2. Targets
    are smoothed by the rule of succession, so that logits without an error do not end at a
    temperature of 0: Platt, "Probabilistic outputs for support vector machines" (1999), section
    2.2.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.integers(2, size=400)
        >>> logits = np.eye(2)[truth] + rng.normal(size=(400, 2))
        >>> fit_temperature(6 * logits, truth).value > 3
        True
    """
    scores = _array(logits)
    wanted = _array(targets)
    is_multilabel = wanted.ndim == 2
    if scores.ndim != 2 or len(scores) != len(wanted) or not np.isfinite(scores).all():
        raise DataError(
            f"Logits of shape {scores.shape} with targets of shape {wanted.shape} give no "
            "temperature: there must be one row of finite logits a target. Predict in float32."
        )
    truth = wanted if is_multilabel else wanted.astype(np.int64)
    units = np.arange(len(scores)) if groups is None else _array(groups).astype(np.int64)
    before = _log_losses(scores, truth, beta=1.0)
    if len(np.unique(units)) < FEWEST_UNITS:
        loss = float(before.mean()) if len(before) else 0.0
        return Temperature(1.0, loss, loss, is_kept=False)
    half = folds(truth, units, num_folds=2, seed=seed)
    after = np.empty(len(scores))
    for part in (0, 1):
        other = half != part
        beta = _best_beta(scores[other], truth[other])
        after[half == part] = _log_losses(scores[half == part], truth[half == part], beta=beta)
    is_kept = bool(after.mean() < before.mean())
    value = 1 / _best_beta(scores, truth) if is_kept else 1.0
    return Temperature(value, float(before.mean()), float(after.mean()), is_kept)


def calibrated_log_loss(logits: Any, targets: Any) -> float:
    """The mean log loss under the one temperature that suits these answers best.

    What is left is how well the answers tell the classes apart, however sure they are. A network
    that is trained on goes on to tell them apart better while it becomes too sure, so that the log
    loss rises; the temperature mends that, and costs nothing to find.

    Args:
        logits: (n, K); numpy or torch.
        targets: (n,) class indices, or (n, K) of 0 and 1 for multi-label.

    Returns:
        The loss; NaN where a logit is not finite.

    Source: Guo et al. 2017, as `fit_temperature`; section 3, for the loss that rises.

    Example:
        >>> truth = np.array([0, 0, 1, 1])
        >>> logits = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> calibrated_log_loss(logits, truth) == calibrated_log_loss(logits * 9, truth)
        True
    """
    scores, wanted = _array(logits), _array(targets)
    if not np.isfinite(scores).all():
        return float("nan")
    truth = wanted if wanted.ndim == 2 else wanted.astype(np.int64)
    beta = _best_beta(scores, truth)
    return round(float(_log_losses(scores, truth, beta=beta).mean()), 9)


def _array(values: Any) -> Floats:
    """float64 from numpy or torch, wherever it lies."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def _log_losses(scores: Floats, truth: NDArray[Any], *, beta: float) -> Floats:
    """(n,) the log loss of each sample with its logits times beta."""
    scaled = beta * scores
    if truth.ndim == 2:
        return np.asarray((np.logaddexp(0.0, scaled) - truth * scaled).mean(axis=1))
    top = scaled.max(axis=1, keepdims=True)
    total = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0]
    return np.asarray(total - scaled[np.arange(len(truth)), truth])


def _best_beta(scores: Floats, truth: NDArray[Any]) -> float:
    """The inverse temperature with the lowest log loss on smoothed targets.

    Log loss is convex in it, so its slope has one zero: Newton's steps, kept within a bracket that
    shrinks, find it.
    """
    n = len(truth)
    slack = 1 / (n + 2)
    if truth.ndim == 2:
        smooth = truth * (1 - 2 * slack) + slack
        wanted = (smooth * scores).sum(axis=1)
    else:
        own = scores[np.arange(n), truth]
        rest = (scores.sum(axis=1) - own) / max(1, scores.shape[1] - 1)
        wanted = (1 - slack) * own + slack * rest
    low, high = 1 / _HOTTEST, _HOTTEST
    beta = 1.0
    for _ in range(100):
        slope, curvature = _slope(scores, beta, is_multilabel=truth.ndim == 2)
        slope -= float(wanted.mean())
        low, high = (beta, high) if slope < 0 else (low, beta)
        step = beta - slope / curvature if curvature > 0 else high
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - beta) < 1e-9 * beta:
            break
        beta = following
    return float(beta)


def _slope(scores: Floats, beta: float, *, is_multilabel: bool) -> tuple[float, float]:
    """Mean expected logit and its variance under the probabilities at beta."""
    scaled = beta * scores
    if is_multilabel:
        p = np.exp(-np.logaddexp(0.0, -scaled))
        expected = (p * scores).sum(axis=1)
        spread = (p * (1 - p) * np.square(scores)).sum(axis=1)
    else:
        p = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        expected = (p * scores).sum(axis=1)
        spread = (p * np.square(scores - expected[:, None])).sum(axis=1)
    return float(expected.mean()), float(spread.mean())
