"""Several backbones for the ladder: the race, its winner, and what a run keeps of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart
from headstart import cli
from headstart.errors import ConfigError, InterruptedFit, WeightsError
from headstart.fitting import choosing
from headstart.fitting.ladder import Ladder
from headstart.progress import Event, Progress
from headstart.racing import Race

pytestmark = pytest.mark.usefixtures("tiny_racers")

SEEING = ("test_resnet", "test_efficientnet")


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def num_read(self) -> int:
        """Pictures that went through a backbone."""
        ends = [e for e in self.events if e.kind == "end" and e.message == "reading pictures"]
        return sum(event.values["done"] for event in ends)


@pytest.fixture
def photos(make_photos: Callable[..., Path]) -> Path:
    """Train and test, ready-made: 48 and 12 pictures."""
    make_photos({"cat": 24, "dog": 24}, split="train")
    return make_photos({"cat": 6, "dog": 6}, split="test")


def read(run: Path, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run / name).read_text(encoding="utf-8"))
    return values


def race_of(run: Path) -> list[dict[str, Any]]:
    """How each did, without what depends on the clock."""
    rows = read(run, "metrics.json")["race"]
    return [{key: value for key, value in row.items() if key != "samples_per_s"} for row in rows]


def chosen(run: Path) -> dict[str, Any]:
    """The backbone as it was chosen."""
    choices = {choice["name"]: choice for choice in read(run, "config.json")["choices"]}
    found: dict[str, Any] = choices["backbone"]
    return found


def test_the_winner_is_taken_and_how_each_did_is_kept(photos: Path, tmp_path: Path) -> None:
    run = headstart.fit(
        photos, backbone="blind,test_resnet,unreachable,blind too", output=tmp_path / "run"
    ).path
    best, blind, other, absent = race_of(run)
    assert best["reference"] == "test_resnet"
    assert (best["num_rounds"], best["n"], best["kept"], best["gap"]) == (2, 48, True, None)
    assert best["why"] == "the best"
    assert best["metrics"]["accuracy"]["value"] > 0.9
    assert best["metrics"]["accuracy"]["low"] < best["metrics"]["accuracy"]["high"]
    assert set(best["metrics"]) == {"accuracy", "log_loss"}
    assert {blind["num_rounds"], other["num_rounds"]} == {1, 2}
    assert blind["gap"]["high"] < 0
    assert not blind["kept"]
    assert blind["why"] == "worse than the best"
    assert absent == {
        **{"reference": "unreachable", "num_rounds": 0, "n": 0, "metrics": {}, "gap": None},
        **{"kept": False, "why": "The registry does not answer."},
    }
    assert read(run, "metrics.json")["race"][0]["samples_per_s"] > 0
    choice = chosen(run)
    assert choice["value"] == "test_resnet"
    score = f"{100 * best['metrics']['accuracy']['value']:.1f}".removesuffix(".0")
    told = f"won the race of 3 backbones by probe on 48 samples: accuracy {score}%, next blind"
    assert choice["reason"].startswith(told)
    assert read(run, "metrics.json")["backbone"].startswith("timm:test_resnet")
    assert read(run, "config.json")["options"]["backbone"] == "test_resnet"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "3 backbones raced before the ladder" in page
    assert headstart.load(run).predict([photos / "test" / "cat" / "cat_000.png"]).labels


def test_it_ends_as_a_fit_with_the_winner_alone(photos: Path, tmp_path: Path) -> None:
    headstart.fit(photos, backbone=list(SEEING), output=tmp_path / "raced")
    winner = chosen(tmp_path / "raced")["value"]
    headstart.fit(photos, backbone=winner, output=tmp_path / "alone")
    for name in ("model.safetensors", "predictions.parquet", "strangers.safetensors"):
        assert (tmp_path / "raced" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert "race" not in read(tmp_path / "alone", "metrics.json")
    assert "backbone" not in [c["name"] for c in read(tmp_path / "alone", "config.json")["choices"]]


def test_no_features_are_computed_twice(photos: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    headstart.fit(
        photos, backbone=",".join(SEEING), output=tmp_path / "run", progress=Progress([recorder])
    )
    assert recorder.num_read() == 2 * 48 + 12


def test_test_labels_change_nothing(photos: Path, tmp_path: Path) -> None:
    entrants = [*SEEING, "blind"]
    headstart.fit(photos, backbone=entrants, output=tmp_path / "one")
    for i, path in enumerate(sorted((photos / "test").rglob("*.png"))):
        other = "dog" if path.parent.name == "cat" and i % 2 else "cat"
        path.rename(photos / "test" / other / f"moved_{i}.png")
    headstart.fit(photos, backbone=entrants, output=tmp_path / "other")
    assert race_of(tmp_path / "one") == race_of(tmp_path / "other")
    assert chosen(tmp_path / "one")["reason"] == chosen(tmp_path / "other")["reason"]
    one, other_weights = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other")
    )
    assert one == other_weights


def test_a_resumed_fit_goes_by_the_choice_and_keeps_its_record(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    def race_again(*_: Any, **__: Any) -> None:
        raise AssertionError("it raced again")

    whole, run = tmp_path / "whole", tmp_path / "run"
    headstart.fit(photos, backbone=["blind", *SEEING], output=whole)
    with monkeypatch.context() as patch:
        patch.setattr(Ladder, "climb", stop)
        with pytest.raises(InterruptedFit, match=r"Go on with: headstart fit --resume"):
            headstart.fit(photos, backbone=["blind", *SEEING], output=run)
        before = chosen(run)
        patch.setattr(choosing, "run_race", race_again)
        for _ in range(2):  # stopped again, and then to the end
            with pytest.raises(InterruptedFit):
                headstart.resume(run)
    monkeypatch.setattr(choosing, "run_race", race_again)
    headstart.resume(run)
    assert chosen(run) == before
    assert race_of(run) == race_of(whole)
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_one_that_is_left_is_taken_without_a_race(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    headstart.fit(photos, backbone="unreachable,test_resnet", output=run)
    first, second = race_of(run)
    assert (first["reference"], first["kept"], first["num_rounds"]) == ("test_resnet", True, 0)
    assert (second["reference"], second["why"]) == ("unreachable", "The registry does not answer.")
    assert chosen(run)["reason"] == "the only one of 2 that could take part"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "only one could take part, so there was no race" in page


def test_where_none_can_be_had_all_are_listed(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        headstart.fit(photos, backbone="unreachable,unreachable too", output=tmp_path / "run")
    lines = str(caught.value).splitlines()
    assert lines[0] == "No backbone can be had:"
    assert lines[2] == "  unreachable too: The registry does not answer."
    assert lines[3].startswith("Give others with --backbone: `headstart models`")


def test_a_name_that_does_not_exist_stops_it_before_a_picture_is_read(
    photos: Path, tmp_path: Path
) -> None:
    recorder = Recorder()
    with pytest.raises(ConfigError, match="no architecture `test_resnett`"):
        headstart.fit(
            photos,
            backbone="test_resnet,test_resnett",
            output=tmp_path / "run",
            progress=Progress([recorder]),
        )
    assert recorder.num_read() == 0


def test_any_stands_for_all_that_are_here(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "default_backbones", lambda unit: ["blind", "test_resnet"])
    headstart.fit(photos, backbone="any", output=tmp_path / "run")
    assert [row["reference"] for row in race_of(tmp_path / "run")] == ["test_resnet", "blind"]
    monkeypatch.setattr(choosing, "default_backbones", lambda unit: ["test_resnet"])
    headstart.fit(photos, backbone="any", output=tmp_path / "one")
    assert chosen(tmp_path / "one")["reason"] == "the only one at hand"


@pytest.mark.parametrize(("budget", "share_s"), [("90s", 30.0), (None, 100.0)])
def test_a_race_has_a_third_of_the_time_at_most(
    budget: str | None,
    share_s: float,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allowed_s: list[float] = []
    real = Race.run

    def run(self: Race, racers: Any) -> None:
        allowed_s.append(self.reading_ends - self.where.started)
        real(self, racers)

    monkeypatch.setattr(Race, "run", run)
    headstart.fit(photos, backbone=list(SEEING), budget=budget, output=tmp_path / "run")
    assert len(allowed_s) == 1
    assert 0.5 * share_s < allowed_s[0] <= share_s


def test_time_that_is_over_before_anything_was_judged_is_an_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Race, "_run", lambda *_: False)
    with pytest.raises(ConfigError, match=r"third of the time left .* before any of 2 backbones"):
        headstart.fit(photos, backbone=list(SEEING), output=tmp_path / "run")


def test_what_the_time_does_not_hold_is_told_as_absent(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "_LOADING_SHARE", 0.0)  # the first is loaded whatever it takes
    recorder = Recorder()
    run = tmp_path / "run"
    headstart.fit(photos, backbone=list(SEEING), output=run, progress=Progress([recorder]))
    first, second = race_of(run)
    assert first["kept"]
    assert second["why"].startswith("The budget was over before its turn.")
    warnings = [event.message for event in recorder.events if event.kind == "warning"]
    assert f"test_efficientnet takes no part: {second['why']}" in warnings


def test_several_labels_a_picture_race_by_macro_f1(photos: Path, tmp_path: Path) -> None:
    rows = ["file,labels,split"]
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        labels = path.parent.name if i % 3 else f"{path.parent.name}|odd"
        rows.append(f"{path.relative_to(photos).as_posix()},{labels},{path.parts[-3]}")
    table = photos / "labels.csv"
    table.write_text("\n".join(rows))
    headstart.fit(table, backbone=[*SEEING, "blind"], output=tmp_path / "run")
    assert set(race_of(tmp_path / "run")[0]["metrics"]) == {"macro_f1", "log_loss"}
    assert "macro f1" in chosen(tmp_path / "run")["reason"]


def test_the_command_takes_names_with_commas(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    code = cli.run(["fit", str(photos), "--backbone", "blind,test_resnet", "--output", str(run)])
    assert code == 0
    err = capsys.readouterr().err
    assert "2 backbones race by probe, for at most " in err
    assert "backbone: test_resnet (won the race of 2 backbones" in err
    for value, strategy, told in (
        ("a,,b", "auto", "`backbone` cannot be `a,,b`: it must be names with one comma between"),
        ("a,b", "probe", "--backbone a,b stands for several, and only the ladder races them"),
    ):
        arguments = ["fit", str(photos), "--backbone", value, "--strategy", strategy]
        assert cli.run(arguments) == 2
        assert told in capsys.readouterr().err
