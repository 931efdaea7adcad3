"""The model card says what, how well, on what data, within what limits, under which licence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from headstart.errors import RunError
from headstart.report import model_card, write_model_card
from headstart.rundir import RunFolder

MakeRun = Callable[..., RunFolder]


def test_the_card_says_what_a_reader_needs(make_run: MakeRun) -> None:
    measure = {"value": 145 / 153, "low": 0.902, "high": 0.98, "n": 153}
    folder = make_run(
        "ants", "bees", changes={"metrics": {"n": 153, "metrics": {"accuracy": measure}}}
    )
    card = write_model_card(folder).read_text(encoding="utf-8")
    assert folder.card.name == "README.md"
    assert "Tells 2 classes of photos apart: ants and bees." in card
    assert "**Right on 145 of 153 unseen pictures: 94.8% (95% interval 90.2–98.0%).**" in card
    assert "| Accuracy | 94.8% | 90.2–98.0% |" in card
    assert "| ants | 24 | 40 |" in card
    assert "Licence of the pretrained weights: Apache-2.0" in card
    assert "headstart predict photos-1 new-photos/" in card
    assert "- 2 pictures are exact copies of others." in card
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "apache-2.0"
    assert front["base_model"] == "timm:tf_efficientnet_lite0"


def test_the_card_tells_what_was_compared_and_what_came_of_it(proven_run: RunFolder) -> None:
    card = model_card(proven_run)
    section = card.split("## How it was chosen\n")[1].split("\n## ")[0]
    assert "| Most common class | 54.0% | 51.0–57.0% | cross-validation | 0.0 s |" in section
    assert "| **Linear probe (kept)** | 94.8% |" in section
    assert "| Full fine-tuning | 95.2% | 92.2–98.2% | validation | 52.0 s |" in section
    assert "| Gradual unfreezing | – | – | cross-validation | not tried |" in section
    assert section.rstrip().endswith("for 40 times the time; the linear probe was kept.")
    assert section.count("(kept)") == 1


def test_the_card_tells_how_far_an_answer_can_be_trusted(proven_run: RunFolder) -> None:
    card = model_card(proven_run)
    section = card.split("## How far to trust an answer\n")[1].split("\n## ")[0]
    assert "lie 2.1% (95% interval 0.6–3.6%) apart on average, over the test pictures" in section
    assert "temperature of 1.31" in section
    assert "from 0.171 to 0.158" in section
    assert "With `--min-confidence" in section
    assert "fewer than 5 training pictures within a distance of 0.61" in section
    assert "Of the test pictures, 2.0% were flagged." in section


def test_a_temperature_that_was_not_kept_is_told_as_such(make_run: MakeRun) -> None:
    calibration = {"is_kept": False, "log_loss_before": 0.171, "log_loss_after": 0.174}
    card = model_card(make_run("ants", "bees", changes={"metrics": {"calibration": calibration}}))
    assert "no temperature lowered the log loss of 0.171." in card
    assert "apart on average" not in card


def test_what_was_not_measured_has_no_heading(make_run: MakeRun) -> None:
    card = model_card(make_run("ants", "bees"))
    assert "## How it was chosen" not in card
    assert "## How far to trust an answer" not in card


def test_hostile_names_mark_nothing_up(make_run: MakeRun) -> None:
    card = model_card(make_run("<script>", "a|b", "[x](javascript:1)", "two\nlines"))
    assert "<script>" not in card.replace("\\<script\\>", "")
    assert "| a\\|b |" in card
    assert "\\[x\\](javascript:1)" in card
    assert "| two lines |" in card


def test_many_classes_are_cut_and_counted(make_run: MakeRun) -> None:
    card = model_card(make_run(*[f"class {i:02}" for i in range(60)], per=2))
    assert "and 10 classes more" in card
    assert "| class 59 |" not in card


def test_a_missing_file_is_named(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees")
    folder.metrics.unlink()
    with pytest.raises(RunError, match=r"metrics\.json"):
        model_card(folder)
