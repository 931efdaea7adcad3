"""Which of two sets of answers is better, on the samples that both gave answers to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headstart.contracts import Prediction, Sample
from headstart.fitting.judging import Judge, is_better, is_more_often_right, is_surer
from headstart.tasks.image_classification import ImageClassification

IDS = tuple(f"{i:02}" for i in range(40))


class Samples(tuple[Sample, ...]):
    """As much of a data set as judging looks at."""


def judge(
    *, classes: tuple[str, ...] = ("a", "b"), is_multilabel: bool = False, **groups: str
) -> Judge:
    samples = tuple(
        Sample(id_, Path(id_), (classes[i % 2],) if i % 4 or not is_multilabel else ())
        for i, id_ in enumerate(IDS)
    )
    dataset: Any = Samples(samples)
    dataset.classes = classes
    groups_of = {id_: groups.get(f"of_{id_}", id_) for id_ in IDS}
    data = SimpleNamespace(dataset=dataset, split=SimpleNamespace(groups=groups_of))
    where: Any = SimpleNamespace(data=data, task=ImageClassification(is_multilabel=is_multilabel))
    return Judge(where)


def answers(num_wrong: int, *, margin: float = 2.0, ids: tuple[str, ...] = IDS) -> Prediction:
    """The first so many are wrong."""
    rows = []
    for id_ in ids:
        truth = int(id_) % 2
        given = 1 - truth if int(id_) < num_wrong else truth
        rows.append([margin * (given == 0), margin * (given == 1)])
    probabilities = torch.tensor(rows).reshape(-1, 2).softmax(dim=1).numpy()
    return Prediction(ids, ("a", "b"), probabilities)


def test_more_right_answers_are_better_only_beyond_the_noise() -> None:
    court = judge()
    few, many = (court.judge("x", answers(n), seconds=0.0) for n in (2, 20))
    some = court.judge("y", answers(3), seconds=0.0)
    assert is_better(court.compare(many, few))
    assert is_more_often_right(court.compare(many, few))
    assert not is_better(court.compare(few, many))
    assert not is_more_often_right(court.compare(some, few))
    assert not is_better(court.compare(few, few))


def test_surer_answers_are_better_if_they_are_no_less_often_right() -> None:
    court = judge()
    timid, sure = (court.judge("x", answers(0, margin=m), seconds=0.0) for m in (0.5, 4.0))
    found = court.compare(timid, sure)
    assert is_surer(found)
    assert is_better(found)
    assert not is_more_often_right(found)
    worse = court.judge("z", answers(1, margin=4.0), seconds=0.0)
    assert not is_better(court.compare(timid, worse))


def test_answers_are_compared_in_pairs_whatever_their_order() -> None:
    court = judge()
    some = answers(8)
    reverse = Prediction(some.ids[::-1], some.classes, some.probabilities[::-1])
    found = court.compare(
        court.judge("x", some, seconds=0.0), court.judge("y", reverse, seconds=0.0)
    )
    assert found.num_only_a == found.num_only_b == 0
    assert found.metrics["accuracy"].value == 0.0


def test_only_samples_that_both_answered_are_compared() -> None:
    court = judge()
    before = court.judge("x", answers(5), seconds=0.0)
    after = court.judge("y", answers(5, ids=IDS[3:17]), seconds=0.0)
    assert court.compare(before, after).n == 14


def test_copies_are_no_independent_evidence() -> None:
    alone, grouped = judge(), judge(**{f"of_{id_}": f"g{int(id_) // 10}" for id_ in IDS})
    found = [
        court.compare(*(court.judge("x", answers(n), seconds=0.0) for n in (12, 0)))
        for court in (alone, grouped)
    ]
    widths = [each.metrics["accuracy"].high - each.metrics["accuracy"].low for each in found]
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize("classes", [("a", "b"), ("a|b", "a|c")])
def test_mistakes_are_counted(classes: tuple[str, ...]) -> None:
    court = judge(classes=classes)
    assert court.num_mistakes(answers(7)) == 7
    assert court.num_mistakes(answers(7, ids=())) == 0


def test_an_answer_is_a_mistake_if_one_of_several_labels_is_wrong() -> None:
    court = judge(is_multilabel=True)
    yes = np.array([[(i % 4 and i % 2 == c) for c in (0, 1)] for i in range(40)], dtype=np.float32)
    right = Prediction(IDS, ("a", "b"), 0.1 + 0.8 * yes, is_multilabel=True)
    assert court.num_mistakes(right) == 0
    yes[:3, 0] = 1 - yes[:3, 0]
    wrong = Prediction(IDS, ("a", "b"), 0.1 + 0.8 * yes, is_multilabel=True)
    assert court.num_mistakes(wrong) == 3
