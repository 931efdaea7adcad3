"""Run folders of semantic segmentation as a fit would write them, fabricated, with figures.

Whoever loads this loads `fabricated_run` first, which is on no path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headstart.metrics.segmentation import count_boundary
from headstart.report import class_colours, segmentation_figures, write_chip_figures
from headstart.rundir import RunFolder


def draw_chip(seed: int, num_classes: int, *, side: int = 96) -> tuple[np.ndarray, ...]:
    """A picture (h, w, 3) of fields, their classes and a fair answer (h, w); an edge is unknown."""
    rng = np.random.default_rng(seed)
    down, across = np.indices((side, side)) / side
    height = sum(
        np.sin(2 * math.pi * (a * across + b * down) + c)
        for a, b, c in rng.uniform(0.2, 1.6, (4, 3))
    )
    bounds = np.quantile(height, np.linspace(0, 1, num_classes + 1)[1:-1])
    truth = np.digitize(height, bounds).astype(np.int64)
    error = 0.05 + 0.5 * rng.random() ** 3
    answer = np.digitize(height + error * np.sin(9 * across + seed) * np.cos(7 * down), bounds)
    shades = np.random.default_rng(7).uniform(50, 200, (num_classes, 3))
    picture = shades[truth] + rng.normal(0, 14, (side, side, 3))
    truth[:, : side // 12] = -1
    return picture.clip(0, 255).astype(np.uint8), truth, answer.astype(np.int64)


def fabricate_maps(
    path: Path,
    *,
    classes: Sequence[str] = ("forest", "water", "bare ground"),
    num_chips: int = 15,
) -> RunFolder:
    """A finished run of semantic segmentation, with its figures."""
    from fabricated_run import epoch_events, estimate, fabricate, finder_event

    num, ids = len(classes), [f"val/images/{i:02}.png" for i in range(num_chips)]
    drawn = [draw_chip(i, num) for i in range(num_chips)]
    counts = np.array(
        [
            np.histogram2d(t[t >= 0], a[t >= 0], bins=(range(num + 1), range(num + 1)))[0]
            for _, t, a in drawn
        ]
    ).astype(int)
    chips = [
        {
            "id": id_,
            "miou": float(np.mean(ious(own))),
            "pixel_accuracy": float(own.trace() / own.sum()),
            "loss": float(-1.5 * math.log(own.trace() / own.sum() - 0.01)),
            "num_pixels": int(own.sum()),
        }
        for id_, own in zip(ids, counts, strict=True)
    ]
    chips.sort(key=lambda chip: chip["miou"])
    middle = num_chips // 2
    chosen = [("worst", 0), ("worst", 1), ("median", middle), ("best", num_chips - 1)]
    shown = [
        {"id": chips[at]["id"], "why": why, "miou": chips[at]["miou"], "number": number}
        for number, (why, at) in enumerate(chosen)
    ]
    total, num_pixels = counts.sum(axis=0), int(counts.sum())
    iou, rows, columns = ious(total), total.sum(axis=1), total.sum(axis=0)
    per_class = {
        name: {
            "iou": float(iou[i]),
            "iou_low": float(iou[i]) - 0.06,
            "iou_high": min(1.0, float(iou[i]) + 0.04),
            "precision": float(total[i, i] / columns[i]),
            "recall": float(total[i, i] / rows[i]),
            "f1": float(2 * total[i, i] / (rows[i] + columns[i])),
            "n": int(rows[i]),
        }
        for i, name in enumerate(classes)
    }
    metrics = {
        "task": "semantic-segmentation",
        "metrics": {
            "miou": estimate(float(iou.mean()), n=num_chips),
            "pixel_accuracy": estimate(float(total.trace() / num_pixels), 0.02, num_chips),
            "macro_f1": estimate(float(np.mean([c["f1"] for c in per_class.values()]))),
        },
        "per_class": per_class,
        "confusion": {"classes": list(classes), "counts": total.tolist()},
        "chips": chips,
        "shown": shown,
        "majority": {},
        "rungs": [
            dense_rung("majority", 0.12, 0.0),
            dense_rung("trivial", 0.61, 1.4),
            dense_rung("head", float(iou.mean()), 31.0, kept=True),
            dense_rung("full", None, 0.0, predicted_seconds=410.0, why="No budget for it."),
        ],
        "verdict": "A decoder gained 24 points over a classifier of single pixels.",
    }
    held = {name: 30 - 3 * i for i, name in enumerate(classes)}
    settled = {
        "metrics": metrics,
        "config": {"task": "semantic-segmentation", "strategy": "gradual", "data": "fields/"},
        "dataset": {
            "format": "mask-folders",
            "reason": "Pictures in images/ with masks in masks/.",
            "task": "semantic-segmentation",
            "findings": [],
            "counts": {"train": held, "test": dict.fromkeys(classes, num_chips)},
            "legend": {"names": list(classes), "colours": None},
        },
    }
    folder = fabricate(
        path,
        classes=classes,
        test=[(id_, classes[0]) for id_ in ids],
        root=path / "fields",
        strategy="gradual",
        changes=settled,
    )
    folder.predictions.unlink()
    boundary = np.stack([count_boundary(truth, answer, num) for _, truth, answer in drawn])
    write_counts(folder, ids, counts, boundary)
    dense = ["val_miou", "val_pixel_accuracy"]
    events = [finder_event()]
    for event in epoch_events():
        scores = [event.pop("val_accuracy"), event.pop("val_macro_f1")]
        events.append({**event, **dict(zip(dense, sorted(scores), strict=True))})
    folder.write_text(folder.log, "".join(json.dumps(event) + "\n" for event in events))
    colours = class_colours(num)
    for entry in shown:
        picture, truth, answer = drawn[ids.index(entry["id"])]
        figures = segmentation_figures(picture, truth, answer, colours)
        write_chip_figures(folder, figures, number=entry["number"])
    return folder


def write_counts(
    folder: RunFolder, ids: Sequence[str], confusion: np.ndarray, boundary: np.ndarray
) -> None:
    """chips.parquet, as a fit writes it."""
    columns = {
        "id": list(ids),
        "confusion": confusion.reshape(len(ids), -1).tolist(),
        "boundary": boundary.reshape(len(ids), -1).tolist(),
    }
    pq.write_table(pa.table(columns), folder.chips)


def ious(counts: np.ndarray) -> np.ndarray:
    """(K,) the IoU of each class of a confusion (K, K)."""
    hits = counts.diagonal()
    return hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1) - hits, 1)


def dense_rung(strategy: str, miou: float | None, seconds: float, **more: Any) -> dict[str, Any]:
    """A rung of a ladder that is judged by the mean IoU."""
    from fabricated_run import estimate, rung

    metrics = {} if miou is None else {"miou": estimate(miou)}
    return {
        **rung(strategy, None, seconds),
        "judged_on": "validation",
        "metrics": metrics,
        "was_tried": miou is not None,
        **more,
    }
