from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from headstart.contracts import Prediction
from headstart.errors import ConfigError, RunError
from headstart.prediction_files import (
    PredictionTally,
    check_format,
    prediction_file,
    to_csv,
    to_rows,
    write_predictions,
)

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


def test_what_is_not_sure_enough_has_no_answer(tmp_path: Path) -> None:
    careful = replace(prediction(), min_confidence=0.75)
    assert careful.labels == ["dog, big", "cat", ""]
    assert careful.is_undecided.tolist() == [False, False, True]  # 0.75 is just enough
    rows = to_rows(careful)
    assert [row["undecided"] for row in rows] == [False, False, True]
    assert list(rows[0])[:4] == ["id", "prediction", "confidence", "undecided"]
    write_predictions(tmp_path / "p.parquet", careful)
    assert pq.read_table(tmp_path / "p.parquet")["undecided"].to_pylist() == [False, False, True]


def test_several_labels_are_as_sure_as_the_least_sure_of_them() -> None:
    several = replace(prediction(is_multilabel=True), min_confidence=0.8)
    assert several.confidences.tolist() == pytest.approx([0.75, 0.9, 0.5])
    probabilities = np.array([[0.99, 0.4], [0.01, 0.02]], dtype=np.float32)
    mixed = Prediction(("x", "y"), ("cat", "dog"), probabilities, True, min_confidence=0.9)
    assert mixed.confidences.tolist() == pytest.approx([0.6, 0.98])
    assert mixed.labels == ["", ""]
    assert mixed.is_undecided.tolist() == [True, False]  # surely none of both is an answer


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


def part(start: int, stop: int) -> Prediction:
    whole = prediction()
    return replace(whole, ids=IDS[start:stop], probabilities=whole.probabilities[start:stop])


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_parts_make_the_same_file_as_the_whole(suffix: str, tmp_path: Path) -> None:
    write_predictions(tmp_path / f"whole.{suffix}", prediction())
    with prediction_file(tmp_path / f"parts.{suffix}") as write:
        write(part(0, 2))
        write(part(2, 3))
    if suffix == "parquet":
        assert pq.read_table(tmp_path / "parts.parquet") == pq.read_table(
            tmp_path / "whole.parquet"
        )
    else:
        parts, whole = ((tmp_path / f"{n}.{suffix}").read_bytes() for n in ("parts", "whole"))
        assert parts == whole
    assert to_csv(part(0, 2)) + to_csv(part(2, 3), has_header=False) == to_csv(prediction())


def test_json_is_indented_as_json_does_it(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.json", prediction())
    expected = json.dumps(to_rows(prediction()), indent=1, ensure_ascii=False) + "\n"
    assert (tmp_path / "p.json").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_a_prediction_that_fails_half_way_leaves_the_earlier_file(
    suffix: str, tmp_path: Path
) -> None:
    def fail() -> None:
        with prediction_file(path) as write:
            write(part(0, 2))
            raise OSError("the disk of the data")

    path = tmp_path / f"p.{suffix}"
    path.write_text("earlier")
    with pytest.raises(OSError, match="the disk of the data"):
        fail()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_answers_are_counted_while_they_pass_by() -> None:
    tally = PredictionTally()
    for one in (part(0, 2), part(2, 3)):
        tally.add(replace(one, min_confidence=0.75))
    assert (tally.num_samples, tally.num_undecided) == (3, 1)
    assert tally.answers == {"dog, big": 1, "cat": 1}
    several = PredictionTally()
    several.add(prediction(is_multilabel=True))
    assert several.answers == {"dog, big": 2, "cat": 2}


@pytest.mark.parametrize("parts", [0, 1])
def test_no_predictions_make_a_file_without_rows_in_every_format(
    parts: int, tmp_path: Path
) -> None:
    none = Prediction((), ("a",), np.zeros((0, 1), dtype=np.float32))
    for name in ("p.csv", "p.json", "p.parquet"):
        with prediction_file(tmp_path / name) as write:
            for _ in range(parts):
                write(none)
    assert (tmp_path / "p.csv").read_text() == "id,prediction,confidence\n"
    assert (tmp_path / "p.json").read_text() == "[]\n"
    table = pq.read_table(tmp_path / "p.parquet")
    assert (table.num_rows, table.column_names) == (0, ["id", "prediction", "confidence"])
    write_predictions(tmp_path / "some.parquet", prediction())
    assert table.schema.types == pq.read_schema(tmp_path / "some.parquet").types[:3]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("suffix", ["csv", "json"])
@pytest.mark.parametrize("num_rows", [3, 100_000])
def test_a_full_disk_is_said_wherever_it_is_met(
    suffix: str, num_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a few rows when the file is closed, of many while they are written and again then."""
    opened = Path.open

    def open_full(self: Path, mode: str = "r", **options: str) -> object:
        return opened(Path("/dev/full") if "w" in mode else self, mode, **options)  # type: ignore[call-overload]

    path = tmp_path / f"p.{suffix}"
    path.write_text("earlier")
    many = replace(
        prediction(),
        ids=tuple(map(str, range(num_rows))),
        probabilities=np.full((num_rows, 2), 0.5, np.float32),
    )
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(RunError, match="No space left on device"):
            write_predictions(path, many)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]
