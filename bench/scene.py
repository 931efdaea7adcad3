"""Predicting a scene: over a bare forward on the same windows, its memory, and its seams.

    python bench/scene.py [--run RUN] [--data FOLDER] [--sides N ...] [--window N] [--overlap N]

A scene is tiled from the pictures of a folder (train/images, and train/masks as PNG), each turned
and mirrored at random. With --run the model is that of a run folder, as `headstart predict` has it;
without, a U-Net of segmentation-models-pytorch over EfficientNet-Lite0, fitted on these pictures
for a few steps from random weights, which is enough for times and memory, but unsure of half of the
pixels. Each scene is predicted in a process of its own.

- bare: the same windows in the same batches, already in memory, through the model, and nothing else
  (timed on `--bare` batches and scaled to all);
- predict: `predict_scene`, from opening the scene to the finished COG; `of which COG` is the end;
- predict / bare: the target is 1.2;
- peak MB: the most memory the process ever had (`ru_maxrss`), model and torch included; the last
  column is that over the first scene's: the target is 1.1, and under 2,500 MB;
- agree: the share of pixels at which the scene and a cut of it have the same class. The cut leaves
  out 192 rows and columns, half a step between windows, so that its windows lie as far as can be
  from those of the whole: the target is 0.99;
- by 193: the same of a cut by one pixel more. No grid of ours lies so; it tells what the model
  itself makes of pixels that its strides meet in other places.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import arguments, print_table, with_short_waits

AMAZON_FOREST = Path(__file__).resolve().parents[2] / "shared" / "data" / "amazon-forest"
CUTS = (192, 193)  # rows and columns that a cut leaves out


def chips(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures (bands, h, w) and masks (h, w), those of one size."""
    from headstart.data.rasters import read_window

    pictures, masks = [], []
    for path in sorted((folder / "train" / "images").iterdir()):
        mask = folder / "train" / "masks" / f"{path.stem}.png"
        if mask.is_file():
            picture, truth = read_window(path)[0], read_window(mask)[0][0]
            if picture.shape[1:] == truth.shape == (512, 512):
                pictures.append(picture)
                masks.append(truth)
    if not pictures:
        raise SystemExit(f"There are no pictures of 512 x 512 with masks in `{folder}/train`.")
    return pictures, masks


def write_scene(path: Path, pictures: list[np.ndarray], side: int) -> None:
    """Tiles a scene row by row, so that making it needs little memory, too."""
    import rasterio

    rng = np.random.default_rng(0)
    profile = {
        **{"driver": "GTiff", "width": side, "height": side, "count": len(pictures[0])},
        **{"dtype": pictures[0].dtype, "tiled": True, "blockxsize": 512, "blockysize": 512},
        **{"compress": "deflate", "crs": "EPSG:32720", "photometric": "minisblack"},
        "transform": rasterio.transform.Affine(10, 0, 500000, 0, -10, 9500000),
    }
    with rasterio.open(path, "w", **profile, num_threads="all_cpus") as file:
        for top in range(0, side, 512):
            row = []
            for _ in range(0, side, 512):
                chip = np.rot90(pictures[rng.integers(len(pictures))], rng.integers(4), (1, 2))
                row.append(chip[:, :, ::-1] if rng.integers(2) else chip)
            rows = np.concatenate(row, axis=2)[:, : side - top, :side]
            place = rasterio.windows.Window(0, top, side, rows.shape[1])
            file.write(rows, window=place)


def write_cut(scene: Path, cut: Path, side: int, *, first: int) -> None:
    """The scene without its first rows and columns."""
    import rasterio

    from headstart.data.rasters import Window, read_window

    values, _ = read_window(scene, Window(first, first, side, side))
    with rasterio.open(scene) as file:
        profile = {**file.profile, "width": side, "height": side}
        profile["transform"] = file.transform @ rasterio.transform.Affine.translation(first, first)
    with rasterio.open(cut, "w", **profile) as file:
        file.write(values)


def new_model(num_bands: int, num_classes: int) -> Any:
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    return smp.Unet(
        "tu-tf_efficientnet_lite0",
        encoder_weights=None,
        in_channels=num_bands,
        classes=num_classes,
    ).to(memory_format=torch.channels_last)


def forward_of(model: Any, largest: float) -> Any:
    import torch

    def forward(images: Any) -> Any:
        scaled = (images.float() / largest).contiguous(memory_format=torch.channels_last)
        return model(scaled)

    return forward


def fit(model: Any, forward: Any, data: Path, *, steps: int) -> None:
    """A few steps of Adam on crops: no measurement, only a model whose answers vary."""
    import torch

    pictures, masks = chips(data)
    values = np.unique(np.stack(masks))
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.train()
    for _ in range(steps):
        images, targets = [], []
        for _ in range(4):
            i, top, left = rng.integers(len(pictures)), *rng.integers(0, 257, 2)
            images.append(pictures[i][:, top : top + 256, left : left + 256])
            targets.append(np.searchsorted(values, masks[i][top : top + 256, left : left + 256]))
        batch = torch.from_numpy(np.stack(images).astype(np.float32))
        truth = torch.from_numpy(np.stack(targets)).clamp(0, len(values) - 1)
        loss = torch.nn.functional.cross_entropy(forward(batch), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def model_of(given: dict[str, Any], num_bands: int) -> tuple[Any, dict[str, Any]]:
    """What answers, and what the spec of a scene takes from the model."""
    import torch

    if given["run"]:
        from headstart.rundir import RunFolder
        from headstart.saved import load_segmenter

        fitted = load_segmenter(RunFolder.open(Path(given["run"])), device="cpu")
        predictor, window = fitted.predictor, given["window"]
        num_at_once = predictor.num_at_once(window, window)
        return predictor.logits, {"classes": fitted.legend.names, "batch_size": num_at_once}
    model = new_model(num_bands, 2)
    model.load_state_dict(torch.load(given["weights"], weights_only=True))
    return forward_of(model.eval(), given["largest"]), {"classes": ("a", "b")}


class Notes:
    """Keeps when the last window was done."""

    def __init__(self) -> None:
        self.windows_done = 0.0

    def handle(self, event: Any) -> None:
        if event.kind == "end":
            self.windows_done = time.perf_counter()


def child(given: dict[str, Any]) -> None:
    """In a process of its own: predict one scene, or only time the model."""
    import torch

    from headstart.data.rasters import Window, raster_facts, read_window
    from headstart.progress import Progress
    from headstart.scenes.predicting import predict_scene
    from headstart.scenes.spec import SceneSpec
    from headstart.scenes.windows import make_grid

    scene = Path(given["scene"])
    facts = raster_facts(scene)
    forward, values = model_of(given, len(facts.bands))
    spec = SceneSpec(window=given["window"], overlap=given["overlap"], **values)
    if not given["bare"]:
        notes, started = Notes(), time.perf_counter()
        done = predict_scene(
            scene, Path(given["output"]), forward=forward, spec=spec, progress=Progress([notes])
        )
        ended = time.perf_counter()
        told = {
            "seconds": ended - started,
            "cog": ended - notes.windows_done,
            "shares": list(done.num_pixels.values()),
        }
    else:
        grid = make_grid(facts.height, facts.width, window=spec.window, overlap=spec.overlap)
        slabs = grid.slabs(spec.batch_size)
        times, num_windows = [], 0
        for i in range(given["bare"] + 1):
            slab = slabs[i % len(slabs)]
            top = grid.tops[i // len(slabs) % len(grid.tops)]
            images = [
                read_window(scene, Window(left, top, grid.window_width, grid.window_height))[0]
                for left in slab.lefts
            ]
            batch = torch.from_numpy(np.stack(images))
            started = time.perf_counter()
            with torch.inference_mode():
                forward(batch)
            if i:  # the first warms up
                times.append(time.perf_counter() - started)
                num_windows += len(batch)
        told = {"seconds": sum(times) / num_windows * grid.num_windows, "num": grid.num_windows}
    # In KiB on Linux, in bytes on macOS.
    unit = 1024 if sys.platform == "linux" else 1
    told["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps(told))


def in_process(**given: Any) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", json.dumps(given, default=str)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=with_short_waits()
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def agreement(whole: Path, cut: Path, *, first: int) -> float:
    """The share of a cut's pixels that have the class of the whole."""
    from headstart.data.rasters import Window, raster_facts, read_window

    facts = raster_facts(cut)
    first, _ = read_window(whole, Window(first, first, facts.width, facts.height))
    return float((first == read_window(cut)[0]).mean())


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, help="a finished run of semantic segmentation")
    parser.add_argument("--data", type=Path, default=AMAZON_FOREST)
    parser.add_argument("--sides", type=int, nargs="+", default=[10_000, 20_000])
    # Its last windows, which end with it, then begin at a multiple of 32, too.
    parser.add_argument("--cut", type=int, default=3_008, help="side of the cut, in pixels")
    parser.add_argument("--steps", type=int, default=40, help="of fitting the model")
    parser.add_argument("--bare", type=int, default=12, help="batches of the bare forward")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--child", type=json.loads, help="for its own use")
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    import torch

    pictures, _ = chips(given.data)
    largest = float(max(picture.max() for picture in pictures))
    columns = ["scene", "windows", "bare s", "predict s", "of which COG", "predict / bare"]
    rows: list[list[object]] = []
    first_peak = 0
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        weights = folder / "model.pt"
        if given.run is None:
            model = new_model(len(pictures[0]), 2)
            fit(model, forward_of(model, largest), given.data, steps=given.steps)
            torch.save(model.state_dict(), weights)
        sizes = {"window": given.window, "overlap": given.overlap}
        common = {"run": given.run and given.run.resolve(), "weights": weights, **sizes}
        common["largest"] = largest
        for side in given.sides:
            scene, output = folder / "scene.tif", folder / "classes.tif"
            write_scene(scene, pictures, side)
            bare = in_process(scene=scene, bare=given.bare, **common)
            done = in_process(scene=scene, output=output, bare=0, **common)
            alike = []
            for first in CUTS:
                cut, cut_output = folder / "cut.tif", folder / "cut_classes.tif"
                write_cut(scene, cut, min(given.cut, side - first), first=first)
                in_process(scene=cut, output=cut_output, bare=0, **common)
                alike.append(f"{agreement(output, cut_output, first=first):.4f}")
            first_peak = first_peak or done["peak"]
            total = sum(done["shares"])
            rows.append(
                [
                    f"{side:,} x {side:,}",
                    bare["num"],
                    f"{bare['seconds']:.1f}",
                    f"{done['seconds']:.1f}",
                    f"{done['cog']:.1f}",
                    f"{done['seconds'] / bare['seconds']:.2f}",
                    f"{done['peak'] / 1e6:,.0f}",
                    f"{done['peak'] / first_peak:.2f}",
                    *alike,
                    "/".join(f"{share / total:.2f}" for share in done["shares"]),
                ]
            )
    print_table([*columns, "peak MB", "of the first", "agree", "by 193", "class shares"], rows)
    print(f"{os.cpu_count()} cores, windows of {given.window} overlapping by {given.overlap}")


if __name__ == "__main__":
    main()
