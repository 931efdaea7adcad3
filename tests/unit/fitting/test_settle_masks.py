"""What is settled for masks, and the weights of their classes."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from headstart.config import DecoderName, FitOptions, LossName, make_options
from headstart.data.balance import pixel_weights
from headstart.decoders import DECODERS
from headstart.errors import ConfigError
from headstart.fitting.refusing import refuse_other_task, without_effect
from headstart.fitting.settle_masks import MOST_CACHED, MaskSizes, settle_masks, settle_model
from headstart.tasks.segmentation_losses import LOSSES


def settled(strategy: str, *, map_bytes: int = 10**6, **given: Any) -> dict[str, Any]:
    sizes = MaskSizes(num_train=20, crops_a_chip=4, map_bytes=map_bytes)
    choices = settle_masks(FitOptions(**given), strategy=strategy, sizes=sizes, device_type="cpu")
    return {choice.name: choice.value for choice in choices}


def test_the_options_are_the_rows_of_their_tables() -> None:
    assert get_args(DecoderName) == tuple(DECODERS)
    assert get_args(LossName) == tuple(LOSSES)


@pytest.mark.parametrize("given", ["focal,dice", "focal, dice", ["focal", "dice"]])
def test_losses_are_summed_by_name(given: Any) -> None:
    assert make_options({"loss": given}).loss == ("focal", "dice")


@pytest.mark.parametrize(
    ("given", "message"),
    [("focal,dise", "`dise` is none of"), ("dice,dice", "each once"), ("", "some of cross-ent")],
)
def test_what_is_no_sum_of_losses_is_refused(given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_options({"loss": given})


@pytest.mark.parametrize("given", [{"decoder": "fpn"}, {"loss": "dice"}])
def test_decoder_and_loss_are_for_masks(given: dict[str, str]) -> None:
    options = make_options(given)
    refuse_other_task(options, "semantic-segmentation")
    with pytest.raises(ConfigError, match=f"--{next(iter(given))} is for masks"):
        refuse_other_task(options, "image-classification")
    assert without_effect(options, strategy="probe") == [f"--{next(iter(given))}"]


@pytest.mark.parametrize(
    ("pixels", "losses"),
    [
        ({"a": 700, "b": 300}, "cross-entropy,dice"),
        ({"a": 995, "b": 5}, "focal,dice"),
        ({"a": 1000, "b": 0}, "cross-entropy,dice"),
        ({"a": 0, "b": 0}, "cross-entropy,dice"),
    ],
)
def test_a_rare_class_changes_the_loss(pixels: dict[str, int], losses: str) -> None:
    choices = {choice.name: choice for choice in settle_model(FitOptions(), pixels)}
    assert choices["loss"].value == losses
    assert choices["loss"].reason
    assert choices["decoder"].value == "unet"
    assert settle_model(make_options({"decoder": "fpn", "loss": "dice"}), pixels) == []


def test_maps_are_cached_as_far_as_the_disk_may_hold_them() -> None:
    assert settled("head")["views"] == 3
    assert settled("head", map_bytes=MOST_CACHED // 3)["views"] == 2
    assert settled("head", map_bytes=MOST_CACHED)["views"] == 0
    assert settled("full")["views"] == settled("probe")["views"] == 0


def test_rare_pixels_weigh_by_median_frequency() -> None:
    # Class 2 is in the second mask only, and has a tenth of that one.
    weights = pixel_weights([(60, 40, 0), (70, 20, 10)])
    torch.testing.assert_close(weights, torch.tensor([0.30 / 0.65, 1.0, 3.0]))
    assert pixel_weights([(10, 0)]).tolist() == [1.0, 1.0]
    assert pixel_weights([(10**9, 1)]).tolist()[1] == 100.0
