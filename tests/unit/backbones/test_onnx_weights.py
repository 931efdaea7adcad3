"""ONNX files: the tensors that are stored in them, and what may be wrong with a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from headstart.backbones.onnx_weights import read_onnx
from headstart.backbones.weights import read_tensors, resolve_weights
from headstart.errors import MissingExtraError, WeightsError

ARRAYS = {
    "model.b": np.arange(6, dtype=np.float16).reshape(2, 3),
    "model.a": np.float32([0.5, -1.5]),
}


def write_onnx(path: Path, arrays: Mapping[str, np.ndarray], *, elsewhere: str = "") -> Path:
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    if elsewhere:
        stored[0].data_location = onnx.TensorProto.EXTERNAL
        stored[0].external_data.add(key="location", value=elsewhere)
    graph = onnx.helper.make_graph([], "weights", [], [], initializer=stored)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


def test_stored_tensors_come_with_their_names_order_and_precision(tmp_path: Path) -> None:
    tensors = read_onnx(write_onnx(tmp_path / "w.onnx", ARRAYS))
    assert list(tensors) == ["model.b", "model.a"]
    assert (tensors["model.b"].dtype, tensors["model.a"].dtype) == (torch.float16, torch.float32)
    assert all(np.array_equal(tensors[name].numpy(), array) for name, array in ARRAYS.items())


def test_an_onnx_file_is_a_reference_to_weights(tmp_path: Path, own_cache: Path) -> None:
    local = resolve_weights(str(write_onnx(tmp_path / "w.onnx", ARRAYS)))
    assert local.path.parent == own_cache / "weights"
    assert read_tensors(local)["model.a"].tolist() == [0.5, -1.5]


def test_tensors_in_other_files_are_not_looked_for(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "w.onnx", ARRAYS, elsewhere="../secrets.bin")
    with pytest.raises(WeightsError, match="1 of its tensors in other files"):
        read_onnx(path)


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="keeps no tensors"):
        read_onnx(write_onnx(tmp_path / "w.onnx", {}))


def test_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "w.onnx", ARRAYS)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(WeightsError, match="cannot be read as ONNX"):
        read_onnx(path)


def test_without_onnx_the_install_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        MissingExtraError, match=r"Reading `w.onnx` .*pip install 'headstart\[geo\]"
    ):
        read_onnx(write_onnx(tmp_path / "w.onnx", ARRAYS))
