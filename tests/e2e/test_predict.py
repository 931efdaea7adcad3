from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import timm
from safetensors.torch import save_file

import headstart as hs

Command = Callable[..., Any]


@pytest.fixture
def new(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unlabelled pictures with all kinds of names, in the folder the command is run from."""
    monkeypatch.chdir(tmp_path)
    folder = Path("new photos")
    folder.mkdir()
    for i, name in enumerate(("a.png", 'süß, "q".png', "日本 猫.png", "c|d.png")):
        kind = "dog" if i % 2 else "cat"
        shutil.copy(photos / kind / f"{kind}_0{i}.png", folder / name)
    return folder


EXPECTED = {
    "new photos/a.png": "cat",
    'new photos/süß, "q".png': "dog",
    "new photos/日本 猫.png": "cat",
    "new photos/c|d.png": "dog",
}


def rows_of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_goes_to_standard_output_alone(headstart: Command, fitted: Path, new: Path) -> None:
    found = headstart("predict", fitted, new)
    assert found.code == 0, found.err
    rows = rows_of_csv(found.out)
    assert {row["id"]: row["prediction"] for row in rows} == EXPECTED
    for row in rows:
        both = [float(row["p(cat)"]), float(row["p(dog)"])]
        assert sum(both) == pytest.approx(1.0, abs=1e-5)
        assert float(row["confidence"]) == pytest.approx(max(both))


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x.parquet", "deep/er/X.CSV"])
def test_the_format_goes_by_the_name(
    headstart: Command, fitted: Path, new: Path, name: str
) -> None:
    found = headstart("predict", fitted, new, "--output", name)
    assert found.code == 0, found.err
    assert found.out == ""
    path = Path(name)
    if path.suffix == ".json":
        rows = json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        rows = rows_of_csv(path.read_text(encoding="utf-8"))
    assert {row["id"]: row["prediction"] for row in rows} == EXPECTED
    assert list(rows[0]) == [
        *("id", "prediction", "confidence", "p(cat)", "p(dog)", "ood", "is_stranger")
    ]


def test_files_folders_and_patterns_may_be_mixed(
    headstart: Command, fitted: Path, new: Path
) -> None:
    found = headstart("predict", fitted, "new photos/a.png", "new photos/c*.png", new, "--quiet")
    rows = rows_of_csv(found.out)
    assert [row["id"] for row in rows][:2] == ["new photos/a.png", "new photos/c|d.png"]
    assert {row["id"] for row in rows} == set(EXPECTED)
    assert len(rows) == 4
    assert found.err == ""


def test_a_file_that_cannot_be_read_stops_it(headstart: Command, fitted: Path, new: Path) -> None:
    (new / "b.jpg").write_bytes(b"")
    found = headstart("predict", fitted, new)
    assert found.code == 2
    assert found.out == ""
    assert "new photos/b.jpg" in found.err


def test_a_file_that_cannot_be_read_is_skipped_on_request(
    headstart: Command, fitted: Path, new: Path
) -> None:
    (new / "b.jpg").write_bytes(b"")
    found = headstart("predict", fitted, new, "--on-bad", "skip", "--quiet")
    assert found.code == 0
    assert {row["id"] for row in rows_of_csv(found.out)} == set(EXPECTED)
    assert "Warning:" in found.err
    assert "new photos/b.jpg" in found.err


def test_nothing_readable_at_all_is_said(headstart: Command, fitted: Path, tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.jpg").write_text("no")
    found = headstart("predict", fitted, tmp_path / "only", "--on-bad", "skip")
    assert found.code == 2
    assert "None of the 1 files could be read" in found.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "What shall be predicted?"),
        (("nowhere",), "nowhere"),
        (("new photos/*.gif",), "new photos/*.gif"),
        (("new photos", "--output", "x.xlsx"), "ends in none of .csv, .json, .parquet"),
        (("new photos", "--output", "new photos/a.png/x.csv"), "Cannot write"),
        (("new photos", "--device", "cuda:77"), "--device auto"),
        (("new photos", "--on-bad", "ignore"), "ignore"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    headstart: Command, fitted: Path, new: Path, arguments: tuple[str, ...], message: str
) -> None:
    found = headstart("predict", fitted, *arguments)
    assert found.code == 2
    assert message in found.err
    assert "Traceback" not in found.err


def test_a_run_that_is_not_there_is_said(headstart: Command, photos: Path, new: Path) -> None:
    assert "There is no run folder `runs/x`" in headstart("predict", "runs/x", new).err
    found = headstart("predict", photos, new)
    assert found.code == 2
    assert "is no run folder" in found.err


def test_a_run_that_was_tampered_with_is_refused(
    headstart: Command, fitted: Path, new: Path
) -> None:
    for name, content in (("model.safetensors", b"cut"), ("input.json", b"{")):
        run = Path(f"run-{name}")
        shutil.copytree(fitted, run)
        (run / name).write_bytes(content)
        found = headstart("predict", run, new)
        assert found.code == 2
        assert f"{name}` is damaged" in found.err


def test_a_pretrained_classifier_predicts_without_a_fit(
    headstart: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet.r160_in1k").state_dict(), weights)
    from headstart import saved

    load = saved.load_backbone
    monkeypatch.setattr(  # as if the hub had given these weights
        saved, "load_backbone", lambda name, progress: load(name, weights=str(weights))
    )
    found = headstart("predict", "timm:test_resnet.r160_in1k", photos / "cat")
    assert found.code == 0, found.err
    rows = rows_of_csv(found.out)
    assert len(rows) == 15
    assert list(rows[0])[3:] == [f"{k} {i}" for i in range(1, 6) for k in ("class", "p")]
    likeliest = [float(rows[0][f"p {i}"]) for i in range(1, 6)]
    assert likeliest == sorted(likeliest, reverse=True)
    assert rows[0]["prediction"] == rows[0]["class 1"]


def test_no_hub_in_reach_is_said(headstart: Command, photos: Path) -> None:
    found = headstart("predict", "timm:test_resnet.r160_in1k", photos / "cat")
    if found.code == 0:
        pytest.skip("the hub can be reached from here")
    assert found.code == 2
    assert "Traceback" not in found.err


def test_python_and_command_line_predict_alike(
    headstart: Command, fitted: Path, photos: Path
) -> None:
    rows = rows_of_csv(headstart("predict", fitted, photos / "cat").out)
    prediction = hs.load(fitted).predict([photos / "cat"])
    assert [row["id"] for row in rows] == list(prediction.ids)
    found = [float(row["p(cat)"]) for row in rows]
    assert found == pytest.approx(prediction.probabilities[:, 0].tolist(), abs=1e-6)


# --- evaluate ---------------------------------------------------------------------------------


def test_evaluate_measures_on_other_data(
    headstart: Command, fitted: Path, others: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.json"
    found = headstart("evaluate", fitted, others, "--output", path)
    assert found.code == 0, found.err
    values = json.loads(path.read_text())
    assert values["n"] == 30
    assert values["metrics"]["accuracy"]["value"] == 1.0
    assert values["confusion"]["counts"] == [[15, 0], [0, 15]]


def test_other_classes_are_refused(
    headstart: Command, fitted: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "other")
    (tmp_path / "other" / "dog").rename(tmp_path / "other" / "wolf")
    found = headstart("evaluate", fitted, tmp_path / "other")
    assert found.code == 2
    assert "has the classes `cat`, `wolf`, but the model knows `cat`, `dog`" in found.err
    assert "Unknown to it: `wolf`" in found.err


def test_what_the_run_learnt_from_is_not_measured(
    headstart: Command, fitted: Path, photos: Path, tmp_path: Path
) -> None:
    """Known again by their contents, whatever they are called."""
    for picture in photos.glob("*/*.png"):
        copy = tmp_path / "again" / picture.parent.name / f"a copy of {picture.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, copy)
    metrics = json.loads((fitted / "metrics.json").read_text())
    found = headstart("evaluate", fitted, tmp_path / "again", "--output", tmp_path / "m.json")
    assert found.code == 0, found.err
    told = " ".join(found.err.split())
    assert f"{30 - metrics['n']} of the 30 pictures" in told
    assert f"measured on {metrics['n']} pictures that the model has not seen" in told
    assert json.loads((tmp_path / "m.json").read_text())["metrics"] == metrics["metrics"]


def test_fewer_classes_are_measured_with_a_warning(
    headstart: Command, fitted: Path, others: Path, tmp_path: Path
) -> None:
    table = tmp_path / "cats.csv"
    lines = [f"{others}/cat/cat_{i:02}.png,cat" for i in range(5)]
    lines += [f"{others}/dog/dog_{i:02}.png,dog" for i in range(1)]
    table.write_text("\n".join(["file,label", *lines]))
    assert headstart("evaluate", fitted, table).code == 0


def test_metrics_that_cannot_be_written_are_said(
    headstart: Command, fitted: Path, photos: Path
) -> None:
    found = headstart("evaluate", fitted, photos, "--output", fitted / "log.jsonl" / "m.json")
    assert found.code == 2
    assert "Cannot write" in found.err


def test_the_report_is_drawn_anew(headstart: Command, fitted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    (run / "report.html").unlink()
    found = headstart("report", run)
    assert (found.code, found.out) == (0, f"{run / 'report.html'}\n")
    assert (run / "report.html").is_file()
