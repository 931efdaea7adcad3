"""A segmentation model that answers: the frozen twin of the whole model, and its input contract.

The one road from files to masks, for the test set, for `predict`, and for the comparison of a saved
model with the one in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from headstart.compute import FrozenTwin
from headstart.contracts import Batch, ComputeFormat, InputContract, Sample, Task
from headstart.data.loader import eval_batches
from headstart.errors import DataError
from headstart.model import Model
from headstart.predictor import example_input

# Pixels at once: eight crops of 256 on a CPU, where larger batches are no faster; a GPU wants more.
_PIXELS = {"cpu": 8 * 256**2}
_GPU_PIXELS = 64 * 256**2


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
        task: Task,
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
        """images: (B, bands, H, W) raw, on any device -> (B, num_classes, H, W) float32."""
        return self._twin(images.to(self.device, non_blocking=True))

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
            batch_size=self.num_at_once(2 * self.contract.height, 2 * self.contract.width),
            num_threads=os.cpu_count() or 1,
            on_error=on_error,
        )
        for batch in batches:
            assert batch.inputs is not None
            yield batch.to(self.device), self.logits(batch.inputs)

    def num_at_once(self, height: int, width: int) -> int:
        """How many pictures of a size to answer together."""
        return max(1, _PIXELS.get(self.device.type, _GPU_PIXELS) // (height * width))
