"""Alarms from plain facts: collapsed features, pixels out of range, no better than trivial.

Each alarm is a Finding with what was measured and what to do. Knows no file, model or task; what
can be told from file headers alone (`sixteen-bit`, `float-values`) is found in `data.checks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.contracts import Finding
from headstart.errors import DataError

# Up to this share of its size a feature's spread may be rounding: bfloat16 has steps of up to
# 2 ** -7, and values on both sides of a step spread by half of it.
_ROUNDING = 2.0**-8
_MOSTLY = 0.5
_ALIKE = 0.999
# Directions that carry the spread of features: two or fewer for dozens of pictures is a collapse.
_FEW_DIRECTIONS = 2.0
_ENOUGH_PICTURES = 20
_MAX_PICTURES = 512
# Of the full range: pictures within 4 of 255 grey values of each other show nothing.
_NO_CONTRAST = 4 / 255
_BLACK, _WHITE = 4 / 255, 251 / 255
# When so large a share of the pictures is affected, it is how they were stored, not a few of them.
_SYSTEMATIC = 0.9
# Of 16 bits, what cameras and satellites fill: 10, 12 and 14.
_SENSOR_BITS = (10, 12, 14)
_LEVEL = 0.05


# What to look at where features tell nothing, by what the samples are.
_REMEDIES = {
    "picture": {
        "constant": "Look at the pictures with `headstart inspect`; if they differ, the weights "
        "are damaged or do not fit the input: pull them again, or choose another backbone.",
        "mostly": "Check that the pictures have the range and bands the backbone expects; else try "
        "another backbone.",
        "alike": "Check that the pictures are not all dark or cut alike (`headstart inspect`), and "
        "that their range is the one the backbone expects; else try another backbone.",
        "collapsed": "Check the range of the pictures and the weights (random ones do this); else "
        "try another backbone.",
    },
    "text": {
        "constant": "Look at the texts with `headstart inspect`; if they differ, the weights are "
        "damaged or of another tokenizer: pull them again, or choose another backbone.",
        "mostly": "Check that the texts are in a language that the backbone knows; else try "
        "another backbone.",
        "alike": "Check that the texts do not all begin alike, and are in a language that the "
        "backbone knows; else try another backbone.",
        "collapsed": "Check the column that was taken for the texts, and the weights (random ones "
        "do this); else try another backbone.",
    },
}
_COLLAPSED_TO = {
    "picture": "hardly more than brightness gets through",
    "text": "hardly more than their length gets through",
}


def check_features(features: Tensor, *, unit: str = "picture") -> tuple[Finding, ...]:
    """Whether features tell samples apart at all.

    Findings: `constant-features` (an error where all are, a warning where most are),
    `alike-features` (all samples point the same way), `collapsed-features` (they differ in one or
    two directions only). Nothing is said about fewer than two samples.

    Args:
        features: (n, num_features) float, finite, of different samples.
        unit: What a sample is called: `picture` or `text`.

    Source: rank collapse as the sign of a useless representation: Garrido et al., "RankMe" (ICML
    2023); the effective rank: Roy and Vetterli, "The effective rank" (EUSIPCO 2007).

    Example:
        >>> [finding.kind for finding in check_features(torch.ones(30, 8))]
        ['constant-features']
    """
    n, width = features.shape
    if n < 2:
        return ()
    remedies = _REMEDIES[unit]
    features = features.detach()[:: max(1, n // _MAX_PICTURES)].cpu().float()
    spread, size = features.std(dim=0, correction=0), features.abs().amax(dim=0)
    is_constant = spread <= _ROUNDING * size
    share = float(is_constant.float().mean())
    if share == 1.0:
        return (
            Finding(
                "constant-features",
                "error",
                f"All {width:,} features are the same for {n:,} {unit}s: the backbone does not "
                f"{'read' if unit == 'text' else 'see'} them.",
                remedies["constant"],
            ),
        )
    found = []
    if share > _MOSTLY:
        found.append(
            Finding(
                "constant-features",
                "warning",
                f"{share:.0%} of the {width:,} features are the same for all of {n:,} {unit}s.",
                remedies["mostly"],
            )
        )
    alike = _mean_cosine(features)
    directions = _effective_rank(features)
    if alike > _ALIKE:
        found.append(
            Finding(
                "alike-features",
                "warning",
                f"The features of all {n:,} {unit}s are nearly the same (mean cosine {alike:.4f}).",
                remedies["alike"],
            )
        )
    if n >= _ENOUGH_PICTURES and directions <= _FEW_DIRECTIONS:
        found.append(
            Finding(
                "collapsed-features",
                "warning",
                f"The {width:,} features of {n:,} {unit}s differ in {directions:.1f} directions "
                f"only: {_COLLAPSED_TO[unit]}.",
                remedies["collapsed"],
            )
        )
    return tuple(found)


def check_pixels(
    inputs: Tensor, ids: Sequence[str], *, scale: float, is_sixteen_bit: bool = False
) -> tuple[Finding, ...]:
    """Whether raw values have the range that the input contract counts on.

    Findings: `unit-range` (an error: nothing above 1 where the contract counts to `scale`),
    `unused-bits` (12-bit data in 16-bit files), `out-of-range`, `no-contrast` (pictures of one
    colour), each with the samples concerned.

    Args:
        inputs: (n, bands, H, W) uint8 or float, as given to the model, before it normalises them.
        ids: One a picture.
        scale: Of the input contract: 255 for 8-bit pictures.
        is_sixteen_bit: Whether all of the files have 16 bits, and were read as 8 (over 257).

    Raises:
        DataError: There is not one id a picture.

    Example:
        >>> floats = torch.rand(3, 3, 8, 8)
        >>> [finding.kind for finding in check_pixels(floats, ["a", "b", "c"], scale=255.0)]
        ['unit-range']
    """
    if inputs.ndim != 4 or len(inputs) != len(ids):
        raise DataError(
            f"Pictures of shape {tuple(inputs.shape)} and {len(ids)} ids do not go together. Give "
            "(n, bands, height, width) and one id a picture."
        )
    if not len(ids):
        return ()
    flat = inputs.detach().cpu().flatten(1)
    low, high = flat.amin(dim=1).double(), flat.amax(dim=1).double()
    top, bottom = float(high.max()), float(low.min())
    if not math.isfinite(top) or not math.isfinite(bottom) or top > scale * 1.001 or bottom < 0:
        is_out = ~((high <= scale * 1.001) & (low >= 0))
        return (
            Finding(
                "out-of-range",
                "error",
                f"Values run from {bottom:g} to {top:g}, but the weights expect 0 to {scale:g}.",
                f"Rescale the pictures to 0-{scale:g}; leave out what is no number.",
                _chosen(ids, is_out),
            ),
        )
    if 0.0 < top <= 1.0 < scale:
        return (
            Finding(
                "unit-range",
                "error",
                f"No value of {len(ids):,} pictures is above {top:g}, but the weights expect 0 to "
                f"{scale:g}: the pictures seem to be stored as 0 to 1.",
                f"Multiply them by {scale:g} and save them anew.",
                tuple(ids),
            ),
        )
    found = list(_unused_bits(top, ids, scale=scale)) if is_sixteen_bit else []
    return (
        *found,
        *_flat_pictures(flat, low, high, ids, scale=scale, is_dark_by_storage=bool(found)),
    )


def check_beats_baseline(
    is_right: NDArray[np.bool_],
    is_baseline_right: NDArray[np.bool_],
    *,
    groups: NDArray[np.integer] | None = None,
    looks_at: str = "colour and brightness alone",
) -> Finding | None:
    """A warning when the model is not clearly better than the trivial baseline, else None.

    Args:
        is_right: (n,) whether the model is right about each sample it had not seen.
        is_baseline_right: (n,) the same of the baseline, on the same samples.
        groups: (n,) samples of one group count as one, for whichever is right more often in it.
        looks_at: What the baseline goes by.

    Raises:
        DataError: The two are not about the same samples.

    Source: the exact one-sided McNemar test (a sign test on the samples where the two differ), at
    5%; Dietterich, "Approximate statistical tests for comparing supervised classification learning
    algorithms" (Neural Computation 1998).

    Example:
        >>> right, baseline = np.ones(50, bool), np.arange(50) < 45
        >>> check_beats_baseline(right, baseline) is None
        True
    """
    mine, theirs = np.asarray(is_right, dtype=bool), np.asarray(is_baseline_right, dtype=bool)
    if mine.shape != theirs.shape or mine.ndim != 1 or not len(mine):
        raise DataError(
            f"Answers of shape {mine.shape} and {theirs.shape} cannot be compared. Both must be "
            "about the same samples, at least one."
        )
    ahead = mine.astype(np.int64) - theirs
    if groups is not None:
        _, owners = np.unique(groups, return_inverse=True)
        ahead = np.bincount(owners, ahead).astype(np.int64)
    wins, losses = int((ahead > 0).sum()), int((ahead < 0).sum())
    chance = _sign_test(wins, losses)
    if chance < _LEVEL:
        return None
    noun = "samples" if len(ahead) == len(mine) else "groups"
    return Finding(
        "no-better-than-trivial",
        "warning",
        f"The model is not clearly better than a baseline on {looks_at}: "
        f"{mine.mean():.1%} against {theirs.mean():.1%} right, ahead on {wins:,} and behind on "
        f"{losses:,} of {len(ahead):,} {noun} (chance of that without a difference: {chance:.2f}).",
        f"Look whether {looks_at} may tell the classes apart, and whether the labels are right; "
        "then add samples or try another backbone.",
    )


# --- features ---------------------------------------------------------------------------------


def _mean_cosine(features: Tensor) -> float:
    """Mean cosine of all pairs of different rows."""
    unit = F.normalize(features, dim=1).double()
    n = len(unit)
    own = float(unit.square().sum())
    return (float(unit.sum(dim=0).square().sum()) - own) / (n * (n - 1))


def _effective_rank(features: Tensor) -> float:
    """exp of the entropy of the shares of variance along the principal directions.

    Source: Roy and Vetterli 2007, with variances for singular values.
    """
    centred = (features - features.mean(dim=0)).double()
    gram = centred @ centred.T
    shares = torch.linalg.eigvalsh(gram).clamp_min(0.0)
    shares = shares / shares.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.special.entr(shares).sum().exp())


# --- pixels -----------------------------------------------------------------------------------


def _unused_bits(top: float, ids: Sequence[str], *, scale: float) -> list[Finding]:
    """16-bit files of which only the lower bits are used, so that all pictures come out dark."""
    stored = top / scale * 65535  # rounding to 8 bits moves this by half a step at most
    half_a_step = 65535 / scale / 2
    for bits in _SENSOR_BITS:
        if stored <= 2**bits - 1 + half_a_step:
            return [
                Finding(
                    "unused-bits",
                    "warning",
                    f"16-bit pictures whose values end at about {stored:,.0f} of 65,535: they seem "
                    f"to hold {bits}-bit data, and come out {2 ** (16 - bits)} times too dark.",
                    f"Multiply all of them by {2 ** (16 - bits)} and save them anew.",
                    tuple(ids),
                )
            ]
    return []


def _flat_pictures(
    flat: Tensor,
    low: Tensor,
    high: Tensor,
    ids: Sequence[str],
    *,
    scale: float,
    is_dark_by_storage: bool,
) -> list[Finding]:
    """Pictures that show nothing: all black, all white, or of hardly any contrast."""
    # Between the 1st and 99th of 100 pixels: a dead pixel is no contrast.
    step = max(1, flat.shape[1] // 4096)
    few = flat[:, ::step].float().sort(dim=1).values
    edge = few.shape[1] // 100
    dark, bright = few[:, edge], few[:, few.shape[1] - 1 - edge]
    is_flat = (bright - dark) <= _NO_CONTRAST * scale
    if is_dark_by_storage or not bool(is_flat.any()):
        return []
    is_black = is_flat & (high <= _BLACK * scale)
    is_white = is_flat & (low >= _WHITE * scale)
    counts = {
        "black": int(is_black.sum()),
        "white": int(is_white.sum()),
        "of one tone": int((is_flat & ~is_black & ~is_white).sum()),
    }
    named = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)
    share = float(is_flat.float().mean())
    remedy = (
        "Nearly all are like that, so it is how they were stored or read: check their range."
        if share >= _SYSTEMATIC
        else "Look at them, and remove those that show nothing."
    )
    return [
        Finding(
            "no-contrast",
            "error" if share == 1.0 else "warning",
            f"{sum(counts.values()):,} of {len(ids):,} pictures show next to nothing: {named}.",
            remedy,
            _chosen(ids, is_flat),
        )
    ]


def _chosen(ids: Sequence[str], is_chosen: Tensor) -> tuple[str, ...]:
    return tuple(id_ for id_, chosen in zip(ids, is_chosen.tolist(), strict=True) if chosen)


# --- comparison -------------------------------------------------------------------------------


def _sign_test(wins: int, losses: int) -> float:
    """The chance of at least so many wins among wins and losses that are equally likely."""
    n = wins + losses
    # In logarithms, as 2 ** n overflows beyond a thousand.
    log_terms = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(wins, n + 1)
    ]
    return min(1.0, math.fsum(math.exp(term) for term in log_terms))
