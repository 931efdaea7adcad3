"""The limit that frozen_fit.py measures against: decode, resize, forward, and nothing else.

    python bench/bare_pass.py WEIGHTS FOLDER FORMAT

A plain script, of nothing but torch, timm and Pillow: JPEGs decoded at reduced scale, the shorter
side resized to 256 pixels, the central 224 kept, by two threads a core ahead of the forward pass,
in batches of 16. FORMAT is such as `bfloat16,channels_last`; `rates` prints those of all four
formats instead, a line each.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

BATCH_SIZE = 16
MEAN, STD = 0.498 * 255, 0.502 * 255
FORMATS = [
    "bfloat16,channels_last",
    "bfloat16,contiguous_format",
    "float32,channels_last",
    "float32,contiguous_format",
]


def picture(path: Path) -> torch.Tensor:
    image = Image.open(path)
    image.draft("RGB", (256, 256))
    image = image.convert("RGB")
    scale = 256 / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, upper = (width - 224) // 2, (height - 224) // 2
    image = image.crop((left, upper, left + 224, upper + 224))
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


def prepared(weights: str, name: str) -> torch.nn.Module:
    dtype, layout = name.split(",")
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    model.load_state_dict(load_file(weights))
    return model.to(dtype=getattr(torch, dtype), memory_format=getattr(torch, layout))


def forward(model: torch.nn.Module, images: torch.Tensor, name: str) -> torch.Tensor:
    dtype, layout = name.split(",")
    inputs = ((images.float() - MEAN) / STD).to(dtype=getattr(torch, dtype))
    return model(inputs.contiguous(memory_format=getattr(torch, layout))).float()


def print_rates(weights: str) -> None:
    images = torch.randint(0, 256, (BATCH_SIZE, 3, 224, 224), dtype=torch.uint8)
    for name in FORMATS:
        model = prepared(weights, name)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            forward(model, images, name)
            times.append(time.perf_counter() - started)
        print(name, BATCH_SIZE / min(times))


def main() -> None:
    weights, folder, name = sys.argv[1:]
    if name == "rates":
        print_rates(weights)
        return
    suffixes = (".jpg", ".jpeg", ".png")
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in suffixes)
    model = prepared(weights, name)
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        pictures = pool.map(picture, paths)
        features = []
        batch: list[torch.Tensor] = []
        for row in pictures:
            batch.append(row)
            if len(batch) == BATCH_SIZE:
                features.append(forward(model, torch.stack(batch), name))
                batch = []
        if batch:
            features.append(forward(model, torch.stack(batch), name))
    print(len(torch.cat(features)))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
