"""Batches of samples in their order, read ahead by threads: for evaluation, and for features.

Knows nothing of pictures: what turns a sample into a tensor is handed in.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from torch import Tensor

from headstart.contracts import Batch, Example, Sample
from headstart.data.stacking import (
    Prepare,
    as_example,
    check_at_least,
    go_together,
    has_room,
    stack,
    stack_targets,
)
from headstart.errors import DataError

_BATCHES_AHEAD = 4  # read before they are asked for: enough to even out slow files, and bounded


def eval_batches(
    samples: Sequence[Sample],
    *,
    prepare: Prepare,
    target: Callable[[Sample], Any] | None,
    batch_size: int,
    num_threads: int,
    on_error: Callable[[Sample, DataError], None] | None = None,
    most_pixels: int | None = None,
) -> Iterator[Batch]:
    """Batches in the order of `samples`, read by threads while the caller computes.

    Memory is bounded: some four batches are read ahead. Threads suffice because Pillow lets go of
    the interpreter while it decodes and resizes. Closing the iterator ends the threads.

    Args:
        samples: Any number of them.
        prepare: Called in the threads, so it must be thread-safe.
        target: A sample's class index, or its vector (num_classes,); None for no targets but those
            of examples.
        batch_size: Of all batches but the last, and those after which the size of inputs changes: a
            batch has one size, and all of its samples have targets or none has.
        num_threads: At least 1.
        on_error: Told of each sample that cannot be read, in order and in the caller's thread; the
            sample is left out and the next one takes its place. None: the error is raised.
        most_pixels: Of the inputs of a batch of more than one sample; None for no bound.

    Raises:
        ConfigError: `batch_size` or `num_threads` is below 1.
        DataError: While iterating, of the first unreadable sample, when `on_error` is None.

    Example:
        >>> from pathlib import Path
        >>> import torch
        >>> samples = [Sample(name, Path(name)) for name in "abc"]
        >>> batches = eval_batches(
        ...     samples,
        ...     prepare=lambda sample: torch.zeros(3, 2, 2),
        ...     target=None,
        ...     batch_size=2,
        ...     num_threads=1,
        ... )
        >>> [batch.ids for batch in batches]
        [('a', 'b'), ('c',)]
    """
    check_at_least(1, batch_size=batch_size, num_threads=num_threads)
    # Where samples may be large, as a bound of pixels tells, fewer of them.
    batches_ahead = _BATCHES_AHEAD if most_pixels is None else 1
    ahead = max(batches_ahead * batch_size, 2 * num_threads)
    reading = _read_ahead(samples, prepare=prepare, num_threads=num_threads, ahead=ahead)
    return _collect(
        reading,
        is_full=lambda row, num: num >= batch_size or not has_room(row, num, most_pixels),
        target=target,
        on_error=on_error,
    )


def _read_ahead(
    samples: Sequence[Sample], *, prepare: Prepare, num_threads: int, ahead: int
) -> Iterator[tuple[Sample, Future[Tensor | Example]]]:
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="headstart-read")
    try:
        rest = iter(samples)
        waiting = deque((s, pool.submit(prepare, s)) for s in islice(rest, ahead))
        while waiting:
            oldest = waiting.popleft()
            waiting.extend((s, pool.submit(prepare, s)) for s in islice(rest, 1))
            yield oldest
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(
    reading: Iterator[tuple[Sample, Future[Tensor | Example]]],
    *,
    is_full: Callable[[Example, int], bool],
    target: Callable[[Sample], Any] | None,
    on_error: Callable[[Sample, DataError], None] | None,
) -> Iterator[Batch]:
    """Batches of what was read; `is_full` is told a row and how many like it are in the batch."""
    samples: list[Sample] = []
    rows: list[Example] = []

    def batch() -> Batch:
        inputs, targets = stack(rows)
        if target is not None:
            targets = stack_targets([target(s) for s in samples])
        return Batch(tuple(s.id for s in samples), inputs=inputs, targets=targets)

    with contextlib.closing(reading):  # type: ignore[type-var]  # it is a generator
        for sample, future in reading:
            try:
                row = as_example(future.result())
            except DataError as error:
                if on_error is None:
                    raise
                on_error(sample, error)
                continue
            if rows and not go_together(rows[-1], row):
                yield batch()
                samples, rows = [], []
            samples.append(sample)
            rows.append(row)
            if is_full(row, len(rows)):
                yield batch()
                samples, rows = [], []
        if rows:
            yield batch()
