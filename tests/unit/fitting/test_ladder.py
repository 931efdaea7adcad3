"""What the ladder tries, by what its rungs are judged, what it keeps, and what it says of that."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.contracts import Sample

Fit = Callable[..., Any]
See = Callable[..., None]
Features = Callable[[Sample], Tensor]
CHEAP = ("majority", "trivial", "knn", "probe")


def alternating(num: int, **columns: str) -> list[dict[str, str]]:
    return [{"label": "ab"[i % 2], **columns} for i in range(num)]


def as_given(num_train: int, num_validation: int, num_test: int) -> list[dict[str, str]]:
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}
    return [row for split, num in sizes.items() for row in alternating(num, split=split)]


# --- how rungs are judged ---------------------------------------------------------------------


@pytest.mark.parametrize("views", [0, 1])
def test_cheap_rungs_are_judged_on_the_same_samples_and_folds(
    views: int,
    fit: Fit,
    see: See,
    separable: Features,
    draw_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.fitting import proving  # its own name is bound before the spy is
    from headstart.strategies import probe

    assert proving.hold_out_folds is probe.hold_out_folds
    held_out: list[list[int]] = []
    find = probe.hold_out_folds

    def spy(*arguments: Any) -> Any:
        found = find(*arguments)
        held_out.append(found.tolist())
        return found

    monkeypatch.setattr(probe, "hold_out_folds", spy)
    see(separable)
    run = fit(draw_table(alternating(60)), views=views)
    assert all(each[: len(held_out[0])] == held_out[0] for each in held_out)
    assert len(held_out) >= 3
    assert len({len(each) for each in held_out}) == 1 + views  # the probe learns from views too
    num = sum(each["split"] != "test" for each in run.read("split.json")["assignment"].values())
    assert len(held_out[0]) == num
    for name in CHEAP:
        assert run.rungs[name]["judged_on"] == "cross-validation"
        assert {m["n"] for m in run.rungs[name]["metrics"].values()} == {num}


def test_views_of_the_probe_and_mixed_pictures_of_fine_tuning_go_together(
    fit: Fit, see: See, say_nothing: Features, draw_table: Callable[..., Path]
) -> None:
    see(say_nothing)
    run = fit(draw_table(as_given(40, 30, 20)), views=1, mixup=0.2, epochs=1)
    assert run.rungs["probe"]["was_tried"]
    assert run.rungs["full"]["was_tried"]


def test_gains_are_differences_of_the_rungs_on_the_same_samples(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path]
) -> None:
    see(separable)
    rungs = fit(draw_table(alternating(60))).rungs
    over = {name: rungs[name]["gain"]["over"] for name in CHEAP[1:]}
    assert over == {"trivial": "majority", "knn": "trivial", "probe": "trivial"}
    for name, other in over.items():
        gain = rungs[name]["gain"]
        values = [rungs[each]["metrics"]["accuracy"]["value"] for each in (other, name)]
        assert gain["value"] == pytest.approx(values[1] - values[0])
        assert gain["low"] <= gain["value"] <= gain["high"]
        assert gain["n"] == rungs[name]["metrics"]["accuracy"]["n"]
    assert rungs["majority"]["gain"] is None


def test_exactly_one_rung_is_kept(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path]
) -> None:
    see(separable)
    run = fit(draw_table(alternating(60)))
    assert [name for name, rung in run.rungs.items() if rung["kept"]] == ["probe"]
    assert run.metrics["strategy"] == "probe"
    assert run.metrics["verdict"].endswith("The linear head was kept.")


def test_a_mistake_is_another_class_whatever_the_classes_are_called(
    fit: Fit, see: See, separable: Features, make_photos: Callable[..., Path]
) -> None:
    see(separable)
    run = fit(make_photos({"cat|tame": 30, "dog|wild": 30}))
    assert " 0 were wrong" in run.rungs["full"]["why"]


# --- the head that is kept --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classifier", "told"),
    [
        ("logistic", "The linear head was kept."),
        ("svm", "The support vector machine was kept."),
        ("knn", "Nearest neighbours were kept."),
    ],
)
def test_the_verdict_names_the_head_that_was_asked_for(
    fit: Fit,
    see: See,
    separable: Features,
    draw_table: Callable[..., Path],
    classifier: str,
    told: str,
) -> None:
    see(separable)
    run = fit(draw_table(alternating(40)), classifier=classifier)
    assert run.metrics["verdict"].endswith(told)
    assert run.rungs["probe"]["kept"]


def test_nearest_neighbours_are_kept_with_all_that_is_told_about_them(
    fit: Fit, see: See, say_nothing: Features, draw_table: Callable[..., Path]
) -> None:
    def clusters(sample: Sample) -> Tensor:
        """Small clusters all around, in which no plane tells one class from the other."""
        number = int(Path(sample.id).stem)
        cluster = number // 2 % 12 * 2 + number % 2
        row = torch.zeros_like(say_nothing(sample))
        angle = torch.tensor(2 * math.pi * cluster / 24)
        row[0], row[1] = angle.cos(), angle.sin()
        return row + 0.002 * say_nothing(sample)

    see(clusters)
    run = fit(draw_table(alternating(144)))
    rungs, config = run.rungs, run.read("config.json")
    assert rungs["knn"]["kept"]
    assert not rungs["probe"]["kept"]
    assert run.metrics["verdict"].endswith("Nearest neighbours were kept.")
    assert config["fit"]["classifier"] == run.choices["classifier"] == "knn"
    assert config["options"]["classifier"] == "knn"
    assert "C" not in config["fit"]
    assert config["model"]["head"]["kind"] == "knn"
    found, before = run.metrics["calibration"], rungs["knn"]["metrics"]["log_loss"]["value"]
    assert found["log_loss_before"] == pytest.approx(before, abs=1e-4)
    assert "learning_curve" not in run.metrics  # it is one of the linear head


def test_of_neighbours_that_features_of_several_depths_beat_nothing_is_kept(
    fit: Fit,
    see: See,
    say_nothing: Features,
    draw_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.fitting import ladder

    told = ladder.is_more_often_right
    monkeypatch.setattr(
        ladder,
        "is_more_often_right",
        lambda found: found.metrics["accuracy"].value < 2 or told(found),
    )
    see(say_nothing, depths=deep_signal)
    run = fit(draw_table(alternating(60)))
    assert [name for name, rung in run.rungs.items() if rung["kept"]] == ["depths"]
    assert run.rungs["depths"]["gain"]["over"] == "knn"
    assert "classifier" not in run.choices
    assert run.read("config.json")["fit"]["classifier"] == "logistic"


def test_too_few_samples_to_hold_any_out_are_no_trouble(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path]
) -> None:
    see(separable)
    run = fit(draw_table(alternating(4)))
    assert [name for name, rung in run.rungs.items() if rung["kept"]] == ["probe"]
    assert "too few to hold some out" in run.metrics["verdict"]


# --- features of several depths ---------------------------------------------------------------


def deep_noise(sample: Sample) -> Tensor:
    """As many features as `test_resnet` gives at all depths, 96 of them from its last layer."""
    number = sum(sample.id.encode())
    return torch.randn(496, generator=torch.Generator().manual_seed(number))


def deep_signal(sample: Sample) -> Tensor:
    row = deep_noise(sample)
    row[0] = 20.0 * (int(Path(sample.id).stem) % 2)
    return row


def test_depths_that_tell_more_than_the_last_layer_are_kept(
    fit: Fit, see: See, say_nothing: Features, draw_table: Callable[..., Path]
) -> None:
    see(say_nothing, depths=deep_signal)
    run = fit(draw_table(alternating(60)))
    rungs, config = run.rungs, run.read("config.json")
    assert [name for name, rung in rungs.items() if rung["kept"]] == ["depths"]
    assert rungs["depths"]["gain"]["over"] == "probe"
    assert rungs["depths"]["gain"]["low"] > 0
    assert run.metrics["strategy"] == "probe"
    assert run.choices["features"] == "depths"
    assert run.metrics["metrics"]["accuracy"]["value"] == 1.0
    assert config["model"]["backbone"]["num_features"] == 496
    assert run.metrics["verdict"].endswith("features of several depths was kept.")


def test_depths_that_tell_no_more_are_not_kept(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path]
) -> None:
    see(separable, depths=deep_noise)
    run = fit(draw_table(alternating(60)))
    assert run.rungs["depths"]["was_tried"]
    assert [name for name, rung in run.rungs.items() if rung["kept"]] == ["probe"]
    assert run.read("config.json")["model"]["backbone"]["num_features"] == 96


@pytest.mark.parametrize("options", [{"classifier": "svm"}, {"views": 1}, {"features": "last"}])
def test_depths_are_for_the_logistic_probe_of_the_pictures_as_they_are(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path], options: Any
) -> None:
    see(separable, depths=deep_signal)
    assert "depths" not in fit(draw_table(alternating(40)), **options).rungs


@pytest.mark.parametrize(
    ("rung", "cost", "value", "told"),
    [
        ("depths", "_DEPTHS_COST", 1e6, "of the budget"),
        ("knn", "seconds_to_compare", lambda _: 1e3, "each of 32 samples with all others may take"),
    ],
)
def test_a_budget_without_time_for_a_rung_leaves_it_out(
    fit: Fit,
    see: See,
    separable: Features,
    draw_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    rung: str,
    cost: str,
    value: Any,
    told: str,
) -> None:
    from headstart.fitting import ladder

    monkeypatch.setattr(ladder, cost, value)
    see(separable, depths=deep_signal if rung == "depths" else None)
    run = fit(draw_table(alternating(40)))
    assert not run.rungs[rung]["was_tried"]
    assert told in run.rungs[rung]["why"]
    assert run.rungs["probe"]["kept"]


def test_without_a_budget_the_whole_fit_has_five_minutes(
    fit: Fit,
    see: See,
    separable: Features,
    draw_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.fitting.collecting import Collector

    ends: list[float] = []
    begin = Collector.__init__

    def noted(self: Collector, **given: Any) -> None:
        ends.append(given["reading_ends"] - time.monotonic())
        begin(self, **given)

    monkeypatch.setattr(Collector, "__init__", noted)
    see(separable)
    data = draw_table(alternating(20))
    run = fit(data)
    fit(data, strategy="probe", name="probe")
    assert 150.0 < ends[0] <= 0.7 * 300.0
    assert run.choices["budget"] == "5m"
    assert "budget" not in run.read("config.json")["given"]
    assert ends[1] == math.inf


# --- when fine-tuning is tried ----------------------------------------------------------------


def test_fine_tuning_is_not_tried_for_fewer_than_six_mistakes(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path]
) -> None:
    see(separable)
    run = fit(draw_table(alternating(60)))
    full = run.rungs["full"]
    assert not full["was_tried"]
    assert "0 were wrong, so few that no gain could be told from noise" in full["why"]
    assert run.metrics["verdict"].startswith(full["why"])


@pytest.mark.usefixtures("slow_training")
@pytest.mark.parametrize("num_wrong", [5, 6])
def test_six_mistakes_on_validation_samples_that_came_with_the_data_are_counted(
    fit: Fit, see: See, say_nothing: Features, draw_table: Callable[..., Path], num_wrong: int
) -> None:
    def features(sample: Sample) -> Tensor:
        number = int(Path(sample.id).stem)
        is_misleading = sample.split == "validation" and number - 40 < num_wrong
        row = say_nothing(sample)
        row[0] = 40.0 * ((number + is_misleading) % 2)
        return row

    see(features)
    why = fit(draw_table(as_given(40, 20, 10))).rungs["full"]["why"]
    if num_wrong < 6:
        assert f"of 20 validation pictures {num_wrong} were wrong" in why
    else:
        assert "its 15 epochs and what follows take about" in why


@pytest.mark.usefixtures("slow_training")
def test_fine_tuning_that_the_budget_cannot_hold_is_not_tried(
    fit: Fit, see: See, say_nothing: Features, draw_table: Callable[..., Path]
) -> None:
    see(say_nothing)
    run = fit(draw_table(as_given(40, 30, 10)), budget="1m")
    full = run.rungs["full"]
    assert not full["was_tried"]
    assert "of the budget" in full["why"]
    assert full["why"].endswith("m would hold it.")
    assert full["predicted_seconds"] > 400  # an epoch of 40 pictures and more
    assert run.metrics["strategy"] == "probe"
    assert (run.path / "model.safetensors").is_file()
    assert not (run.path / "checkpoint").exists()


def test_a_loss_that_is_not_finite_leaves_what_was_best_before(
    fit: Fit,
    see: See,
    say_nothing: Features,
    draw_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.engine.loop import Training
    from headstart.errors import TrainingError

    def fail(training: Training, *_: Any) -> None:
        raise TrainingError("The loss is nan at step 3.")

    monkeypatch.setattr(Training, "fit", fail)
    see(say_nothing)
    run = fit(draw_table(as_given(40, 30, 10)), epochs=1)
    full = run.rungs["full"]
    assert full["why"] == "Fine-tuning was tried, and left: The loss is nan at step 3."
    assert full["was_tried"]
    assert not full["kept"]
    assert run.metrics["strategy"] == "probe"
    assert full["why"] in run.recorder.of("warning")


def test_options_of_other_rungs_are_not_said_to_have_no_effect(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path]
) -> None:
    see(separable)
    run = fit(draw_table(alternating(40)), epochs=2, lr=0.01, classifier="svm")
    assert not [message for message in run.recorder.of("warning") if "no effect" in message]


# --- what is kept of a budget -----------------------------------------------------------------


@pytest.mark.usefixtures("slow_training")
def test_training_leaves_the_time_of_all_that_follows_it(
    fit: Fit,
    see: See,
    say_nothing: Features,
    draw_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.fitting import finetuning
    from headstart.fitting.learning import TAIL_S, pictures_after_training, seconds_after_training

    begun = []
    create = finetuning.FineTuning.__init__

    def spy(tuning: finetuning.FineTuning, *arguments: Any, **named: Any) -> None:
        create(tuning, *arguments, **named)
        begun.append(tuning)

    monkeypatch.setattr(finetuning.FineTuning, "__init__", spy)
    see(say_nothing)
    fit(draw_table(as_given(40, 30, 10)), budget="1m")
    (tuning,) = begun
    # 30 to judge on, 30 to calibrate by, 40 to know strangers by, 10 of the test; 6 mixtures of 30
    assert pictures_after_training(tuning.attempt) == 30 + 30 + 40 + 10 + 6 * 30
    rate = tuning.attempt.embedder.inference.samples_per_s
    assert seconds_after_training(tuning.attempt) >= 290 / rate
    assert tuning.after_s == pytest.approx(seconds_after_training(tuning.attempt) + TAIL_S)
    assert tuning.epoch_s >= 400


def test_the_majority_answers_with_the_shares_of_the_classes() -> None:
    from headstart.contracts import FeatureTable
    from headstart.fitting.ladder import _majority_logits

    targets = torch.tensor([0] * 6 + [1] * 2)
    table = FeatureTable(torch.zeros(8, 1), targets, torch.arange(8), num_classes=3)
    shares = _majority_logits(table).softmax(dim=1)[0]
    np.testing.assert_allclose(shares, np.array([6.5, 2.5, 0.5]) / 9.5, rtol=1e-5)


# --- what was asked for, whatever was kept ----------------------------------------------------


def test_a_ladder_stopped_while_it_is_saved_is_climbed_again_on_resuming(
    fit: Fit, see: See, separable: Features, draw_table: Callable[..., Path]
) -> None:
    import headstart as hs

    see(separable)
    run = fit(draw_table(alternating(40)), strategy="auto", seed=3)
    config = run.read("config.json")
    assert config["options"]["strategy"] == "probe"
    assert config["given"]["strategy"] == "auto"
    assert config["given"]["seed"] == 3
    assert "epochs" not in config["given"]
    before = run.metrics
    (run.path / "metrics.json").unlink()
    resumed = hs.resume(run.path)
    assert [rung["strategy"] for rung in before["rungs"]] == [
        rung["strategy"] for rung in json.loads((run.path / "metrics.json").read_text())["rungs"]
    ]
    assert resumed.metrics["accuracy"].value == before["metrics"]["accuracy"]["value"]


def test_a_hidden_layer_is_drawn_by_the_seed_alone() -> None:
    from headstart.strategies.heads import linear_head

    def drawn(before: int, seed: int) -> Tensor:
        torch.manual_seed(before)
        layer = linear_head(4, 2, dropout=0.0, hidden=3, seed=seed)[0]
        assert isinstance(layer, torch.nn.Linear)
        return layer.weight

    assert torch.equal(drawn(1, 0), drawn(2, 0))
    assert not torch.equal(drawn(1, 0), drawn(1, 5))
