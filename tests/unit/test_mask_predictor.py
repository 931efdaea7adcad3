"""Chips of any size are answered in bounded memory."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import headstart.mask_predictor as mask_predictor
from headstart.backbones import load_backbone
from headstart.backbones.pyramid import as_pyramid
from headstart.contracts import IGNORE, Batch, ComputeFormat, Legend, Sample
from headstart.mask_predictor import MaskPredictor, in_parts
from headstart.tasks.semantic_segmentation import SemanticSegmentation

LEGEND = Legend(("a", "b"), ((0,), (1,)))


@lru_cache
def predictor() -> MaskPredictor:
    torch.manual_seed(0)
    backbone = as_pyramid(load_backbone("test_resnet", weights="random"))
    task = SemanticSegmentation(LEGEND)
    return MaskPredictor(
        task.build(backbone, task.new_head(backbone, 2)),
        task,
        contract=backbone.contract,
        classes=("a", "b"),
        device=torch.device("cpu"),
        compute_format=ComputeFormat(),
    )


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_predictor, "MOST_WHOLE", 150 * 150)
    monkeypatch.setattr(mask_predictor, "_WINDOW", 128)
    monkeypatch.setattr(mask_predictor, "_OVERLAP", 64)
    monkeypatch.setattr(mask_predictor, "_PIXELS", {"cpu": 128 * 128})


def chips(folder: Path, sizes: list[tuple[int, int]]) -> list[Sample]:
    generator = np.random.default_rng(0)
    samples = []
    for number, (width, height) in enumerate(sizes):
        pixels = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        mask = generator.integers(0, 2, (height, width), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}-mask.png")
        mask_file = folder / f"{number}-mask.png"
        samples.append(Sample(f"{number}.png", folder / f"{number}.png", mask=mask_file))
    return samples


def test_a_batch_has_no_more_pixels_than_the_bound(tmp_path: Path, small_bounds: None) -> None:
    samples = chips(tmp_path, [(64, 64)] * 5 + [(100, 140)] * 2 + [(40, 40)] * 3)
    sizes = [(len(batch), *logits.shape[2:]) for batch, logits in predictor().answers(samples)]
    # `most_at_once` small ones are one here: the bound of pixels is below 256 x 256.
    assert sum(num for num, _, _ in sizes) == 10
    assert all(num == 1 or num * h * w <= 128 * 128 for num, h, w in sizes)


def test_small_chips_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_predictor, "_PIXELS", {"cpu": 4 * 256**2})
    samples = chips(tmp_path, [(64, 64)] * 5 + [(300, 300), (500, 400), (500, 400)])
    sizes = [len(batch) for batch, _ in predictor().answers(samples)]
    assert sizes == [4, 1, 1, 1, 1]


@torch.no_grad()
def test_a_large_chip_is_answered_as_its_windows_are(small_bounds: None) -> None:
    images = torch.randint(0, 255, (1, 3, 160, 300), dtype=torch.uint8)
    blended = predictor().logits(images)
    assert blended.shape == (1, 2, 160, 300)
    probabilities = blended.exp()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, 160, 300))
    corner = predictor().logits(images[..., :128, :128]).softmax(dim=1)
    # No other window reaches the first pixels.
    torch.testing.assert_close(probabilities[..., :30, :50], corner[..., :30, :50])


@pytest.mark.parametrize("size", [(160, 300), (151, 151), (128, 400)])
def test_each_pixel_of_a_large_chip_is_scored_once(
    size: tuple[int, int], small_bounds: None
) -> None:
    height, width = size
    targets = torch.arange(height * width).reshape(1, height, width)
    inputs = targets[:, None].float()
    seen: list[Tensor] = []
    for part in in_parts(Batch(("x",), inputs=inputs, targets=targets)):
        assert part.inputs is not None
        assert part.targets is not None
        is_own = part.targets != IGNORE
        assert torch.equal(part.inputs[:, 0][is_own].long(), part.targets[is_own])
        assert max(part.targets.shape[1:]) <= 128
        seen.append(part.targets[is_own])
    assert torch.equal(torch.cat(seen).sort().values, targets.flatten())


def test_a_chip_that_is_not_large_stays_whole() -> None:
    batch = Batch(("x",), inputs=torch.zeros(1, 3, 8, 8), targets=torch.zeros(1, 8, 8).long())
    assert list(in_parts(batch)) == [batch]
