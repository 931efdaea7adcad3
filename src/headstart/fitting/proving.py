"""What a run proves about itself: calibration, suspect labels, strangers, learning curve, alarms.

From out-of-fold or validation answers and cached features, before the test set is read, and then
what the answers to the test set add. Wiring of `trust` and `metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.contracts import Finding, Prediction, Sample
from headstart.data.numbering import numbered
from headstart.data.sixteen_bit import WHOLE_RANGE, is_wide
from headstart.errors import DataError
from headstart.fitting.baselines import Baseline
from headstart.fitting.knowing import know_strangers
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.leakage import measure_leakage
from headstart.fitting.learning import feature_table, samples_for_table
from headstart.fitting.looking import Look
from headstart.fitting.proof import Proof, SuspectRow
from headstart.metrics.calibration import fit_temperature, reliability
from headstart.metrics.selective import coverage_curve
from headstart.report.commands import words_command
from headstart.strategies.heads import divide_logits
from headstart.strategies.logistic import answer_by_parts
from headstart.strategies.probe import hold_out_folds
from headstart.trust.alarms import check_beats_baseline, check_features, check_pixels
from headstart.trust.learning_curve import trace_learning_curve
from headstart.trust.suspects import find_suspects

# Training pictures whose range is looked at.
_NUM_LOOKED_AT = 32


@dataclass(frozen=True, eq=False)
class _Unseen:
    """Answers to samples that were not learnt from, out of fold or to the validation samples."""

    samples: Sequence[Sample]
    logits: Tensor
    targets: NDArray[Any]
    groups: NDArray[np.int64]


class Prover:
    """Proves one fitted attempt. `before_test` comes first, and may calibrate its head.

    Args:
        attempt: Fitted.
        tables: Cached features, sample id -> (num_features,); the pictures as they are first.
        baseline: What has to be beaten.
    """

    def __init__(
        self,
        attempt: LabelAttempt,
        tables: Sequence[Mapping[str, Tensor]],
        *,
        baseline: Baseline,
    ) -> None:
        self.attempt = attempt
        self.where = attempt.where
        self.features = tables[0] if tables else {}
        self.look = Look(attempt, self.features)
        self.baseline = baseline
        self.proof = Proof()

    def before_test(self) -> Proof:
        """Calibrate, and find what can be found without the test set.

        Raises:
            DataError: An alarm that stops a fit.
        """
        started = time.monotonic()
        held_out = self._held_out()
        unseen = held_out if held_out and self._is_held_out_of_it else self._on_validation()
        if unseen is not None:
            self._calibrate(unseen)
        if self.attempt.task.unit == "picture":
            self._look_at_pixels()
        if self.features:
            if self._frozen_features:
                self._look_at_features()
            if held_out is not None:
                self._suspect(held_out)
            if unseen is not None and not self._is_of_words:
                self._beat_baseline(unseen, is_out_of_fold=unseen is held_out)
            self._trace_curve()
        self._know_strangers()
        self.where.seconds["trust"] = time.monotonic() - started
        return self.proof

    def after_test(self, prediction: Prediction, samples: Sequence[Sample]) -> None:
        """What the answers to the test set add.

        Args:
            prediction: Of the test set.
            samples: The same, with the groups of the split.
        """
        task, classes = self.attempt.task, self.attempt.classes
        truth = np.array([task.target(sample, classes) for sample in samples])
        groups = numbered([sample.group or sample.id for sample in samples])
        found = reliability(prediction.probabilities, truth, groups=groups)
        self.proof.metrics.setdefault("calibration", {}).update(
            ece={"value": found.ece},
            bins=[
                {
                    "low": one.start,
                    "high": one.stop,
                    "n": one.n,
                    "confidence": one.confidence,
                    "accuracy": one.accuracy,
                    "accuracy_low": one.low,
                    "accuracy_high": one.high,
                }
                for one in found.bins
            ],
        )
        self.proof.metrics["coverage"] = coverage_curve(
            prediction.probabilities, truth, groups=groups
        )
        leakage = measure_leakage(self.attempt, self._frozen_features, prediction, samples)
        if leakage is not None:
            self.proof.metrics["leakage"] = leakage
        near, letters = self.proof.strangers, self.proof.letters
        if near is not None and prediction.strangers is not None:
            scores = prediction.strangers
            self.proof.metrics["ood"] = {
                **near.described(),
                **({"letters_threshold": letters.threshold} if letters is not None else {}),
                "share_flagged": float(scores.is_stranger.mean()),
                "n": len(prediction),
            }

    @property
    def _frozen_features(self) -> Mapping[str, Tensor]:
        """Those that owe nothing to the labels."""
        return self.features if self.attempt.is_frozen and not self._is_of_words else {}

    @property
    def _is_of_words(self) -> bool:
        """Whether its features are scores that were learnt from the labels."""
        return self.attempt.name == "tfidf"

    # --- before the test ----------------------------------------------------------------------

    def _held_out(self) -> _Unseen | None:
        """Out-of-fold answers of a classifier on frozen features; of `full`, where it began."""
        logits = self.attempt.out_of_fold
        if logits is None:
            return None
        samples = [s for s in samples_for_table(self.attempt) if s.id in self.features]
        return self._labelled(samples, logits[: len(samples)])  # augmented views come after

    @property
    def _is_held_out_of_it(self) -> bool:
        """Whether the answers out of fold are of fits like the one that is kept."""
        is_refitted = self.attempt.is_frozen or self.look.knows_validation
        return is_refitted and self.attempt.validated is None

    def _on_validation(self) -> _Unseen | None:
        """Answers to the validation samples, which only chose among its weights, of the model.

        Of one that was learnt again from these, too, the answers of the one before it.
        """
        samples = self.where.data.samples("validation")
        if self.attempt.validated is not None:
            return self._labelled(samples, self.attempt.validated)
        if not samples or self.attempt.name == "as-is" or self.look.knows_validation:
            return None
        return self._labelled(samples, self.attempt.predictor.logits(self.look.validation))

    def _labelled(self, samples: Sequence[Sample], logits: Tensor) -> _Unseen:
        task, classes = self.attempt.task, self.attempt.classes
        targets = np.array([task.target(sample, classes) for sample in samples])
        return _Unseen(samples, logits, targets, self.look.groups_of(samples))

    def _calibrate(self, unseen: _Unseen) -> None:
        found = fit_temperature(unseen.logits, unseen.targets, groups=unseen.groups)
        is_kept = found.is_kept and divide_logits(self.attempt.model.head, found.value)
        self.proof.metrics["calibration"] = {
            "temperature": found.value if is_kept else 1.0,
            "is_kept": is_kept,
            "log_loss_before": found.log_loss_before,
            "log_loss_after": found.log_loss_after,
        }
        if is_kept:
            self.where.progress.note(
                f"Calibrated: logits over {found.value:.2f} lower the log loss on unseen samples "
                f"from {found.log_loss_before:.3f} to {found.log_loss_after:.3f}."
            )

    def _look_at_pixels(self) -> None:
        contract = self.attempt.backbone.contract
        chosen = self.where.data.samples("train")[:: max(1, self._stride)][:_NUM_LOOKED_AT]
        inputs: list[Tensor] = []
        ids: list[str] = []
        for batch in self.attempt.predictor.batches(chosen):
            assert batch.inputs is not None
            inputs.append(batch.inputs)
            ids += batch.ids
        facts = self.where.data.checkup.facts
        is_divided = contract.sixteen_bit_divisor == WHOLE_RANGE
        is_sixteen = is_divided and all(is_wide(facts[id_].mode) for id_ in ids)
        scale = contract.scale if contract.scale > 1 else 255.0
        self._raise(check_pixels(torch.cat(inputs), ids, scale=scale, is_sixteen_bit=is_sixteen))

    @property
    def _stride(self) -> int:
        return len(self.where.data.samples("train")) // _NUM_LOOKED_AT

    def _raise(self, findings: Sequence[Finding]) -> None:
        """Stop for errors, warn of the rest."""
        for finding in findings:
            if finding.severity == "error":
                listed = ", ".join(f"`{id_}`" for id_ in finding.ids[:3])
                raise DataError(f"{finding.message} {finding.remedy} {listed}".rstrip())
            self.where.progress.warn(f"{finding.message} {finding.remedy}")
            self.proof.findings.append(finding)

    def _look_at_features(self) -> None:
        features = self.look.features_of(self.where.data.samples("train"))
        findings = check_features(features, unit=self.attempt.task.unit)
        if self.attempt.backbone.spec.weights == "random":  # these see little but brightness
            findings = tuple(finding for finding in findings if finding.severity == "error")
        self._raise(findings)

    def _suspect(self, unseen: _Unseen) -> None:
        features = None
        if not self._is_of_words:
            features = feature_table(self.attempt, [self.features], unseen.samples).features
        probabilities = self.attempt.task.predict(unseen.logits, [], []).probabilities
        found = find_suspects(
            probabilities, unseen.targets, features=features, groups=unseen.groups
        )
        classes = self.attempt.classes
        contents = self.where.data.checkup.contents
        for suspect in found.found:
            given, likely = (
                "|".join(classes[i] for i in places) for places in (suspect.given, suspect.likely)
            )
            id_ = unseen.samples[suspect.index].id
            content = contents.get(id_, "")
            self.proof.suspects.append(SuspectRow(id_, given, likely, suspect.score, content))
        self.proof.metrics["suspects"] = {
            "num_found": len(found.found),
            "num_expected": found.num_expected,
            "num_judged": len(unseen.samples),
            "note": found.note,
        }

    def _beat_baseline(self, unseen: _Unseen, *, is_out_of_fold: bool) -> None:
        """Against what is plain to see, which learns and answers the same samples."""
        answers = self.attempt.trivial if is_out_of_fold else None
        if answers is None:
            if is_out_of_fold:
                answers = self.baseline.out_of_fold(self.attempt, unseen.samples)
            else:
                learnt = self.where.data.samples("train")
                answers = self.baseline.answers(self.attempt, learnt, unseen.samples)
        if answers is None:
            return
        mine, theirs = (_is_right(logits, unseen.targets) for logits in (unseen.logits, answers))
        finding = check_beats_baseline(
            mine, theirs, groups=unseen.groups, looks_at=self.baseline.looks_at
        )
        if finding is not None:
            self._raise([self._with_way_to_keep(finding)])

    def _with_way_to_keep(self, finding: Finding) -> Finding:
        """With the command that keeps what does as well, where that is a model of its own."""
        if self.attempt.task.unit != "text":
            return finding
        options = self.where.options
        given = options.model_dump(include=options.model_fields_set)
        command = words_command(self.where.data.path, given)
        remedy = f"{finding.remedy} Or keep the words alone: {command}"
        return replace(finding, remedy=remedy)

    def _trace_curve(self) -> None:
        """Refits of the linear head on parts of its samples, judged on folds that they lack."""
        attempt = self.attempt
        strength = attempt.facts.get("C") if attempt.facts.get("classifier") == "logistic" else None
        if strength is None or not attempt.is_frozen:
            return
        samples = [s for s in samples_for_table(attempt) if s.id in self.features]
        known = feature_table(attempt, [self.features], samples)
        held_out = hold_out_folds(known, attempt.settings)
        if held_out is None:
            return
        truth = known.targets.numpy()

        def score(parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.bool_]]:
            answers = answer_by_parts(
                known.features,
                known.targets,
                [torch.from_numpy(indices) for indices in parts],
                num_classes=known.num_classes,
                C=strength,
                class_weights=attempt.settings.class_weights,
                basis=attempt.basis,
            )
            return (_is_right(logits, truth) for logits in answers)

        curve = trace_learning_curve(
            score, truth, folds=held_out.numpy(), groups=known.groups.numpy()
        )
        self.proof.metrics["learning_curve"] = curve.to_json()

    def _know_strangers(self) -> None:
        """Keep what tells strangers with the run, and with the model."""
        predictor = self.attempt.predictor
        if self._is_of_words:  # found when it learnt
            self.proof.strangers = predictor.strangers
            return
        known = know_strangers(self.look)
        self.proof.strangers = predictor.strangers = known.near
        if known.letters is not None:
            self.proof.letters = predictor.letters = known.letters


def _is_right(logits: Tensor, targets: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) whether every class (multi-label), or the likeliest, is as in the targets."""
    if targets.ndim == 2:
        right: NDArray[np.bool_] = ((logits > 0).numpy() == (targets > 0.5)).all(axis=1)
        return right
    return np.asarray(logits.argmax(dim=1).numpy() == targets)
