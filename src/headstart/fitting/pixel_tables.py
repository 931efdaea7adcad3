"""Features of some pixels of chips with masks, and a classifier of such pixels. Wiring.

Of every chip as many pixels of each class as there are, up to a number: rare classes then count as
much as common ones, and neighbours, which tell the same, are few.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.contracts import FeatureTable, Initialised, InputContract, Sample
from headstart.data.numbering import numbered
from headstart.data.reading_ahead import eval_batches
from headstart.errors import DataError
from headstart.map_twin import MapTwin
from headstart.mask_predictor import in_parts, most_at_once, pixels_at_once
from headstart.protocols import Task
from headstart.strategies import StrategySettings
from headstart.strategies.linear_fit import LinearFit
from headstart.strategies.probe import fit_linear_probe
from headstart.trust.pixels import draw_pixels

# Rows of all chips together, and of each class of one of them. A logistic regression on 512
# features of 12,000 pixels, C by cross-validation, takes some 5 s on two cores.
_MOST_ROWS, _MOST_A_CLASS, _LEAST_A_CLASS = 12_000, 200, 10

PixelTables = Mapping[str, tuple[Tensor, Tensor]]
"""Sample id -> features (n, num_features) float32 and class indices (n,) int64 of its pixels."""


def pixel_tables(
    samples: Sequence[Sample],
    twin: MapTwin,
    *,
    task: Task,
    contract: InputContract,
    num_classes: int,
    seed: int,
    on_error: Callable[[Sample, DataError], None] | None = None,
) -> PixelTables:
    """Features and classes of some labelled pixels of chips, chip by chip.

    A feature of a pixel is the value of a map there, interpolated as `LinearDecoder` enlarges it,
    so that a classifier of these rows and that decoder are the same.

    Args:
        samples: With masks; their labels are the classes that they have. At most some hundreds
            are looked at, evenly spread.
        twin: Gives the maps.
        task: Says how samples are prepared.
        contract: Of the backbone.
        num_classes: K.
        seed: Decides which pixels.
        on_error: Told of samples that cannot be read; None: the error is raised.

    Returns:
        Only chips that have a labelled pixel; num_features is the sum of the maps' channels.

    Raises:
        DataError: A sample cannot be read, and there is no `on_error`.
    """
    chosen, num_a_class = _chosen(samples)
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for batch in eval_batches(
        chosen,
        prepare=task.preparation(contract),
        target=None,
        batch_size=most_at_once(twin.device),
        num_threads=os.cpu_count() or 1,
        on_error=on_error,
        most_pixels=pixels_at_once(twin.device),
    ):
        for part in in_parts(batch):
            assert part.inputs is not None
            assert part.targets is not None
            maps = twin.maps(part.inputs)
            for number, (id_, target) in enumerate(zip(part.ids, part.targets, strict=True)):
                places = draw_pixels(
                    target, num_a_class=num_a_class, num_classes=num_classes, generator=generator
                )
                if len(places):
                    of_one = [level[number : number + 1] for level in maps]
                    found = features_at(of_one, places, target.shape[1], twin.shape.strides)
                    rows.setdefault(id_, []).append((found.cpu(), target.flatten()[places]))
    return {
        id_: (torch.cat([f for f, _ in parts]), torch.cat([t for _, t in parts]))
        for id_, parts in rows.items()
    }


def _chosen(samples: Sequence[Sample]) -> tuple[Sequence[Sample], int]:
    """Chips to look at, evenly spread, and pixels to draw of each class that one of them has."""

    def num_classes_of(some: Sequence[Sample]) -> int:
        return sum(max(1, len(sample.labels)) for sample in some)

    stride = -(-num_classes_of(samples) * _LEAST_A_CLASS // _MOST_ROWS) or 1
    chosen = samples[::stride]
    room = _MOST_ROWS // max(1, num_classes_of(chosen))
    return chosen, min(max(room, _LEAST_A_CLASS), _MOST_A_CLASS)


def features_at(
    maps: Sequence[Tensor], places: Tensor, width: int, strides: Sequence[int]
) -> Tensor:
    """(n, sum of C) of some pixels of a picture: each map, interpolated there.

    Args:
        maps: (1, C, h, w), fine to coarse.
        places: (n,) int64, in the flattened picture.
        width: Of the picture.
        strides: Of the maps.
    """
    across, down = places % width, places.div(width, rounding_mode="floor")
    found = []
    for level, stride in zip(maps, strides, strict=True):
        size = torch.tensor([level.shape[3], level.shape[2]]) * stride
        centres = (2 * torch.stack([across, down], dim=1) + 1) / size - 1
        grid = centres.to(level)[None, None]
        # As `interpolate` does it without align_corners: beyond the last centres there is no slope.
        sampled = F.grid_sample(
            level, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        found.append(sampled[0, :, 0].T)
    return torch.cat(found, dim=1)


def table_of_pixels(
    tables: PixelTables, groups: Mapping[str, str | None], *, num_classes: int
) -> FeatureTable:
    """All pixels in one table; those of one chip, or of chips of one group, share a number.

    Raises:
        DataError: There are none.
    """
    if not tables:
        raise DataError(
            "No pixel of the training pictures is labelled, so that nothing can be learnt from "
            "them. `headstart inspect` tells which values of the masks are ignored."
        )
    numbers = numbered([groups.get(id_) or id_ for id_ in tables])
    targets = [classes for _, classes in tables.values()]
    return FeatureTable(
        features=torch.cat([features for features, _ in tables.values()]),
        targets=torch.cat(targets),
        groups=torch.cat(
            [torch.full_like(t, n) for t, n in zip(targets, numbers.tolist(), strict=True)]
        ),
        num_classes=num_classes,
    )


def fit_drawn_pixels(
    table: FeatureTable, settings: StrategySettings
) -> tuple[LinearFit, Initialised]:
    """A logistic regression on drawn pixels, C by cross-validation, and what was found on the way.

    Whatever weights the classes are to have: as many pixels of each were drawn, so that they count
    alike already. Who wants answers by the true shares of the classes adds `trust.prior_shift`.

    Raises:
        DataError: A feature is not finite.
    """
    return fit_linear_probe(table, replace(settings, class_weights=None))
