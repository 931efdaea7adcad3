"""Which test chips are drawn in the report, and their pictures. Wiring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.contracts import Legend
from headstart.fitting.judging_masks import Judged
from headstart.mask_predictor import MaskPredictor
from headstart.report.chip_figures import (
    DOUBT_FIGURE,
    FALSE_COLOUR_FIGURE,
    band_figure_name,
    band_figures,
    doubt_figure,
    false_colour,
    segmentation_figures,
    visible_picture,
)
from headstart.report.chips import Chips, read_scores
from headstart.report.colours import class_colours
from headstart.trust.doubt import doubt_of

# Chips that are drawn: so many of the worst, the median, the best and the suspect ones.
_NUM_SHOWN = 2
_MOST_SUSPECT = 4
# Of more bands a page shows the first: enough for any sensor in space but imaging spectrometers.
_MOST_BANDS = 16


@dataclass(frozen=True, eq=False)
class Shown:
    """A chip in the report.

    Attributes:
        why: `worst`, `median`, `best` or `suspect`.
        pictures: name -> PNG.
        told: What the report says of them: `doubt`, the mean over the chip, and `bands`.
    """

    id: str
    why: str
    miou: float
    pictures: Mapping[str, bytes]
    told: Mapping[str, Any]


def draw_chips(
    judged: Sequence[Judged], predictor: MaskPredictor, *, legend: Legend
) -> list[Shown]:
    """Pictures of the worst, the median and the best chips by mIoU, and of suspect ones by loss."""
    wanted = _wanted(judged)
    bands = predictor.contract.bands
    colours = class_colours(len(legend.names), own=legend.colours)
    shown = []
    samples = [each.sample for _, each in wanted.values()]
    for batch, logits in predictor.answers(samples):
        assert batch.inputs is not None
        assert batch.targets is not None
        answers = logits.argmax(dim=1).cpu().numpy()
        doubts = doubt_of(logits).cpu().numpy()
        targets = batch.targets.cpu().numpy()
        for id_, inputs, truth, answer, doubt in zip(
            batch.ids, batch.inputs.cpu().numpy(), targets, answers, doubts, strict=True
        ):
            why, each = wanted[id_]
            picture = visible_picture(inputs, bands)
            pictures = segmentation_figures(picture, truth, answer, colours)
            pictures[DOUBT_FIGURE] = doubt_figure(doubt)
            told: dict[str, Any] = {"doubt": float(doubt.mean())}
            if why in ("worst", "best"):
                more, told["bands"] = _of_bands(inputs, bands)
                pictures.update(more)
            shown.append(Shown(id_, why, each.miou, pictures, told))
    order = list(wanted)
    return sorted(shown, key=lambda each: order.index(each.id))


def _wanted(judged: Sequence[Judged]) -> dict[str, tuple[str, Judged]]:
    """Sample id -> why it is drawn, and the chip; each once."""
    ranked = sorted((each for each in judged if each.miou == each.miou), key=lambda e: e.miou)
    middle = max(0, len(ranked) // 2 - _NUM_SHOWN // 2)
    chips = Chips(read_scores([each.to_json() for each in judged]), shown=())
    by_id = {each.sample.id: each for each in judged}
    wanted: dict[str, tuple[str, Judged]] = {}
    for why, chosen in (
        ("worst", ranked[:_NUM_SHOWN]),
        ("best", ranked[::-1][:_NUM_SHOWN]),
        ("median", ranked[middle : middle + _NUM_SHOWN]),
        ("suspect", [by_id[chip.id] for chip in chips.out_of_line[:_MOST_SUSPECT]]),
    ):
        for each in chosen:
            wanted.setdefault(each.sample.id, (why, each))
    return wanted


def _of_bands(
    inputs: np.ndarray, bands: Sequence[str]
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Pictures by name of each band, and of three of them in false colour; and what is told."""
    drawn = band_figures(inputs[:_MOST_BANDS], bands[:_MOST_BANDS])
    pictures = {band_figure_name(i): picture for i, (_, picture) in enumerate(drawn)}
    if picture := false_colour(inputs, bands):
        pictures[FALSE_COLOUR_FIGURE] = picture
    return pictures, [told for told, _ in drawn]
