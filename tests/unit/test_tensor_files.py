from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.tensor_files import write_tensors


def test_tensors_in_any_layout_and_tied_ones_are_written(tmp_path: Path) -> None:
    image = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    weight = torch.rand(3, 2)
    write_tensors(tmp_path / "a", {"image": image, "one": weight, "other": weight, "t": weight.T})
    read = load_file(tmp_path / "a")
    assert torch.equal(read["image"], image)
    assert torch.equal(read["one"], weight)
    assert torch.equal(read["other"], weight)
    assert torch.equal(read["t"], weight.T)


def test_a_file_that_cannot_be_written_is_an_os_error_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        write_tensors(tmp_path / "nowhere" / "a", {"a": torch.zeros(2)})
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == str(tmp_path / "nowhere" / "a")
