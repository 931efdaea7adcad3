"""What was tried, as metrics.json has it."""

from __future__ import annotations

import json

from headstart.contracts import Measure
from headstart.fitting.rungs import Rung, only_rung


def test_a_rung_is_told_with_its_metrics_gain_and_reason() -> None:
    rung = Rung(
        "full",
        "why",
        judged_on="validation",
        metrics={"accuracy": Measure(0.9, 0.8, 0.95, 40)},
        gain=Measure(0.05, -0.01, 0.1, 40),
        over="probe",
        seconds=1.23456,
        predicted_seconds=2.34,
        is_kept=True,
    )
    assert json.loads(json.dumps(rung.to_json())) == {
        "strategy": "full",
        "judged_on": "validation",
        "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40}},
        "gain": {"value": 0.05, "low": -0.01, "high": 0.1, "n": 40, "over": "probe"},
        "seconds": 1.235,
        "predicted_seconds": 2.3,
        "kept": True,
        "was_tried": True,
        "why": "why",
    }


def test_a_rung_that_was_skipped_has_no_figures() -> None:
    told = Rung("full", "too little time", was_tried=False).to_json()
    assert told["was_tried"] is told["kept"] is False
    assert told["gain"] is told["predicted_seconds"] is None
    assert told["metrics"] == {}


def test_a_strategy_that_was_asked_for_is_the_only_rung() -> None:
    climb = only_rung("gradual", seconds=3.0)
    assert [(rung.strategy, rung.is_kept) for rung in climb.rungs] == [("gradual", True)]
    assert climb.verdict == ""
