"""Suspect labels: those that the model, and the pictures most like them, confidently contradict.

Knows out-of-fold probabilities, labels and features; no files and no model.

Source: confident learning, Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty
in dataset labels" (JAIR 2021), here on the mean of two witnesses: the probabilities of a classifier
that had not seen the sample, and the vote of the sample's nearest neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# On the data of bench/suspects.py 5, 11 and 21 neighbours alone found 75, 83 and 84% of the labels
# flipped among ants and bees, and 99% of those among solar cells.
_NUM_NEIGHBOURS = 11
_TEMPERATURE = 0.07  # of the votes: Wu et al., "Unsupervised feature learning" (CVPR 2018), 3.4
_CHUNK_ELEMENTS = 2**24  # similarities held at once, 64 MB
_MAX_REFERENCE = 10_000  # neighbours are sought among so many samples, at most
# Of the errors that the majority class makes, the classifier must be spared so many before it may
# accuse a label: one without skill contradicts half of all labels. 48% are spared on the defects of
# solar cells, the hardest labels of bench/suspects.py.
_LEAST_SKILL = 0.2
# So many times as probable as the given class must another be. With up to 10% of labels flipped, 3
# loses at most 2% of the errors that 1 finds among ants and bees or mono and poly cells; and of 398
# right labels a classifier of 5 features accuses 12 at most (bench/suspects.py), with 1 up to 65.
_LEAST_ODDS = 3.0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that looks wrong.

    Attributes:
        index: Of the sample.
        given: Class indices as labelled: one; for multi-label any number.
        likely: Class indices that look right, of the same kind.
        score: How unlikely the given label is, 0 to 1.
    """

    index: int
    given: tuple[int, ...]
    likely: tuple[int, ...]
    score: float


@dataclass(frozen=True, eq=False)
class Suspects:
    """What was found among the labels.

    Attributes:
        found: The most suspicious first.
        num_expected: Estimate of how many labels are wrong. It may differ from the number found, as
            which labels they are is harder to say.
        scores: (n,) how unlikely the given label of each sample is, 0 to 1.
        note: Why none was looked for, or how; one sentence.
    """

    found: tuple[Suspect, ...]
    num_expected: float
    scores: Floats
    note: str


def find_suspects(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer] | NDArray[np.floating],
    *,
    features: Tensor | None = None,
    groups: NDArray[np.integer] | None = None,
) -> Suspects:
    """The labels that look wrong, and an estimate of how many are.

    A label is suspect when the sample is confidently of another class (its probability there is at
    least the mean of those that are labelled so), three times as likely as of its own.

    Args:
        probabilities: (n, K) of classifiers that had not seen the sample.
        labels: (n,) class indices, or (n, K) of 0 and 1 for multi-label.
        features: (n, num_features) float, finite; with them the neighbours have a say, which finds
            more (see bench/suspects.py). None goes without.
        groups: (n,) neighbours are sought in other groups, as copies share a wrong label.

    Raises:
        DataError: Shapes do not go together, or a probability is not finite.

    Example:
        >>> likely = np.array([[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 5)
        >>> labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
        >>> find_suspects(likely, labels).found
        (Suspect(index=4, given=(0,), likely=(1,), score=0.9),)
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    given = np.asarray(labels)
    _check(shares, given)
    marks = given.astype(np.float64) if given.ndim == 2 else np.eye(shares.shape[1])[given]
    if features is not None:
        shares = (shares + _votes(features, marks, groups)) / 2
    if given.ndim == 2:
        return _multilabel(shares, given > 0.5)
    return _single_label(shares, given.astype(np.int64))


def _single_label(shares: Floats, given: Integers) -> Suspects:
    scores = 1.0 - shares[np.arange(len(given)), given]
    if not _has_skill(shares.argmax(axis=1) == given, given):
        return Suspects((), 0.0, scores, _weak("the labels"))
    likely = _likely(shares, given)
    order = sorted(np.flatnonzero(likely != given), key=lambda i: (-scores[i], i))
    found = tuple(
        Suspect(int(i), (int(given[i]),), (int(likely[i]),), round(float(scores[i]), 6))
        for i in order
    )
    return Suspects(found, _num_expected(shares, given), scores, _told(len(found), len(given)))


def _multilabel(shares: Floats, given: NDArray[np.bool_]) -> Suspects:
    """Each class is a question of its own; a sample is as suspect as its worst answer.

    Source: Thyagarajan, Snorrason, Northcutt and Mueller, "Identifying incorrect annotations in
    multi-label classification data" (2022), for the classes one by one.
    """
    wrong = np.where(given, 1.0 - shares, shares)
    is_suspect = np.zeros_like(given)
    num_expected = 0.0
    num_weak = 0
    for column in range(given.shape[1]):
        truth = given[:, column].astype(np.int64)
        pair = np.column_stack([1.0 - shares[:, column], shares[:, column]])
        if not _has_skill(pair.argmax(axis=1) == truth, truth):
            num_weak += 1
            continue
        is_suspect[:, column] = _likely(pair, truth) != truth
        num_expected += _num_expected(pair, truth)
    worst = np.where(is_suspect, wrong, 0.0).max(axis=1)
    order = sorted(np.flatnonzero(is_suspect.any(axis=1)), key=lambda i: (-worst[i], i))
    likely = given ^ is_suspect
    found = tuple(
        Suspect(int(i), _places(given[i]), _places(likely[i]), round(float(worst[i]), 6))
        for i in order
    )
    if num_weak == given.shape[1]:
        note = _weak("the labels")
    else:
        note = _told(len(found), len(given))
        note += f" {_weak(f'{num_weak} of the classes')}" if num_weak else ""
    return Suspects(found, num_expected, wrong.max(axis=1), note)


def _told(num_found: int, n: int) -> str:
    return f"{num_found:,} of {n:,} labels look wrong to a classifier that had not seen them."


def _weak(what: str) -> str:
    return f"The classifier does too little better than the commonest answer to doubt {what} by it."


def _places(marks: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(marks).tolist())


def _check(shares: Floats, given: NDArray[np.generic]) -> None:
    expected = (len(shares),) if given.ndim == 1 else shares.shape
    if shares.ndim != 2 or not len(shares) or given.shape != expected:
        raise DataError(
            f"Probabilities of shape {shares.shape} and labels of shape {given.shape} do not go "
            "together. Labels must be (n,) class indices or (n, K) of 0 and 1 for (n, K) "
            "probabilities, n at least 1."
        )
    if not np.isfinite(shares).all() or shares.min() < 0 or shares.max() > 1 + 1e-6:
        raise DataError(
            f"Probabilities range from {shares.min()} to {shares.max()}, but must lie between 0 "
            "and 1. Give the softmax (multi-label: the sigmoid) of the logits."
        )
    if given.ndim == 1 and not 0 <= int(given.min()) <= int(given.max()) < shares.shape[1]:
        raise DataError(
            f"Labels range from {given.min()} to {given.max()}, but the probabilities have "
            f"{shares.shape[1]} classes. Check the list of classes."
        )


# --- confident learning -----------------------------------------------------------------------


def _confident(shares: Floats, given: Integers) -> Integers:
    """(n,) the class that a sample is confidently of, -1 where there is none.

    Source: Northcutt et al. 2021, equations 1 and 2: of the classes whose probability reaches its
    class's mean self-confidence, the most probable. Here it must also be clearly more probable
    than the given class, or nothing is said.
    """
    num_classes = shares.shape[1]
    counts = np.bincount(given, minlength=num_classes)
    own = np.bincount(given, shares[np.arange(len(given)), given], minlength=num_classes)
    # A class that no label names has no mean; nothing is confidently of it.
    thresholds = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    reached = np.where(shares >= thresholds, shares, -1.0)
    best = reached.argmax(axis=1)
    rows = np.arange(len(given))
    is_clear = (best == given) | (shares[rows, best] >= _LEAST_ODDS * shares[rows, given])
    return np.where((reached.max(axis=1) >= 0) & is_clear, best, -1)


def _likely(shares: Floats, given: Integers) -> Integers:
    """(n,) the class that contradicts a label; where there is none, the given one."""
    confident = _confident(shares, given)
    return np.where(confident >= 0, confident, given)


def _num_expected(shares: Floats, given: Integers) -> float:
    """How many labels are wrong, by the confident joint, scaled to the counts of the labels.

    Source: Northcutt et al. 2021, equation 3.
    """
    confident = _confident(shares, given)
    is_sure = confident >= 0
    num_classes = shares.shape[1]
    joint = np.zeros((num_classes, num_classes))
    np.add.at(joint, (given[is_sure], confident[is_sure]), 1.0)
    sure = joint.sum(axis=1)
    off_diagonal = (sure - np.diag(joint)) / np.maximum(sure, 1.0)
    return float((off_diagonal * np.bincount(given, minlength=num_classes)).sum())


def _has_skill(is_right: NDArray[np.bool_], given: Integers) -> bool:
    """Whether the classifier makes clearly fewer errors than the commonest class would."""
    trivial = 1.0 - np.bincount(given).max() / len(given)
    return bool((1.0 - is_right.mean()) < (1.0 - _LEAST_SKILL) * trivial)


# --- neighbours -------------------------------------------------------------------------------


def _votes(features: Tensor, marks: Floats, groups: NDArray[np.integer] | None) -> Floats:
    """(n, K) the share of a sample's neighbours that are labelled so, itself left out.

    A vote weighs exp((similarity - that of the nearest) / 0.07); one vote more is spread evenly.
    """
    if len(features) != len(marks) or (groups is not None and len(groups) != len(marks)):
        raise DataError(
            f"{len(features)} features and {len(marks)} labels do not go together. There must be "
            "a row of features (and a group) for each label."
        )
    unit = F.normalize(features.detach().float(), dim=1)
    owners = torch.arange(len(unit)) if groups is None else torch.as_tensor(np.asarray(groups))
    owners = owners.to(unit.device)
    asked = _reference(len(unit)).to(unit.device)
    targets = torch.from_numpy(marks).to(unit)[asked]
    k = min(_NUM_NEIGHBOURS, len(asked))
    result = torch.empty(marks.shape, dtype=torch.float32, device=unit.device)
    size = max(1, _CHUNK_ELEMENTS // len(asked))
    for rows in torch.split(torch.arange(len(unit), device=unit.device), size):
        similarity = unit[rows] @ unit[asked].T
        similarity[owners[rows, None] == owners[asked]] = -torch.inf
        nearest, index = similarity.topk(k, dim=1)
        weight = torch.nan_to_num(((nearest - nearest[:, :1]) / _TEMPERATURE).exp(), nan=0.0)
        sums = (weight[:, :, None] * targets[index]).sum(dim=1)
        total = weight.sum(dim=1, keepdim=True)
        result[rows] = (sums + 1.0 / marks.shape[1]) / (total + 1.0)
    return result.cpu().numpy().astype(np.float64)


def _reference(n: int) -> Tensor:
    """At most so many samples to seek neighbours among, at random, as classes may alternate."""
    if n <= _MAX_REFERENCE:
        return torch.arange(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:_MAX_REFERENCE]
