"""A model over many batches, one answer after the other. Knows Protocols only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from headstart.contracts import Batch, ComputeFormat
from headstart.model import Model
from headstart.protocols import Task


@torch.inference_mode()
def answers(
    model: Model,
    batches: Iterable[Batch],
    *,
    task: Task,
    device: torch.device,
    compute_format: ComputeFormat | None = None,
) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch with the model's answer to it, in order.

    Args:
        model: In eval mode, on `device`.
        batches: With targets or without.
        task: Gives the logits.
        device: Where the model is.
        compute_format: Precision (by autocast) and layout; None for float32 as it lies.

    Yields:
        The batch, and its logits (B, num_classes, ...) float32, both on the device.
    """
    dtype = compute_format.dtype if compute_format else "float32"
    for batch in batches:
        moved = batch.to(device)
        if moved.inputs is not None and compute_format and compute_format.channels_last:
            moved.inputs = moved.inputs.contiguous(memory_format=torch.channels_last)
        enabled = dtype != "float32"
        with torch.autocast(device.type, dtype=getattr(torch, dtype), enabled=enabled):
            logits = task.logits(model, moved)
        yield moved, logits.float()
