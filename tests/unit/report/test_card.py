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
