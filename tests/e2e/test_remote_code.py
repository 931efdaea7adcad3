"""A model that needs code of its own, from the fit to another machine, by the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.errors import WeightsError

pytest.importorskip("transformers", reason="needs the extra `text`")

from own_code import write_own

Command = Callable[..., Any]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    rows = [(f"the beast and films {i}", "film") for i in range(20)]
    rows += [(f"how did serfdom develop {i} ?", "question") for i in range(20)]
    with (tmp_path / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return tmp_path / "notes.csv"


def test_code_is_run_when_asked_kept_with_the_run_and_agreed_to_once_a_machine(
    notes: Path, headstart: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run, new = write_own(tmp_path / "own"), tmp_path / "run", tmp_path / "new.txt"
    new.write_text("the beast", encoding="utf-8")
    fit = ("fit", notes, "--backbone", folder, "--strategy", "probe", "--output", run)
    refused = headstart(*fit)
    assert refused.code == 2
    assert "not run unless you say so" in refused.err
    assert "--trust-remote-code" in refused.err
    done = headstart(*fit, "--trust-remote-code")
    assert done.code == 0, done.err
    choices = json.loads((run / "config.json").read_text())["choices"]
    [choice] = [choice for choice in choices if choice["name"] == "code"]
    assert choice["value"] == "configuration_own.py, modeling_own.py, sounds_own.py"
    assert "sounds_own.py" in (run / "report.html").read_text()
    here = headstart("predict", run, new)
    assert here.code == 0, here.err

    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "elsewhere"))
    before = headstart("predict", run, new)
    assert before.code == 2
    assert "Nobody has agreed on this machine" in before.err
    agreed = headstart("predict", run, new, "--trust-remote-code")
    assert agreed.code == 0, agreed.err
    assert agreed.out == here.out
    assert headstart("predict", run, new).out == here.out
    assert headstart("evaluate", run, notes).code == 0

    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "third"))
    with pytest.raises(WeightsError, match="Nobody has agreed"):
        hs.load(run)
    [answer] = hs.predict(run, [new], trust_remote_code=True).labels
    assert answer in ("film", "question")


def test_a_race_runs_the_code_when_asked_and_tells_a_fit_that_does(
    notes: Path, headstart: Command, tmp_path: Path
) -> None:
    folder, page = write_own(tmp_path / "own"), tmp_path / "ranking.html"
    race = ("rank", notes, "--backbones", folder, "--output", page)
    refused = headstart(*race)
    assert refused.code == 2
    assert "`rank` takes the same flag" in refused.err
    done = headstart(*race, "--trust-remote-code")
    assert done.code == 0, done.err
    told = f"headstart fit {notes} --backbone {folder} --trust-remote-code"
    assert told in page.read_text()
    assert headstart(*told.split()[1:], "--strategy", "probe").code == 0


def test_models_of_pictures_have_no_code_to_trust(
    ants_bees: Path, headstart: Command, tmp_path: Path
) -> None:
    done = headstart("fit", ants_bees, "--trust-remote-code", "--output", tmp_path / "run")
    assert done.code == 2
    assert "--trust-remote-code is of models of texts" in done.err
    race = headstart("rank", ants_bees, "--trust-remote-code")
    assert race.code == 2
    assert "--trust-remote-code is of models of texts" in race.err
