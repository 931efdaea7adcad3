from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from headstart.backbones import load_backbone
from headstart.contracts import (
    Backbone,
    BackboneSpec,
    ComputeFormat,
    InputContract,
    Prediction,
    Sample,
)
from headstart.fitting.explaining import (
    GRID,
    as_maps,
    choose_explained,
    class_activation,
    explain,
    explain_chosen,
    heat_of,
    occlusion,
)
from headstart.model import LabelModel, Model, Normalise
from headstart.predictor import Predictor
from headstart.strategies.knn import KNNHead
from headstart.tasks import make_label_task

CLASSES = ("cat", "dog")
ARCHITECTURES = ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_vit2"]


class Brightness(nn.Module):
    """Features that are the mean of the first band, and of its opposite."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.AvgPool2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.places(images[:, :1])
        return torch.cat([maps, -maps], dim=1).mean(dim=(2, 3))


class Pooled(nn.Module):
    """Maps (B, 3, 4, 4), then their means: what a convolutional network ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.maps(images)
        return maps.mean(dim=(2, 3))


def made_of(module: nn.Module, head: nn.Module, *, num_features: int = 2) -> Model:
    spec = BackboneSpec("timm", "none", num_features)
    contract = InputContract(("R", "G", "B"), 32, 32, (0.0,) * 3, (1.0,) * 3, scale=1.0)
    backbone = Backbone(spec, contract, module, layer_groups=())
    return LabelModel(backbone, head, before=Normalise(contract)).eval()


def bright_at(row: int, column: int) -> Tensor:
    """(1, 3, 32, 32), black but for one square of 8 x 8 pixels."""
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 200.0
    return images


def predictor_of(backbone: Backbone, head: nn.Module) -> Predictor:
    task = make_label_task("image-classification", is_multilabel=False)
    return Predictor(
        task.build(backbone, head),
        task,
        contract=backbone.contract,
        classes=CLASSES,
        device=torch.device("cpu"),
        compute_format=ComputeFormat(),
    )


def random_head(num_features: int) -> nn.Module:
    """What speaks for one class speaks against the other, so that one of both has heat."""
    torch.manual_seed(0)
    head = nn.Linear(num_features, len(CLASSES))
    with torch.no_grad():
        head.weight[1] = -head.weight[0]
    return head


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    found = []
    for i in range(4):
        path = tmp_path / f"{i}.png"
        pixels = np.random.default_rng(i).integers(0, 150, (40, 48, 3))
        pixels[:, :, i % 2] += 100
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        found.append(Sample(path.name, path, (CLASSES[i % 2],)))
    return found


# --- class activation -------------------------------------------------------------------------


def test_heat_under_pooling_and_a_linear_head_is_each_places_share_in_the_logit() -> None:
    torch.manual_seed(0)
    model = made_of(Pooled(), nn.Linear(3, 2), num_features=3)
    images = 255 * torch.rand(1, 3, 32, 32)
    for index in range(2):
        maps = model.backbone.maps(images)[0]
        weights = model.head.weight[index]
        expected = torch.einsum("c,chw->hw", weights, maps).clamp(min=0) / maps[0].numel()
        found = class_activation(model, images, class_index=index)
        assert found is not None
        assert torch.allclose(found, expected.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 3), (3, 2)])
def test_heat_lies_where_the_answer_comes_from(row: int, column: int) -> None:
    model = made_of(Brightness(), nn.Identity())
    found = class_activation(model, bright_at(row, column), class_index=0)
    assert found is not None
    assert found.shape == (8, 8)
    hot = found[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
    assert float(hot.sum()) == pytest.approx(float(found.sum()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_of_either_kind_are_explained(architecture: str, samples: list[Sample]) -> None:
    torch.manual_seed(0)
    backbone = load_backbone(architecture, weights="random")
    predictor = predictor_of(backbone, random_head(backbone.spec.num_features))
    images = next(iter(predictor.batches(samples[:1]))).inputs
    assert images is not None
    either = [class_activation(predictor.model, images, class_index=i) for i in range(2)]
    assert all(found is not None and found.shape[0] >= 2 for found in either)
    assert any(float(found.max()) > 0 for found in either if found is not None)


def test_explaining_leaves_the_model_as_it_was(samples: list[Sample]) -> None:
    backbone = load_backbone("test_resnet", weights="random")
    predictor = predictor_of(backbone, random_head(backbone.spec.num_features))
    before = {name: tensor.clone() for name, tensor in predictor.model.state_dict().items()}
    heat_of(predictor, samples[0], class_index=0)
    after = predictor.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in predictor.model.parameters())
    assert not any(module._forward_hooks for module in predictor.model.modules())


def test_no_layer_with_places_is_no_class_activation() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    model = made_of(flat, nn.Identity())
    assert class_activation(model, bright_at(0, 0), class_index=0) is None


@pytest.mark.parametrize(
    ("shape", "aspect", "expected"),
    [
        ((1, 512, 7, 7), 1.0, (512, 7, 7)),
        ((1, 7, 7, 768), 1.0, (768, 7, 7)),  # channels last
        ((1, 201, 768), 1.0, (768, 14, 14)),  # a class token and four registers
        ((1, 8 * 16, 768), 0.5, (768, 8, 16)),  # twice as wide as high
        ((1, 512, 1, 1), 1.0, None),
        ((1, 197, 3 * 768), 1.0, None),  # keys, queries and values
        ((1, 12, 197, 64), 1.0, None),  # attention heads
        ((1, 768), 1.0, None),
    ],
)
def test_places_are_found_in_what_a_layer_gives(
    shape: tuple[int, ...], aspect: float, expected: tuple[int, ...] | None
) -> None:
    maps = as_maps(torch.zeros(shape), aspect=aspect, num_features=768)
    assert (None if maps is None else tuple(maps.shape)) == expected


# --- occlusion --------------------------------------------------------------------------------


def test_occlusion_finds_what_the_answer_goes_by() -> None:
    images = torch.zeros(1, 3, 28, 28)
    images[:, :, 4:8, 20:24] = 255.0  # the square in row 1, column 5 of seven

    def answer(covered: Tensor) -> Tensor:
        return covered[:, 0, 4:8, 20:24].mean(dim=(1, 2)) / 255

    heat = occlusion(answer, images)
    assert heat.shape == (7, 7)
    assert divmod(int(heat.argmax()), 7) == (1, 5)
    assert int((heat > 0).sum()) == 1


def test_an_answer_without_a_gradient_is_explained_by_covering(tmp_path: Path) -> None:
    class Corner(nn.Module):
        """How bright the upper left is."""

        def forward(self, images: Tensor) -> Tensor:
            return images[:, :1, :20, :20].mean(dim=(2, 3))

    class Threshold(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            is_bright = (features.detach() > 0.5).float()
            return torch.cat([9 * is_bright, 9 - 9 * is_bright], dim=1)

    contract = InputContract(("R", "G", "B"), 140, 140, (0.0,) * 3, (1.0,) * 3, resize="squash")
    spec = BackboneSpec("timm", "none", 1)
    predictor = predictor_of(Backbone(spec, contract, Corner(), layer_groups=()), Threshold())
    pixels = np.zeros((140, 140, 3), dtype=np.uint8)
    pixels[:30, :30] = 255
    Image.fromarray(pixels).save(tmp_path / "bright.png")
    sample = Sample("bright.png", tmp_path / "bright.png", ("cat",))
    heat = heat_of(predictor, sample, class_index=0)
    assert heat is not None
    assert divmod(int(heat.argmax()), GRID) == (0, 0)
    assert float(heat[3:, 3:].max()) == 0.0


def test_nearest_neighbours_are_explained(samples: list[Sample]) -> None:
    backbone = load_backbone("test_resnet", weights="random")
    plain = predictor_of(backbone, nn.Identity())
    images = torch.cat([b.inputs for b in plain.batches(samples) if b.inputs is not None])
    features = plain.embed(images).clone()
    head = KNNHead.of(features, torch.tensor([0, 1, 0, 1]), num_classes=2, k=3)
    predictor = predictor_of(backbone, head)
    heats = [heat_of(predictor, sample, class_index=i) for sample in samples for i in range(2)]
    found = [heat for heat in heats if heat is not None]
    assert found
    assert all(heat.shape == (GRID, GRID) and float(heat.max()) == 1.0 for heat in found)


# --- the pictures chosen, and what is told ----------------------------------------------------


def answers(confidences: list[float], *, wrong: set[int]) -> tuple[Prediction, list[Sample]]:
    rows, samples = [], []
    for i, confidence in enumerate(confidences):
        rows.append([confidence, 1 - confidence])
        label = "dog" if i in wrong else "cat"
        samples.append(Sample(f"{i:02}", Path("x"), (label,)))
    probabilities = np.array(rows, dtype=np.float32)
    return Prediction(tuple(s.id for s in samples), CLASSES, probabilities), samples


def test_the_surest_mistakes_and_a_few_right_answers_are_chosen() -> None:
    confidences = [0.9 - i / 100 for i in range(20)]
    prediction, samples = answers(confidences, wrong={1, 4, 5, 9, 12, 15, 18})
    assert choose_explained(prediction, samples) == [1, 0, 4, 2]


def test_without_mistakes_right_answers_fill_the_page() -> None:
    prediction, samples = answers([0.9 - i / 100 for i in range(20)], wrong=set())
    assert choose_explained(prediction, samples) == list(range(4))
    prediction, samples = answers([0.9, 0.8], wrong={0})
    assert choose_explained(prediction, samples) == [0, 1]


def test_only_mistakes_fill_the_page_too() -> None:
    prediction, samples = answers([0.9 - i / 100 for i in range(9)], wrong=set(range(9)))
    assert choose_explained(prediction, samples) == list(range(4))


def test_what_is_told_fits_metrics_json(samples: list[Sample]) -> None:
    torch.manual_seed(0)
    backbone = load_backbone("test_vit", weights="random")
    predictor = predictor_of(backbone, random_head(backbone.spec.num_features))
    images = torch.cat([b.inputs for b in predictor.batches(samples) if b.inputs is not None])
    ids = [sample.id for sample in samples]
    prediction = predictor.answer(ids, predictor.embed(images))
    told = explain(predictor, prediction, samples)
    assert told
    for row in told:
        assert set(row) == {"id", "label", "predicted", "probability", "heat"}
        place = ids.index(row["id"])
        assert row["predicted"] == prediction.labels[place]
        assert row["probability"] == pytest.approx(prediction.probabilities[place].max(), abs=1e-6)
        assert [len(line) for line in row["heat"]] == [GRID] * GRID
        assert max(map(max, row["heat"])) == 1.0
        assert min(map(min, row["heat"])) >= 0.0


def test_an_answer_of_several_classes_is_told_whole_with_the_class_that_is_explained() -> None:
    samples = [Sample("a", Path("a"), ("bill", "urgent")), Sample("b", Path("b"), ())]
    sure = np.array([[0.98, 0.95], [0.31, 0.2]], np.float32)
    prediction = Prediction(("a", "b"), ("bill", "urgent"), sure, is_multilabel=True)
    told = {
        row["id"]: row
        for row in explain_chosen(prediction, samples, tell=lambda *_: {}, most_s=9.0)
    }
    assert told["a"]["predicted"] == "bill|urgent"
    assert told["a"]["probability"] == pytest.approx(0.95)
    assert told["b"]["predicted"] == ""
    assert [told[id_]["explained"] for id_ in "ab"] == ["bill", "bill"]


def test_a_picture_that_is_gone_is_left_out(samples: list[Sample]) -> None:
    backbone = load_backbone("test_resnet", weights="random")
    predictor = predictor_of(backbone, random_head(backbone.spec.num_features))
    samples[0].path.unlink()
    assert heat_of(predictor, samples[0], class_index=0) is None
