from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.contracts import Batch
from headstart.engine.lr_finder import HIGHEST, LOWEST, find_lr, steepest
from headstart.errors import InterruptedFit, TrainingError
from headstart.model import Model
from headstart.tasks.image_classification import ImageClassification


def find(
    run: Any, pictures: Any, *, surroundings: Any = None
) -> tuple[float, Model, dict[str, Tensor]]:
    model, strategy = run.build()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    lr = find_lr(
        model,
        run.task,
        strategy=strategy,
        train=pictures,
        plan=run.plan,
        surroundings=surroundings or run.surroundings,
    )
    return lr, model, before


@pytest.fixture
def pictures() -> Any:
    """Learnable by the colour alone: one batch of red, green and blue, again and again."""

    class Colours:
        def __len__(self) -> int:
            return 1

        def batches(self, epoch: int, *, start: int = 0) -> Any:
            inputs = 255 * torch.eye(3, dtype=torch.uint8)[:, :, None, None].expand(3, 3, 8, 8)
            yield Batch(("r", "g", "b"), inputs=inputs, targets=torch.arange(3))

        def close(self) -> None:
            pass

    return Colours()


def test_a_rate_is_found_and_the_model_is_left_as_it_was(
    lab: Callable[..., Any], pictures: Any
) -> None:
    run = lab(strategy_name="scratch")
    lr, model, before = find(run, pictures)
    assert 1e-5 < lr < HIGHEST
    assert [n for n, t in model.state_dict().items() if not torch.equal(t, before[n])] == []


def test_its_curve_is_told(lab: Callable[..., Any], pictures: Any) -> None:
    run = lab(strategy_name="head")
    lr, _, _ = find(run, pictures)
    (event,) = run.recorder.of("lr_finder")
    assert event.values["chosen"] == lr
    assert len(event.values["lrs"]) == len(event.values["losses"]) > 10
    assert event.values["lrs"][0] == LOWEST
    assert event.values["lrs"] == sorted(event.values["lrs"])


def test_it_ends_where_the_loss_explodes(lab: Callable[..., Any], pictures: Any) -> None:
    class Explodes(ImageClassification):
        num_asked = 0

        def loss(self, model: Model, batch: Batch) -> Tensor:
            self.num_asked += 1
            factor = 1.0 - self.num_asked / 50 if self.num_asked < 30 else math.inf
            return super().loss(model, batch) * factor

    run = lab(task=Explodes(), strategy_name="head")
    find(run, pictures)
    (event,) = run.recorder.of("lr_finder")
    assert len(event.values["lrs"]) == 29
    assert all(math.isfinite(loss) for loss in event.values["losses"])


def test_a_loss_that_falls_nowhere_is_refused(lab: Callable[..., Any], pictures: Any) -> None:
    class Rises(ImageClassification):
        factor = 1.0

        def loss(self, model: Model, batch: Batch) -> Tensor:
            self.factor *= 1.1
            return super().loss(model, batch).detach() * self.factor + 0 * model.head[0].bias.sum()

    with pytest.raises(TrainingError, match="Give --lr yourself"):
        find(lab(task=Rises(), strategy_name="head"), pictures)


def test_ctrl_c_ends_the_finder(lab: Callable[..., Any], pictures: Any) -> None:
    run = lab(strategy_name="head")
    run.stop.is_set = True
    with pytest.raises(InterruptedFit):
        find(run, pictures)


def test_the_steepest_fall_before_the_lowest_point_is_chosen() -> None:
    losses = [1.0, 0.99, 0.9, 0.5, 0.4, 0.35, 0.9, 0.1 + 3]
    assert steepest([10.0**i for i in range(-8, 0)], losses) == pytest.approx(1e-5)


def test_the_finder_ends_with_the_budget(lab: Callable[..., Any], pictures: Any) -> None:
    run = lab(strategy_name="head")
    over = replace(run.surroundings, deadline=time.monotonic() - 1.0)
    with pytest.raises(TrainingError, match=r"after 1 of the 60 steps .* Give --budget more time"):
        find(run, pictures, surroundings=over)
