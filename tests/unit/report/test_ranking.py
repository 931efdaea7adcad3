"""The page of a ranking, and what is said of a race."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from headstart.contracts import Measure
from headstart.errors import ConfigError
from headstart.metrics.comparison import Comparison, compare_predictions
from headstart.report.ranking import (
    BackboneFacts,
    Contender,
    Cost,
    Ranking,
    ranking_rows,
    ranking_verdict,
    write_ranking,
)

N = 200


def gap(name: str, num_wrong: int) -> Comparison:
    """Against a best that has ten wrong."""
    truth = np.arange(N) % 2

    def answers(wrong: int) -> np.ndarray:
        said = np.where(np.arange(N) < wrong, 1 - truth, truth)
        return np.where(said[:, None] == np.arange(2), 0.9, 0.1)

    return compare_predictions(answers(10), answers(num_wrong), truth, names=("best", name))


def contender(name: str, num_wrong: int, *, rate: float = 50.0, best: bool = False) -> Contender:
    share = 1 - num_wrong / N
    return Contender(
        backbone=BackboneFacts(name, 4_000_000, 1280, "3 x 224 x 224", "MIT", "general"),
        metrics={
            "accuracy": Measure(share, share - 0.03, min(1.0, share + 0.03), N),
            "log_loss": Measure(0.2, 0.1, 0.3, N),
        },
        n=N,
        num_rounds=1,
        num_mistakes=num_wrong,
        cost=Cost(rate, N / rate, 12.5 if best else None),
        gap=None if best else gap(name, num_wrong),
    )


BEST = contender("best", 10, best=True)


@pytest.fixture
def ranking() -> Ranking:
    contenders = (BEST, contender("<b>quick", 12, rate=150.0), contender("poor", 60))
    return Ranking(
        data=Path("photos"),
        contenders=contenders,
        absent=(("gone", "The hub `x` does not answer."),),
        headline="accuracy",
        n=N,
        parts=(100, N),
        verdict=ranking_verdict(contenders, "accuracy"),
        command="headstart fit photos --label-column kind --backbone best",
        notes=("The budget of 5m ended the race.",),
    )


def test_what_cannot_be_told_from_the_best_is_said_with_its_speed(ranking: Ranking) -> None:
    assert ranking.verdict == (
        "best is the best of 3: accuracy 95.0% (95% interval 92.0–98.0%), out of fold on 200 "
        "samples. <b>quick cannot be told from it, and is 3.0 times as fast."
    )
    assert [found.said for found in ranking] == [
        "the best",
        "cannot be told from the best",
        "worse than the best",
    ]


def test_a_clear_winner_and_a_lonely_one_are_told() -> None:
    clear = ranking_verdict([BEST, contender("poor", 60)], "accuracy")
    assert clear.endswith("It is better than each of the others, beyond the noise.")
    assert ranking_verdict([BEST], "accuracy").startswith("best ran alone: accuracy 95.0%")
    alike = [BEST, contender("a", 11), contender("b", 12)]
    assert ranking_verdict(alike, "accuracy").endswith(
        "a and b cannot be told from it, and none of them is faster."
    )


def test_rows_tell_costs_and_what_fine_tuning_may_gain(ranking: Ranking) -> None:
    best, quick, _ = ranking_rows(ranking)
    assert (best.rate, best.all, best.epoch, best.gain) == ("50", "4.0 s", "12.5 s", "≤ 5.0 points")
    assert (quick.rate, quick.all, quick.epoch) == ("150", "1.3 s", "–")


def test_the_page_has_charts_reasons_and_escaped_names(ranking: Ranking, tmp_path: Path) -> None:
    page = write_ranking(tmp_path / "page.html", ranking).read_text(encoding="utf-8")
    assert "<b>quick" not in page
    assert page.count("<svg") == 2
    assert "http" not in page
    plain = unescape(page)
    for words in (
        "<b>quick cannot be told from it",
        "gone</b> took no part. The hub <code>x</code> does not answer.",
        "The budget of 5m ended the race.",
        "100 samples, then 200 samples",
        "headstart fit photos --label-column kind --backbone best",
        "best is right more often than poor",
    ):
        assert words in plain


def test_one_backbone_alone_makes_a_page_without_differences(
    ranking: Ranking, tmp_path: Path
) -> None:
    alone = replace(ranking, contenders=(BEST,), parts=(N,))
    page = write_ranking(tmp_path / "page.html", alone).read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert "There was nothing to compare with." in page


def test_a_page_that_cannot_be_written_is_told(ranking: Ranking, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"Cannot write .*page\.html"):
        write_ranking(tmp_path / "file" / "page.html", ranking)
