"""The report of a run: complete, self-contained, escaped, and adapted to what the run has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from headstart.errors import RunError
from headstart.report import write_report
from headstart.rundir import RunFolder

MakeRun = Callable[..., RunFolder]
HOSTILE = ("<script>alert(1)</script>", "a\"b' onload=x", "long_name_" * 12, "日本 & co")
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Tags that are closed in the wrong order, addresses that are loaded, ids, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "src" or (tag == "link" and name == "href"):
                self.loaded.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and (value or "").startswith("#"):
                self.anchors.append((value or "")[1:])
            if name.startswith("on"):
                self.wrong.append(f"handler {name}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def outline_of(folder: RunFolder) -> Outline:
    return Outline(write_report(folder).read_text(encoding="utf-8"))


def assert_sound(outline: Outline) -> None:
    assert outline.wrong == []
    assert outline.open == []
    assert "script" not in outline.tags
    assert all(address.startswith("data:") for address in outline.loaded)
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.anchors) <= set(outline.ids)


@pytest.mark.parametrize("strategy", ["as-is", "probe", "gradual"])
def test_the_page_is_well_formed_and_loads_nothing(make_run: MakeRun, strategy: str) -> None:
    folder = make_run("ants", "bees", strategy=strategy)
    outline = outline_of(folder)
    assert_sound(outline)
    page = folder.report.read_text(encoding="utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "@import" not in page


def test_the_headline_is_said_in_words_with_its_interval(make_run: MakeRun) -> None:
    measure = {"value": 145 / 153, "low": 0.902, "high": 0.98, "n": 153}
    folder = make_run(
        "ants", "bees", changes={"metrics": {"n": 153, "metrics": {"accuracy": measure}}}
    )
    text = outline_of(folder).text
    assert "Right on 145 of 153 unseen pictures: 94.8% (95% interval 90.2–98.0%)." in text
    assert "Always answering “bees”, the most common class, would be right on 54.2%." in text


def test_every_metric_class_option_and_choice_is_on_the_page(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees", strategy="gradual")
    outline = outline_of(folder)
    metrics = json.loads(folder.metrics.read_text(encoding="utf-8"))
    for measure in metrics["metrics"].values():
        assert f"{measure['value']:.3f}" in outline.text or (
            f"{100 * measure['value']:.1f}%" in outline.text
        )
    for row in metrics["confusion"]["counts"]:
        for number in row:
            assert str(number) in outline.words
    for words in ("no hub in reach", "the fastest that is good", "Apache-2.0", "bfloat16", "0.498"):
        assert words in outline.text
    for words in ("headstart predict", "headstart evaluate", "224 × 224 pixels", "epoch 9"):
        assert words in outline.text
    assert "0.6107" in outline.text  # the training loss of the first epoch


def test_a_gradual_fit_has_curves_and_a_probe_has_its_choice(make_run: MakeRun) -> None:
    text = outline_of(make_run("ants", "bees", strategy="gradual")).text
    assert "The weights of epoch 9 were kept." in text
    assert "Phases: head (epochs 1–3), top stage (epochs 4–12)." in text
    assert "Learning-rate finder" in text
    text = outline_of(make_run("ants", "bees", strategy="probe")).text
    assert "Settings tried by cross-validation in 5 folds" in text
    assert "chosen: 0.1" in text
    assert "epoch by epoch" not in text
    assert "Validation scores" not in text


def test_figures_are_svg_files_that_stand_alone(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees", strategy="gradual")
    write_report(folder)
    written = {path.name for path in folder.figures.iterdir()}
    assert written == {"loss.svg", "scores.svg", "lr.svg", "lr_finder.svg", "confusion.svg"}
    for path in folder.figures.iterdir():
        root = ET.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}title") is not None


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_hostile_names_stay_text(make_run: MakeRun, is_multilabel: bool) -> None:
    test = [(f"val/{name}/{i} #%?.jpg", name) for name in HOSTILE for i in range(9)]
    folder = make_run(*HOSTILE, test=test, is_multilabel=is_multilabel)
    outline = outline_of(folder)
    assert_sound(outline)
    for name in HOSTILE:
        assert name in outline.text
    for path in folder.figures.iterdir():
        assert ET.fromstring(path.read_text(encoding="utf-8")) is not None


def test_missing_pictures_are_said_and_the_page_goes_on(make_run: MakeRun) -> None:
    outline = outline_of(make_run("ants", "bees"))
    assert "no longer at" in outline.text
    assert "img" not in outline.tags
    assert "How to use it" in outline.text


def test_a_picture_that_cannot_be_read_is_no_obstacle(make_run: MakeRun, tmp_path: Path) -> None:
    for label in ("ants", "bees"):
        for i in range(40):
            path = tmp_path / "data" / "val" / label / f"{i:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no picture")
    outline = outline_of(make_run("ants", "bees", root=tmp_path / "data"))
    assert "can no longer be read" in outline.text


def test_real_mistakes_are_shown_with_truth_and_confidence(
    make_run: MakeRun, ants_bees: Path
) -> None:
    paths = sorted(ants_bees.glob("val/*/*.jpg"))
    test = [(path.relative_to(ants_bees).as_posix(), path.parent.name) for path in paths]
    folder = make_run("ants", "bees", test=test, root=ants_bees)
    outline = outline_of(folder)
    assert_sound(outline)
    assert any(address.startswith("data:image/webp") for address in outline.loaded)
    assert re.search(rf"\d+ pictures of {len(test)} got the wrong answer", outline.text)
    assert re.search(r"said (ants|bees) , \d+\.\d% sure labelled (ants|bees)", outline.text)
    assert folder.report.stat().st_size < 3_000_000


def test_many_classes_are_told_by_their_worst_pairs(make_run: MakeRun) -> None:
    classes = [f"class {i:02}" for i in range(40)]
    outline = outline_of(make_run(*classes, per=6))
    assert_sound(outline)
    assert "What was most often taken for what" in outline.text
    assert "The whole confusion matrix" in outline.text


def test_a_thousand_classes_fit_on_the_page(make_run: MakeRun) -> None:
    classes = [f"class {i:04}" for i in range(1000)]
    folder = make_run(*classes, per=1)
    outline = outline_of(folder)
    assert_sound(outline)
    assert "metrics.json holds it" in outline.text
    assert folder.report.stat().st_size < 3_000_000


def test_long_file_lists_are_cut_and_counted(make_run: MakeRun) -> None:
    finding = {
        "kind": "truncated",
        "severity": "warning",
        "message": "50000 files end too soon.",
        "remedy": "Use `--on-bad skip`.",
        "ids": [f"train/ants/{i}.jpg" for i in range(50_000)],
    }
    folder = make_run("ants", "bees", changes={"dataset": {"findings": [finding]}})
    assert "and 49,800 files more" in outline_of(folder).text
    assert folder.report.stat().st_size < 3_000_000


def test_a_multilabel_run_has_no_confusion_and_names_the_wrong_label(make_run: MakeRun) -> None:
    classes = ["beach", "forest", "people"]
    labels = ["beach", "beach|people", "", "forest"]
    test = [(f"{i}.jpg", labels[i % 4]) for i in range(120)]
    outline = outline_of(make_run(*classes, test=test, is_multilabel=True))
    assert_sound(outline)
    assert "Macro F1 of 71.2% on 120 unseen pictures (95% interval 65.0–77.0%)." in outline.text
    assert "What was taken for what" not in outline.text
    assert re.search(r"said (also|not) (beach|forest|people)", outline.text)


@pytest.mark.parametrize(
    "name", ["config", "dataset", "split", "input", "metrics", "log", "predictions"]
)
def test_a_missing_file_is_named(make_run: MakeRun, name: str) -> None:
    folder = make_run("ants", "bees")
    path: Path = getattr(folder, name)
    path.unlink()
    with pytest.raises(RunError, match=re.escape(path.name)):
        write_report(folder)


def test_a_missing_entry_is_named(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees")
    config = json.loads(folder.config.read_text(encoding="utf-8"))
    del config["model"]["head"]
    folder.write_json(folder.config, config)
    with pytest.raises(RunError, match="no entry `head`"):
        write_report(folder)


def test_damaged_predictions_are_named(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees")
    folder.predictions.write_bytes(b"PAR1 but not really")
    with pytest.raises(RunError, match=r"predictions\.parquet"):
        write_report(folder)


def test_a_line_that_a_killed_fit_left_behind_is_counted(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees", strategy="gradual")
    with folder.log.open("a", encoding="utf-8") as file:
        file.write('{"time": 1.0, "kind": "epo')
    assert "1 line of log.jsonl cannot be read" in outline_of(folder).text


def test_losses_that_are_not_finite_leave_a_page(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees", strategy="gradual")
    event: dict[str, Any] = {"time": 1.0, "kind": "epoch", "message": "", "epoch": 1}
    event |= {"train_loss": float("nan"), "val_loss": None, "lr": 0.1}
    folder.write_text(folder.log, json.dumps(event) + "\n")
    outline = outline_of(folder)
    assert_sound(outline)
    assert "nan" in outline.text


def test_the_page_is_written_anew_after_an_earlier_one(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees")
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_importing_the_report_imports_nothing_heavy() -> None:
    code = (
        "import sys, headstart.report;"
        "print([m for m in ('torch', 'pyarrow', 'jinja2', 'PIL', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
