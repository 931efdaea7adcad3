"""The feature cache: content-addressed, append-only, shared by all strategies.

A frozen backbone is run over each picture once, and never again. The key of a table is the weights,
the input contract, the compute format and the view; within it a row is found by the sha256 of the
file. Segments are only ever added, each written whole under a name of its own, so that any number
of processes may use one cache at once and a killed pass keeps what it had done.

Knows tensors and digests, nothing of models, tasks or strategies.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart import cache
from headstart.atomic import replacing
from headstart.contracts import Batch
from headstart.data.loader import epoch_order
from headstart.progress import Progress
from headstart.tensor_files import write_tensors

# A segment is written at least so often, so that a killed pass loses no more than that.
SEGMENT_SECONDS = 20.0


class FeatureCache:
    """The rows of one key.

    Args:
        key: All that decides a feature besides the file's content; any JSON.

    Example:
        >>> import tempfile
        >>> from unittest.mock import patch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with patch.dict("os.environ", HEADSTART_CACHE=folder):
        ...         FeatureCache({"weights": "abc"}).add(["0" * 64], torch.ones(1, 3))
        ...         FeatureCache({"weights": "abc"}).get(["0" * 64, "1" * 64])[0]
        {'0000000000000000000000000000000000000000000000000000000000000000': tensor([1., 1., 1.])}
    """

    def __init__(self, key: Mapping[str, Any]) -> None:
        text = json.dumps(key, sort_keys=True, default=str)
        self.folder = (
            cache.cache_folder("features") / hashlib.sha256(text.encode()).hexdigest()[:32]
        )
        self._description = text

    def get(self, digests: Iterable[str]) -> tuple[dict[str, Tensor], list[str]]:
        """The rows that are there, and the digests of those that are not.

        Returns:
            Rows by digest, each (num_features,) in the dtype they were computed in; and the missing
            digests, each once, in the order given.
        """
        wanted = dict.fromkeys(digests)
        found: dict[str, Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []:
            try:
                segment = load_file(path)
            except FileNotFoundError:
                continue  # removed by another process to keep the cache within its limit
            except SafetensorError:
                path.unlink(missing_ok=True)  # damaged on disk: its rows are computed anew
                continue
            names = _to_digests(segment["digests"])
            hits = [(i, name) for i, name in enumerate(names) if name in wanted]
            if hits:
                cache.touch(path)
            found.update({name: segment["features"][i] for i, name in hits})
        return found, [name for name in wanted if name not in found]

    def add(self, digests: Sequence[str], features: Tensor) -> None:
        """Append rows as a new segment.

        Args:
            digests: sha256 of the files, as 64 hexadecimal digits.
            features: (n, num_features), any float dtype.
        """
        if not digests:
            return
        tensors = {"digests": _from_digests(digests), "features": features}
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        with replacing(path) as temporary:
            write_tensors(temporary, tensors, {"key": self._description})


def _from_digests(digests: Sequence[str]) -> Tensor:
    flat = np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8)
    return torch.from_numpy(flat.reshape(len(digests), 32).copy())


def _to_digests(rows: Tensor) -> list[str]:
    text = rows.numpy().tobytes().hex()
    return [text[i : i + 64] for i in range(0, len(text), 64)]


@dataclass(frozen=True)
class Extraction:
    """What a feature pass gave.

    Attributes:
        features: sample id -> (num_features,) float32.
        num_cached: How many came from the cache.
        not_reached: Ids that were still to come when `should_stop` said stop.
        seconds: Of the pass.
    """

    features: Mapping[str, Tensor]
    num_cached: int
    not_reached: tuple[str, ...]
    seconds: float


def extract(
    digests: Mapping[str, str],
    *,
    table: FeatureCache,
    embed: Callable[[Tensor], Tensor],
    batches: Callable[[Sequence[str]], Iterable[Batch]],
    should_stop: Callable[[], bool] | None = None,
    label: str = "reading pictures and their features",
    unit: str = "pictures",
    progress: Progress,
) -> Extraction:
    """Features of samples, from the cache where they are there, else computed and added to it.

    Files of the same content are computed once.

    Args:
        digests: sample id -> sha256 of its file, in the order in which to go.
        table: Where they are kept.
        embed: inputs (B, ...) -> features (B, num_features).
        batches: Gives the batches of some ids; may leave out samples that cannot be read.
        should_stop: Asked after each batch; no further one is begun once it says so.
        label: For the progress bar.
        unit: What it counts.
        progress: Is told of every batch.
    """
    started = time.monotonic()
    rows, missing = table.get(digests.values())
    num_cached = sum(digest in rows for digest in digests.values())
    first_with = {digest: id_ for id_, digest in reversed(list(digests.items()))}
    todo = [first_with[digest] for digest in missing]
    pending: list[tuple[str, Tensor]] = []
    last_write = time.monotonic()

    def flush() -> None:
        if pending:
            table.add([digest for digest, _ in pending], torch.stack([row for _, row in pending]))
            pending.clear()

    is_cut = False
    if todo:
        with progress.bar(label, total=len(todo), unit=unit) as advance:
            stream = iter(batches(todo))
            try:
                for batch in stream:
                    assert batch.inputs is not None
                    features = embed(batch.inputs).cpu()
                    for id_, row in zip(batch.ids, features, strict=True):
                        rows[digests[id_]] = row
                        pending.append((digests[id_], row))
                    advance(len(batch))
                    now = time.monotonic()
                    if now - last_write > SEGMENT_SECONDS:
                        flush()
                        last_write = now
                    if should_stop is not None and should_stop():
                        is_cut = True
                        break
            finally:
                close = getattr(stream, "close", None)
                if close is not None:
                    close()
                flush()
        cache.shrink()
    features_by_id = {
        id_: rows[digest].float() for id_, digest in digests.items() if digest in rows
    }
    absent = tuple(id_ for id_ in digests if id_ not in features_by_id)
    return Extraction(
        features_by_id, num_cached, absent if is_cut else (), time.monotonic() - started
    )


class CachedBatches:
    """Training batches of cached features, in place of pictures; one of several views a sample.

    Order and views of an epoch are functions of (seed, epoch) alone.

    Args:
        ids: One a sample.
        views: (num_views, n, num_features) float32: augmented views of the same samples.
        targets: (n,) int64, or (n, num_classes) float32.
        batch_size: Of all batches but the last.
        seed: For order and views.
        sample_weights: Draw samples with replacement, by these; see `epoch_order`.
    """

    def __init__(
        self,
        ids: Sequence[str],
        *,
        views: Tensor,
        targets: Tensor,
        batch_size: int,
        seed: int,
        sample_weights: Sequence[float] | None = None,
    ) -> None:
        self.ids = tuple(ids)
        self.views = views
        self.targets = targets
        self.batch_size = batch_size
        self.seed = seed
        self.sample_weights = sample_weights

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.ids) // self.batch_size)

    def close(self) -> None:
        """Nothing is held open."""

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the one numbered `start` on."""
        order = epoch_order(len(self.ids), seed=self.seed, epoch=epoch, weights=self.sample_weights)
        rng = np.random.default_rng([self.seed, epoch])
        chosen = rng.integers(len(self.views), size=len(order))
        for first in range(start * self.batch_size, len(order), self.batch_size):
            rows = torch.from_numpy(order[first : first + self.batch_size])
            views = torch.from_numpy(chosen[first : first + self.batch_size])
            yield Batch(
                tuple(self.ids[i] for i in rows.tolist()),
                targets=self.targets[rows],
                features=self.views[views, rows],
            )
