from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from headstart.progress import Progress
from headstart.scenes.predicting import predict_scene
from headstart.scenes.spec import SceneSpec
from headstart.scenes.work import work_folder

FORWARD = """
def forward(images):
    value = images.float().mean(dim=1, keepdim=True) - 128
    return torch.cat([value, -value], dim=1) / 16
"""
DYING = f"""
import os, signal, sys, torch
from pathlib import Path
from headstart.progress import Progress
from headstart.scenes.predicting import predict_scene
from headstart.scenes.spec import SceneSpec
calls = iter(range(int(sys.argv[3])))
{FORWARD}
def dying(images):
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return forward(images)
spec = SceneSpec(("a", "b"), window=32, overlap=8, batch_size=2)
predict_scene(sys.argv[1], Path(sys.argv[2]), forward=dying, spec=spec, progress=Progress())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_that_was_killed_is_gone_on_with_to_the_same_bits(tmp_path: Path) -> None:
    import torch

    scene = tmp_path / "scene.tif"
    values = np.random.default_rng(0).integers(0, 256, (2, 200, 130), np.uint8)
    with rasterio.open(
        scene, "w", driver="GTiff", width=130, height=200, count=2, dtype="uint8",
        crs="EPSG:32632", transform=Affine(10, 0, 0, 0, -10, 0),
    ) as file:  # fmt: skip
        file.write(values)
    names: dict[str, object] = {"torch": torch}
    exec(FORWARD, names)
    spec = SceneSpec(("a", "b"), window=32, overlap=8, batch_size=2)

    def predict(output: Path) -> int:
        forward = names["forward"]
        done = predict_scene(scene, output, forward=forward, spec=spec, progress=Progress())
        return done.num_resumed

    whole, killed = tmp_path / "whole.tif", tmp_path / "killed.tif"
    predict(whole)
    command = [sys.executable, "-c", DYING, str(scene), str(killed), "14"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert work_folder(killed).is_dir()
    assert not killed.exists()
    assert predict(killed) >= 2 * 6  # two rows of six windows at the least, of 14 batches of two
    assert killed.read_bytes() == whole.read_bytes()
