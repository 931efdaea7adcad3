"""What a reader should watch out for is worked out from the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headstart.report.cautions import cautions
from headstart.report.record import read_record
from headstart.rundir import RunFolder

MakeRun = Callable[..., RunFolder]


def told(folder: RunFolder) -> str:
    return "\n".join(caution.message for caution in cautions(read_record(folder)))


def accuracy(value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    entry = {"accuracy": {"value": value, "low": low, "high": high, "n": 200}, **more}
    return {"metrics": entry}


def test_a_sound_run_has_only_the_findings_of_its_data(make_run: MakeRun) -> None:
    assert told(make_run("ants", "bees", per=80)) == "2 pictures are exact copies of others."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": accuracy(0.6, 0.53, 0.67)}, "not clearly better than always answering"),
        ({"metrics": {"split": "validation"}}, "There is no test set"),
        ({"metrics": {"n": 40}}, "only 40 pictures"),
        ({"dataset": {"counts": {"train": {"ants": 4, "bees": 90}}}}, "training pictures: ants"),
        ({"dataset": {"counts": {"test": {"ants": 4, "bees": 90}}}}, "test pictures, so figures"),
        ({"dataset": {"left_out": ["a.jpg"]}}, "1 file was left out: a.jpg"),
        (
            {"metrics": {"confusion": {"classes": ["ants", "bees"], "counts": [[9, 0], [5, 0]]}}},
            "never answered bees",
        ),
        (
            {"metrics": accuracy(0.9, 0.86, 0.94, ece={"value": 0.2})},
            "confidence is off by 20.0%",
        ),
    ],
)
def test_a_weakness_of_a_run_is_named(
    make_run: MakeRun, changes: dict[str, Any], words: str
) -> None:
    assert words in told(make_run("ants", "bees", per=80, changes=changes))


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ({"epochs": 12, "best_epoch": 12, "stopped": "epochs"}, "The last epoch was the best"),
        ({"epochs": 12, "best_epoch": 9, "stopped": "budget"}, "time budget ended"),
        ({"epochs": 12, "best_epoch": 9, "stopped": "interrupted"}, "was interrupted"),
    ],
)
def test_how_training_ended_is_told(make_run: MakeRun, fit: dict[str, Any], words: str) -> None:
    changes = {"config": {"fit": fit}}
    assert words in told(make_run("ants", "bees", per=80, strategy="gradual", changes=changes))


@pytest.mark.parametrize(
    ("licence", "words"), [("unknown", "licence of the"), ("CC-BY-NC-4.0", "used commercially")]
)
def test_a_licence_to_mind_is_told(make_run: MakeRun, licence: str, words: str) -> None:
    folder = make_run("ants", "bees", per=80)
    config = json.loads(folder.config.read_text(encoding="utf-8"))
    config["model"]["backbone"]["licence"] = licence
    folder.write_json(folder.config, config)
    assert words in told(folder)


def test_a_warning_of_the_fit_is_told_once(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees", per=80)
    lines = [
        {
            **{"time": 1, "kind": "warning"},
            "message": "2 pictures are exact copies of others. Look at them.",
        },
        {"time": 2, "kind": "warning", "message": "The hub did not answer."},
        {"time": 3, "kind": "warning", "message": "The hub did not answer."},
    ]
    folder.write_text(folder.log, "".join(json.dumps(line) + "\n" for line in lines))
    text = told(folder)
    assert text.count("exact copies") == 1
    assert text.count("The hub did not answer.") == 1


def test_the_serious_comes_first(make_run: MakeRun) -> None:
    folder = make_run("ants", "bees", per=80, changes={"metrics": {"split": "validation"}})
    found = cautions(read_record(folder))
    assert found[0].is_serious
    assert not found[-1].is_serious


@pytest.mark.parametrize(("num_judged", "is_told"), [(80, True), (400, False)])
def test_many_suspects_are_many_of_those_that_were_judged(
    proven_run: RunFolder, num_judged: int, is_told: bool
) -> None:
    rows = [f"photos/{i}.png,ants,bees,0.9" for i in range(6)]
    proven_run.write_text(
        proven_run.suspects, "\n".join(["id,label,likely label,score", *rows]) + "\n"
    )
    metrics = proven_run.read_json(proven_run.metrics)
    metrics["suspects"] = {**metrics.get("suspects", {}), "num_judged": num_judged}
    proven_run.write_json(proven_run.metrics, metrics)
    assert ("6 labels look wrong" in told(proven_run)) == is_told
