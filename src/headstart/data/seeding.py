"""What is random in an epoch, and how it is decided: its order, and the changes of each sample.

Both are pure functions of the seed, the epoch and the sample, so that any number of workers, and a
resumed run, draw alike. Knows nothing of what the numbers are used for.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np

from headstart.errors import ConfigError

# No two uses of one seed draw the same numbers: each has a stream of its own. All of an epoch are
# here, those of `mixing` and `class_batches`, too.
_ORDER_STREAM, _SAMPLE_STREAM, _BATCH_STREAM = 1, 2, 4
MIXING_STREAM, CLASS_STREAM = 3, 5
# Batches whose samples are sorted together. The fewer, the more do batches differ from epoch to
# epoch. TREC and SST-2 in batches of 32 have, with their padding, 1.92 and 2.08 times the tokens of
# the texts with 1, 1.16 with 8, 1.09 and 1.08 with 16, 1.03 with 50 (our measurement).
_BATCHES_AT_ONCE = 16


def epoch_order(
    num_samples: int, *, seed: int, epoch: int, weights: Sequence[float] | None = None
) -> np.ndarray:
    """The order of an epoch, a pure function of its arguments.

    Args:
        num_samples: How many there are, and how many an epoch has.
        seed: Of the run.
        epoch: From 0.
        weights: How often to draw each sample, relative to the others; samples are then drawn with
            replacement. None: each sample comes exactly once.

    Returns:
        (num_samples,) int64, indices of samples.

    Raises:
        ConfigError: The weights are not one a sample, or not numbers of at least 0, some above.

    Example:
        >>> sorted(epoch_order(4, seed=0, epoch=0).tolist())
        [0, 1, 2, 3]
    """
    rng = np.random.default_rng([_ORDER_STREAM, seed, epoch])
    if weights is None:
        return rng.permutation(num_samples)
    shares = np.asarray(weights, dtype=np.float64)
    if shares.shape != (num_samples,):
        raise ConfigError(
            f"The sampling weights have shape {shares.shape} for {num_samples} samples. "
            "Give one weight a sample."
        )
    if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
        raise ConfigError(
            "The sampling weights must be finite, at least 0, and above 0 for some sample, but "
            f"range from {shares.min():g} to {shares.max():g}. Correct them."
        )
    return rng.choice(num_samples, size=num_samples, p=shares / shares.sum())


def like_sized(
    batches: Sequence[np.ndarray], sizes: np.ndarray, *, seed: int, epoch: int
) -> list[np.ndarray]:
    """The samples of an epoch in other batches, each of samples of about one size.

    As many batches of as many samples, in mixed order; a pure function of its arguments.

    Args:
        batches: Of indices of samples, as they were drawn.
        sizes: (num_samples,) of each sample.
        seed: Of the run.
        epoch: From 0.

    Example:
        >>> drawn = [np.array([0, 1]), np.array([2, 3])]
        >>> found = like_sized(drawn, np.array([9, 5, 4, 9]), seed=0, epoch=0)
        >>> sorted(sorted(batch.tolist()) for batch in found)
        [[0, 3], [1, 2]]
    """
    found = []
    for start in range(0, len(batches), _BATCHES_AT_ONCE):
        some = batches[start : start + _BATCHES_AT_ONCE]
        drawn = np.concatenate(some)
        by_size = drawn[np.argsort(sizes[drawn], kind="stable")]
        found += np.split(by_size, np.cumsum([len(batch) for batch in some])[:-1])
    rng = np.random.default_rng([_BATCH_STREAM, seed, epoch])
    return [found[place] for place in rng.permutation(len(found))]


@contextlib.contextmanager
def seeded_for(seed: int, *, epoch: int, index: int, repeat: int = 0) -> Iterator[None]:
    """Inside, the global generators of torch (CPU), numpy and `random` are this sample's own.

    They depend on the arguments alone, and are as they were before on leaving.

    Args:
        seed: Of the run.
        epoch: From 0.
        index: A number that is the sample's own.
        repeat: How often the sample has come before in this epoch, when it is drawn repeatedly.

    Source: numpy's SeedSequence mixes the numbers, so that neighbours are unrelated (O'Neill 2015,
    "Developing a seed_seq alternative").
    """
    import torch

    words = np.random.SeedSequence([_SAMPLE_STREAM, seed, epoch, index, repeat]).generate_state(4)
    first, second, high, low = (int(word) for word in words)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = torch.default_generator.get_state()
    try:
        random.seed(first)
        np.random.seed(second)
        # Not torch.manual_seed: that would disturb the generators of the GPUs as well.
        torch.default_generator.manual_seed((high << 32) | low)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.default_generator.set_state(torch_state)
