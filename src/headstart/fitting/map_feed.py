"""What `head` learns from on masks: maps of the frozen backbone, computed once. Wiring.

Each training chip goes through the backbone as it is and in some augmented views; crops are cut
from the maps. A step then costs forward and backward pass of the decoder, and scoring its forward.

That decoder is the limit. Measured on two cores in bfloat16, 8 crops of 256 x 256 of the Amazon
forest, EfficientNet-Lite0: with a U-Net its two passes take 218 ms, those of the whole model 664
(3.0 times), and whole steps, with loading, loss and optimizer, 268 and 706 ms (2.6 times); with
DeepLabV3+ 122 and 532 ms, whole steps 163 and 666 (4.1 times).

Crops of maps are not quite those of pictures: near their edges maps know of pixels beyond, as far
as the backbone sees. Where a chip is as large as a crop, both are the same but for rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headstart.contracts import Batch, Example, Sample
from headstart.data.chip_transforms import chip_transform
from headstart.data.loader import number_of, seeded_for
from headstart.data.reading_ahead import eval_batches
from headstart.errors import DataError
from headstart.fitting.feeding import Feed, Loading
from headstart.map_store import MapBatches, MapStore, StoredMaps
from headstart.map_twin import MapTwin
from headstart.mask_predictor import in_parts

if TYPE_CHECKING:
    from headstart.engine.plan import TrainBatches
    from headstart.progress import Progress

# Maps that are held in memory, in bytes; more of them are kept in a file of the run.
MOST_IN_MEMORY = 2 * 10**9

# What stands for a window before its maps are read back: id, target, sides of the maps.
_Told = tuple[str, torch.Tensor, tuple[int, int]]


@dataclass(frozen=True)
class MapFeed(Feed):
    """Batches of maps, in place of pictures.

    Attributes:
        chips: One a training sample: its views, each as windows.
        judged_on: Windows of the chips for validation, as they are.
        twin: What gave the maps.
        side: Of the crops.
    """

    chips: Sequence[Sequence[Sequence[StoredMaps]]]
    judged_on: Sequence[StoredMaps]
    twin: MapTwin
    side: int

    def training(self, loading: Loading) -> TrainBatches:
        """Crops of the maps."""
        return MapBatches(
            self.chips,
            shape=self.twin.shape,
            side=self.side,
            divisor=self.twin.divisor,
            batch_size=loading.batch_size,
            repeats=loading.repeats,
            seed=loading.seed,
        )

    def validating(self) -> Iterable[Batch]:
        """Chips one by one: of different sizes, and a decoder is soon done with one."""
        return (stored.batch() for stored in self.judged_on)


@dataclass(frozen=True)
class MapPass:
    """How chips go through the backbone.

    Attributes:
        feed: Says what there is to read, and how.
        twin: Gives the maps.
        augment: Of all views but the first.
        views: Augmented views of each training chip.
        side: That crops would like to have.
        seed: For the views.
        path: A file to keep the maps in; None: in memory.
        progress: Is told of every chip.
    """

    feed: Feed
    twin: MapTwin
    augment: Any
    views: int
    side: int
    seed: int
    path: Path | None
    progress: Progress

    def run(self) -> MapFeed:
        """Compute all maps.

        Raises:
            DataError: A training sample cannot be read, or has no mask.
        """
        feed = self.feed
        judged = feed.validation or feed.train
        divisor = self.twin.divisor
        side = max(divisor, self.side // divisor * divisor)
        store = MapStore(self.path, self.twin.dtype)
        total = len(feed.train) * (1 + self.views) + len(judged)
        with self.progress.bar("maps of chips", total=total, unit="views") as advance:
            chips = []
            for sample, example in self._read(feed.train, on_error=None):
                views = []
                for view in range(1 + self.views):
                    views.append(
                        self._add(store, sample.id, self._view(sample, example, view, side))
                    )
                    advance(1)
                chips.append(views)
            judged_on = []
            for sample, example in self._read(judged, on_error=feed.on_unreadable):
                judged_on += self._add(store, sample.id, example)
                advance(1)
        rows = iter(store.rows())

        def stored(told: _Told) -> StoredMaps:
            id_, target, padded = told
            return StoredMaps(id_, next(rows), target, padded)

        return MapFeed(
            **vars(feed),
            chips=[[[stored(told) for told in view] for view in views] for views in chips],
            judged_on=[stored(told) for told in judged_on],
            twin=self.twin,
            side=side,
        )

    def _read(
        self, samples: Sequence[Sample], *, on_error: Any
    ) -> Iterator[tuple[Sample, Example]]:
        by_id = {sample.id: sample for sample in samples}
        for batch in eval_batches(
            samples,
            prepare=self.feed.task.preparation(self.feed.contract),
            target=None,
            batch_size=1,
            num_threads=os.cpu_count() or 1,
            on_error=on_error,
        ):
            sample = by_id[batch.ids[0]]
            if batch.targets is None:
                raise DataError(
                    f"`{sample.id}` has no mask, so that nothing can be learnt from it. Fit to "
                    "samples with masks only."
                )
            assert batch.inputs is not None
            yield sample, Example(batch.inputs[0], batch.targets[0])

    def _view(self, sample: Sample, example: Example, view: int, side: int) -> Example:
        """The chip as it is, or changed at random; its sides are made multiples of the divisor.

        Of an augmented one a little is cut off, so that crops do not begin at the same pixels.
        """
        assert example.target is not None
        contract, divisor = self.feed.contract, self.twin.divisor

        def cut(length: int) -> int:
            spare = divisor if view and length - divisor >= side else 0
            return max(side, (length - spare) // divisor * divisor)

        height, width = example.target.shape
        transform = chip_transform(
            self.augment if view else "none",
            size=(cut(height), cut(width)),
            fill=tuple(mean * contract.scale for mean in contract.mean),
            num_classes=len(self.feed.classes),
        )
        with seeded_for(self.seed, epoch=view, index=number_of(sample)):
            return Example(*transform(example.inputs, example.target))

    def _add(self, store: MapStore, id_: str, example: Example) -> list[_Told]:
        """Keep the maps of a chip, window by window where it is large."""
        assert example.target is not None
        whole = Batch((id_,), inputs=example.inputs[None], targets=example.target[None])
        told = []
        for part in in_parts(whole):
            assert part.inputs is not None
            assert part.targets is not None
            store.add(self.twin.rows(part.inputs)[0])
            target = part.targets[0].to(torch.int16)
            told.append((id_, target, self.twin.padded(*target.shape)))
        return told
