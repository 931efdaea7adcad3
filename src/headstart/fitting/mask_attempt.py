"""A strategy tried on masks: its model answers pixel by pixel. Only wiring."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from headstart.backbones.stem import stem_is_adapted
from headstart.contracts import Split
from headstart.data.balance import pixel_weights
from headstart.errors import ConfigError
from headstart.fitting.attempt import NUM_TRIED, Attempt
from headstart.fitting.embedding import Embedder
from headstart.fitting.feeding import Feed, Loading
from headstart.fitting.judging_masks import judge
from headstart.fitting.map_feed import MOST_IN_MEMORY, MapPass
from headstart.fitting.recording import record_start
from headstart.fitting.saving_masks import save_masks
from headstart.fitting.settle import Choice, Choices, DataSize
from headstart.fitting.settle_masks import CROP_SIDE, MaskSizes, settle_masks
from headstart.fitting.situation import Situation
from headstart.linear_decoder import LINEAR
from headstart.map_twin import MapTwin
from headstart.mask_predictor import MaskPredictor
from headstart.model import DenseModel
from headstart.predictor import example_input
from headstart.protocols import MaskTask


class MaskAttempt(Attempt[MaskTask]):
    """A strategy with all that was settled for it, on masks.

    Args:
        strategy: Its name. The decoder of the probe is linear, whatever the task has.
        where: The fit that tries it.
        embedder: Whose backbone gives a pyramid. A strategy that trains it needs one of its own.
        choices: Made so far; the strategy's own are added to them.

    Attributes:
        predictor: Of the model, as it was when this was last renewed.
    """

    predictor: MaskPredictor

    def __init__(
        self, strategy: str, where: Situation[MaskTask], *, embedder: Embedder, choices: Choices
    ) -> None:
        if strategy == "probe":
            where = replace(where, task=with_linear_decoder(where.task))
        super().__init__(strategy, where, embedder=embedder, choices=choices)

    @property
    def target(self) -> None:
        """Masks are targets themselves."""

    def renew_predictor(self) -> None:
        """From now on predict with the model as it is now."""
        self.predictor = self.new_predictor()

    def new_predictor(self) -> MaskPredictor:
        """What predicts with the model as it is now."""
        return MaskPredictor(
            self.model,
            self.task,
            contract=self.backbone.contract,
            classes=self.classes,
            device=self.where.device,
            compute_format=self.compute_format,
        )

    def rehearse(self) -> None:
        """Evaluate, draw and save a few validation samples, in a folder that is then removed."""
        data, folder = self.where.data, self.where.folder
        samples = (data.samples("validation") or data.samples("train"))[:NUM_TRIED]
        predictor = self.new_predictor()
        judged = judge(predictor, samples)
        with folder.rehearsal() as rehearsal:
            rehearsal.write_text(rehearsal.log, "")
            record_start(rehearsal, self.record())
            save_masks(rehearsal, self, judged, predictor=predictor)

    def new_twin(self) -> MapTwin:
        """What gives the maps of the backbone as it is now."""
        assert isinstance(self.model, DenseModel)
        example = example_input(self.backbone.contract, self.where.device)
        return MapTwin(self.model, self.compute_format, example=example)

    def new_feed(self, tables: Sequence[Mapping[str, Tensor]]) -> Feed:
        """Crops of pictures; of maps, where the backbone stays as it is and views are cached."""
        feed = super().new_feed(tables)
        views = self.value("views")
        if self.name != "head" or not views:
            return feed
        if stem_is_adapted(self.backbone):
            self.where.progress.warn(
                f"--views {views} has no effect: the filters that were made for these bands learn, "
                "so that pictures go through the backbone anew in each epoch."
            )
            return feed
        where = self.where
        num_bytes = views * self.map_bytes("train") + self.map_bytes("train", "validation")
        is_large = num_bytes > MOST_IN_MEMORY
        if is_large:
            where.folder.maps.unlink(missing_ok=True)  # those of a fit that was interrupted
            _refuse_without_room(where.folder.path, num_bytes)
            where.progress.note(
                f"  The maps take more than {MOST_IN_MEMORY / 1e9:.0f} GB, and are kept in "
                f"`{where.folder.maps}` until the fit is over."
            )
        started = time.monotonic()
        of_maps = MapPass(
            feed=feed,
            twin=self.new_twin(),
            augment=self.loading.augment,
            views=views,
            side=CROP_SIDE,
            seed=self.settings.seed,
            path=where.folder.maps if is_large else None,
            progress=where.progress,
        ).run()
        where.seconds["features"] = time.monotonic() - started
        return of_maps

    def settle_autos(self, size: DataSize) -> list[Choice]:
        """As they are for masks."""
        sizes = MaskSizes(
            num_train=size.num_train,
            crops_a_chip=self.crops_a_chip,
            map_bytes=self.map_bytes("train"),
            is_from_above=self._is_from_above(),
            learns_stem=stem_is_adapted(self.backbone),
        )
        return settle_masks(
            self.where.options,
            strategy=self.name,
            sizes=sizes,
            device_type=self.where.device.type,
        )

    def _is_from_above(self) -> bool:
        """Whether all training chips say where on Earth they lie."""
        facts = self.where.data.checkup.facts
        headers = [facts[sample.id].raster for sample in self.where.data.samples("train")]
        return all(header is not None and header.crs for header in headers)

    def class_weights(self, counts: Mapping[str, int], *, num_samples: int) -> Tensor:
        """(K,) weights of the loss, by the pixels of the training chips."""
        data = self.where.data
        masks = data.checkup.masks
        return pixel_weights([masks[s.id].pixels for s in data.samples("train") if s.id in masks])

    @property
    def is_frozen(self) -> bool:
        """Never: no vector stands for a picture."""
        return False

    @property
    def loading(self) -> Loading:
        """As many crops of a chip in an epoch as it has room for."""
        return replace(super().loading, repeats=self.crops_a_chip)

    @property
    def crops_a_chip(self) -> int:
        """So many crops have the area of a chip, in the median."""
        facts = self.where.data.checkup.facts
        areas = [facts[s.id].width * facts[s.id].height for s in self.where.data.samples("train")]
        return max(1, round(statistics.median(areas) / CROP_SIDE**2))

    def map_bytes(self, *splits: Split) -> int:
        """Of the maps of all chips of some splits as they are, in the format for inference."""
        data = self.where.data
        facts = [data.checkup.facts[sample.id] for sample in data.samples(*splits)]
        num_pixels = sum(fact.width * fact.height for fact in facts)
        told = self.backbone.spec.arguments["pyramid"]
        a_pixel: float = sum(
            c / s**2 for c, s in zip(told["channels"], told["strides"], strict=True)
        )
        num_bytes = 4 if self.embedder.inference.compute_format.dtype == "float32" else 2
        return round(num_pixels * a_pixel * num_bytes)


def _refuse_without_room(folder: Path, num_bytes: int) -> None:
    """Refuse to begin what would end with a full disk.

    Raises:
        ConfigError: It has no room for so much.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise ConfigError(
            f"The maps of all chips and views take {num_bytes / 1e9:.1f} GB, and the disk of "
            f"`{folder}` has {free / 1e9:.1f} GB left. Lower --views (0 caches nothing), or give "
            "--output a folder elsewhere."
        )


def with_linear_decoder(task: MaskTask) -> MaskTask:
    """The same task, each pixel of whose maps is classified for itself."""
    return task.with_model(decoder=LINEAR, losses=task.losses)
