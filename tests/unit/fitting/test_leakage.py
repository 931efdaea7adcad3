from __future__ import annotations

import pytest

from headstart.contracts import Evaluation, Measure
from headstart.fitting.leakage import gap_sentence


def evaluation(accuracy: float) -> Evaluation:
    return Evaluation(100, {"accuracy": Measure(accuracy)}, {})


@pytest.mark.parametrize(
    ("shuffled", "says"),
    [
        (0.95, "+5.0 points (95.0% against 90.0%): that is what groups kept whole take off"),
        (0.90, "+0.0 points (90.0% against 90.0%): here groups kept whole take nothing off"),
        (0.85, "-5.0 points (85.0% against 90.0%): here groups kept whole take nothing off"),
    ],
)
def test_a_gap_that_is_none_is_told_as_none(shuffled: float, says: str) -> None:
    assert says in gap_sentence(evaluation(0.9), evaluation(shuffled))
