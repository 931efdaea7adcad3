"""What the speed of a fit is measured on is as long as its texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headstart import compute
from headstart.contracts import Sample
from headstart.fitting.typical import typical_input

pytest.importorskip("transformers")


def texts(*lengths: int) -> list[Sample]:
    return [Sample(str(i), Path(), text="a " * n) for i, n in enumerate(lengths)]


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory):
    from headstart.backbones import load_text_backbone
    from tiny_language_models import write_model

    folder = write_model("bert", tmp_path_factory.mktemp("models") / "bert")
    return load_text_backbone(str(folder)).contract


def test_a_text_of_middling_length_stands_for_all(contract) -> None:
    cpu = torch.device("cpu")
    short = typical_input(contract, texts(1, 2, 3), cpu)
    longer = typical_input(contract, texts(10, 12, 14), cpu)
    assert short.shape[0] == longer.shape[0] == 1
    assert short.shape[1] == 8
    assert longer.shape[1] > short.shape[1]
    assert longer.shape[1] % 8 == 0 or longer.shape[1] == contract.window


def test_no_input_is_longer_than_the_window(contract) -> None:
    found = typical_input(contract, texts(10_000), torch.device("cpu"))
    assert found.shape[1] <= contract.window


def test_of_no_texts_some_words_stand_for_them(contract) -> None:
    assert typical_input(contract, [], torch.device("cpu")).ndim == 2


def test_a_step_of_the_optimizer_is_counted_by_its_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compute, "_timed", lambda step, device, best_s: (1.0, True))
    cpu = torch.device("cpu")
    assert compute.optimizer_seconds(80_000_000, cpu) == 10.0
    assert compute.optimizer_seconds(8_000, cpu) == 1.0
