"""Options: command line over YAML over defaults, and what is said about those that cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.config import FitOptions

TINY = ("--backbone", "timm:test_resnet.r160_in1k", "--weights", "random")

Command = Callable[..., Any]


def test_the_command_line_has_the_last_word_over_the_file(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    config = tmp_path / "options.yaml"
    config.write_text(
        "backbone: timm:test_resnet.r160_in1k\nweights: random\nseed: 5\n"
        "classifier: knn\non-bad: skip\n"
    )
    run = tmp_path / "run"
    found = headstart("fit", photos, "--config", config, "--seed", "7", "--output", run)
    assert found.code == 0, found.err
    options = json.loads((run / "config.json").read_text())["options"]
    assert (options["seed"], options["classifier"], options["on_bad"]) == (7, "knn", "skip")
    assert options["strategy"] == "probe"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stratgy: probe", "`stratgy` is no option. Did you mean `strategy`?"),
        ("strategy: prob", "`strategy` cannot be `prob`. Did you mean `probe`?"),
        ("epochs: 0\nlr: -1", "`lr` cannot be `-1`"),
        ("- a\n- b", "holds list, but needs lines such as `strategy: probe`"),
        ("a: [1", "is no YAML"),
    ],
)
def test_a_mistake_in_the_file_is_said_with_its_name(
    headstart: Command, photos: Path, tmp_path: Path, text: str, message: str
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(text)
    found = headstart("fit", photos, "--config", config)
    assert found.code == 2
    assert message in found.err
    assert "mine.yaml" in found.err
    assert "Traceback" not in found.err


def test_a_file_that_is_not_there_is_said(headstart: Command, photos: Path) -> None:
    found = headstart("fit", photos, "--config", "nowhere.yaml")
    assert found.code == 2
    assert "Cannot read the options file `nowhere.yaml`" in found.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit",), "What shall be fitted?"),
        (("fit", "x", "--stratgy", "probe"), "Did you mean --strategy?"),
        (("fit", "x", "--strategy", "prob"), "`strategy` cannot be `prob`. Did you mean `probe`?"),
        (("fit", "x", "--epochs", "0"), "`epochs` cannot be `0`: it must be greater than"),
        (("fit", "x", "--epochs", "many"), "`epochs` cannot be `many`"),
        (("fit", "x", "--budget", "soon"), "`soon` is no duration. Write it like 90s, 5m or 2h."),
        (("fit", "x", "--task", "poetry"), "`task` cannot be `poetry`"),
        (("fit", "x", "--epochs", "0", "--dropout", "2"), "`dropout` cannot be `2`"),
        (("fit", "nowhere"), "`nowhere`"),
        (("predict",), "requires an argument"),
        (("pedict", "x"), "pedict"),
        (("report", "nowhere"), "There is no run folder `nowhere`"),
        (("evaluate", "nowhere", "x"), "`nowhere`"),
        (("models", "nosuchmodelatall"), "No model is called anything like"),
        (("pull", "nowhere:resnet"), "nowhere"),
        (("cache", "limit", "plenty"), "`plenty` is no size"),
        (("cache", "clear", "photos"), "`photos` is no part of the cache"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_said_without_a_traceback(
    headstart: Command, arguments: tuple[str, ...], message: str
) -> None:
    found = headstart(*arguments)
    assert found.code == 2
    assert message in found.err
    assert found.err.count("Error: ") == 1
    assert "Traceback" not in found.err
    assert "pydantic" not in found.err


def test_debug_adds_the_traceback(headstart: Command) -> None:
    found = headstart("fit", "nowhere", "--debug")
    assert found.code == 2
    assert "Traceback" in found.err
    assert "Error: " in found.err


def test_the_first_error_of_ours_is_no_user_error(
    headstart: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect is not dressed up: it is raised, so that the interpreter exits with 1."""

    def defect(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("headstart.api.fit", defect)
    with pytest.raises(ZeroDivisionError):
        headstart("fit", photos)


def test_ctrl_c_outside_a_fit_exits_with_130(
    headstart: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("headstart.api.inspect", interrupted)
    found = headstart("inspect", photos)
    assert (found.code, found.err) == (130, "Error: Stopped.\n")


@pytest.fixture(scope="module")
def help_of_fit() -> str:
    """From a process of its own: its width is read once, when the first help is asked for."""
    words = [sys.executable, "-m", "headstart", "fit", "--help"]
    wide = {**os.environ, "COLUMNS": "1000"}  # so that no sentence is wrapped
    found = subprocess.run(words, env=wide, capture_output=True, check=True, encoding="utf-8")
    return found.stdout


@pytest.mark.parametrize("name", FitOptions.model_fields)
def test_the_help_of_fit_has_every_option(help_of_fit: str, name: str) -> None:
    field = FitOptions.model_fields[name]
    assert f"--{name.replace('_', '-')}" in help_of_fit
    assert field.description is not None
    assert field.description in help_of_fit


@pytest.mark.parametrize(
    "command",
    [*("inspect", "fit", "evaluate", "predict", "report", "models", "pull", "demo"), "cache"],
)
def test_every_command_has_a_help(headstart: Command, command: str) -> None:
    assert command in headstart("--help").out
    found = headstart(command, "--help")
    assert found.code == 0
    assert "Usage: headstart " + command in found.out


def test_the_version_is_told(headstart: Command) -> None:
    assert headstart("--version").out.strip() == hs.__version__


def test_quiet_leaves_warnings_and_results(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    found = headstart("fit", photos, *TINY, "--quiet", "--output", tmp_path / "run")
    assert found.code == 0
    assert all(line.startswith("Warning: ") for line in found.err.splitlines())
    assert "accuracy" in found.out


def test_mixup_needs_pictures_so_cached_views_are_refused(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    found = headstart(
        *("fit", photos, *TINY, "--strategy", "head", "--mixup", "0.2", "--views", "2"),
        *("--output", tmp_path / "run"),
    )
    assert found.code == 2
    assert "--views 0" in found.err
