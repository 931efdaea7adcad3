"""What a fit of masks writes into its run folder, once all its test chips are judged. Wiring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.errors import DataError
from headstart.fitting.attempt import Attempt
from headstart.fitting.drawing_chips import Shown, draw_chips
from headstart.fitting.judging_masks import Judged, doubt_told, evaluate_chips, tolerance_told
from headstart.fitting.recording import metrics_of, text_column, write_outcome
from headstart.mask_predictor import MaskPredictor
from headstart.protocols import Task
from headstart.report.chip_figures import write_chip_figures
from headstart.report.footprint_map import footprints
from headstart.rundir import RunFolder


def save_masks(
    folder: RunFolder,
    attempt: Attempt[Task],
    judged: Sequence[Judged],
    *,
    predictor: MaskPredictor,
    leakage: Mapping[str, Any] | None = None,
) -> None:
    """Weights, metrics, counts of each chip, pictures of some, report and model card.

    Args:
        folder: Of the run.
        attempt: Fitted.
        judged: The test chips.
        predictor: That answered them.
        leakage: The part `leakage` of metrics.json, see `mask_leakage`.

    Raises:
        DataError: There is no chip, or no pixel of them is labelled.
        RunError: Something cannot be written.
    """
    data = attempt.where.data
    legend = data.dataset.legend
    assert legend is not None
    evaluation = evaluate_chips(judged, predictor, groups=data.split.groups)
    places = _places(attempt, judged)
    worst_first = sorted(judged, key=lambda each: -each.loss)
    write_chip_counts(folder, judged)
    record = attempt.record()
    told: dict[str, Any] = {} if leakage is None else {"leakage": leakage}
    told |= {
        "boundary": tolerance_told(judged),
        "doubt": doubt_told(judged),
        "chips": [{**each.to_json(), **places.get(each.sample.id, {})} for each in worst_first],
        "shown": _write_shown(folder, draw_chips(judged, predictor, legend=legend)),
    }
    write_outcome(folder, record, {**metrics_of(record, evaluation), **told})


def write_chip_counts(folder: RunFolder, judged: Sequence[Judged]) -> None:
    """chips.parquet: what is counted of each test chip, so that runs can be compared on them.

    One row a chip: `id`; `confusion`, K x K pixels, row by row, rows the truth; `boundary`, K x 4
    pixels as `metrics.segmentation.count_boundary` has them. K classes in the order of config.json.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = [each.sample.id for each in judged]
    columns = {"id": text_column(ids)}
    for name in ("confusion", "boundary"):
        counts = [each.counts if name == "confusion" else each.boundary for each in judged]
        rows = np.stack([each.ravel() for each in counts]).astype(np.int64)
        numbers = pa.Array.from_buffers(pa.int64(), rows.size, [None, pa.py_buffer(rows)])
        offsets = np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1]
        type_, sides = pa.large_list(pa.int64()), [None, pa.py_buffer(offsets)]
        columns[name] = pa.Array.from_buffers(type_, len(rows), sides, children=[numbers])
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    with folder.replacing(folder.chips) as temporary:
        pq.write_table(table, temporary)


def _write_shown(folder: RunFolder, shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """The pictures as files; and the part `shown` of metrics.json."""
    rows = []
    for number, each in enumerate(shown):
        write_chip_figures(folder, each.pictures, number=number)
        row = {"id": each.id, "why": each.why, "miou": each.miou, "number": number}
        rows.append({**row, **each.told})
    return rows


def _places(attempt: Attempt[Task], judged: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """Sample id -> its `corners` as (longitude, latitude), of chips that are georeferenced."""
    facts = attempt.where.data.checkup.facts
    headers = {
        each.sample.id: header
        for each in judged
        if each.sample.id in facts and (header := facts[each.sample.id].raster) is not None
    }
    try:
        found = footprints(headers, {})
    except DataError as error:
        attempt.where.progress.warn(f"The report has no map of the test: {error}")
        return {}
    # Seven digits of a degree are a centimetre.
    return {
        place.id: {"corners": [[round(x, 7), round(y, 7)] for x, y in place.corners]}
        for place in found
    }
