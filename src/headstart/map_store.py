"""Feature maps of chips, kept to learn from: in memory, or in a file where they are many.

Knows tensors, not where maps come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headstart.contracts import Batch
from headstart.data.loader import epoch_order
from headstart.map_shape import MapShape

# Apart from the order of an epoch, which has numbers of its own.
_CROP_STREAM = 0x6D617073


class MapStore:
    """Rows of numbers, one after the other.

    Args:
        path: A file to keep them in, which is replaced; None: in memory.
        dtype: To keep them in.

    Example:
        >>> store = MapStore(None, torch.float32)
        >>> store.add(torch.ones(3))
        >>> [row.tolist() for row in store.rows()]
        [[1.0, 1.0, 1.0]]
    """

    def __init__(self, path: Path | None, dtype: torch.dtype) -> None:
        self.path = path
        self.dtype = dtype
        self._rows: list[Tensor] = []
        self._lengths: list[int] = []
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")

    def add(self, row: Tensor) -> None:
        """Append a row (n,) of any dtype, from any device."""
        kept = row.detach().to("cpu", self.dtype)
        if self.path is None:
            self._rows.append(kept.clone() if kept.data_ptr() == row.data_ptr() else kept)
            return
        self._lengths.append(len(kept))
        with self.path.open("ab") as file:
            kept.contiguous().view(torch.uint8).numpy().tofile(file)

    def rows(self) -> list[Tensor]:
        """All that was added; of a file, as views of it that take no memory until they are read."""
        if self.path is None:
            return self._rows
        if not self._lengths:
            return []
        whole = torch.from_file(
            str(self.path), shared=False, size=sum(self._lengths), dtype=self.dtype
        )
        return list(torch.split(whole, self._lengths))


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """The maps of a picture, or of a window of a large one.

    Attributes:
        id: Of its sample.
        row: (length,) as `MapShape` explains it.
        target: (H, W) int16 class indices, whose sides are those of the picture.
        padded: Sides of the picture as the maps have it.
    """

    id: str
    row: Tensor
    target: Tensor
    padded: tuple[int, int]

    def batch(self) -> Batch:
        """By itself, whole."""
        return Batch((self.id,), targets=self.target[None].long(), features=self.row[None])


class MapBatches:
    """Training batches of crops of stored maps; a step then costs the decoder alone.

    Crops begin at multiples of the largest stride, so that all maps can be cut there. Order, views
    and places of an epoch are functions of (seed, epoch) alone. Near the edges of a crop its maps
    know of pixels beyond them, which those of a crop of the picture would not.

    Args:
        chips: One a sample: its views, each as a list of windows. All sides are at least `side`.
        shape: Of the maps.
        side: Of the crops, a multiple of `divisor`.
        divisor: Of the decoder: the largest stride, or a multiple of it.
        batch_size: Of all batches but the last. One of a single crop is left out, as batch norms
            need more.
        repeats: Crops of each sample in an epoch.
        seed: For order, views and places.
    """

    def __init__(
        self,
        chips: Sequence[Sequence[Sequence[StoredMaps]]],
        *,
        shape: MapShape,
        side: int,
        divisor: int,
        batch_size: int,
        repeats: int,
        seed: int,
    ) -> None:
        self.chips = list(chips)
        self.shape = shape
        self.side = side
        self.divisor = divisor
        self.batch_size = batch_size
        self.num_draws = repeats * len(self.chips)
        self.seed = seed

    def __len__(self) -> int:
        """Batches an epoch."""
        full, rest = divmod(self.num_draws, self.batch_size)
        return full + (rest > 1 or (rest == 1 and full == 0))

    def close(self) -> None:
        """Let go of the maps; there are no batches after this."""
        self.chips = []

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the one numbered `start` on."""
        order = epoch_order(self.num_draws, seed=self.seed, epoch=epoch)
        for number in range(start, len(self)):
            places = order[number * self.batch_size : (number + 1) * self.batch_size]
            rng = np.random.default_rng([_CROP_STREAM, self.seed, epoch, number])
            drawn = [self._draw(int(place) % len(self.chips), rng) for place in places]
            yield Batch(
                tuple(id_ for id_, _, _ in drawn),
                targets=torch.stack([target for _, _, target in drawn]).long(),
                features=torch.cat([row for _, row, _ in drawn]),
            )

    def _draw(self, chip: int, rng: np.random.Generator) -> tuple[str, Tensor, Tensor]:
        """Id, row (1, length) and target (side, side) of a crop."""
        views = self.chips[chip]
        windows = views[int(rng.integers(len(views)))]
        stored = windows[int(rng.integers(len(windows)))]
        # Of the mask's own sides: a window of a large chip may be enlarged for its maps.
        top, left = (
            self.divisor * int(rng.integers((length - self.side) // self.divisor + 1))
            for length in stored.target.shape
        )
        cut = [
            level[
                :,
                :,
                top // stride : (top + self.side) // stride,
                left // stride : (left + self.side) // stride,
            ]
            for level, stride in zip(
                self.shape.maps(stored.row[None], *stored.padded), self.shape.strides, strict=True
            )
        ]
        target = stored.target[top : top + self.side, left : left + self.side]
        return stored.id, self.shape.flat(cut), target
