"""Every way to fit proves what it can, in numbers that any JSON parser reads, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.contracts import Sample

Fit = Callable[..., Any]
See = Callable[[Callable[[Sample], Tensor]], None]
Features = Callable[[Sample], Tensor]
Draw = Callable[..., Path]
ONE_EPOCH = {"epochs": 1, "batch_size": 4}


def rows(labels: str, **columns: str) -> list[dict[str, str]]:
    """A row a letter."""
    return [{"label": label, **columns} for label in labels]


def in_splits(train: str, validation: str, test: str) -> list[dict[str, str]]:
    given = {"train": train, "validation": validation, "test": test}
    return [row for split, labels in given.items() for row in rows(labels, split=split)]


def numbers(values: Any) -> list[Any]:
    """All that stands where a figure belongs."""
    if isinstance(values, dict):
        names = ("value", "low", "high", "n", "temperature", "score", "threshold", "ece")
        own = [value for name, value in values.items() if name in names]
        return own + [found for value in values.values() for found in numbers(value)]
    if isinstance(values, list):
        return [found for value in values for found in numbers(value)]
    return []


def splits_of(run: Any) -> list[str]:
    """Of each sample."""
    return [entry["split"] for entry in run.read("split.json")["assignment"].values()]


def proven(run: Any) -> dict[str, Any]:
    """Its metrics, after a look at what each run must have."""
    metrics: dict[str, Any] = run.metrics  # refuses NaN and Infinity
    figures = [each for each in numbers(metrics) if not isinstance(each, dict | list)]
    assert figures
    assert all(each is None or type(each) in (int, float) for each in figures), figures
    assert metrics["calibration"]["bins"]
    assert metrics["coverage"]
    assert (run.path / "suspects.csv").read_text().startswith("id,label,likely label,score")
    assert (run.path / "report.html").is_file()
    assert any("same predictions" in note for note in run.recorder.of("note"))
    return metrics


# --- data of every kind -----------------------------------------------------------------------


def test_several_labels_a_picture(
    fit: Fit, see: See, separable: Features, draw_table: Draw
) -> None:
    labels = ["a", "b", "a|b", "c", ""] * 12
    see(separable)
    run = fit(draw_table([{"label": label} for label in labels]))
    metrics = proven(run)
    assert metrics["rungs"][3]["metrics"]["macro_f1"]["value"] > 0.8
    assert metrics["suspects"]["num_judged"] > 40
    assert metrics["learning_curve"]["points"]


def test_a_class_that_stands_in_one_fold_alone(
    fit: Fit, see: See, separable: Features, draw_table: Draw
) -> None:
    see(separable)
    run = fit(draw_table(in_splits("aaaaaabbbbbbbc", "aabb", "aabbc")))
    assert proven(run)["suspects"]["num_judged"] == 14


def test_two_samples_a_class(fit: Fit, see: See, separable: Features, draw_table: Draw) -> None:
    see(separable)
    metrics = proven(fit(draw_table(rows("aabb"))))
    assert metrics["calibration"].get("temperature", 1.0) == 1.0
    assert "too few" in metrics["verdict"]


def test_splits_that_came_with_the_data(
    fit: Fit, see: See, separable: Features, draw_table: Draw
) -> None:
    see(separable)
    metrics = proven(fit(draw_table(in_splits("ab" * 20, "ab" * 8, "ab" * 6))))
    assert metrics["suspects"]["num_judged"] == 40  # validation was not learned from
    assert metrics["learning_curve"]["now"] == 40
    assert metrics["ood"]["n"] == 12


def test_validation_samples_of_one_class(
    fit: Fit, see: See, separable: Features, draw_table: Draw
) -> None:
    see(separable)
    metrics = proven(fit(draw_table(in_splits("ab" * 15, "aaaaaa", "ab" * 4))))
    assert metrics["strategy"] == "probe"


def test_no_validation_samples(fit: Fit, see: See, separable: Features, draw_table: Draw) -> None:
    see(separable)
    table = draw_table([*rows("ab" * 4, split="train"), *rows("ab", split="test")])
    run = fit(table)
    assert proven(run)["strategy"] == "probe"


def test_groups_count_as_one(fit: Fit, see: See, separable: Features, draw_table: Draw) -> None:
    see(separable)
    grouped = [{"label": "ab"[i // 4 % 2], "patient": f"p{i // 4}"} for i in range(80)]
    run = fit(draw_table(grouped), group="patient")
    metrics = proven(run)
    assignment = run.read("split.json")["assignment"]
    of_group: dict[str, set[str]] = {}
    for each in assignment.values():
        of_group.setdefault(each["group"], set()).add(each["split"])
    assert all(len(splits) == 1 for splits in of_group.values())
    assert metrics["leakage"]["sentence"]


# --- every classifier and strategy ------------------------------------------------------------


@pytest.mark.parametrize("classifier", ["logistic", "svm", "knn"])
def test_each_classifier(
    fit: Fit, see: See, separable: Features, draw_table: Draw, classifier: str
) -> None:
    see(separable)
    run = fit(draw_table(rows("ab" * 25)), strategy="probe", classifier=classifier)
    metrics = proven(run)
    assert metrics["suspects"]["num_judged"] > 30
    assert ("learning_curve" in metrics) is (classifier == "logistic")
    if classifier == "knn":  # its answers are shares of votes, with no weights to divide
        assert metrics["calibration"]["is_kept"] is False


def test_as_is_proves_what_needs_no_answers_of_its_own(
    fit: Fit, make_photos: Draw, tmp_path: Path
) -> None:
    import timm
    from safetensors.torch import save_file

    weights = tmp_path / "whole.safetensors"
    save_file(timm.create_model("test_resnet.r160_in1k").state_dict(), weights)
    photos = make_photos({"bee": 8, "ant": 8})
    metrics = proven(fit(photos, strategy="as-is", weights=str(weights)))
    assert "suspects" not in metrics
    assert metrics["ood"]["threshold"] > 0


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("head", {"views": 1}),
        ("head", {"views": 1, "hidden": 4}),
        ("gradual", {}),
        ("full", {}),
        ("full", {"hidden": 4}),
        ("scratch", {}),
    ],
)
def test_each_trained_strategy(
    fit: Fit, make_photos: Draw, strategy: str, options: dict[str, Any]
) -> None:
    run = fit(make_photos({"a": 12, "b": 12}), strategy=strategy, **ONE_EPOCH, **options)
    metrics = proven(run)
    assert ("suspects" in metrics) is (strategy == "full" and not options)
    assert metrics["ood"]["threshold"] > 0
    assert [rung["kept"] for rung in metrics["rungs"]] == [True]


# --- what is proven by what -------------------------------------------------------------------


def test_planted_errors_are_the_suspects(
    fit: Fit, see: See, separable: Features, draw_table: Draw
) -> None:
    planted = (4, 11, 26)
    table = in_splits("ab" * 25, "ab" * 6, "ab" * 6)

    def features(sample: Sample) -> Tensor:
        number = int(Path(sample.id).stem)
        if number in planted:
            sample = Sample(sample.id, sample.path, ("b" if sample.label == "a" else "a",))
        return separable(sample)

    see(features)
    run = fit(draw_table(table))
    listed = (run.path / "suspects.csv").read_text().splitlines()[1:]
    assert {int(Path(line.split(",")[0]).stem) for line in listed} == set(planted)
    assert run.metrics["suspects"]["num_found"] == len(planted)


def test_features_that_are_all_alike_stop_a_fit(fit: Fit, see: See, draw_table: Draw) -> None:
    from headstart.errors import DataError

    def collapsed(sample: Sample) -> Tensor:
        return torch.ones(96)

    see(collapsed)
    with pytest.raises(DataError, match="the backbone does not see them"):
        fit(draw_table(rows("ab" * 12)))


def test_random_weights_are_not_told_that_they_see_little(
    fit: Fit, see: See, separable: Features, draw_table: Draw
) -> None:
    def nearly_alike(sample: Sample) -> Tensor:
        return 100.0 + separable(sample)

    see(nearly_alike)
    run = fit(draw_table(rows("ab" * 20)))
    assert not [told for told in run.recorder.of("warning") if "nearly the same" in told]


def test_a_model_no_better_than_colours_is_told_of(
    fit: Fit, see: See, say_nothing: Features, draw_table: Draw
) -> None:
    see(say_nothing)
    run = fit(draw_table(rows("ab" * 15)), strategy="probe")
    assert [told for told in run.recorder.of("warning") if "not clearly better" in told]


def test_the_learning_curve_is_judged_on_all_that_it_learns_from(
    fit: Fit, see: See, separable: Features, draw_table: Draw
) -> None:
    see(separable)
    run = fit(draw_table(rows("ab" * 50)), strategy="probe")
    curve = run.metrics["learning_curve"]
    sizes = [point["num_samples"] for point in curve["points"]]
    num_learnt = sum(split in ("train", "validation") for split in splits_of(run))
    assert curve["now"] == num_learnt
    assert sizes == [round(share * num_learnt) for share in (0.1, 0.2, 0.4, 0.8)]
