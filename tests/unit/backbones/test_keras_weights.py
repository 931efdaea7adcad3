"""Keras files: layouts, and the same numbers as Keras' own arithmetic, written out by hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones.catalog import catalog
from headstart.backbones.keras_weights import read_keras
from headstart.errors import WeightsError

WIDTHS = ((16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1))


def _write_mobilenet(path: Path) -> None:
    """MobileNetV2 as Keras 3 writes it, nested in a model with a classifier, random weights."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights/mobilenetv2_1.00_160")

        def layer(name: str, norm: str, shape: tuple[int, ...]) -> None:
            scale = 1 / np.sqrt(np.prod(shape[:3]))
            root[f"{name}/kernel"] = rng.normal(0, scale, shape).astype("f4")
            width = shape[2] if name.endswith("depthwise") else shape[3]
            root[f"{norm}/gamma"] = rng.uniform(0.5, 1.5, width).astype("f4")
            root[f"{norm}/beta"] = rng.normal(0, 0.5, width).astype("f4")
            root[f"{norm}/moving_mean"] = rng.normal(0, 0.1, width).astype("f4")
            root[f"{norm}/moving_variance"] = rng.uniform(1e-3, 1, width).astype("f4")

        layer("Conv1", "bn_Conv1", (3, 3, 3, 32))
        layer("expanded_conv_depthwise", "expanded_conv_depthwise_BN", (3, 3, 32, 1))
        layer("expanded_conv_project", "expanded_conv_project_BN", (1, 1, 32, 16))
        number, width = 0, 16
        for out, repeats in WIDTHS[1:]:
            for _ in range(repeats):
                number += 1
                name, wide = f"block_{number}", 6 * width
                layer(f"{name}_expand", f"{name}_expand_BN", (1, 1, width, wide))
                layer(f"{name}_depthwise", f"{name}_depthwise_BN", (3, 3, wide, 1))
                layer(f"{name}_project", f"{name}_project_BN", (1, 1, wide, out))
                width = out
        layer("Conv_1", "Conv_1_bn", (1, 1, 320, 1280))
        file["model_weights/dense/dense/kernel"] = np.zeros((1280, 5), "f4")
        file["optimizer_weights/adam/Conv1_kernel_momentum"] = np.zeros((3, 3, 3, 32), "f4")


def _keras_start(file: h5py.File, images: Tensor) -> Tensor:
    """The first layers as `keras.applications.mobilenet_v2` computes them, up to block_1's end.

    Source: keras/src/applications/mobilenet_v2.py: padding of stride 2 by `correct_pad`, which for
    an even size is a row below and a column at the right; norms with epsilon 1e-3; ReLU6.
    """
    root = file["model_weights/mobilenetv2_1.00_160"]

    def conv(x: Tensor, name: str, *, stride: int = 1) -> Tensor:
        kernel = torch.from_numpy(root[f"{name}/kernel"][()])
        if stride == 2:
            x = F.pad(x, (0, 1, 0, 1))
        if name.endswith("depthwise"):
            weight = kernel.permute(2, 3, 0, 1)
            return F.conv2d(x, weight, None, stride, 0 if stride == 2 else 1, groups=x.shape[1])
        padding = 0 if stride == 2 or kernel.shape[0] == 1 else 1
        return F.conv2d(x, kernel.permute(3, 2, 0, 1), None, stride, padding)

    def norm(x: Tensor, name: str) -> Tensor:
        g, b, m, v = (
            torch.from_numpy(root[f"{name}/{k}"][()])[:, None, None]
            for k in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - m) / torch.sqrt(v + 1e-3) * g + b

    x = F.relu6(norm(conv(images, "Conv1", stride=2), "bn_Conv1"))
    x = F.relu6(norm(conv(x, "expanded_conv_depthwise"), "expanded_conv_depthwise_BN"))
    x = norm(conv(x, "expanded_conv_project"), "expanded_conv_project_BN")
    x = F.relu6(norm(conv(x, "block_1_expand"), "block_1_expand_BN"))
    x = F.relu6(norm(conv(x, "block_1_depthwise", stride=2), "block_1_depthwise_BN"))
    return norm(conv(x, "block_1_project"), "block_1_project_BN")


def test_mobilenet_computes_what_keras_computes(tmp_path: Path) -> None:
    _write_mobilenet(tmp_path / "m.h5")
    arguments = catalog()["mobilenetv2-dogs"].model_args
    model = timm.create_model("mobilenetv2_100", num_classes=0, **arguments).eval()
    missing, unexpected = model.load_state_dict(read_keras(tmp_path / "m.h5"), strict=False)
    assert unexpected == []
    assert all(name.endswith("num_batches_tracked") for name in missing)

    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), h5py.File(tmp_path / "m.h5") as file:
        expected = _keras_start(file, images)
        x = model.blocks[0](model.bn1(model.conv_stem(images)))
        found = model.blocks[1][0](x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_padding_on_all_sides_would_not_agree_with_keras(tmp_path: Path) -> None:
    _write_mobilenet(tmp_path / "m.h5")
    model = timm.create_model("mobilenetv2_100", num_classes=0, bn_eps=1e-3).eval()
    model.load_state_dict(read_keras(tmp_path / "m.h5"), strict=False)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), h5py.File(tmp_path / "m.h5") as file:
        found = model.blocks[1][0](model.blocks[0](model.bn1(model.conv_stem(images))))
        assert not torch.allclose(found, _keras_start(file, images), atol=0.1)


def test_vgg_sees_blue_green_red_minus_the_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    widths = iter([64, 64, 128, 128, 256, 256, 256, *[512] * 6])
    width = 3
    with h5py.File(tmp_path / "v.h5", "w") as file:
        for block, repeats in enumerate((2, 2, 3, 3, 3), start=1):
            for i in range(repeats):
                out = next(widths)
                name = f"block{block}/layers/conv2d" + (f"_{i}" if i else "")
                scale = np.sqrt(2 / (9 * width))
                file[f"{name}/vars/0"] = rng.normal(0, scale, (3, 3, width, out)).astype("f4")
                file[f"{name}/vars/1"] = rng.normal(0, 0.1, out).astype("f4")
                width = out
        file["dsn1/vars/0"] = np.zeros((1, 1, 64, 1), "f4")
        first = torch.from_numpy(file["block1/layers/conv2d/vars/0"][()])
        bias = torch.from_numpy(file["block1/layers/conv2d/vars/1"][()])
        second = torch.from_numpy(file["block1/layers/conv2d_1/vars/0"][()])
        second_bias = torch.from_numpy(file["block1/layers/conv2d_1/vars/1"][()])

    tensors = read_keras(tmp_path / "v.h5")
    assert len(tensors) == 26
    assert tensors["features.28.weight"].shape == (512, 512, 3, 3)

    contract = catalog()["vgg16-hed"].contract
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (1, 3, 16, 16), generator=generator).float()
    mean, std = (torch.tensor(v)[:, None, None] for v in (contract.mean, contract.std))
    x = (rgb / contract.scale - mean) / std
    x = F.relu(F.conv2d(x, tensors["features.0.weight"], tensors["features.0.bias"], padding=1))
    found = F.conv2d(x, tensors["features.2.weight"], tensors["features.2.bias"], padding=1)

    # as the package's own preprocess_image and model do it
    bgr = rgb.flip(1) - torch.tensor([104.00699, 116.66877, 122.67892])[:, None, None]
    y = F.relu(F.conv2d(bgr, first.permute(3, 2, 0, 1), bias, padding=1))
    expected = F.conv2d(y, second.permute(3, 2, 0, 1), second_bias, padding=1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)


def test_an_unknown_layout_says_what_is_in_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 2))
    with pytest.raises(WeightsError, match=r"1 Keras arrays \(`layers/dense/vars/0`, \.\.\.\)"):
        read_keras(tmp_path / "x.h5")


def test_a_known_layout_with_a_layer_missing_names_it(tmp_path: Path) -> None:
    _write_mobilenet(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["model_weights/mobilenetv2_1.00_160/block_3_project/kernel"]
    with pytest.raises(WeightsError, match="no array `block_3_project/kernel`"):
        read_keras(tmp_path / "m.h5")


def test_a_file_that_is_no_hdf5_is_found(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"not HDF5")
    with pytest.raises(WeightsError, match="cannot be read as HDF5"):
        read_keras(tmp_path / "x.h5")
