"""Batches in which every sample has others of its class beside it, and others of other classes.

What a batch holds is a pure function of the seed, the epoch and its number, so that a resumed run
sees the same. Knows numbers of samples and of classes, and nothing of what they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from headstart.contracts import Batch
from headstart.data.seeding import CLASS_STREAM
from headstart.errors import ConfigError, DataError

# Of two samples of a class each is the other's like; one alone would have none.
_LEAST_OF_A_CLASS = 2
# Two of each of two classes: with fewer, a batch would have likes alone, or none.
LEAST_IN_A_BATCH = 2 * _LEAST_OF_A_CLASS


class ClassBatches:
    """Training batches that are drawn class by class, a given number of them an epoch.

    The classes of a batch have about as many samples each. Where there are more classes than a
    batch has room for, they take turns, and so do the samples of a class: none comes twice in a
    batch, nor again before the others of its class.

    Args:
        ids: One a sample.
        classes: The samples of each class, by their places in `ids`; a sample with several labels
            is in several of them.
        read: Places -> inputs (B, ...) as in batches, and their targets (B, ...).
        batch_size: How many samples a batch holds, at the most and about.
        num_batches: Of an epoch.
        seed: Of the run.

    Raises:
        ConfigError: A number is too small.
        DataError: There are too few samples, fewer than two classes have any, or no class has two.

    Example:
        >>> import torch
        >>> batches = ClassBatches(
        ...     list("abcdef"),
        ...     classes=[[0, 1, 2], [3, 4, 5]],
        ...     read=lambda places: (torch.tensor(places), torch.tensor(places) // 3),
        ...     batch_size=4,
        ...     num_batches=3,
        ...     seed=0,
        ... )
        >>> [sorted(batch.targets.tolist()) for batch in batches.batches(epoch=0)]
        [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    """

    def __init__(
        self,
        ids: Sequence[str],
        *,
        classes: Sequence[Sequence[int]],
        read: Callable[[Sequence[int]], tuple[Tensor, Tensor]],
        batch_size: int,
        num_batches: int,
        seed: int,
    ) -> None:
        if len(ids) < LEAST_IN_A_BATCH:
            raise DataError(
                f"{len(ids)} samples are too few for pairs within a class and between classes, "
                f"which need {LEAST_IN_A_BATCH} at least. Add samples, or take --strategy probe."
            )
        if batch_size < LEAST_IN_A_BATCH or num_batches < 1:
            raise ConfigError(
                f"{num_batches} batches of {batch_size} samples were asked for, but pairs within "
                f"a class and between classes need batches of at least {LEAST_IN_A_BATCH}, and one "
                "batch. Raise --batch-size."
            )
        self._classes = [list(places) for places in classes if places]
        if len(self._classes) < 2 or max(map(len, self._classes)) < _LEAST_OF_A_CLASS:
            raise DataError(
                f"{len(self._classes)} classes have samples, with at most "
                f"{max(map(len, self._classes), default=0)} each, but pairs within a class and "
                "between classes need two classes, and two samples of one. Add samples, or take "
                "--strategy probe."
            )
        self._ids = tuple(ids)
        self._read = read
        self._batch_size = batch_size
        self._num_batches = num_batches
        self._seed = seed

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._num_batches

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, without the first `start`, which are not read."""
        for places in self.plan(epoch)[start:]:
            inputs, targets = self._read(places)
            yield Batch(tuple(self._ids[i] for i in places), inputs=inputs, targets=targets)

    def close(self) -> None:
        """Nothing is held open."""

    def plan(self, epoch: int) -> list[list[int]]:
        """Which samples the batches of an epoch hold, by their places."""
        rng = np.random.default_rng([CLASS_STREAM, self._seed, epoch])
        num_classes = min(len(self._classes), self._batch_size // _LEAST_OF_A_CLASS)
        each, more = divmod(self._batch_size, num_classes)
        turns = _Turns(range(len(self._classes)), rng)
        samples = [_Turns(places, rng) for places in self._classes]
        plan = []
        for _ in range(self._num_batches):
            chosen: dict[int, None] = {}  # in order, each once though it may be of several classes
            for number, turn in enumerate(turns.take(num_classes)):
                chosen.update(dict.fromkeys(samples[turn].take(each + (number < more))))
            plan.append(list(chosen))
        return plan


class _Turns:
    """Gives its members in a mixed order, all of them before any comes again."""

    def __init__(self, members: Sequence[int], rng: np.random.Generator) -> None:
        self._members = list(members)
        self._rng = rng
        self._waiting: list[int] = []

    def take(self, num: int) -> list[int]:
        """Different ones, as many as asked for or as there are."""
        num = min(num, len(self._members))
        taken = self._waiting[:num]
        self._waiting = self._waiting[num:]
        if len(taken) < num:
            mixed = [int(i) for i in self._rng.permutation(self._members)]
            # Those that were taken just now come last, so that none is twice in one batch.
            fresh = [i for i in mixed if i not in taken] + [i for i in mixed if i in taken]
            missing = num - len(taken)
            taken, self._waiting = taken + fresh[:missing], fresh[missing:]
        return taken
