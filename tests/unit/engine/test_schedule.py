from __future__ import annotations

import pytest

from headstart.engine.schedule import SCHEDULES, Plateau, lr_factor
from headstart.errors import ConfigError


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        ("one-cycle", {0.0: 1 / 25, 0.125: 0.52, 0.25: 1.0, 0.625: 0.50005, 1.0: 1e-4}),
        ("cosine", {0.0: 1 / 25, 0.125: 0.5, 0.25: 1.0, 0.625: 0.5, 1.0: 0.0}),
        ("step", {0.125: 0.5, 0.25: 1.0, 0.49: 1.0, 0.5: 0.1, 0.74: 0.1, 0.75: 0.01, 1.0: 0.01}),
        ("constant", {0.0: 1 / 25, 0.125: 0.5, 0.25: 1.0, 1.0: 1.0}),
        ("plateau", {0.0: 1 / 25, 0.125: 0.5, 0.25: 1.0, 1.0: 1.0}),
    ],
)
def test_a_schedule_goes_through_its_points(schedule: str, points: dict[float, float]) -> None:
    found = {p: lr_factor(schedule, p, warmup=0.25) for p in points}
    assert found == pytest.approx(points, abs=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.4])
def test_every_schedule_rises_to_one_and_never_after(schedule: str, warmup: float) -> None:
    factors = [lr_factor(schedule, i / 1000, warmup=warmup) for i in range(1001)]
    peak = round(warmup * 1000)
    assert factors[peak] == pytest.approx(1.0)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert all(0 <= factor <= 1 for factor in factors)


def test_past_the_end_the_rate_stays_as_at_the_end() -> None:
    assert lr_factor("one-cycle", 1.7, warmup=0.25) == pytest.approx(1e-4)


def test_an_unknown_schedule_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean `cosine`"):
        lr_factor("cosin", 0.5, warmup=0.1)


def test_the_plateau_shrinks_once_every_three_bad_epochs_in_a_row() -> None:
    plateau, factors = Plateau(), []
    for is_better in (True, False, False, True, False, False, False, False, False, False):
        plateau.after_epoch(is_better=is_better)
        factors.append(plateau.factor)
    assert factors == pytest.approx([1.0] * 6 + [0.3] * 3 + [0.09])
