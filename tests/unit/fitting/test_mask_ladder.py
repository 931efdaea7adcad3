"""Which rung of the ladder of masks is kept, and when fine-tuning is begun."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import headstart.fitting.mask_ladder as mask_ladder
from headstart.compute import MeasuredFormat
from headstart.contracts import ComputeFormat, Sample
from headstart.errors import TrainingError
from headstart.fitting.mask_ladder import MaskLadder
from headstart.fitting.mask_rungs import judged_rung
from headstart.fitting.settle import Choice

SAMPLES = [Sample(str(i), Path(str(i))) for i in range(6)]


def counts_of(miou: float) -> dict[str, np.ndarray]:
    """Chips with two equally common classes, of which a share is mixed up."""
    wrong = round(10**6 * (1 - miou) / (1 + miou))
    counts = np.array([[10**6 - wrong, wrong], [wrong, 10**6 - wrong]])
    return {sample.id: counts for sample in SAMPLES}


class FakeAttempt:
    """Settled as told; learning is nothing."""

    def __init__(self, name: str, where: Any, *, epochs: int = 10) -> None:
        self.name = name
        self.where = where
        self.classes = ("a", "b")
        self.epochs = epochs
        self.seconds = 1.0
        self.predictor = name
        self.climb: Any = None
        self.crops_a_chip = 1
        self.backbone = SimpleNamespace(pretrained_head=None)
        self.training = MeasuredFormat(ComputeFormat(), 1.3 * 6, "")  # an epoch takes a second
        self.embedder = SimpleNamespace(inference=MeasuredFormat(ComputeFormat(), 1e9, ""))
        self.made: list[Choice] = []
        self.choices = SimpleNamespace(add=self.made.append, tell=lambda: None)

    def value(self, name: str) -> int:
        assert name == "epochs"
        return self.epochs

    def record(self) -> None:
        """Nothing to write."""


@pytest.fixture
def climbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Climbs with rungs of given mIoU: (kept attempt, attempts by name)."""

    def climb(
        *,
        trivial: float,
        probe: float,
        full: float,
        as_is: float | None = None,
        left_s: float = 1e6,
        is_resumed: bool = False,
        error: TrainingError | None = None,
    ) -> FakeAttempt:
        """`error` is what fine-tuning ends with."""
        warned: list[str] = []
        where = SimpleNamespace(
            data=SimpleNamespace(
                samples=lambda *names: SAMPLES,
                split=SimpleNamespace(groups={s.id: s.id for s in SAMPLES}),
                note_unreadable=None,
            ),
            started=time.monotonic(),
            deadline=time.monotonic() + left_s,
            folder=SimpleNamespace(checkpoint_tensors=tmp_path / "state.safetensors"),
            progress=SimpleNamespace(warn=warned.append),
        )
        found = {"probe": probe, "full": full, "as-is": as_is}
        first = FakeAttempt("probe", where)

        def cheap(attempt: Any) -> list[Any]:
            rung = judged_rung(
                "trivial", "", counts_of(trivial), attempt=attempt, below=None, seconds=0.0
            )
            return [rung]

        def judge(name: str, samples: Any, *, on_error: Any) -> list[Any]:
            counts: Any = counts_of(found[name])
            return [SimpleNamespace(sample=s, counts=counts[s.id]) for s in samples]

        def learn(attempt: Any, tables: Any) -> None:
            if error is not None and attempt.name == "full":
                where.folder.checkpoint_tensors.write_bytes(b"half way")
                raise error

        monkeypatch.setattr(mask_ladder, "cheap_rungs", cheap)
        monkeypatch.setattr(mask_ladder, "judge", judge)
        monkeypatch.setattr(mask_ladder, "fit_mask_probe", lambda attempt, samples: None)
        monkeypatch.setattr(mask_ladder, "learn", learn)
        monkeypatch.setattr(mask_ladder, "seconds_after_training", lambda attempt: 0.0)
        for name in ("record_start", "record_usable"):
            monkeypatch.setattr(mask_ladder, name, lambda folder, record: None)
        ladder: Any = MaskLadder(
            first,  # type: ignore[arg-type]
            lambda: FakeAttempt("full", where),  # type: ignore[arg-type, return-value]
            as_is=None if as_is is None else FakeAttempt("as-is", where),  # type: ignore[arg-type]
            is_resumed=is_resumed,
        )
        kept: FakeAttempt = ladder.climb()
        kept.warned = warned  # type: ignore[attr-defined]
        return kept

    return climb


def kept_names(attempt: Any) -> list[str]:
    return [rung.strategy for rung in attempt.climb.rungs if rung.is_kept]


def test_fine_tuning_is_kept_where_it_is_best(climbed: Any) -> None:
    kept = climbed(trivial=0.5, probe=0.7, full=0.8)
    assert kept.name == "full"
    assert kept_names(kept) == ["full"]
    assert kept.made[-1].value == "full"
    assert "Fine-tuning has a mean IoU of 80.0%" in kept.climb.verdict
    assert "the probe 70.0%: +10.0 points" in kept.climb.verdict
    gain = kept.climb.rungs[-1].gain
    assert gain.value == pytest.approx(0.1, abs=0.001)
    assert kept.climb.rungs[-1].over == "probe"


def test_what_comes_as_it_is_is_kept_where_nothing_learnt_is_better(climbed: Any) -> None:
    kept = climbed(trivial=0.5, probe=0.7, full=0.75, as_is=0.8)
    assert kept.name == "as-is"
    assert kept_names(kept) == ["as-is"]
    assert "The pretrained model as it comes has a mean IoU of 80.0%" in kept.climb.verdict


def test_the_probe_is_kept_where_fine_tuning_is_no_better(climbed: Any) -> None:
    kept = climbed(trivial=0.5, probe=0.7, full=0.6)
    assert kept.name == "probe"
    assert kept_names(kept) == ["probe"]
    full = kept.climb.rungs[-1]
    assert full.strategy == "full"
    assert "no better than the probe, which was kept" in full.why


def test_of_equals_the_trained_one_is_kept(climbed: Any) -> None:
    assert climbed(trivial=0.5, probe=0.7, full=0.7).name == "full"


def test_a_trivial_answer_that_wins_is_warned_about(climbed: Any) -> None:
    kept = climbed(trivial=0.9, probe=0.7, full=0.8)
    assert kept.name == "full"
    (warning,) = kept.warned
    assert "no better than a classifier of single pixels" in warning
    assert climbed(trivial=0.5, probe=0.7, full=0.8).warned == []


def test_fine_tuning_is_begun_where_five_epochs_fit(climbed: Any) -> None:
    assert climbed(trivial=0.5, probe=0.7, full=0.8, left_s=12.0).name == "full"
    kept = climbed(trivial=0.5, probe=0.7, full=0.8, left_s=5.0)
    assert kept.name == "probe"
    untried = kept.climb.rungs[-1]
    assert (untried.strategy, untried.was_tried) == ("full", False)
    assert untried.predicted_seconds == pytest.approx(14.0)
    assert "--budget 1m would hold all 10" in untried.why
    assert untried.why in kept.climb.verdict


def test_a_loss_that_is_not_finite_leaves_the_probe(climbed: Any, tmp_path: Path) -> None:
    error = TrainingError("The loss is nan.")
    kept = climbed(trivial=0.3, probe=0.6, full=0.9, error=error)
    assert kept.name == "probe"
    assert kept.warned == ["Fine-tuning was tried, and left: The loss is nan."]
    assert not (tmp_path / "state.safetensors").exists()
    told = {rung.strategy: rung.why for rung in kept.climb.rungs}["full"]
    assert told == "Fine-tuning was tried, and left: The loss is nan."


def test_what_had_begun_goes_on_whatever_the_budget(climbed: Any) -> None:
    assert climbed(trivial=0.5, probe=0.7, full=0.8, left_s=1.0, is_resumed=True).name == "full"
