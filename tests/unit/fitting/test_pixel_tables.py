"""Pixels of frozen maps, drawn chip by chip."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.backbones import load_backbone
from headstart.backbones.pyramid import as_pyramid
from headstart.contracts import Backbone, ComputeFormat, Legend, Sample
from headstart.errors import DataError
from headstart.fitting.pixel_tables import PixelTables, _chosen, pixel_tables, table_of_pixels
from headstart.linear_decoder import LINEAR, LinearDecoder
from headstart.map_twin import MapTwin
from headstart.tasks.semantic_segmentation import SemanticSegmentation

LEGEND = Legend(("a", "b", "c"), ((0,), (1,), (2,)), ignored=(255,))
TASK = SemanticSegmentation(LEGEND, decoder=LINEAR)


@lru_cache
def pyramid() -> Backbone:
    torch.manual_seed(0)
    return as_pyramid(load_backbone("test_resnet", weights="random"))


def chip(folder: Path, name: str, mask: np.ndarray) -> Sample:
    pixels = np.random.default_rng(0).integers(0, 255, (*mask.shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"{name}.png")
    Image.fromarray(mask.astype(np.uint8)).save(folder / f"{name}-mask.png")
    return Sample(name, folder / f"{name}.png", mask=folder / f"{name}-mask.png")


def tables_of(samples: list[Sample]) -> tuple[PixelTables, LinearDecoder, MapTwin]:
    backbone = pyramid()
    model = TASK.build(backbone, TASK.new_head(backbone, 3))
    example = torch.zeros(1, 3, 64, 64)
    twin = MapTwin(model, ComputeFormat(), example=example)
    tables = pixel_tables(
        samples,
        twin,
        task=TASK,
        contract=backbone.contract,
        num_classes=3,
        seed=0,
    )
    assert isinstance(model.head, LinearDecoder)
    return tables, model.head, twin


def test_as_many_of_each_class_are_drawn_and_none_that_is_ignored(tmp_path: Path) -> None:
    mask = np.full((40, 50), 255)
    mask[:30] = 0
    mask[0, :7] = 2
    empty = np.full((40, 50), 255)
    tables, _, _ = tables_of([chip(tmp_path, "x", mask), chip(tmp_path, "empty", empty)])
    assert list(tables) == ["x"]
    features, classes = tables["x"]
    assert torch.bincount(classes).tolist() == [200, 0, 7]
    assert features.shape == (207, sum(pyramid().spec.arguments["pyramid"]["channels"]))


@torch.no_grad()
def test_a_linear_layer_on_them_is_the_decoder(tmp_path: Path) -> None:
    # No pixel is left out: each class has fewer than are drawn. Sides are no multiples of 32.
    mask = np.random.default_rng(1).integers(0, 3, (15, 37))
    sample = chip(tmp_path, "x", mask)
    tables, decoder, twin = tables_of([sample])
    features, classes = tables["x"]
    assert len(classes) == mask.size
    weight, bias = torch.randn(3, features.shape[1]), torch.randn(3)
    decoder.load(weight, bias)
    inputs = torch.from_numpy(np.asarray(Image.open(sample.path)).transpose(2, 0, 1).copy())[None]
    logits = decoder(twin.maps(inputs))[0, :, :15, :37].flatten(1).T
    order = torch.cat([torch.from_numpy(mask == k).flatten().nonzero()[:, 0] for k in range(3)])
    by_place = logits[order]
    found = features @ weight.T + bias
    # Within a class they come in a drawn order, so that sums are compared, class by class.
    for k in range(3):
        own = classes == k
        torch.testing.assert_close(
            found[own].sort(dim=0).values, by_place[own].sort(dim=0).values, rtol=1e-3, atol=1e-3
        )


def test_pixels_of_one_group_stay_together(tmp_path: Path) -> None:
    mask = np.zeros((8, 8))
    tables, _, _ = tables_of([chip(tmp_path, name, mask) for name in "abc"])
    table = table_of_pixels(tables, {"a": "scene", "c": "scene"}, num_classes=3)
    assert len(set(table.groups[:64].tolist())) == 1
    assert table.groups[0] == table.groups[-1] != table.groups[64]


def test_no_labelled_pixel_at_all_is_told() -> None:
    with pytest.raises(DataError, match="No pixel of the training pictures is labelled"):
        table_of_pixels({}, {}, num_classes=2)


def test_many_chips_give_few_pixels_each_and_very_many_are_passed_over() -> None:
    def looked_at(num: int, *, num_classes: int) -> tuple[int, int]:
        labels = tuple(map(str, range(num_classes)))
        samples = [Sample(str(i), Path(str(i)), labels) for i in range(num)]
        chosen, num_a_class = _chosen(samples)
        return len(chosen), num_a_class

    assert looked_at(20, num_classes=2) == (20, 200)
    assert looked_at(100, num_classes=2) == (100, 60)
    assert looked_at(6_000, num_classes=2) == (600, 10)
    assert looked_at(600, num_classes=1) == (600, 20)
