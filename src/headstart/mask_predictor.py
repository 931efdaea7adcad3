"""A segmentation model that answers: the frozen twin of the whole model, and its input contract.

The one road from files to masks, for the test set, for `predict`, and for the comparison of a saved
model with the one in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from headstart.compute import FrozenTwin
from headstart.contracts import IGNORE, Batch, ComputeFormat, InputContract, Sample
from headstart.data.reading_ahead import eval_batches
from headstart.errors import DataError
from headstart.model import Model
from headstart.predictor import example_input
from headstart.protocols import MaskTask
from headstart.scenes.windows import make_grid, shares

# Pixels at once: eight crops of 256 on a CPU, where larger batches are no faster; a GPU wants more.
_PIXELS = {"cpu": 8 * 256**2}
_GPU_PIXELS = 64 * 256**2
# A chip of more pixels is answered window by window: a U-Net takes some 300 bytes a pixel at its
# finest maps, 1.3 GB for the largest chip that is answered whole.
MOST_WHOLE = 2048**2
# Sides of these windows, and how far they reach into each other, in pixels.
_WINDOW, _OVERLAP = 1024, 256


class MaskPredictor:
    """Predicts masks with a model whose weights no longer change.

    Args:
        model: On its device.
        task: The model's task.
        contract: Of its backbone.
        classes: Names of its classes.
        device: Where to compute.
        compute_format: How to compute.
    """

    def __init__(
        self,
        model: Model,
        task: MaskTask,
        *,
        contract: InputContract,
        classes: tuple[str, ...],
        device: torch.device,
        compute_format: ComputeFormat,
    ) -> None:
        self.model = model.eval()
        self.task = task
        self.contract = contract
        self.classes = classes
        self.device = device
        self.compute_format = compute_format
        self._twin = FrozenTwin(model, compute_format, example=example_input(contract, device))

    def logits(self, images: Tensor) -> Tensor:
        """images: (B, bands, H, W) raw, on any device -> (B, num_classes, H, W) float32.

        Large ones window by window, blended; their logits are logarithms of probabilities.
        """
        height, width = images.shape[2:]
        if height * width <= MOST_WHOLE:
            return self._twin(images.to(self.device, non_blocking=True))
        return self._blended(images).clamp_min(torch.finfo(torch.float32).tiny).log()

    def _blended(self, images: Tensor) -> Tensor:
        """(B, num_classes, H, W) float32 probabilities, as `scenes` lays windows over each other.

        They go to the device one by one, so that memory is that of a window and of the answer.
        """
        height, width = images.shape[2:]
        grid = make_grid(height, width, window=_WINDOW, overlap=_OVERLAP)
        high, wide = grid.window_height, grid.window_width
        down = [torch.from_numpy(share) for share in shares(grid.tops, high, height)]
        along = [torch.from_numpy(share) for share in shares(grid.lefts, wide, width)]
        answer = torch.zeros(len(images), len(self.classes), height, width, device=self.device)
        for top, rows in zip(grid.tops, down, strict=True):
            for left, columns in zip(grid.lefts, along, strict=True):
                place = (..., slice(top, top + high), slice(left, left + wide))
                probabilities = self._twin(images[place].to(self.device)).softmax(dim=1)
                answer[place] += probabilities * torch.outer(rows, columns).to(self.device)
        return answer

    def answers(
        self,
        samples: Sequence[Sample],
        *,
        on_error: Callable[[Sample, DataError], None] | None = None,
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Batches of samples with their logits (B, num_classes, H, W), on the device.

        Samples with masks come with targets. Those that cannot be read go to `on_error`.

        Raises:
            DataError: A sample cannot be read, and there is no `on_error`.
        """
        batches = eval_batches(
            samples,
            prepare=self.task.preparation(self.contract),
            target=None,
            batch_size=most_at_once(self.device),
            num_threads=os.cpu_count() or 1,
            on_error=on_error,
            most_pixels=pixels_at_once(self.device),
        )
        for batch in batches:
            assert batch.inputs is not None
            yield batch.to(self.device), self.logits(batch.inputs)

    def num_at_once(self, height: int, width: int) -> int:
        """How many pictures of a size to answer together."""
        return max(1, pixels_at_once(self.device) // (height * width))


def pixels_at_once(device: torch.device) -> int:
    """Of all pictures that are answered together."""
    return _PIXELS.get(device.type, _GPU_PIXELS)


def most_at_once(device: torch.device) -> int:
    """Small pictures that are answered together; as many are read ahead."""
    return max(1, pixels_at_once(device) // 256**2)


def in_parts(batch: Batch) -> Iterator[Batch]:
    """A batch of large chips window by window, so that it can be scored in bounded memory.

    Windows overlap, and each pixel has its class in the one that sees most around it; in all others
    it belongs to none. A batch of smaller chips is given as it is.

    Args:
        batch: inputs (B, bands, H, W) and targets (B, H, W).
    """
    assert batch.inputs is not None
    assert batch.targets is not None
    height, width = batch.inputs.shape[2:]
    if height * width <= MOST_WHOLE:
        yield batch
        return
    grid = make_grid(height, width, window=_WINDOW, overlap=_OVERLAP)
    for top, high in _own_parts(grid.tops, grid.window_height, height):
        for left, wide in _own_parts(grid.lefts, grid.window_width, width):
            window = (
                ...,
                slice(top, top + grid.window_height),
                slice(left, left + grid.window_width),
            )
            own = (..., high, wide)
            targets = torch.full_like(batch.targets, IGNORE)
            targets[own] = batch.targets[own]
            yield Batch(batch.ids, inputs=batch.inputs[window], targets=targets[window])


def _own_parts(starts: Sequence[int], window: int, length: int) -> list[tuple[int, slice]]:
    """Where each window begins, and the pixels along this side that are its own."""
    ends = [(start + window + after) // 2 for start, after in pairwise(starts)]
    bounds = [0, *ends, length]
    return [(start, slice(*own)) for start, own in zip(starts, pairwise(bounds), strict=True)]
