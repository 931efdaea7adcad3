"""Writing safetensors files so that a full disk is what Python calls it: an OSError."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, on any device and in any layout, to a safetensors file.

    Raises:
        OSError: The file cannot be written; safetensors itself hides the reason in a message.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    flat: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        row = tensor.detach().cpu().contiguous()
        # safetensors refuses two names for one memory (tied weights): each gets its own.
        flat[name] = row.clone() if row.data_ptr() in places else row
        places.add(row.data_ptr())
    try:
        save_file(flat, path, metadata=dict(metadata) if metadata else None)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error
