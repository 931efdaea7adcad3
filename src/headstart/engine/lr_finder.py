"""The learning-rate finder: raise the rate step by step and watch the loss.

Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, section 3.3.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence

import torch

from headstart.contracts import Batch
from headstart.engine.checkpoint import model_tensors
from headstart.engine.gradients import LossOf, add_gradients, out_of_memory
from headstart.engine.optimizer import make_fabric, make_optimizer
from headstart.engine.plan import Surroundings, TrainBatches, TrainingPlan
from headstart.errors import InterruptedFit, TrainingError
from headstart.model import Model
from headstart.protocols import Objective, Strategy

LOWEST, HIGHEST = 1e-6, 1.0
NUM_STEPS = 60
_SMOOTHING = 0.8


def find_lr(
    model: Model,
    objective: Objective,
    *,
    strategy: Strategy,
    train: TrainBatches,
    plan: TrainingPlan,
    surroundings: Surroundings,
) -> float:
    """The rate at which the loss falls most steeply; tells the curve as an `lr_finder` event.

    The strategy's last phase is the one that is tried: whatever will learn, learns here. The
    model is left as it was.

    Raises:
        TrainingError: The loss fell at no rate, memory ran out, or the time.
        InterruptedFit: After Ctrl-C or SIGTERM.
    """
    before = model_tensors(model)
    if surroundings.compute_format.channels_last:
        model.to(memory_format=torch.channels_last)
    groups = strategy.prepare(model)
    strategy.on_epoch(model, plan.num_epochs - 1, num_epochs=plan.num_epochs)
    strategy.train_mode(model)
    fabric = make_fabric(surroundings.device, surroundings.compute_format)
    raw_optimizer = make_optimizer(groups, plan)
    loss_of, optimizer = fabric.setup(LossOf(model, objective), raw_optimizer)
    lrs: list[float] = []
    losses: list[float] = []
    smooth = 0.0
    batches = itertools.islice(_endless(train), NUM_STEPS)
    stop = surroundings.stop
    with surroundings.progress.bar("finding the rate", total=NUM_STEPS, unit="steps") as advance:
        for number, batch in enumerate(batches):
            lr = LOWEST * (HIGHEST / LOWEST) ** (number / (NUM_STEPS - 1))
            for group, described in zip(raw_optimizer.param_groups, groups, strict=True):
                group["lr"] = lr * described.lr_scale
            torch.manual_seed(hash((plan.seed, number)))
            batch = batch.to(surroundings.device)
            try:
                loss = add_gradients(fabric, loss_of, batch, most_inputs=plan.most_inputs)
            except torch.OutOfMemoryError as error:
                raise TrainingError(out_of_memory(surroundings.device)) from error
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            smooth = _SMOOTHING * smooth + (1 - _SMOOTHING) * float(loss)
            unbiased = smooth / (1 - _SMOOTHING ** (number + 1))
            advance()
            if not math.isfinite(unbiased) or (losses and unbiased > 4 * min(losses)):
                break
            if stop.is_set:
                raise InterruptedFit("Stopped while the rate was looked for.")
            if surroundings.deadline is not None and time.monotonic() > surroundings.deadline:
                raise TrainingError(
                    f"The budget ended after {number + 1} of the {NUM_STEPS} steps in which the "
                    "learning-rate finder tries rates. Give --budget more time, or --lr yourself."
                )
            lrs.append(lr)
            losses.append(unbiased)
    model.load_state_dict(before)
    chosen = steepest(lrs, losses)
    surroundings.progress.lr_finder(lrs=lrs, losses=losses, chosen=chosen)
    return chosen


def steepest(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the smoothed loss falls most steeply, before its lowest point.

    Raises:
        TrainingError: It falls nowhere.
    """
    lowest = min(range(len(losses)), key=lambda i: losses[i]) if losses else 0
    slopes = {i: losses[i + 1] - losses[i - 1] for i in range(1, lowest)}
    if not slopes or min(slopes.values()) >= 0:
        raise TrainingError(
            "The learning-rate finder saw the loss fall at no rate "
            f"between {LOWEST:g} and {HIGHEST:g}. Give --lr yourself, or check the labels."
        )
    return lrs[min(slopes, key=lambda i: slopes[i])]


def _endless(train: TrainBatches) -> Iterator[Batch]:
    for epoch in itertools.count():
        yield from train.batches(epoch)
