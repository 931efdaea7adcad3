from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.config import FitOptions, load_options, make_options
from headstart.errors import ConfigError
from headstart.fitting.refusing import (
    refuse_contradictions,
    refuse_format,
    refuse_other_task,
    refuse_pointless,
    without_effect,
)
from headstart.fitting.settle import (
    GRADIENT_STRATEGIES,
    Choice,
    Choices,
    DataSize,
    settle_training,
)
from headstart.fitting.settle_texts import settle_texts
from headstart.progress import Progress

OF_PICTURES = [name for name in GRADIENT_STRATEGIES if name != "contrastive"]  # that is of texts


def settled(strategy: str, counts: dict[str, int] | None = None, **given: Any) -> dict[str, Any]:
    counts = counts or {"a": 100, "b": 100}
    choices = settle_training(
        FitOptions(**given),
        strategy=strategy,
        size=DataSize(sum(counts.values()), counts),
        device_type=given.pop("device_type", "cpu"),
    )
    assert all(choice.reason for choice in choices)
    assert len({choice.name for choice in choices}) == len(choices)
    return {choice.name: choice.value for choice in choices}


@pytest.mark.parametrize("strategy", OF_PICTURES)
def test_every_auto_of_training_is_settled(strategy: str) -> None:
    fields = FitOptions()
    open_still = {n for n in FitOptions.model_fields if getattr(fields, n) is None}
    never_auto = {
        "weights",
        "features",
        "budget",
        "image_column",
        "text_column",
        "long",
        "refit",
        "label_column",
        "group",
        "output",
    }
    never_auto |= {"control", "drop_suspects", "ignore_value", "bands", "units"}
    never_auto |= {"outside", "decoder", "loss"}  # of masks, see test_settle_masks
    by_strategy = {"layer_decay", "clip_norm", "patience"}
    assert open_still - never_auto - by_strategy <= set(settled(strategy))


@pytest.mark.parametrize("strategy", ["probe", *OF_PICTURES])
def test_what_was_given_is_never_settled(strategy: str) -> None:
    given = {"epochs": 2, "lr": 0.1, "batch_size": 3, "views": 1, "balance": "none"}
    assert not given.keys() & settled(strategy, **given).keys()


@pytest.mark.parametrize(
    ("counts", "balance"),
    [({"a": 30, "b": 10}, "none"), ({"a": 31, "b": 10}, "weights"), ({"a": 5, "b": 0}, "none")],
)
def test_unequal_classes_are_weighted(counts: dict[str, int], balance: str) -> None:
    assert settled("probe", counts)["balance"] == balance


@pytest.mark.parametrize(("num_train", "batch_size"), [(4, 2), (40, 5), (128, 16), (9999, 16)])
def test_few_samples_make_small_batches(num_train: int, batch_size: int) -> None:
    half = num_train // 2
    assert settled("full", {"a": half, "b": num_train - half})["batch_size"] == batch_size


def test_more_samples_need_fewer_epochs_within_bounds() -> None:
    epochs = [settled("full", {"a": n, "b": n})["epochs"] for n in (5, 100, 200, 100_000)]
    assert epochs == [15, 15, 15, 4]


def test_mixed_pictures_cannot_be_cached() -> None:
    assert settled("head")["views"] == 3
    assert settled("head", mixup=0.2)["views"] == 0


def test_strategies_without_cached_views_mix_pictures_whatever_views_were_asked_for() -> None:
    for strategy in ("full", "gradual", "scratch"):
        assert settled(strategy, mixup=0.2, views=2)["epochs"] > 0


def test_warm_up_goes_by_the_schedule() -> None:
    assert settled("full")["warmup"] == 0.25
    assert settled("full", schedule="cosine")["warmup"] == 0.05


def test_schedules_without_an_end_have_patience() -> None:
    assert settled("full", schedule="plateau")["patience"] == 6
    assert "patience" not in settled("full")


def test_a_choice_becomes_json() -> None:
    assert Choice("lr", 0.1, "why").to_json() == {"name": "lr", "value": 0.1, "reason": "why"}


@pytest.mark.parametrize("given", [{"bands": "B04,B03,B02"}, {"units": "dn10000"}])
def test_bands_and_units_are_for_rasters_with_masks(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is for rasters with masks"):
        refuse_other_task(make_options(given), "image-classification")
    refuse_other_task(make_options(given), "semantic-segmentation")


@pytest.mark.parametrize(
    ("given", "task", "told"),
    [
        ({"task": "image-classification"}, "semantic-segmentation", "the data is for semantic"),
        ({"monitor": "miou"}, "image-classification", "no score of image-classification"),
        ({"monitor": "accuracy"}, "semantic-segmentation", "loss, macro_f1 or miou"),
        ({"strategy": "tfidf"}, "image-classification", "weighs the words of texts"),
        ({"strategy": "tfidf"}, "semantic-segmentation", "weighs the words of texts"),
    ],
)
def test_options_of_another_task_are_refused(given: dict[str, Any], task: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        refuse_other_task(make_options(given), task)


def test_what_has_nothing_to_do_with_words_alone_has_no_effect_on_them() -> None:
    given = {"backbone": "minilm", "long": "cut", "precision": "float32", "epochs": 3}
    told = without_effect(make_options({"strategy": "tfidf", **given}), strategy="tfidf")
    assert set(told) == {"--backbone", "--long", "--precision", "--epochs"}
    with pytest.raises(ConfigError, match="--strategy tfidf uses none"):
        refuse_pointless(make_options({"strategy": "tfidf", "control": "scratch"}))


@pytest.mark.parametrize("refit", [True, False])
def test_a_refit_without_a_ladder_is_refused(refit: bool) -> None:
    with pytest.raises(ConfigError, match=r"-refit is of the ladder.*--strategy full was asked"):
        refuse_pointless(make_options({"strategy": "full", "refit": refit}))
    refuse_pointless(make_options({"refit": refit}))
    with pytest.raises(ConfigError, match="does not learn from its validation chips"):
        refuse_other_task(make_options({"refit": True}), "semantic-segmentation")


@pytest.mark.parametrize(
    ("strategy", "given", "told"),
    [
        ("contrastive", {"workers": 2}, ["--workers"]),
        ("contrastive", {"balance": "sampling"}, ["--balance"]),
        ("contrastive", {"balance": "weights"}, []),
        ("tfidf", {"balance": "sampling"}, ["--balance"]),
        ("tfidf", {"balance": "weights"}, []),
        ("tfidf", {"features": "last"}, ["--features"]),
        ("probe", {"balance": "sampling", "classifier": "knn"}, ["--balance"]),
        ("full", {"balance": "sampling", "workers": 2}, []),
    ],
)
def test_what_a_strategy_does_not_look_at_is_named(
    strategy: str, given: dict[str, Any], told: list[str]
) -> None:
    options = make_options({"strategy": strategy, **given})
    assert without_effect(options, strategy=strategy) == told


def test_what_two_branches_settle_alike_is_told_once() -> None:
    told: list[tuple[str, Any]] = []

    class Listening(Progress):
        def choice(self, name: str, value: Any, reason: str) -> None:
            told.append((name, value))

    choices = Choices(make_options({}), progress=Listening())
    choices.branch().add(Choice("balance", "none", "why"), Choice("lr", 1, "why"))
    held = choices.branch(is_held=True)
    held.add(Choice("balance", "none", "why"), Choice("lr", 2, "why"))
    assert told == [("balance", "none"), ("lr", 1)]
    held.tell()
    assert told == [("balance", "none"), ("lr", 1), ("lr", 2)]
    assert [choice.name for choice in held.made] == ["balance", "lr"]


def test_options_of_the_task_are_taken() -> None:
    for given in ({}, {"task": "semantic-segmentation", "monitor": "miou"}, {"monitor": "loss"}):
        refuse_other_task(make_options(given), "semantic-segmentation")
    refuse_other_task(make_options({"monitor": "accuracy"}), "image-classification")


def test_unequal_classes_of_texts_are_weighed_by_the_root() -> None:
    size = DataSize(1000, {"a": 900, "b": 100})
    found = settle_texts(FitOptions(), strategy="probe", size=size, device_type="cpu")
    assert {choice.name: choice.value for choice in found}["balance"] == "root-weights"


def test_root_weights_are_not_of_masks() -> None:
    with pytest.raises(ConfigError, match="weighs pixels"):
        refuse_other_task(FitOptions(balance="root-weights"), "semantic-segmentation")


@pytest.mark.parametrize(
    ("strategy", "is_refused"), [("auto", True), ("full", True), ("probe", False)]
)
def test_a_precision_that_nothing_learns_in_is_refused_at_once(
    strategy: str, is_refused: bool
) -> None:
    options = make_options({"strategy": strategy, "precision": "float16"})
    refuse_format(options, device_type="cuda")
    if is_refused:
        with pytest.raises(ConfigError, match="only there on CUDA"):
            refuse_format(options, device_type="cpu")
    else:
        refuse_format(options, device_type="cpu")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"features": "depths"}, "--features depths is for the probe"),
        ({"strategy": "head", "views": 2, "mixup": 0.2}, "a head cannot learn from --views 2"),
        ({"strategy": "full", "find_lr": True, "lr": 0.001}, "--lr 0.001 gives it"),
        ({"backbone": "any", "strategy": "probe"}, "--backbone any stands for several"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        refuse_contradictions(make_options(given))


def test_a_file_and_the_command_line_make_sense_together(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("features: depths\n")
    refuse_contradictions(load_options(path, {"strategy": "probe"}))
    path.write_text("strategy: probe\n")
    refuse_contradictions(
        load_options(path, FitOptions(features="depths").model_dump(exclude_unset=True))
    )


def test_an_augmentation_of_ones_own_is_of_pictures() -> None:
    options = make_options({"strategy": "full"})
    refuse_other_task(options, "image-classification", has_own_augment=True)
    with pytest.raises(ConfigError, match="An augmentation of your own changes pictures"):
        refuse_other_task(options, "text-classification", has_own_augment=True)
