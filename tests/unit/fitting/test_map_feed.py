"""Maps of chips, computed once, stand for the chips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.backbones import load_backbone
from headstart.backbones.pyramid import as_pyramid
from headstart.contracts import Backbone, Batch, ComputeFormat, Legend, Sample
from headstart.fitting.feeding import Feed, Loading
from headstart.fitting.map_feed import MapFeed, MapPass
from headstart.map_twin import MapTwin
from headstart.model import DenseModel
from headstart.progress import Progress
from headstart.strategies.freezing import freeze, frozen_stay_in_eval
from headstart.tasks.semantic_segmentation import SemanticSegmentation

LEGEND = Legend(("a", "b"), ((0,), (1,)))
TASK: Any = SemanticSegmentation(LEGEND)
SIDE = 64
LOADING = Loading(augment="light", batch_size=2, num_workers=0, seed=0)


@lru_cache
def pyramid() -> Backbone:
    torch.manual_seed(0)
    return as_pyramid(load_backbone("test_resnet", weights="random"))


def model_of() -> DenseModel:
    backbone = pyramid()
    model: DenseModel = TASK.build(backbone, TASK.new_head(backbone, 2, seed=1))
    freeze(model.backbone)
    frozen_stay_in_eval(model)
    return model


def chips(folder: Path, sizes: Sequence[tuple[int, int]]) -> list[Sample]:
    generator = np.random.default_rng(0)
    samples = []
    for number, (width, height) in enumerate(sizes):
        pixels = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        mask = (pixels[..., 0] > 128).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}-mask.png")
        path, mask_path = folder / f"{number}.png", folder / f"{number}-mask.png"
        samples.append(Sample(f"{number}", path, mask=mask_path))
    return samples


def feed_of(
    samples: list[Sample], model: DenseModel, *, views: int = 1, path: Path | None = None
) -> MapFeed:
    feed = Feed(
        task=TASK,
        contract=pyramid().contract,
        classes=LEGEND.names,
        target=None,
        device=torch.device("cpu"),
        train=samples,
        validation=samples,
        tables=(),
        uses_views=True,
        on_unreadable=lambda sample, error: None,
        read=None,
    )
    return MapPass(
        feed=feed,
        twin=MapTwin(model, ComputeFormat(), example=torch.zeros(1, 3, SIDE, SIDE)),
        augment="light",
        views=views,
        side=SIDE,
        seed=0,
        path=path,
        progress=Progress(),
    ).run()


def test_a_step_on_maps_is_a_step_through_the_frozen_backbone(tmp_path: Path) -> None:
    """Chips are as large as crops, so that no crop knows of pixels beyond it."""
    model = model_of()
    samples = chips(tmp_path, [(SIDE, SIDE)] * 2)
    feed = feed_of(samples, model, views=0)
    (batch,) = feed.training(LOADING).batches(0)
    prepare = TASK.preparation(pyramid().contract)
    by_id = {sample.id: prepare(sample) for sample in samples}
    pictures = Batch(
        batch.ids,
        inputs=torch.stack([by_id[id_].inputs for id_ in batch.ids]),
        targets=torch.stack([by_id[id_].target for id_ in batch.ids]),
    )
    gradients = []
    for each in (batch, pictures):
        model.zero_grad()
        loss = TASK.loss(model, each)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.head.parameters())])
    for of_maps, of_pictures in zip(*gradients, strict=True):
        # Norms were folded into the convolutions of the one, which rounds otherwise: by 0.53% of a
        # gradient on a processor without AVX-512.
        assert float((of_maps - of_pictures).norm()) <= 2e-2 * float(of_pictures.norm())
    assert all(p.grad is None for p in model.backbone.parameters())


@torch.no_grad()
def test_far_from_its_edges_a_crop_of_maps_is_that_of_the_picture(tmp_path: Path) -> None:
    """The finest map sees few pixels around one of its own; the coarser ones see further."""
    model = model_of().eval()
    samples = chips(tmp_path, [(128, 96)])
    feed = feed_of(samples, model, views=0)
    image = TASK.preparation(pyramid().contract)(samples[0])
    for epoch in range(4):
        (batch,) = feed.training(LOADING).batches(epoch)
        assert batch.targets is not None
        windows = image.target.unfold(0, SIDE, 32).unfold(1, SIDE, 32)
        ((row, column),) = (windows == batch.targets[0]).all(-1).all(-1).nonzero().tolist()
        top, left = 32 * row, 32 * column
        crop = image.inputs[None, :, top : top + SIDE, left : left + SIDE]
        fine = feed.twin.shape.maps(batch.features, SIDE, SIDE)[0]
        inner = (..., slice(8, -8), slice(8, -8))
        torch.testing.assert_close(fine[inner], model.embed(crop)[0][inner], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_validation_is_of_the_whole_chips(tmp_path: Path) -> None:
    model = model_of().eval()
    samples = chips(tmp_path, [(70, 40), (64, 90)])
    feed = feed_of(samples, model)
    prepare = TASK.preparation(pyramid().contract)
    for sample, batch in zip(samples, feed.validating(), strict=True):
        example = prepare(sample)
        assert batch.targets is not None
        assert torch.equal(batch.targets[0], example.target)
        torch.testing.assert_close(
            TASK.logits(model, batch), model(example.inputs[None]), rtol=1e-3, atol=1e-4
        )
    scores = feed.scorer(ComputeFormat())(model)
    pictures = super(MapFeed, feed).validating()
    tally = TASK.tally()
    for batch in pictures:
        assert batch.targets is not None
        tally.add(TASK.logits(model, batch), batch.targets)
    assert scores == pytest.approx(tally.metrics(), rel=1e-4)


def test_small_chips_are_filled_up_and_large_ones_shifted(tmp_path: Path) -> None:
    samples = chips(tmp_path, [(40, 130), (96, 64)])
    feed = feed_of(samples, model_of(), views=2)
    sizes = [[view[0].padded for view in views] for views in feed.chips]
    # Of 130 rows 128 are a multiple of 32; of augmented views 32 more are cut off.
    assert sizes == [[(128, 64), (96, 64), (96, 64)], [(64, 96), (64, 64), (64, 64)]]
    assert all(view[0].target.shape == view[0].padded for views in feed.chips for view in views)
    is_filled = feed.chips[0][0][0].target == -1
    assert int(is_filled.sum()) == 128 * 24


def test_maps_in_a_file_are_those_in_memory(tmp_path: Path) -> None:
    samples, model = chips(tmp_path, [(80, 64)] * 3), model_of()
    held = feed_of(samples, model)
    filed = feed_of(samples, model, path=tmp_path / "maps.bin")
    for first, second in zip(
        held.training(LOADING).batches(0), filed.training(LOADING).batches(0), strict=True
    ):
        assert first.ids == second.ids
        assert first.features is not None
        assert second.features is not None
        assert torch.equal(first.features, second.features)
