from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.contracts import Batch
from headstart.engine.loop import Training
from headstart.engine.plan import TrainingPlan
from headstart.errors import InterruptedFit, RunError, TrainingError
from headstart.model import Model
from headstart.tasks.image_classification import ImageClassification

PLAN = TrainingPlan(3, 0.01, checkpoint_s=0.0)


class NaNAt(ImageClassification):
    """Its loss is not a number at the n-th batch it is asked for."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n, self.num_asked = n, 0

    def loss(self, model: Model, batch: Batch) -> Tensor:
        self.num_asked += 1
        return super().loss(model, batch) * (math.nan if self.num_asked == self.n else 1.0)


class Scripted:
    """Validation losses as told, one a call; the first call is the rehearsal's."""

    def __init__(self, *losses: float) -> None:
        self.losses: Iterator[float] = iter((0.0, *losses))

    def __call__(self, model: Model) -> Mapping[str, float]:
        loss = next(self.losses)
        return {"loss": loss, "accuracy": 1 - loss}


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [n for n in found if not torch.equal(found[n], expected[n])] == []


def assert_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


# --- steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_two_batches_of_four_accumulated_are_one_of_eight(
    lab: Callable[..., Any], optimizer: str
) -> None:
    plan = replace(PLAN, optimizer=optimizer)
    one = lab(with_norms=False, batch_size=8, plan=plan)
    one.fit()
    two = lab("two", with_norms=False, batch_size=4, plan=replace(plan, accumulate=2))
    assert two.fit().num_steps == 9
    assert_close(two.weights, one.weights)


def test_what_is_left_of_an_epoch_makes_a_last_smaller_step(lab: Callable[..., Any]) -> None:
    found = lab(with_norms=False, batch_size=5, plan=replace(PLAN, accumulate=2))
    assert found.fit().num_steps == 9  # 5 batches an epoch: 2 + 2 + 1


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    lab: Callable[..., Any],
) -> None:
    settings = {"dropout": 0.5}
    runs = [
        lab(name, settings=settings, plan=replace(PLAN, seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    for run in runs:
        run.fit()
    assert_same(runs[0].weights, runs[1].weights)
    assert not torch.equal(runs[0].weights["head.1.weight"], runs[2].weights["head.1.weight"])


def test_rates_follow_schedule_and_group(lab: Callable[..., Any]) -> None:
    run = lab(plan=replace(PLAN, schedule="step", warmup=0.0, num_epochs=4))
    run.fit()
    told = [event.values["lr"] for event in run.recorder.of("epoch")]
    assert told == pytest.approx([0.01, 0.01, 0.001, 0.0001])
    rates = [group["lr"] for group in run.training.raw_optimizer.param_groups]
    assert rates == pytest.approx([0.0001 * group.lr_scale for group in run.training.groups])


def test_gradients_are_clipped(lab: Callable[..., Any]) -> None:
    plan = replace(PLAN, optimizer="sgd", weight_decay=0.0, num_epochs=1, schedule="constant")
    plan = replace(plan, warmup=0.0, lr=1.0, clip_norm=1e-6)
    run = lab(with_norms=False, plan=plan, batch_size=24)
    before = run.build()[0].state_dict()
    run.fit()
    moved = sum(float((run.weights[n] - before[n]).square().sum()) for n in before) ** 0.5
    assert 0 < moved <= 2.1e-6  # Nesterov: at most 1 + momentum times the clipped gradient


# --- rehearsal --------------------------------------------------------------------------------


def test_the_rehearsal_leaves_no_trace(
    lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, ema=0.9)
    run = lab(plan=plan, strategy_name="scratch")
    seen: list[bool] = []
    run.rehearse = lambda: seen.append(run.checkpoint.exists())
    run.fit()
    monkeypatch.setattr(Training, "_rehearse", lambda training: None)
    unrehearsed = lab("other", plan=plan, strategy_name="scratch")
    unrehearsed.fit()
    assert seen == [False]
    assert_same(run.weights, unrehearsed.weights)
    assert len(run.recorder.of("epoch")) == 3


def test_answers_that_are_not_finite_are_found_in_the_rehearsal(lab: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match="no finite numbers after two steps already"):
        lab(validate=lambda model: {"loss": math.nan}, rehearse=pytest.fail).fit()


def test_a_fit_killed_in_its_rehearsal_begins_again(lab: Callable[..., Any]) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    run, whole = lab(rehearse=killed), lab("whole")
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert list(run.checkpoint.parent.iterdir()) == []
    run.rehearse = None
    run.fit()
    whole.fit()
    assert_same(run.weights, whole.weights)


# --- what goes wrong --------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_refused_with_its_step(lab: Callable[..., Any]) -> None:
    run = lab(task=NaNAt(2 + 9))  # two of the rehearsal, six an epoch
    with pytest.raises(TrainingError, match=r"nan at step 9 \(epoch 2, .* batch of `p\d+`"):
        run.fit()


def test_a_loss_that_is_not_finite_is_found_in_the_rehearsal(lab: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match=r"--lr 0\.001"):
        lab(task=NaNAt(1), rehearse=pytest.fail).fit()


def test_a_validation_that_is_not_finite_is_never_the_best(lab: Callable[..., Any]) -> None:
    run = lab(validate=Scripted(math.nan, 2.0, math.nan))
    result = run.fit()
    assert result.best_epoch == 2
    assert result.best_score == -2.0
    told = [event.message for event in run.recorder.of("epoch")]
    assert ["(best)" in message for message in told] == [False, True, False]


def test_validations_none_of_which_is_finite_give_no_model(lab: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match=r"no finite numbers in any epoch\. Lower the rate"):
        lab(validate=Scripted(math.nan, math.inf, math.nan)).fit()


# --- when it ends -----------------------------------------------------------------------------


def test_the_best_weights_are_kept(lab: Callable[..., Any]) -> None:
    best = lab(validate=Scripted(3.0, 1.0, 2.0, 2.0), plan=replace(PLAN, num_epochs=4))
    result = best.fit()
    assert (result.best_epoch, result.best_score, result.stopped) == (2, -1.0, "epochs")
    after_two = lab("two", validate=Scripted(3.0, 1.0), plan=replace(PLAN, num_epochs=4))
    after_two.on_batch = stop_at(after_two, epoch=2, batch=0)
    with pytest.raises(InterruptedFit):
        after_two.fit()
    kept = after_two.training.kept[0]
    assert_same(best.weights, kept)


def test_accuracy_is_maximised_when_it_is_monitored(lab: Callable[..., Any]) -> None:
    plan = replace(PLAN, monitor="accuracy")
    result = lab(validate=Scripted(0.5, 0.1, 0.3), plan=plan).fit()
    assert (result.best_epoch, result.best_score) == (2, 0.9)


def test_a_plan_may_end_before_its_last_epoch_at_its_own_rates(lab: Callable[..., Any]) -> None:
    plan = replace(PLAN, num_epochs=4, schedule="cosine", warmup=0.0)
    whole, part = lab(plan=plan), lab("part", plan=replace(plan, ends_after=2))
    whole.fit()
    result = part.fit()
    assert (result.stopped, result.num_epochs) == ("epochs", 2)
    rates = [[event.values["lr"] for event in each.recorder.of("epoch")] for each in (whole, part)]
    assert rates[1] == rates[0][:2]
    assert rates[1][-1] > 0.004  # where a training of two epochs ends near 0


def test_seconds_are_those_of_all_epochs(lab: Callable[..., Any]) -> None:
    result = lab().fit()
    assert 0 < result.seconds < 60


def test_patience_ends_it(lab: Callable[..., Any]) -> None:
    plan = replace(PLAN, num_epochs=9, patience=2)
    result = lab(validate=Scripted(1.0, 0.5, 0.6, 0.7, 0.8), plan=plan).fit()
    assert (result.stopped, result.num_epochs, result.best_epoch) == ("patience", 4, 2)
    assert result.planned_epochs == 9


def test_plateau_lowers_the_rate_after_three_bad_epochs(lab: Callable[..., Any]) -> None:
    plan = replace(PLAN, num_epochs=6, schedule="plateau", warmup=0.0)
    run = lab(validate=Scripted(1.0, *[2.0] * 5), plan=plan)
    run.fit()
    rates = [event.values["lr"] for event in run.recorder.of("epoch")]
    assert rates == pytest.approx([0.01] * 4 + [0.003] * 2)


def test_a_budget_already_over_still_gives_a_model(lab: Callable[..., Any]) -> None:
    run = lab(deadline=time.monotonic() - 1.0)
    result = run.fit()
    assert (result.stopped, result.num_epochs, result.num_steps) == ("budget", 1, 1)
    assert "budget" in run.recorder.of("choice")[0].message
    assert all(bool(t.isfinite().all()) for t in run.weights.values())


def test_a_budget_for_part_of_the_plan_shortens_the_schedule(
    lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("headstart.engine.loop.time.monotonic", lambda: now[0])

    class Slow(ImageClassification):
        def loss(self, model: Model, batch: Batch) -> Tensor:
            now[0] += 1.0
            return super().loss(model, batch)

    plan = replace(PLAN, num_epochs=100, checkpoint_s=1e9)
    run = lab(plan=plan, task=Slow(), deadline=2.0 + 40.0)
    result = run.fit()
    assert result.stopped == "budget"
    assert result.num_epochs == 6  # 0.9 of 40 s, at 6 s an epoch
    assert run.recorder.of("epoch")[-1].values["lr"] < 0.001  # one-cycle came to its end


def test_epochs_are_planned_anew_by_the_first_whole_one(
    lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("headstart.engine.loop.time.monotonic", lambda: now[0])

    class SlowAtFirst(ImageClassification):
        def loss(self, model: Model, batch: Batch) -> Tensor:
            now[0] += 5.0 if now[0] < 10.0 else 1.0  # the two rehearsed steps, then all others
            return super().loss(model, batch)

    plan = replace(PLAN, num_epochs=100, checkpoint_s=1e9)
    run = lab(plan=plan, task=SlowAtFirst(), deadline=10.0 + 100.0)
    result = run.fit()
    told = [event.values["value"] for event in run.recorder.of("choice")]
    assert result.planned_epochs == 15
    assert told == [3, 15]  # 0.9 of 100 s at 30 s an epoch; then 0.95 of 94 s at 6 s, and the first
    assert (result.num_epochs, result.stopped) == (15, "budget")
    assert run.recorder.of("epoch")[-1].values["lr"] < 0.001


def test_epochs_before_the_rate_has_fallen_are_not_kept(lab: Callable[..., Any]) -> None:
    losses = (3.0, 1.0, 2.5, 2.0)
    plan = replace(PLAN, num_epochs=4, keep_from=0.7)
    assert lab(validate=Scripted(*losses), plan=plan).fit().best_epoch == 4
    stopped = lab("two", validate=Scripted(*losses), plan=replace(plan, num_epochs=40, patience=2))
    assert stopped.fit().best_epoch == 2  # all that there is


# --- interrupted and resumed ------------------------------------------------------------------


def stop_at(run: Any, *, epoch: int, batch: int) -> Callable[[int, int], None]:
    """Sets the stop signal when a batch is asked for, of a training after its rehearsal."""
    asked = []

    def on_batch(at_epoch: int, at_batch: int) -> None:
        asked.append(at_epoch)
        if len(asked) > 2 and (at_epoch, at_batch) == (epoch, batch):
            run.stop.is_set = True

    return on_batch


RECIPES = {
    "gradual, EMA, dropout, plateau": (
        "gradual",
        {"dropout": 0.5},
        replace(PLAN, num_epochs=6, ema=0.9, schedule="plateau", warmup=0.1),
    ),
    "full, one-cycle, accumulation": (
        "full",
        {},
        replace(PLAN, num_epochs=6, accumulate=2, num_kept=3),
    ),
    "scratch, SGD, cosine": (
        "scratch",
        {"hidden": 5, "dropout": 0.3},
        replace(PLAN, num_epochs=6, optimizer="sgd", schedule="cosine", warmup=0.05),
    ),
    "head, one-cycle, EMA": ("head", {"dropout": 0.2}, replace(PLAN, num_epochs=6, ema=0.99)),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_fit_interrupted_three_times_ends_with_the_same_weights(
    lab: Callable[..., Any], recipe: tuple[str, dict[str, Any], TrainingPlan]
) -> None:
    name, settings, plan = recipe
    whole = lab("whole", strategy_name=name, settings=settings, plan=plan)
    expected = whole.fit()
    for epoch, batch in ((0, 1), (2, 3), (4, 5)):
        run = lab(strategy_name=name, settings=settings, plan=plan)
        run.on_batch = stop_at(run, epoch=epoch, batch=batch)
        with pytest.raises(InterruptedFit):
            run.fit()
    run = lab(strategy_name=name, settings=settings, plan=plan)
    found = run.fit()
    assert_same(run.weights, whole.weights)
    assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)
    assert len(found.kept) == len(expected.kept) == plan.num_kept
    for own, other in zip(found.kept, expected.kept, strict=True):
        assert_same(own, other)
    (note,) = run.recorder.of("note")
    assert note.message.startswith("Resumed in epoch 5 of 6")


def test_frozen_weights_and_statistics_do_not_move_after_a_resume(lab: Callable[..., Any]) -> None:
    run = lab(strategy_name="gradual", plan=replace(PLAN, num_epochs=6))
    run.on_batch = stop_at(run, epoch=2, batch=2)
    with pytest.raises(InterruptedFit):
        run.fit()
    again = lab(strategy_name="gradual", plan=replace(PLAN, num_epochs=6))
    before = again.build()[0].state_dict()
    again.on_batch = stop_after(again, 2)
    with pytest.raises(InterruptedFit):
        again.fit()
    moved = {n for n in before if not torch.equal(before[n], again.weights[n])}
    learning = {n for n, p in again.model.named_parameters() if p.requires_grad}
    assert moved == learning  # so no statistics, and nothing of the frozen first stage
    assert not any(name.startswith("backbone.0") for name in learning)
    assert any(name.startswith("backbone.1") for name in learning)


def stop_after(run: Any, num_batches: int) -> Callable[[int, int], None]:
    """Sets the stop signal when so many batches have been asked for, of a resumed training."""
    asked = []

    def on_batch(epoch: int, batch: int) -> None:
        asked.append(batch)
        run.stop.is_set = len(asked) >= num_batches

    return on_batch


def test_a_damaged_checkpoint_is_refused_with_a_way_out(lab: Callable[..., Any]) -> None:
    run = lab()
    run.checkpoint.parent.mkdir()
    run.checkpoint.write_bytes(b"half a fi")
    with pytest.raises(RunError, match=r"state\.safetensors.* is damaged .*Remove it"):
        run.fit()


# --- memory -----------------------------------------------------------------------------------


def test_a_batch_in_parts_gives_the_gradients_of_the_whole(lab: Callable[..., Any]) -> None:
    whole = lab(with_norms=False, batch_size=8)
    whole.fit()
    numbers = whole.training.train.batches(0).__next__().inputs[0].numel()
    parts = lab(
        "parts", with_norms=False, batch_size=8, plan=replace(PLAN, most_inputs=3 * numbers)
    )
    parts.fit()
    assert_close(parts.weights, whole.weights)


def test_a_batch_is_cut_into_parts_of_bounded_size() -> None:
    batch = Batch(tuple("abcde"), inputs=torch.arange(20).view(5, 4), targets=torch.arange(5))
    parts = batch.parts(9)
    assert [part.ids for part in parts] == [("a", "b"), ("c", "d"), ("e",)]
    assert torch.equal(
        torch.cat([part.inputs for part in parts if part.inputs is not None]), batch.inputs
    )
    assert [part.targets.tolist() for part in parts if part.targets is not None] == [
        [0, 1],
        [2, 3],
        [4],
    ]
    assert [len(part) for part in batch.parts(1)] == [1] * 5  # one at the least
    assert batch.parts(20) == [batch]
    assert batch.parts(None) == [batch]


def test_memory_that_runs_out_is_told_with_what_to_do(lab: Callable[..., Any]) -> None:
    def run_out(epoch: int, batch: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(TrainingError, match=r"memory of cpu ran out.*--batch-size"):
        lab(on_batch=run_out).fit()
