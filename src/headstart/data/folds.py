"""Folds of a cross-validation: groups stay whole, classes are spread evenly."""

from __future__ import annotations

import numpy as np

from headstart.errors import DataError


def sums_by_owner(targets: np.ndarray, owners: np.ndarray, num_owners: int) -> np.ndarray:
    """(num_owners, K) int32: the targets added up by owner."""
    sums = np.zeros((num_owners, targets.shape[1]), np.int32)
    rows, columns = np.nonzero(targets)
    np.add.at(sums, (owners[rows], columns), targets[rows, columns])
    return sums


def folds(targets: np.ndarray, groups: np.ndarray, *, num_folds: int, seed: int) -> np.ndarray:
    """A fold for each sample: groups stay whole, classes are spread evenly, sizes alike.

    Groups of several samples are placed first, the largest first, each where its classes are
    rarest so far. Single samples then level the folds class by class, the rarest class first.

    Args:
        targets: (n,) int class indices, or (n, K) 0/1 for multi-label.
        groups: (n,) samples with one number share a fold.
        num_folds: At least 2.
        seed: Any whole number that is not negative.

    Returns:
        (n,) int64, from 0 to num_folds - 1.

    Raises:
        DataError: There are fewer groups than folds.

    Source: Sechidis, Tsoumakas, Vlahavas 2011 (ECML PKDD), section 3.1, for the order of classes.

    Example:
        >>> int(folds(np.array([0, 0, 1, 1]), np.arange(4), num_folds=2, seed=0).sum())
        2
    """
    _, owners = np.unique(groups, return_inverse=True)
    sizes = np.bincount(owners)
    if num_folds < 2 or len(sizes) < num_folds:
        raise DataError(
            f"{len(sizes)} groups of samples cannot be put into {num_folds} folds. At least two "
            "folds and a group for each are needed: add samples, or ask for fewer folds."
        )
    if targets.ndim == 1:
        marks = np.zeros((len(targets), int(targets.max()) + 1), np.int8)
        marks[np.arange(len(targets)), targets] = 1
    else:
        marks = np.column_stack([targets > 0, ~(targets > 0).any(axis=1)]).astype(np.int8)
    rng = np.random.default_rng(seed)
    result = np.full(len(targets), -1, np.int64)
    counts = np.zeros((num_folds, marks.shape[1]), np.int64)
    loads = np.zeros(num_folds, np.int64)
    is_shared = sizes[owners] > 1
    if is_shared.any():
        units, unit_of = np.unique(owners[is_shared], return_inverse=True)
        sums = sums_by_owner(marks[is_shared], unit_of, len(units))
        result[is_shared] = _place(sums, sizes[units], marks.sum(axis=0), num_folds, rng)[unit_of]
        np.add.at(counts, result[is_shared], marks[is_shared])
        loads += np.bincount(result[is_shared], minlength=num_folds)
    for column in np.argsort(marks.sum(axis=0), kind="stable"):
        rows = rng.permutation(np.flatnonzero((result < 0) & (marks[:, column] > 0)))
        if len(rows):
            result[rows] = _level(counts[:, column], loads, len(rows))
            np.add.at(counts, result[rows], marks[rows])
            loads += np.bincount(result[rows], minlength=num_folds)
    return result


def _place(
    sums: np.ndarray,
    sizes: np.ndarray,
    total: np.ndarray,
    num_folds: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(num_groups,) the fold of each group of several samples.

    In plain Python: a group has one or two classes, for which a numpy call costs more than the sum.
    """
    order = rng.permutation(len(sums))
    order = order[np.argsort(-sizes[order], kind="stable")]
    members: list[list[tuple[int, int, float]]] = [[] for _ in sums]
    rows, columns = np.nonzero(sums)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        number = int(sums[row, column])
        members[row].append((column, number, number / int(total[column])))
    counts = [[0] * len(total) for _ in range(num_folds)]
    loads = [0] * num_folds
    placed = np.zeros(len(sums), np.int64)
    for unit in order.tolist():
        costs = [
            (sum(weight * of_fold[column] for column, _, weight in members[unit]), load)
            for of_fold, load in zip(counts, loads, strict=True)
        ]
        fold = costs.index(min(costs))
        for column, number, _ in members[unit]:
            counts[fold][column] += number
        loads[fold] += int(sizes[unit])
        placed[unit] = fold
    return placed


def _level(counts: np.ndarray, loads: np.ndarray, number: int) -> np.ndarray:
    """(number,) folds for new samples of a class, such that its counts become as level as can be.

    Args:
        counts: (num_folds,) samples of the class that each fold has.
        loads: (num_folds,) samples of all classes: of two folds that have as many of the class,
            the one with fewer in all comes first.
        number: How many samples to deal out.
    """
    rank = np.empty(len(loads))
    rank[np.argsort(loads, kind="stable")] = np.arange(len(loads)) / len(loads)
    slots = (counts + rank)[:, None] + np.arange(number)
    return np.asarray(np.argsort(slots, axis=None, kind="stable")[:number] // number)
