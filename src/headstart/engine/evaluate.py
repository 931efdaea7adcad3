"""A model over many batches: logits and targets, gathered. Knows Protocols only."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from headstart.contracts import Batch, ComputeFormat, Task
from headstart.model import Model


@torch.inference_mode()
def gather_logits(
    model: Model,
    batches: Iterable[Batch],
    *,
    task: Task,
    device: torch.device,
    compute_format: ComputeFormat | None = None,
) -> tuple[list[str], Tensor, Tensor | None]:
    """The model's answers to all batches, in order.

    Args:
        model: In eval mode, on `device`.
        batches: With targets or without, all alike.
        task: Gives the logits.
        device: Where the model is.
        compute_format: Precision (by autocast) and layout; None for float32 as it lies.

    Returns:
        Ids, logits (n, num_classes) float32 on the CPU, and targets on the CPU or None.
    """
    ids: list[str] = []
    logits: list[Tensor] = []
    targets: list[Tensor] = []
    dtype = compute_format.dtype if compute_format else "float32"
    for batch in batches:
        moved = batch.to(device)
        if moved.inputs is not None and compute_format and compute_format.channels_last:
            moved.inputs = moved.inputs.contiguous(memory_format=torch.channels_last)
        enabled = dtype != "float32"
        with torch.autocast(device.type, dtype=getattr(torch, dtype), enabled=enabled):
            answer = task.logits(model, moved)
        ids += batch.ids
        logits.append(answer.float().cpu())
        if batch.targets is not None:
            targets.append(batch.targets.cpu())
    if not logits:
        return [], torch.zeros(0, 0), None
    return ids, torch.cat(logits), torch.cat(targets) if targets else None
