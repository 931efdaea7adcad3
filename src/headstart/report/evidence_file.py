"""Reads what a run proves about itself: the optional parts of metrics.json, checked and typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from headstart.contracts import Measure
from headstart.errors import RunError
from headstart.report.evidence import (
    Calibration,
    CoveragePoint,
    Evidence,
    Explanation,
    Leakage,
    LeakedSample,
    LearningCurve,
    Measures,
    RacedBackbone,
    ReliabilityBin,
    Rung,
    Strangers,
    Transfer,
)
from headstart.report.word_tint import MOST_SHOWN, ExplainedText, tinted_text

Part = TypeVar("Part")


def read_evidence(metrics: Mapping[str, Any], *, path: Path) -> Evidence:
    """The optional parts of a run's metrics.

    Args:
        metrics: Contents of metrics.json.
        path: Of that file, for messages.

    Raises:
        RunError: A part is there but lacks an entry, or has one of the wrong kind.
    """

    def part(key: str, parse: Callable[[Any], Part], missing: Part) -> Part:
        values = metrics.get(key)
        if not values:
            return missing
        try:
            return parse(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(
                f"`{path}` has an entry `{key}` that the report cannot read "
                f"({type(error).__name__}: {error}). Fit again, or make the report with the "
                "version that fitted it."
            ) from None

    return Evidence(
        race=part("race", _race, ()),
        rungs=part("rungs", _rungs, ()),
        verdict=str(metrics.get("verdict") or ""),
        calibration=part("calibration", _calibration, None),
        coverage=part("coverage", _coverage, ()),
        strangers=part("ood", _strangers, None),
        learning_curve=part("learning_curve", _learning_curve, None),
        leakage=part("leakage", _leakage, None),
        transfer=part("transfer", _transfer, None),
        explanations=part("explanations", _explanations, ()),
        worded=part("explanations", _worded, ()),
    )


def _race(rows: Sequence[Mapping[str, Any]]) -> tuple[RacedBackbone, ...]:
    return tuple(
        RacedBackbone(
            reference=str(row["reference"]),
            num_rounds=int(row.get("num_rounds") or 0),
            n=int(row.get("n") or 0),
            measures=_measures(row.get("metrics")),
            gap=_measure(row.get("gap")),
            samples_per_s=_number(row.get("samples_per_s")),
            is_kept=bool(row.get("kept")),
            why=str(row.get("why") or ""),
        )
        for row in rows
    )


def _rungs(rows: Sequence[Mapping[str, Any]]) -> tuple[Rung, ...]:
    return tuple(
        Rung(
            strategy=str(row["strategy"]),
            label=str(row.get("label") or ""),
            judged_on=str(row.get("judged_on") or ""),
            measures=_measures(row.get("metrics")),
            gain=_measure(row.get("gain")),
            gain_over=str((row.get("gain") or {}).get("over") or ""),
            seconds=float(row.get("seconds") or 0.0),
            predicted_seconds=_number(row.get("predicted_seconds")),
            is_kept=bool(row.get("kept")),
            was_tried=bool(row.get("was_tried", True)),
            why=str(row.get("why") or ""),
        )
        for row in rows
    )


def _calibration(values: Mapping[str, Any]) -> Calibration | None:
    bins = tuple(
        ReliabilityBin(
            low=float(row["low"]),
            high=float(row["high"]),
            n=int(row["n"]),
            confidence=float(row["confidence"]),
            accuracy=Measure(
                float(row["accuracy"]),
                _number(row.get("accuracy_low")),
                _number(row.get("accuracy_high")),
                int(row["n"]),
            ),
        )
        for row in values.get("bins") or []
        if row["n"] and _number(row.get("accuracy")) is not None
    )
    return Calibration(
        temperature=float(values.get("temperature") or 1.0),
        is_kept=bool(values.get("is_kept")),
        log_loss_before=_number(values.get("log_loss_before")),
        log_loss_after=_number(values.get("log_loss_after")),
        bins=bins,
        error=_measure(values.get("ece")),
    )


def _coverage(rows: Sequence[Mapping[str, Any]]) -> tuple[CoveragePoint, ...]:
    points = [
        CoveragePoint(
            coverage=float(row["coverage"]),
            accuracy=Measure(
                float(row["accuracy"]), _number(row.get("low")), _number(row.get("high"))
            ),
            min_confidence=_number(row.get("min_confidence")),
            n=None if row.get("n") is None else int(row["n"]),
        )
        for row in rows
        if _number(row.get("accuracy")) is not None
    ]
    return tuple(sorted(points, key=lambda point: point.coverage))


def _strangers(values: Mapping[str, Any]) -> Strangers | None:
    return Strangers(
        threshold=float(values["threshold"]),
        k=None if values.get("k") is None else int(values["k"]),
        share_flagged=_number(values.get("share_flagged")),
        n=None if values.get("n") is None else int(values["n"]),
        letters=_number(values.get("letters_threshold")),
        goes_by_words=values.get("goes_by") == "words",
        goes_by_letters=values.get("goes_by") == "letters",
    )


def _learning_curve(values: Mapping[str, Any]) -> LearningCurve | None:
    def line(key: str) -> tuple[tuple[float, Measure], ...]:
        pairs = [(float(r["num_samples"]), _measure(r)) for r in values.get(key) or []]
        known = [(n, m) for n, m in pairs if m is not None and n > 0]
        return tuple(sorted(known, key=lambda pair: pair[0]))

    return LearningCurve(
        metric=str(values.get("metric") or "accuracy"),
        points=line("points"),
        curve=line("curve"),
        now=_number(values.get("now")),
        sentence=str(values.get("sentence") or ""),
    )


def _leakage(values: Mapping[str, Any]) -> Leakage | None:
    return Leakage(
        num_leaked=int(values.get("num_leaked") or 0),
        with_leaked=_measures(values.get("with")),
        without_leaked=_measures(values.get("without")),
        leaked=tuple(
            LeakedSample(str(row["id"]), str(row["partner"]), str(row.get("why") or ""))
            for row in values.get("leaked") or []
        ),
        random=_measures(values.get("random")),
        grouped=_measures(values.get("grouped")),
        sentence=str(values.get("sentence") or ""),
    )


def _transfer(values: Mapping[str, Any]) -> Transfer | None:
    sides = {name: values.get(name) or {} for name in ("pretrained", "scratch")}
    curves = {
        name: tuple(
            (float(row["seconds"]), float(row["value"]))
            for row in rows or []
            if _number(row.get("value")) is not None
        )
        for name, rows in (values.get("curves") or {}).items()
    }
    return Transfer(
        gain=_measure(values.get("gain")),
        pretrained=_measures(sides["pretrained"]),
        scratch=_measures(sides["scratch"]),
        seconds={
            name: float(side["seconds"])
            for name, side in sides.items()
            if side.get("seconds") is not None
        },
        curves={name: curve for name, curve in curves.items() if curve},
        sentence=str(values.get("sentence") or ""),
    )


def _explanations(rows: Sequence[Mapping[str, Any]]) -> tuple[Explanation, ...]:
    return tuple(
        Explanation(
            id=str(row["id"]),
            label=str(row.get("label") or ""),
            predicted=str(row.get("predicted") or ""),
            explained=str(row.get("explained") or ""),
            probability=_number(row.get("probability")),
            heat=tuple(tuple(_number(value) or 0.0 for value in line) for line in row["heat"]),
        )
        for row in rows
        if row.get("heat")
    )


def _worded(rows: Sequence[Mapping[str, Any]]) -> tuple[ExplainedText, ...]:
    """Explanations of texts: what a fit kept of them is shown as a whole."""
    return tuple(
        ExplainedText(
            id=str(row["id"]),
            truth=str(row.get("label") or ""),
            said=str(row.get("predicted") or ""),
            explained=str(row.get("explained") or ""),
            confidence=_number(row.get("probability")),
            tinted=tinted_text(
                str(row["text"]),
                [(int(start), int(end), float(weight)) for start, end, weight in row["words"]],
                most_shown=2 * MOST_SHOWN,
            ),
        )
        for row in rows
        if "words" in row
    )


def _measures(values: Mapping[str, Any] | None) -> Measures:
    """The entries of an object that are measures, others (such as seconds) left out."""
    found = {
        name: _measure(entry)
        for name, entry in (values or {}).items()
        if isinstance(entry, Mapping)
    }
    return {name: measure for name, measure in found.items() if measure is not None}


def _measure(values: Mapping[str, Any] | None) -> Measure | None:
    value = None if values is None else _number(values.get("value"))
    if values is None or value is None:
        return None
    n = values.get("n")
    return Measure(
        value,
        _number(values.get("low")),
        _number(values.get("high")),
        None if n is None else int(n),
    )


def _number(value: Any) -> float | None:
    """A finite number; None for none, and for NaN and infinity, which cannot be drawn."""
    return None if value is None or not math.isfinite(float(value)) else float(value)
