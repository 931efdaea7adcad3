"""Weights of ONNX files, read with the `onnx` package under the names they have there.

Only the stored tensors are read: the graph beside them is not run, and nothing outside the file is
opened. Knows nothing of where the file came from, and nothing of what the names mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor


def read_onnx(path: Path) -> dict[str, Tensor]:
    """The initialisers of an ONNX model, in its order and precision.

    Raises:
        MissingExtraError: onnx is not installed.
        WeightsError: It is no ONNX file, or keeps its tensors in another file.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    except ImportError:
        raise MissingExtraError(f"Reading `{path.name}`", extra="geo") from None
    import torch

    try:
        # Tensors in other files are named by path: they are refused below, not looked for.
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise WeightsError(
            f"`{path.name}` cannot be read as ONNX: {error}. It is damaged, or of another kind: "
            "fetch it again."
        ) from None
    stored = list(model.graph.initializer)
    elsewhere = [t.name for t in stored if t.data_location == onnx.TensorProto.EXTERNAL]
    if elsewhere or not stored:
        found = f"{len(elsewhere)} of its tensors in other files" if elsewhere else "no tensors"
        raise WeightsError(
            f"`{path.name}` keeps {found}. Weights in one file are needed: export the model "
            "without external data, or give its state dict as safetensors."
        )
    return {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in stored}
