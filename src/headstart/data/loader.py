"""Batches of augmented samples for training, read by processes.

The order of an epoch and the randomness of each sample are pure functions of the seed, the epoch
and the sample: any number of workers, and a resumed run, give the same batches bit for bit.
Knows nothing of pictures: what turns a sample into a tensor is handed in.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from headstart.contracts import Batch, Example, Sample
from headstart.data.seeding import epoch_order, like_sized, seeded_for
from headstart.data.stacking import (
    Prepare,
    Stacked,
    as_example,
    check_at_least,
    stack,
    stack_targets,
)
from headstart.errors import ConfigError, DataError

__all__ = ["Prepare", "TrainLoader", "epoch_order", "number_of", "seeded_for"]


class _Draw(NamedTuple):
    """One row of a batch to be: see `seeded_for`."""

    epoch: int
    sample: int
    repeat: int


@dataclass(frozen=True)
class _Failure:
    """What went wrong in a worker, to be raised where the batch is asked for.

    Returned, not raised: DataLoader would put a traceback into the message.
    """

    error: DataError | ConfigError


@dataclass(frozen=True)
class _Examples:
    """The data set that the workers see; a whole batch is read by one of them."""

    samples: tuple[Sample, ...]
    prepare: Prepare
    seed: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, draws: Sequence[_Draw]) -> Stacked | _Failure:
        """(B, bands, H, W) of the dtype that `prepare` returns, and its targets if it has them."""
        rows: list[Example] = []
        for draw in draws:
            sample = self.samples[draw.sample]
            index = number_of(sample)
            with seeded_for(self.seed, epoch=draw.epoch, index=index, repeat=draw.repeat):
                try:
                    rows.append(as_example(self.prepare(sample)))
                except (DataError, ConfigError) as error:
                    return _Failure(error)
        return stack(rows)


def number_of(sample: Sample) -> int:
    """A number that is the sample's own, whichever others are loaded with it."""
    return int.from_bytes(hashlib.blake2b(sample.id.encode(), digest_size=8).digest())


class _Plan:
    """The batches of the epoch under way; DataLoader asks it anew for each epoch."""

    def __init__(self) -> None:
        self.batches: list[list[_Draw]] = []

    def __iter__(self) -> Iterator[list[_Draw]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class TrainLoader:
    """Shuffled batches of augmented samples, epoch by epoch, from worker processes.

    Each sample's randomness depends on (seed, epoch, sample) alone, and the order of an epoch on
    (seed, epoch): the batches are the same for any number of workers, and after a resume. The last
    batch may be smaller, but when a single sample would be left, it joins the batch before it:
    batch norm cannot learn from one, and with few samples none should be dropped.

    Workers are started by the first `batches`, with the platform's start method, and stay for all
    epochs. Under `spawn` and `forkserver`, `prepare` must be picklable.

    Args:
        samples: At least one.
        prepare: Loads and augments a sample; called in the workers, with the global generators
            seeded for this sample.
        targets: One a sample: class indices, or vectors (num_classes,). None where `prepare`
            returns examples that bring them; all of these must then be of one size.
        batch_size: At least 1.
        num_workers: Processes; with 0 samples are prepared in this one, when they are asked for.
        seed: Of the run.
        sample_weights: Draw samples with replacement, as often as these say; see `epoch_order`.
        repeats: How often a sample comes in an epoch, prepared anew each time.
        sizes: How large each sample is once prepared, where they differ: batches are then of
            samples of about one size, so that little is computed on padding. None: all are alike.

    Raises:
        ConfigError: A number is too small, or weights are wrong.
        DataError: There are no samples, or not one target and one size a sample.

    Example:
        >>> from pathlib import Path
        >>> samples = [Sample(name, Path(name)) for name in "abcde"]
        >>> loader = TrainLoader(
        ...     samples,
        ...     prepare=lambda sample: torch.rand(3, 2, 2),
        ...     targets=[0, 1, 0, 1, 0],
        ...     batch_size=2,
        ...     num_workers=0,
        ...     seed=0,
        ... )
        >>> [len(batch) for batch in loader.batches(epoch=0)]
        [2, 3]
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        prepare: Prepare,
        targets: Sequence[Any] | Tensor | None,
        batch_size: int,
        num_workers: int,
        seed: int,
        sample_weights: Sequence[float] | None = None,
        repeats: int = 1,
        sizes: Sequence[int] | None = None,
    ) -> None:
        check_at_least(1, batch_size=batch_size, repeats=repeats)
        check_at_least(0, num_workers=num_workers)
        num_targets = len(samples) if targets is None else len(targets)
        if not samples or num_targets != len(samples):
            raise DataError(
                f"There are {len(samples)} training samples and {num_targets} targets, but at "
                "least one sample and a target for each are needed. Check the labels and splits."
            )
        self._samples = tuple(samples)
        self._targets = None if targets is None else stack_targets(targets)
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._seed = seed
        if sizes is not None and len(sizes) != len(samples):
            raise DataError(f"{len(samples)} samples have {len(sizes)} sizes. Give one a sample.")
        self._sizes = None if sizes is None else np.asarray(sizes)
        self._weights = None if sample_weights is None else [*sample_weights] * repeats
        self._num_draws = repeats * len(samples)
        self._order(0)  # checks the weights now
        self._examples = _Examples(self._samples, prepare, seed)
        self._plan = _Plan()
        self._loader: Any = None
        self._active: Any = None

    def __len__(self) -> int:
        """Batches an epoch."""
        full, rest = divmod(self._num_draws, self._batch_size)
        return full + (rest > 1 or (rest == 1 and full == 0))

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch. Asking for them ends the iterator of an earlier call.

        Args:
            epoch: From 0.
            start: How many batches to leave out at the beginning, without loading them: those that
                an interrupted run has already seen.

        Raises:
            ConfigError: `start` is no batch of this epoch, or the augmentation returned no picture.
            DataError: While iterating, when a sample cannot be read; from worker processes, too.
        """
        if not 0 <= start <= len(self):
            raise ConfigError(
                f"Batch {start} was asked for as the first, but an epoch has {len(self)}. "
                "Resume with the data and the batch size that the run was started with."
            )
        self._end_active()
        plan = self._plan_of(epoch)[start:]
        self._active = self._assemble(plan, self._stacks(plan))
        return self._active  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the workers. A later `batches` starts new ones."""
        self._end_active()
        self._end_workers()

    def _end_workers(self) -> None:
        # Explicitly, though by a private method: left to the garbage collector, which may close the
        # queues first, each worker is waited for in vain (5 s).
        loader, self._loader = self._loader, None
        if loader is not None and loader._iterator is not None:
            loader._iterator._shutdown_workers()

    def _end_active(self) -> None:
        if self._active is not None:
            self._active.close()
            self._active = None

    def _plan_of(self, epoch: int) -> list[list[_Draw]]:
        order = self._order(epoch)
        starts = [i * self._batch_size for i in range(len(self))]
        batches = np.split(order, starts[1:])
        if self._sizes is not None:
            batches = like_sized(batches, self._sizes, seed=self._seed, epoch=epoch)
        seen: dict[int, int] = {}
        plan: list[list[_Draw]] = []
        for batch in batches:
            plan.append([])
            for index in batch.tolist():
                seen[index] = seen.get(index, -1) + 1
                plan[-1].append(_Draw(epoch, index, seen[index]))
        return plan

    def _order(self, epoch: int) -> np.ndarray:
        order = epoch_order(self._num_draws, seed=self._seed, epoch=epoch, weights=self._weights)
        return order % len(self._samples)

    def _stacks(self, plan: list[list[_Draw]]) -> Iterator[Stacked | _Failure]:
        if self._num_workers == 0 or not plan:
            return map(self._examples.__getitems__, plan)
        if self._loader is None:
            from torch.utils.data import DataLoader

            self._loader = DataLoader(
                self._examples,  # type: ignore[arg-type]  # map-style, by __getitems__
                batch_sampler=self._plan,  # of draws, not of indices
                num_workers=self._num_workers,
                collate_fn=_as_it_is,
                worker_init_fn=_leave_interrupts_to_parent,
                persistent_workers=True,
                # Its own, unused: else it would draw from the global one, which decides dropout.
                generator=torch.Generator(),
            )
        self._plan.batches = plan
        return iter(self._loader)

    def _assemble(
        self, plan: list[list[_Draw]], stacks: Iterator[Stacked | _Failure]
    ) -> Iterator[Batch]:
        for draws in plan:
            try:
                stacked = next(stacks)
                if isinstance(stacked, _Failure):
                    raise stacked.error
                targets = self._targets_of(draws, stacked)
            except BaseException:  # raised again: whoever handles it may not know of the workers
                self._end_workers()
                raise
            ids = tuple(self._samples[draw.sample].id for draw in draws)
            yield Batch(ids, inputs=stacked.inputs, targets=targets)

    def _targets_of(self, draws: Sequence[_Draw], stacked: Stacked) -> Tensor:
        if self._targets is not None:
            return self._targets[[draw.sample for draw in draws]]
        if stacked.targets is None:
            name = self._samples[draws[0].sample].id
            raise DataError(
                f"`{name}` has no mask, or was prepared without it, so there is nothing to learn "
                "from it. Fit to samples with masks only."
            )
        return stacked.targets


def _as_it_is(stack: Any) -> Any:
    return stack


def _leave_interrupts_to_parent(worker_id: int) -> None:
    # Ctrl-C reaches every process of the terminal; the parent saves its state and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
