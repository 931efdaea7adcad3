from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from headstart.contracts import Prediction
from headstart.errors import ConfigError, RunError
from headstart.prediction_files import check_format, to_csv, to_rows, write_predictions

IDS = ("a b.png", 'ü,"x".png', "日本\n.png")


def prediction(*, is_multilabel: bool = False) -> Prediction:
    probabilities = np.array([[0.25, 0.75], [0.9, 0.1], [0.5, 0.5]], dtype=np.float32)
    return Prediction(IDS, ("cat", "dog, big"), probabilities, is_multilabel)


def test_every_format_holds_the_same(tmp_path: Path) -> None:
    for name in ("p.csv", "p.json", "p.parquet"):
        write_predictions(tmp_path / name, prediction())
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_json = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    from_parquet = pq.read_table(tmp_path / "p.parquet").to_pylist()
    for rows in (from_csv, from_json, from_parquet):
        assert [row["id"] for row in rows] == list(IDS)
        assert [row["prediction"] for row in rows] == ["dog, big", "cat", "cat"]
        assert [float(row["confidence"]) for row in rows] == pytest.approx([0.75, 0.9, 0.5])
        assert [float(row["p(dog, big)"]) for row in rows] == pytest.approx([0.75, 0.1, 0.5])


def test_several_labels_are_joined() -> None:
    rows = to_rows(prediction(is_multilabel=True))
    assert [row["prediction"] for row in rows] == ["dog, big", "cat", "cat|dog, big"]


def test_of_many_classes_the_likeliest_are_told(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(51), size=2).astype(np.float32)
    many = Prediction(("x", "y"), tuple(f"c{i}" for i in range(51)), probabilities)
    row = to_rows(many)[0]
    assert len(row) == 3 + 2 * 5
    assert row["class 1"] == row["prediction"]
    assert row["p 1"] == row["confidence"]
    assert [row[f"p {i}"] for i in range(1, 6)] == sorted(
        np.round(probabilities[0].astype(float), 6), reverse=True
    )[:5]
    write_predictions(tmp_path / "p.parquet", many)
    assert len(pq.read_table(tmp_path / "p.parquet").column_names) == 3 + 51


def test_no_predictions_are_a_header() -> None:
    none = Prediction((), ("a",), np.zeros((0, 1), dtype=np.float32))
    assert to_csv(none) == "id,prediction,confidence\n"


@pytest.mark.parametrize("name", ["p.xlsx", "p", "csv", "p.csv.gz"])
def test_other_formats_are_refused_before_anything_else(name: str) -> None:
    with pytest.raises(ConfigError, match=r"ends in none of \.csv, \.json, \.parquet"):
        check_format(Path(name))


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Give --output a file that can be written"):
        write_predictions(tmp_path / "file" / "p.csv", prediction())
