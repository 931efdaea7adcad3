"""Nearest neighbours on cached features: a probe that learns nothing, and shows what it goes by.

Neighbours vote with weights that fall with their distance on the unit sphere. k is chosen by
cross-validation from one pass over the similarities.

Source: Wu et al., "Unsupervised feature learning via non-parametric instance discrimination" (CVPR
2018), section 3.4, for cosine similarity, the weights exp(similarity / 0.07) and their use as a
measure of frozen features.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.errors import ConfigError
from headstart.strategies.linear_fit import LabelledFeatures, check_folds, label_features

# Odd values leave fewer ties; 200 is the greatest in Wu et al. 2018.
DEFAULT_KS: tuple[int, ...] = (1, 3, 5, 9, 15, 25, 50, 100, 200)
_TEMPERATURE = 0.07
# Votes are joined by this much of one neighbour's, spread evenly over the classes, so that no
# probability is 0: Laplace's rule (Manning et al., "Introduction to Information Retrieval", 2008,
# section 13.2).
_PRIOR_VOTES = 1.0
# Similarities held at once have at most this many elements, 64 MB.
_CHUNK_ELEMENTS = 2**24
_NUM_TIMED = 64


class KNNHead(nn.Module):
    """A head that compares features with those of the training samples.

    A neighbour's vote is exp((similarity - that of the nearest) / 0.07), so that the nearest has 1.

    Attributes:
        features: (n, num_features) float32 of the training samples, of length 1.
        targets: (n, num_classes) float32 of 0 and 1, the classes of each.
        is_multilabel: () bool; in the state, as it decides what the logits are.
        k: How many neighbours vote; all, when there are fewer.
    """

    features: Tensor
    targets: Tensor
    is_multilabel: Tensor

    def __init__(
        self, features: Tensor, targets: Tensor, *, k: int, is_multilabel: bool = False
    ) -> None:
        """From buffers as in the class docstring; `of` makes them from samples."""
        super().__init__()
        self.register_buffer("features", features)
        self.register_buffer("targets", targets)
        self.register_buffer("is_multilabel", torch.tensor(is_multilabel))
        self.k = k

    @classmethod
    def of(cls, features: Tensor, targets: Tensor, *, num_classes: int, k: int) -> KNNHead:
        """A head with these samples as neighbours.

        Args:
            features: (n, num_features) float, finite.
            targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
            num_classes: At least 2, or 1 for multi-label.
            k: How many neighbours vote.

        Raises:
            DataError: Shapes do not go together, a feature is not finite, or a target is no class.
            ConfigError: k is less than 1.

        Example:
            >>> features, targets = torch.tensor([[1.0, 0.1], [0.2, 1.0]]), torch.tensor([0, 1])
            >>> head = KNNHead.of(features, targets, num_classes=2, k=1)
            >>> head(torch.tensor([[0.0, 3.0]])).argmax(dim=1).item()
            1
        """
        (k,) = _check_ks([k])
        return cls._of(label_features(features, targets, num_classes=num_classes), num_classes, k=k)

    @classmethod
    def _of(cls, data: LabelledFeatures, num_classes: int, *, k: int) -> KNNHead:
        marks = data.targets
        if not data.is_multilabel:
            marks = F.one_hot(data.targets.long(), num_classes).float()
        unit = F.normalize(data.features, dim=1)
        return cls(unit, marks, k=k, is_multilabel=data.is_multilabel)

    def forward(self, features: Tensor) -> Tensor:
        """(B, num_classes) logits whose softmax (multi-label: sigmoid) is the share of the votes.

        Args:
            features: (B, num_features).
        """
        unit = F.normalize(features.float(), dim=1)
        count = min(self.k, len(self.features))
        similarity, index = (unit @ self.features.T).topk(count, dim=1)
        strength = _strength(similarity)  # (B, k)
        votes = (strength[:, :, None] * self.targets[index]).sum(dim=1)
        total = strength.sum(dim=1, keepdim=True)
        if bool(self.is_multilabel):
            return _logit_of_share(votes, total)
        return _log_of_share(votes, total)


@dataclass(frozen=True, eq=False)
class KNNCrossValidation:
    """What each k was worth on samples that were not among the neighbours.

    Attributes:
        ks: Ascending.
        log_loss: Mean over samples (multi-label: over samples and classes), one a k.
        accuracy: Share of samples (multi-label: of decisions) that were right, one a k.
        k: The one of least log loss.
        out_of_fold_logits: (n, num_classes) at `k`.
        head: With all samples as neighbours, and `k`.
    """

    ks: tuple[int, ...]
    log_loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    k: int
    out_of_fold_logits: Tensor
    head: KNNHead


def cross_validate_knn(
    features: Tensor,
    targets: Tensor,
    folds: Tensor,
    *,
    num_classes: int,
    ks: Sequence[int] = DEFAULT_KS,
) -> KNNCrossValidation:
    """The k of least log loss on unseen folds, and the head with it.

    Args:
        features: (n, num_features) float, finite.
        targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
        folds: (n,) int64; a sample's neighbours are sought in the other folds.
        num_classes: At least 2, or 1 for multi-label.
        ks: What to try; those beyond the neighbours that some fold leaves are left out.

    Raises:
        DataError: Shapes do not go together, a feature is not finite, a target is no class, or
            there are fewer than two folds.
        ConfigError: A k is less than 1.
    """
    tried = _check_ks(ks)
    data = label_features(features, targets, num_classes=num_classes)
    numbers = check_folds(folds, num_samples=len(data.features))
    fewest = min(int((folds != number).sum()) for number in numbers)
    tried = tuple(k for k in tried if k <= fewest) or (fewest,)
    head = KNNHead._of(data, num_classes, k=tried[-1])
    logits = data.features.new_empty(len(tried), len(folds), num_classes)
    for number in numbers:
        other = folds != number
        known, marks = head.features[other], head.targets[other]
        held_out = (~other).nonzero()[:, 0]
        for rows in torch.split(held_out, max(1, _CHUNK_ELEMENTS // len(known))):
            logits[:, rows] = _logits_by_k(head, rows, known=known, marks=marks, ks=tried)
    losses = tuple(float(data.losses(each).mean()) for each in logits)
    accuracies = tuple(data.accuracy(each) for each in logits)
    best = losses.index(min(losses))
    head.k = tried[best]
    return KNNCrossValidation(tried, losses, accuracies, tried[best], logits[best].clone(), head)


def seconds_to_compare(features: Tensor) -> float:
    """How long `cross_validate_knn` will take with features (n, num_features), about.

    Measured with a few of them; the time grows with the square of n.
    """
    n = len(features)
    some = features[: min(n, _NUM_TIMED)].float()
    started = time.monotonic()
    (some @ features.float().T).topk(min(n, DEFAULT_KS[-1]), dim=1)
    return (time.monotonic() - started) * n / max(1, len(some))


def _logits_by_k(
    head: KNNHead, rows: Tensor, *, known: Tensor, marks: Tensor, ks: Sequence[int]
) -> Tensor:
    """(num_ks, num_rows, num_classes) of the samples in `rows`.

    Args:
        head: With the features of all.
        rows: (num_rows,) their places.
        known: (m, num_features) among which neighbours are sought.
        marks: (m, num_classes) of these.
        ks: Ascending.
    """
    similarity, index = (head.features[rows] @ known.T).topk(ks[-1], dim=1)
    strength = _strength(similarity)
    share = _logit_of_share if bool(head.is_multilabel) else _log_of_share
    votes = marks.new_zeros(len(rows), marks.shape[1])
    logits, start = [], 0
    for k in ks:  # each adds the neighbours that the smaller ones did not have
        added = strength[:, start:k, None] * marks[index[:, start:k]]
        votes = votes + added.sum(dim=1)
        logits.append(share(votes, strength[:, :k].sum(dim=1, keepdim=True)))
        start = k
    return torch.stack(logits)


def _strength(similarity: Tensor) -> Tensor:
    """Votes (B, k) of neighbours, the nearest first."""
    return ((similarity - similarity[:, :1]) / _TEMPERATURE).exp()


def _log_of_share(votes: Tensor, total: Tensor) -> Tensor:
    """Logarithm of the smoothed share of each of the exclusive classes."""
    prior = _PRIOR_VOTES / votes.shape[1]
    return ((votes + prior) / (total + _PRIOR_VOTES)).log()


def _logit_of_share(votes: Tensor, total: Tensor) -> Tensor:
    """Log odds of the smoothed share of each class on its own."""
    prior = _PRIOR_VOTES / 2
    return (votes + prior).log() - ((total - votes).clamp_min(0.0) + prior).log()


def _check_ks(ks: Sequence[int]) -> tuple[int, ...]:
    if not ks or min(ks) < 1:
        raise ConfigError(f"k must be at least 1, not {list(ks)}. Try {DEFAULT_KS[2]}.")
    return tuple(sorted(set(ks)))
