"""Fine-tuning for the ladder: what it would cost, its training, the best weights it gave. Wiring.

Which weights are taken is chosen on the validation samples; the test set is not looked at.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headstart.compute import optimizer_seconds
from headstart.contracts import Batch, Prediction, Sample
from headstart.engine.merging import SHARES, Merged, State, merge_weights
from headstart.engine.plan import score_of
from headstart.fitting.embedding import Embedder
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import TAIL_S, learn, seconds_after_training
from headstart.fitting.settle import Choices

# Weights of so many epochs are kept for the soup.
NUM_KEPT = 3
# Validation samples that mixtures of weights are judged on, each some six times; pictures are held
# in memory meanwhile (0.15 MB each at 224 x 224).
_MOST_JUDGED = {"picture": 500, "text": 5_000}
# Steps cost more than forward, backward and optimizer, which are measured: loading, for one.
_STEP_OVERHEAD = 1.1


class FineTuning:
    """One training of all parameters, from the head that was fitted before.

    Args:
        probe: Fitted, on the backbone that a copy of is trained.
        choices: Made before any strategy was settled.
        until: `time.monotonic()` by which the whole fit must be over.

    Attributes:
        attempt: The strategy `full` as it was settled.
        validation: What weights are chosen by.
        num_judged: How many of them mixtures of weights are judged on, at the most.
        merged: The weights that were taken, once it has trained.
        epoch_s: Seconds of one epoch.
        after_s: Seconds from the last epoch to the end of the fit.
        predicted_s: Seconds of the whole training as planned, and of what follows it.
    """

    def __init__(self, probe: LabelAttempt, choices: Choices, *, until: float) -> None:
        self.probe = probe
        shared = probe.backbone
        backbone = replace(shared, module=copy.deepcopy(shared.module))
        self.attempt = LabelAttempt(
            "full",
            replace(probe.where, deadline=until),
            embedder=Embedder(backbone, probe.embedder.inference),
            choices=choices.branch(is_held=True),
        )
        self.attempt.num_kept = NUM_KEPT
        self.data = probe.where.data
        self.validation = self.data.samples("validation")
        self.merged: Merged | None = None
        self.epoch_s = self._epoch_s()
        self.num_judged = min(len(self.validation), _MOST_JUDGED[probe.task.unit])
        num_scores = (NUM_KEPT + len(SHARES)) * self.num_judged
        self.attempt.num_looked_at_after = num_scores + len(self.validation)
        self.after_s = seconds_after_training(self.attempt) + TAIL_S
        steps_s = self._finder_s() + self.attempt.value("epochs") * self.epoch_s
        self.predicted_s = steps_s + self.after_s

    def _epoch_s(self) -> float:
        training = self.attempt.training.samples_per_s
        inference = self.attempt.embedder.inference.samples_per_s
        num_train = len(self.data.samples("train"))
        a_step = int(self.attempt.value("batch_size")) * int(self.attempt.value("accumulate"))
        num_steps = math.ceil(num_train / a_step)
        num_parameters = sum(p.numel() for p in self.attempt.model.parameters())
        optimizer_s = optimizer_seconds(num_parameters, self.attempt.where.device)
        steps_s = num_train / training + num_steps * optimizer_s
        return _STEP_OVERHEAD * steps_s + len(self.validation) / inference

    def _finder_s(self) -> float:
        """Seconds in which the learning rate is looked for, if it is."""
        if not self.probe.where.options.find_lr:
            return 0.0
        from headstart.engine.lr_finder import NUM_STEPS  # imports Fabric, which takes seconds

        num_samples = NUM_STEPS * int(self.attempt.value("batch_size"))
        return num_samples / self.attempt.training.samples_per_s

    def train(self, tables: Sequence[Mapping[str, Tensor]]) -> None:
        """Tell how, train, then take the best weights.

        Args:
            tables: Cached features, sample id -> (num_features,).

        Raises:
            InterruptedFit: The user asked to stop; the state is saved.
            TrainingError: The loss was not finite.
        """
        self.attempt.choices.tell()
        learn(self.attempt, tables)
        self._merge()

    def answers_at_start(self, features: Mapping[str, Tensor]) -> Prediction | None:
        """Of the linear head that training began with, to the validation samples.

        It was fitted without them, as what followed. None where it was not fitted: a hidden layer
        has no closed form to start from.

        Args:
            features: sample id -> (num_features,) of the frozen backbone.
        """
        attempt = self.attempt
        assert attempt.begin is not None
        if not attempt.strategy.needs_features:
            return None
        head = copy.deepcopy(attempt.model.head)
        start = "head."
        head.load_state_dict(
            {n.removeprefix(start): t for n, t in attempt.begin.items() if n.startswith(start)}
        )
        rows = torch.stack([features[sample.id] for sample in self.validation])
        with torch.inference_mode():
            logits = head(rows.to(attempt.where.device)).float().cpu()
        ids = [sample.id for sample in self.validation]
        return attempt.task.predict(logits, ids, attempt.classes)

    def answers(self) -> Prediction:
        """Of the weights that were taken, to the validation samples."""
        where = self.attempt.where
        return self.attempt.predictor.predict(
            self.validation, progress=where.progress, on_error=where.data.note_unreadable
        )

    def _merge(self) -> None:
        """Take the best of best epoch, soup and interpolation, on validation samples."""
        attempt = self.attempt
        assert attempt.begin is not None
        stride = math.ceil(len(self.validation) / self.num_judged)
        judged = {sample.id: sample for sample in self.validation[::stride]}
        note = self.data.note_unreadable
        held = list(attempt.predictor.batches(list(judged.values()), on_error=note))
        self.merged = merge_weights(
            attempt.begin, attempt.kept, score=lambda state: self._score(state, held, judged)
        )
        attempt.model.load_state_dict(self.merged.state)
        attempt.renew_predictor()
        tried = self.merged.tried
        scores = {recipe: score for recipe, score in tried.items() if math.isfinite(score)}
        attempt.facts["merged"] = {
            "recipe": self.merged.recipe,
            "is_mixed": len(self.merged.members) > 1 or self.merged.share < 1,
            "scores": scores,
        }

    def _score(
        self, state: State, batches: Sequence[Batch], samples: Mapping[str, Sample]
    ) -> float:
        """What the monitored metric is under these weights; higher is better."""
        attempt = self.attempt
        attempt.model.load_state_dict(state)
        predictor = attempt.new_predictor()
        ids = [id_ for batch in batches for id_ in batch.ids]
        rows = [predictor.embed(batch.inputs) for batch in batches if batch.inputs is not None]
        targets = [attempt.task.target(samples[id_], attempt.classes) for id_ in ids]
        logits = predictor.logits(torch.cat(rows))
        scores = attempt.task.validation_metrics(logits, torch.tensor(targets))
        return score_of(scores, attempt.monitor)
