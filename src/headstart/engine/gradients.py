"""The gradients of a batch, in parts that fit into memory where it does not."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from headstart.contracts import Batch
from headstart.model import Model
from headstart.protocols import Objective


class LossOf(nn.Module):
    """A model whose forward is its loss, so that Fabric sees one forward a step."""

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a batch, a scalar."""
        return self.objective.loss(self.model, batch)


def out_of_memory(device: torch.device) -> str:
    """What to tell where the memory of a device does not hold a step."""
    return (
        f"The memory of {device} ran out. Give a smaller --batch-size, and --accumulate for steps "
        "of as many samples; of long texts, --long head-tail; or take a smaller backbone."
    )


def add_gradients(
    fabric: Fabric,
    loss_of: nn.Module,
    batch: Batch,
    *,
    share: float = 1.0,
    most_inputs: int | None = None,
) -> Tensor:
    """Add the gradients of a batch's loss to what there is.

    In parts they are those of the whole batch where its loss is a mean over the samples. With
    weighted classes each part weighs its own samples against each other.

    Args:
        fabric: Which has set up the rest.
        loss_of: Batch -> its loss, a scalar.
        batch: On the device.
        share: What the gradients are multiplied by.
        most_inputs: See `TrainingPlan`.

    Returns:
        The loss, detached: a scalar.
    """
    parts = batch.parts(most_inputs)
    total = torch.zeros(())
    for part in parts:
        loss: Tensor = loss_of(part)
        weight = len(part) / len(batch)
        fabric.backward(loss * (share * weight))
        total = total.to(loss.device) + loss.detach() * weight
    return total
