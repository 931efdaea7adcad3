"""Strangers: pictures unlike those the model was fitted to, told by their distance to them.

The score of a picture is the distance of its features, scaled to length 1, to the k-th nearest
training features. It needs no labels and no second pass, and holds for any frozen backbone.

Source: Sun, Ming, Zhu and Li, "Out-of-distribution detection with deep nearest neighbors" (ICML
2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import DataError, RunError

# Of bench/ood.py with 245 photos: AUROC 0.990, 0.999 and 0.999 with k of 1, 5 and 10, and 70, 97
# and 98% of strangers flagged. Few samples have no ten of a kind.
DEFAULT_K = 10
_LEAST_SHARE_OF_K = 20
DEFAULT_QUANTILE = 0.99
# Features kept, at most: 5,000 of length 1,280 are 13 MB in the run, and a picture is compared with
# them in about a millisecond. Sun et al. 2022 (section 4.3) lose little with 1% of ImageNet.
MAX_REFERENCE = 5000
# Of those kept, the share that is chosen for lying furthest from the others, so that rare kinds of
# pictures are not lost.
_OUTLYING_SHARE = 0.2
# The training samples whose own scores set the threshold, at most.
_MAX_CALIBRATION = 5000
# Similarities held at once have at most this many elements, 64 MB.
_CHUNK_ELEMENTS = 2**24


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The training features that new ones are compared with.

    Attributes:
        reference: (m, num_features) float16, of length 1.
        k: The distance to which neighbour counts.
        threshold: What is further away is a stranger.
        quantile: The share of familiar pictures that lie within the threshold.
    """

    reference: Tensor
    k: int
    threshold: float
    quantile: float = DEFAULT_QUANTILE

    @classmethod
    def of(
        cls,
        features: Tensor,
        *,
        groups: Tensor | None = None,
        k: int | None = None,
        quantile: float = DEFAULT_QUANTILE,
        max_reference: int = MAX_REFERENCE,
        seed: int = 0,
    ) -> Neighbourhood:
        """The neighbourhood of training samples; its threshold is set by their own scores.

        A sample's own score leaves out the sample itself and its group, whose pictures are more
        alike than new ones will be.

        Args:
            features: (n, num_features) float, finite.
            groups: (n,) int64; None has each sample be one of its own.
            k: None takes 10, and less than that for fewer than 200 samples: a twentieth of them.
            quantile: The share of familiar pictures that the threshold lets pass.
            max_reference: Features kept.
            seed: Of the choice of those.

        Raises:
            DataError: There are fewer than two groups, or a feature is not finite.

        Example:
            >>> familiar = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) + 2
            >>> near = Neighbourhood.of(familiar)
            >>> near.is_stranger(near.scores(-familiar[:3])).tolist()
            [True, True, True]
        """
        unit = _unit(features)
        owners = torch.arange(len(unit)) if groups is None else groups.to("cpu")
        _check(unit, owners)
        kept = _representatives(unit, max_reference, seed=seed)
        # In float16 from here on, so that a loaded neighbourhood gives the same scores.
        reference = unit[kept].half()
        wanted = usual_k(len(unit)) if k is None else k
        judged = _some(len(unit), _MAX_CALIBRATION, seed=seed)
        fewest = len(kept) - int(torch.unique(owners[kept], return_counts=True)[1].max())
        near = cls(reference, max(1, min(wanted, fewest)), float("inf"), quantile)
        own = near._scores(unit[judged], owners[judged], owners[kept])
        return replace(near, threshold=upper_quantile(own, quantile))

    def judged_by(self, scores: Tensor) -> Neighbourhood:
        """The same, its threshold set by scores of familiar samples.

        Args:
            scores: (m,) float, of samples that the backbone and the reference had not seen.

        Raises:
            DataError: There is none.
        """
        return replace(self, threshold=upper_quantile(scores, self.quantile))

    def calibrated(self, features: Tensor) -> Neighbourhood:
        """The same, its threshold set by pictures that were held out.

        Better than the training samples' own scores where there are enough of them: for the 99%
        quantile, 100 at least.

        Args:
            features: (m, num_features) float, of familiar pictures that are not in the reference.

        Raises:
            DataError: There is none, or a feature is not finite.
        """
        return self.judged_by(self.scores(features))

    def scores(self, features: Tensor) -> Tensor:
        """(m,) float32 distances to the k-th nearest reference, between 0 and 2.

        Args:
            features: (m, num_features) float, on the device of the reference or another.

        Raises:
            DataError: The features have another length, or one is not finite.
        """
        if features.ndim != 2 or features.shape[1] != self.reference.shape[1]:
            raise DataError(
                f"Features of shape {tuple(features.shape)} cannot be compared with training "
                f"features of length {self.reference.shape[1]}. Compute them with the backbone of "
                "the run."
            )
        return self._scores(_unit(features.to(self.reference.device)))

    def is_stranger(self, scores: Tensor) -> Tensor:
        """(m,) bool: which scores (m,) lie beyond the threshold."""
        return scores > self.threshold

    def state(self) -> dict[str, Tensor]:
        """Tensors that `from_state` reads back, for a safetensors file."""
        return {
            "reference": self.reference,
            "k": torch.tensor(self.k),
            "threshold": torch.tensor(self.threshold, dtype=torch.float64),
            "quantile": torch.tensor(self.quantile, dtype=torch.float64),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Neighbourhood:
        """The neighbourhood that `state` wrote.

        Raises:
            RunError: Something of it is missing.
        """
        missing = [
            name for name in ("reference", "k", "threshold", "quantile") if name not in state
        ]
        if missing:
            raise RunError(
                f"The training features of the run have no {', '.join(missing)}, but reference, k, "
                "threshold and quantile are needed. Fit anew."
            )
        return cls(
            state["reference"],
            int(state["k"]),
            float(state["threshold"]),
            float(state["quantile"]),
        )

    def described(self) -> dict[str, Any]:
        """What the report tells of it."""
        return {"threshold": self.threshold, "k": self.k}

    def to(self, device: torch.device | str) -> Neighbourhood:
        """The same on another device."""
        return replace(self, reference=self.reference.to(device))

    def _scores(
        self, unit: Tensor, owners: Tensor | None = None, reference_owners: Tensor | None = None
    ) -> Tensor:
        """Scores of unit features (m, d); reference features of the same owner are left out."""
        reference = self.reference.float()
        k = min(self.k, len(reference))
        scores = unit.new_empty(len(unit))
        for rows in _chunks(len(unit), len(reference)):
            similarity = unit[rows] @ reference.T
            if owners is not None and reference_owners is not None:
                is_own = owners[rows, None] == reference_owners[None, :]
                similarity.masked_fill_(is_own.to(similarity.device), -1.0)
            scores[rows] = similarity.topk(k, dim=1).values[:, -1]
        # |a - b|^2 = 2 - 2 a.b for features of length 1
        return (2 - 2 * scores).clamp_min(0.0).sqrt()


def _unit(features: Tensor) -> Tensor:
    features = features.detach().float()
    bad = (~torch.isfinite(features)).any(dim=1).nonzero()[:, 0].tolist()
    if bad:
        raise DataError(
            f"{len(bad)} of {len(features)} samples have features that are not finite (rows "
            f"{', '.join(map(str, bad[:5]))}). A distance needs finite numbers. Fit anew in "
            "float32 (--precision float32)."
        )
    return F.normalize(features, dim=1)


def _check(unit: Tensor, owners: Tensor) -> None:
    num_groups = len(torch.unique(owners))
    if len(owners) != len(unit) or num_groups < 2:
        raise DataError(
            f"{len(unit)} samples in {num_groups} groups have no neighbours to be measured by. At "
            "least two groups are needed, and a group for each sample."
        )


def _some(n: int, most: int, *, seed: int) -> Tensor:
    """At most so many of n indices, at random, ascending."""
    if n <= most:
        return torch.arange(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order[:most].sort().values


def _representatives(unit: Tensor, most: int, *, seed: int) -> Tensor:
    """Indices of the features to keep: a random part, and those that lie furthest from it."""
    if len(unit) <= most:
        return torch.arange(len(unit))
    num_outlying = int(most * _OUTLYING_SHARE)
    core = _some(len(unit), most - num_outlying, seed=seed)
    nearest = unit.new_empty(len(unit))
    for rows in _chunks(len(unit), len(core)):
        nearest[rows] = (unit[rows] @ unit[core].T).amax(dim=1)
    nearest[core] = 2.0
    outlying = nearest.topk(num_outlying, largest=False).indices.cpu()
    return torch.cat([core, outlying]).sort().values


def _chunks(n: int, width: int) -> Iterator[slice]:
    size = max(1, _CHUNK_ELEMENTS // max(width, 1))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def usual_k(num_samples: int) -> int:
    """To which neighbour distances count among so many training samples."""
    return max(1, min(DEFAULT_K, num_samples // _LEAST_SHARE_OF_K))


def upper_quantile(scores: Tensor, quantile: float) -> float:
    """The score that a new familiar picture exceeds with a chance of at most 1 - quantile.

    Of n scores the ceil((n + 1) * quantile)-th smallest; the largest where n is too small for that.

    Source: the quantile of split conformal prediction (Lei et al., "Distribution-free predictive
    inference for regression", JASA 2018, section 2.2).
    """
    if not len(scores):
        raise DataError("There are no held-out features to set the threshold by. Give some.")
    place = min(len(scores), math.ceil((len(scores) + 1) * quantile))
    return float(scores.sort().values[place - 1])
