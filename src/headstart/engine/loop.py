"""The one training loop, for all tasks and strategies.

It rehearses before the first epoch, names the step at which a loss is not finite, keeps the best
weights, stops for patience, for the budget or for Ctrl-C, and can be resumed bit for bit: all that
is random is a function of (seed, step), all else is in the checkpoint. Knows Protocols only.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from headstart.contracts import Batch
from headstart.engine.averaging import MovingAverage
from headstart.engine.checkpoint import (
    load_state,
    model_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_state,
    under_prefix,
    with_prefix,
)
from headstart.engine.gradients import LossOf, add_gradients, out_of_memory
from headstart.engine.optimizer import check_groups, make_fabric, make_optimizer
from headstart.engine.plan import (
    FitResult,
    FitState,
    Surroundings,
    TrainBatches,
    TrainingPlan,
    score_of,
)
from headstart.engine.schedule import lr_factor
from headstart.errors import InterruptedFit, TrainingError
from headstart.model import Model
from headstart.protocols import Objective, Strategy

# Of the time that is left after the first epoch: those that follow vary a little.
_SHARE_OF_THE_REST = 0.95
# The score of an epoch whose validation gave no finite number.
_NEVER_THE_BEST = -sys.float_info.max


class Training:
    """One training, from rehearsal to the best weights.

    Args:
        model: As the task built it, initialised by the strategy; on return it has the best weights.
        objective: Gives the loss; most often the task.
        strategy: Names the parameters that learn.
        train: The training batches.
        validate: model -> validation metrics, with `loss`; the model is in eval mode.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        *,
        strategy: Strategy,
        train: TrainBatches,
        validate: Callable[[Model], Mapping[str, float]],
    ) -> None:
        self.model = model
        self.objective = objective
        self.strategy = strategy
        self.train = train
        self.validate = validate

    def fit(self, plan: TrainingPlan, surroundings: Surroundings) -> FitResult:
        """Train to the end of the plan, of patience, or of the budget.

        Raises:
            InterruptedFit: After Ctrl-C or SIGTERM, with the state saved.
            TrainingError: The loss was not finite, at a named step, or memory ran out.
        """
        try:
            return self._fit(plan, surroundings)
        except torch.OutOfMemoryError as error:
            raise TrainingError(out_of_memory(surroundings.device)) from error

    def _fit(self, plan: TrainingPlan, surroundings: Surroundings) -> FitResult:
        self._set_up(plan, surroundings)
        if surroundings.checkpoint.is_file():
            self._restore()
        elif plan.is_rehearsed:
            self._rehearse()
        stopped = self._train()
        self._count_seconds()
        if self.state.kept_scores[0] == _NEVER_THE_BEST:
            raise self._answers_not_finite("in any epoch")
        self.model.load_state_dict(self.kept[0])
        self.model.eval()
        return FitResult(
            num_epochs=self.state.epoch,
            planned_epochs=self.state.num_epochs,
            kept_epochs=tuple(self.state.kept_epochs),
            best_score=self.state.kept_scores[0],
            stopped=stopped,
            num_steps=self.state.step,
            seconds=self.state.seconds,
            kept=tuple(self.kept),
        )

    # --- setting up ---------------------------------------------------------------------------

    def _set_up(self, plan: TrainingPlan, surroundings: Surroundings) -> None:
        self.plan, self.where = plan, surroundings
        if surroundings.compute_format.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.groups = self.strategy.prepare(self.model)
        self.strategy.on_epoch(self.model, 0, num_epochs=plan.num_epochs)
        check_groups(self.model, self.groups)
        self.fabric = make_fabric(surroundings.device, surroundings.compute_format)
        self.raw_optimizer = make_optimizer(self.groups, plan)
        self.loss_of, self.optimizer = self.fabric.setup(
            LossOf(self.model, self.objective), self.raw_optimizer
        )
        self.average = MovingAverage(self.model, plan.ema) if plan.ema else None
        self.kept: list[dict[str, Tensor]] = []  # of the best epochs, the best first
        steps_an_epoch = math.ceil(len(self.train) / plan.accumulate)
        self.state = FitState(plan.num_epochs, total_steps=plan.num_epochs * steps_an_epoch)
        self.started = self.last_checkpoint = time.monotonic()
        self.epoch_began: float | None = None  # None where an epoch is taken up half way

    def _rehearse(self) -> None:
        """Two steps, one validation and one saving, then everything as it was; also takes times.

        What would fail at the end of the first epoch, or of the fit, fails here, in seconds.
        """
        before = model_tensors(self.model)
        # In the last phase, in which most learns: it takes the most time and memory.
        num_epochs = self.state.num_epochs
        self.strategy.on_epoch(self.model, num_epochs - 1, num_epochs=num_epochs)
        self.strategy.train_mode(self.model)
        batches = self.train.batches(0)
        step_s = 0.0
        lr = self._set_rates()
        started = time.monotonic()
        for number, batch in enumerate(batches):
            self._refuse_if_not_finite(self._backward(batch, share=1.0), batch, lr)
            self._optimizer_step()
            now = time.monotonic()
            step_s, started = now - started, now  # of the second: the first one warms up
            if number == 1:
                break
        _close(batches)
        started = time.monotonic()
        if not math.isfinite(score_of(self._validate(), self.plan.monitor)):
            raise self._answers_not_finite("after two steps already")
        validate_s = time.monotonic() - started
        # Under another name: a fit killed here must not be taken up after these two steps.
        trial = self.where.checkpoint.with_name("rehearsal.safetensors")
        self._save(trial)
        load_state(trial)
        trial.unlink()
        if self.where.rehearse is not None:
            self.where.rehearse()
        self.model.load_state_dict(before)
        self.optimizer.zero_grad(set_to_none=True)
        self.raw_optimizer.state.clear()
        if self.plan.ema:
            self.average = MovingAverage(self.model, self.plan.ema)
        self.kept = []
        plan_state = self.state
        self.state = FitState(plan_state.num_epochs, plan_state.total_steps)
        if self.where.training_s is not None:
            self.where = replace(self.where, deadline=time.monotonic() + self.where.training_s)
        self._fit_into_budget(step_s * self.plan.accumulate, validate_s)
        self.started = self.last_checkpoint = time.monotonic()

    def _fit_into_budget(self, step_s: float, validate_s: float) -> None:
        """Fewer epochs, or fewer steps, where the budget cannot hold the plan."""
        if self.where.deadline is None:
            return
        # A tenth is kept in reserve: steps of a busy machine are slower than the rehearsed one.
        left_s = 0.9 * max(self.where.deadline - time.monotonic(), 0.0)
        steps_an_epoch = max(self.state.total_steps // self.state.num_epochs, 1)
        epoch_s = steps_an_epoch * step_s + validate_s
        if epoch_s * self.state.num_epochs <= left_s:
            return
        asked = self.state.num_epochs
        self.state.num_epochs = max(int(left_s / epoch_s), 1)
        self.state.total_steps = self.state.num_epochs * steps_an_epoch
        if epoch_s > left_s:
            self.state.total_steps = max(int((left_s - validate_s) / step_s), 1)
        self.where.progress.choice(
            "epochs",
            self.state.num_epochs,
            f"the budget holds no {asked}: an epoch takes about {epoch_s:.1f} s",
        )

    def _plan_anew(self, epoch_s: float) -> None:
        """As many epochs as the budget holds by a whole one: two rehearsed steps tell it poorly."""
        state = self.state
        if self.where.deadline is None or self.plan.ends_after is not None:
            return
        left_s = _SHARE_OF_THE_REST * max(self.where.deadline - time.monotonic(), 0.0)
        num_epochs = min(self.plan.num_epochs, 1 + max(int(left_s / epoch_s), 1))
        if num_epochs == state.num_epochs:
            return
        self.where.progress.choice(
            "epochs", num_epochs, f"what the budget holds, as the first one took {epoch_s:.1f} s"
        )
        state.num_epochs = num_epochs
        state.total_steps = num_epochs * math.ceil(len(self.train) / self.plan.accumulate)

    # --- one step -----------------------------------------------------------------------------

    def _backward(self, batch: Batch, *, share: float) -> Tensor:
        """Add a batch's gradients; returns its loss, detached."""
        batch = batch.to(self.where.device)
        if batch.inputs is not None and self.where.compute_format.channels_last:
            batch.inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
        return add_gradients(
            self.fabric, self.loss_of, batch, share=share, most_inputs=self.plan.most_inputs
        )

    def _optimizer_step(self) -> None:
        if self.plan.clip_norm is not None:
            self.fabric.clip_gradients(
                self.loss_of, self.optimizer, max_norm=self.plan.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)

    def _set_rates(self) -> float:
        """Set every group's learning rate for this step; returns the head's."""
        progress = self.state.step / max(self.state.total_steps, 1)
        factor = lr_factor(self.plan.schedule, progress, warmup=self.plan.warmup)
        if self.plan.schedule == "plateau":
            factor *= self.state.plateau.factor
        for group, described in zip(self.raw_optimizer.param_groups, self.groups, strict=True):
            group["lr"] = self.plan.lr * described.lr_scale * factor
        return self.plan.lr * factor

    def _refuse_if_not_finite(self, loss: Tensor, batch: Batch, lr: float) -> float:
        value = float(loss)
        if math.isfinite(value):
            return value
        first = ", ".join(f"`{id_}`" for id_ in batch.ids[:3])
        raise TrainingError(
            f"The loss is {value} at step {self.state.step + 1} (epoch {self.state.epoch + 1}, "
            f"learning rate {lr:.2g}, batch of {first} and {max(len(batch) - 3, 0)} more). "
            f"Lower the rate (`--lr {self.plan.lr / 10:.1g}`), or try `--precision float32`."
        )

    def _answers_not_finite(self, when: str) -> TrainingError:
        return TrainingError(
            f"The answers to the validation samples were no finite numbers {when}. Lower the rate "
            f"(`--lr {self.plan.lr / 10:.1g}`), or try `--precision float32`."
        )

    # --- the epochs ---------------------------------------------------------------------------

    def _train(self) -> str:
        while self.state.epoch < self._last_epoch:
            is_cut = self._train_epoch()
            if self._finish_epoch():
                return "patience"
            if is_cut:
                return "budget"
        asked = self.plan.num_epochs
        return "epochs" if self.state.num_epochs == asked else "budget"

    @property
    def _last_epoch(self) -> int:
        return self.plan.ends_after or self.state.num_epochs

    def _train_epoch(self) -> bool:
        """Train an epoch, or the rest of it; True when the budget cut it short."""
        state, plan = self.state, self.plan
        state.phase = self.strategy.on_epoch(self.model, state.epoch, num_epochs=state.num_epochs)
        self.strategy.train_mode(self.model)
        self.epoch_began = time.monotonic() if state.batch == 0 else None
        label = f"epoch {state.epoch + 1} of {self._last_epoch}"
        num_batches, is_cut = len(self.train), False
        batches = self.train.batches(state.epoch, start=state.batch)
        try:
            with self.where.progress.bar(
                label, total=num_batches, unit="batches", is_summed_up=False
            ) as advance:
                advance(state.batch)
                for batch in batches:
                    torch.manual_seed(hash((plan.seed, state.epoch, state.batch)))
                    lr = self._set_rates()
                    tail = num_batches - num_batches % plan.accumulate
                    in_this_step = (
                        plan.accumulate if state.batch < tail else num_batches % plan.accumulate
                    )
                    loss = self._backward(batch, share=1 / in_this_step)
                    value = self._refuse_if_not_finite(loss, batch, lr)
                    state.loss_sum += value * len(batch)
                    state.num_seen += len(batch)
                    state.batch += 1
                    advance()
                    if state.batch % plan.accumulate and state.batch < num_batches:
                        continue
                    self._optimizer_step()
                    state.step += 1
                    if self._is_over():
                        is_cut = True
                        break
                    self._save_if_due()
        finally:
            _close(batches)
        return is_cut

    def _is_over(self) -> bool:
        if self.state.step >= self.state.total_steps and self.state.batch < len(self.train):
            return True
        return self.where.deadline is not None and time.monotonic() >= self.where.deadline

    def _save_if_due(self) -> None:
        if self.where.stop.is_set:
            self._save()
            raise InterruptedFit("Stopped; the state is saved.")
        if time.monotonic() - self.last_checkpoint >= self.plan.checkpoint_s:
            self._save()

    def _finish_epoch(self) -> bool:
        """Validate, keep the best, save; True when patience is at its end."""
        state, plan = self.state, self.plan
        lr = self.raw_optimizer.param_groups[0]["lr"]
        scores = self._validate()
        score = score_of(scores, plan.monitor)
        score = score if math.isfinite(score) else _NEVER_THE_BEST  # else none is ever better
        best = state.kept_scores[0] if state.kept_scores else _NEVER_THE_BEST
        is_better = score > best
        self._keep(score)
        state.num_bad_epochs = 0 if is_better else state.num_bad_epochs + 1
        state.plateau.after_epoch(is_better=is_better)
        self._tell_epoch(scores, lr, is_better=is_better)
        if state.epoch == 0 and state.batch == len(self.train) and self.epoch_began is not None:
            self._plan_anew(time.monotonic() - self.epoch_began)
        state.epoch += 1
        state.batch = state.num_seen = 0
        state.loss_sum = 0.0
        is_last = state.epoch >= self._last_epoch
        is_out_of_patience = plan.patience is not None and state.num_bad_epochs >= plan.patience
        if not is_last and not is_out_of_patience:
            self._save()
            if self.where.stop.is_set:
                raise InterruptedFit("Stopped; the state is saved.")
        return is_out_of_patience and not is_last

    def _tell_epoch(self, scores: Mapping[str, float], lr: float, *, is_better: bool) -> None:
        state = self.state
        train_loss = state.loss_sum / max(state.num_seen, 1)
        known = [name for name in ("loss", "accuracy", "miou") if name in scores]
        names = dict.fromkeys([*known, self.plan.monitor])
        shown = ", ".join(f"{name} {scores[name]:.3f}" for name in names)
        mark = " (best)" if is_better else ""
        self.where.progress.epoch(
            f"epoch {state.epoch + 1}/{self._last_epoch}, {state.phase}: "
            f"train loss {train_loss:.3f}, validation {shown}{mark}",
            epoch=state.epoch + 1,
            train_loss=train_loss,
            **{f"val_{name}": value for name, value in scores.items()},
            lr=lr,
            phase=state.phase,
            seconds=round(state.seconds + time.monotonic() - self.started, 3),
        )

    def _validate(self) -> Mapping[str, float]:
        self.model.eval()
        if self.average is None:
            return self.validate(self.model)
        with self.average.applied(self.model):
            return self.validate(self.model)

    def _keep(self, score: float) -> None:
        """Keep the weights of this epoch if they are among the best; the earlier of equal ones.

        Those from before the share of the training that the plan keeps from give way.
        """
        state, most = self.state, self.plan.num_kept
        first = math.ceil(self.plan.keep_from * state.num_epochs)
        if any(epoch < first for epoch in state.kept_epochs) and state.epoch + 1 >= first:
            state.kept_scores, state.kept_epochs, self.kept = [], [], []
        place = sum(kept >= score for kept in state.kept_scores)
        if place < most:
            state.kept_scores.insert(place, score)
            state.kept_epochs.insert(place, state.epoch + 1)
            self.kept.insert(place, self._weights_to_keep())
            del state.kept_scores[most:], state.kept_epochs[most:], self.kept[most:]

    def _weights_to_keep(self) -> dict[str, Tensor]:
        if self.average is None:
            return model_tensors(self.model)
        with self.average.applied(self.model):
            return model_tensors(self.model)

    # --- the checkpoint -----------------------------------------------------------------------

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.started
        self.started = now

    def _save(self, path: Path | None = None) -> None:
        self._count_seconds()
        self.last_checkpoint = self.started
        tensors = {
            **with_prefix("model", self.model.state_dict()),
            **with_prefix("optimizer", optimizer_tensors(self.raw_optimizer)),
            **with_prefix("average", self.average.shadow if self.average else {}),
        }
        for place, weights in enumerate(self.kept):
            tensors |= with_prefix(f"kept{place}", weights)
        scalars = {
            "state": asdict(self.state),
            "learning": [n for n, p in self.model.named_parameters() if p.requires_grad],
            "num_updates": self.average.num_updates if self.average else 0,
            "scaler": self.fabric.strategy.precision.state_dict(),
        }
        save_state(path or self.where.checkpoint, tensors, scalars)

    def _restore(self) -> None:
        tensors, scalars = load_state(self.where.checkpoint)
        self.state = FitState.from_json(scalars["state"])
        self.strategy.on_epoch(self.model, self.state.epoch, num_epochs=self.state.num_epochs)
        self.model.load_state_dict(under_prefix("model", tensors))
        restore_optimizer(self.raw_optimizer, under_prefix("optimizer", tensors))
        self.kept = [
            {n: t.to(self.where.device) for n, t in under_prefix(f"kept{i}", tensors).items()}
            for i in range(len(self.state.kept_scores))
        ]
        if self.average is not None:
            self.average.num_updates = scalars["num_updates"]
            for name, tensor in under_prefix("average", tensors).items():
                self.average.shadow[name].copy_(tensor)
        if scalars["scaler"]:
            self.fabric.strategy.precision.load_state_dict(scalars["scaler"])
        self.where.progress.note(
            f"Resumed in epoch {self.state.epoch + 1} of {self.state.num_epochs}, after step "
            f"{self.state.step} ({self.state.phase})."
        )


def _close(batches: Iterator[Batch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()
