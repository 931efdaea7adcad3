"""Fitting masks as one would write it by hand with segmentation-models-pytorch; see `masks.py`.

A U-Net over EfficientNet-Lite0 with the packaged weights, AdamW, cross-entropy and Dice, random
crops of 256 pixels and flips, batches of 8, all pictures in memory, the weights of the best
validation kept. Nothing of Headstart is imported, so that its start costs nothing here.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

CROP_SIDE, BATCH_SIZE, LR = 256, 8, 1e-3
# Of the packaged weights, for values from 0 to 1.
MEAN, STD = 0.498, 0.502
# In the order in which the masks' values 1 and 2 stand for them.
NUM_CLASSES = 2


@dataclass(frozen=True)
class Format:
    """How numbers are kept while training."""

    dtype: torch.dtype
    is_channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.is_channels_last else torch.contiguous_format

    def __str__(self) -> str:
        layout = " channels-last" if self.is_channels_last else ""
        return str(self.dtype).removeprefix("torch.") + layout


FORMATS = [Format(t, c) for t in (torch.float32, torch.bfloat16) for c in (False, True)]


def read(data: Path, ids: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, 3, H, W) uint8 and masks (N, H, W) int64 from 0; all of one size."""
    pictures, masks = [], []
    for id_ in ids:
        path = data / id_
        with rasterio.open(path) as file:
            pictures.append(file.read((1, 2, 3)))
        mask = np.asarray(Image.open(path.parent.parent / "masks" / f"{path.stem}.png"))
        masks.append(mask.astype(np.int64) - 1)
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(masks))


def new_model(weights: Path | None) -> Any:
    """A U-Net; its backbone with weights under timm's names, or at random."""
    model = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=NUM_CLASSES)
    if weights is not None:
        own = model.encoder.model.state_dict()
        given = load_file(weights)
        model.encoder.model.load_state_dict({name: given[name] for name in own}, strict=True)
    return model


def crops(
    pictures: torch.Tensor, masks: torch.Tensor, *, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches without end: a random crop of each picture in turn, half of them mirrored."""
    rng = np.random.default_rng(seed)
    height, width = masks.shape[1:]
    order: list[int] = []
    while True:
        chosen = []
        for _ in range(BATCH_SIZE):
            order = order or rng.permutation(len(pictures)).tolist()
            chosen.append(order.pop())
        images, targets = [], []
        for i in chosen:
            top = rng.integers(height - CROP_SIDE + 1)
            left = rng.integers(width - CROP_SIDE + 1)
            rows, columns = slice(top, top + CROP_SIDE), slice(left, left + CROP_SIDE)
            image, target = pictures[i, :, rows, columns], masks[i, rows, columns]
            if rng.random() < 0.5:
                image, target = image.flip(-1), target.flip(-1)
            images.append(image)
            targets.append(target)
        yield torch.stack(images), torch.stack(targets)


class Loop:
    """A training as one would write it: no bar, no checkpoint, no check of the loss.

    Args:
        model: From `new_model`.
        numbers: How they are kept.
        clip_norm: Gradients are scaled down to this norm, if given.
    """

    def __init__(self, model: Any, numbers: Format, *, clip_norm: float | None = None) -> None:
        self.model = model.to(memory_format=numbers.memory_format).train()
        self.numbers = numbers
        self.clip_norm = clip_norm
        self.dice = smp.losses.DiceLoss("multiclass")
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=LR)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        scaled = (images.float() / 255 - MEAN) / STD
        scaled = scaled.contiguous(memory_format=self.numbers.memory_format)
        is_reduced = self.numbers.dtype != torch.float32
        with torch.autocast("cpu", self.numbers.dtype, enabled=is_reduced):
            return self.model(scaled).float()

    def step(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        logits = self.logits(images)
        (F.cross_entropy(logits, targets) + self.dice(logits, targets)).backward()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.inference_mode()
    def miou(self, pictures: torch.Tensor, masks: torch.Tensor) -> float:
        """The mean over classes of the IoU of all pixels together."""
        self.model.eval()
        counts = torch.zeros(NUM_CLASSES, NUM_CLASSES)
        for picture, mask in zip(pictures, masks, strict=True):
            answer = self.logits(picture[None]).argmax(dim=1)[0]
            codes = (mask * NUM_CLASSES + answer).flatten()
            counts += torch.bincount(codes, minlength=NUM_CLASSES**2).view(counts.shape)
        self.model.train()
        hits = counts.diagonal()
        return float((hits / (counts.sum(0) + counts.sum(1) - hits)).mean())


def fastest(new: Callable[[], Any], batches: Iterator[Any]) -> Format:
    """The format of the quickest step, the second of two."""
    took = {}
    for numbers in FORMATS:
        loop = Loop(new(), numbers)
        loop.step(*next(batches))
        started = time.perf_counter()
        loop.step(*next(batches))
        took[numbers] = time.perf_counter() - started
    return min(took, key=lambda numbers: took[numbers])


def fit(given: dict[str, Any]) -> dict[str, Any]:
    """Train until a moment, and tell the mean IoU on the test chips.

    Args:
        given: `data`, `train`, `validation` and `test` (ids), `weights`, `seed`, `until` (seconds
            as of `time.time()`), and whether the rate falls like a cosine, `is_cosine`.
    """
    started = time.time()
    torch.manual_seed(given["seed"])
    data, weights = Path(given["data"]), Path(given["weights"])
    parts = {part: read(data, given[part]) for part in ("train", "validation", "test")}
    batches = crops(*parts["train"], seed=given["seed"])
    numbers = fastest(lambda: new_model(weights), batches)
    loop = Loop(new_model(weights), numbers)
    pictures = parts["train"][0]
    crops_a_chip = max(1, round(pictures.shape[-1] * pictures.shape[-2] / CROP_SIDE**2))
    steps_an_epoch = max(1, len(pictures) * crops_a_chip // BATCH_SIZE)
    best, kept, num_steps = -math.inf, loop.model.state_dict(), 0
    validate_s = 0.0
    num_validation, num_test = (len(given[part]) for part in ("validation", "test"))

    def has_time(step_s: float) -> bool:
        """Whether another step, and then validation and test, can be had; a fifth in reserve."""
        tail_s = 1.2 * validate_s * (1 + num_test / num_validation)
        return time.time() + step_s + tail_s < given["until"]

    is_over = False
    while not is_over:
        for _ in range(steps_an_epoch):
            begun = time.time()
            if given["is_cosine"]:
                share = min((begun - started) / (given["until"] - started), 1.0)
                loop.optimizer.param_groups[0]["lr"] = LR * (1 + math.cos(math.pi * share)) / 2
            loop.step(*next(batches))
            num_steps += 1
            if not has_time(time.time() - begun):
                is_over = True
                break
        begun = time.time()
        score = loop.miou(*parts["validation"])
        validate_s = time.time() - begun
        if score > best:
            best = score
            kept = {name: value.clone() for name, value in loop.model.state_dict().items()}
    loop.model.load_state_dict(kept)
    return {
        "miou": loop.miou(*parts["test"]),
        "validation_miou": best,
        "num_steps": num_steps,
        "format": str(numbers),
    }


if __name__ == "__main__":
    print(json.dumps(fit(json.loads(sys.argv[1]))))
