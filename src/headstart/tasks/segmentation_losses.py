"""Losses of segmentation, one by one and summed by name.

Logits are (B, K, H, W) float32, targets (B, H, W) int64 with IGNORE where nothing is known: such
pixels take no part in any loss. A batch without any labelled pixel costs 0, and its gradient is 0.
Knows no model and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.contracts import IGNORE
from headstart.errors import ConfigError, did_you_mean

# Lin et al. 2017 (see `focal`), table 1b: best of 0 to 5.
_GAMMA = 2.0


@dataclass(frozen=True)
class LossSettings:
    """What losses may be told.

    Attributes:
        class_weights: (K,) how much each class counts, or None for all alike.
        label_smoothing: Share of the target spread over all classes (Szegedy et al. 2016); of
            cross-entropy and focal loss, as the others compare areas.
    """

    class_weights: Tensor | None = None
    label_smoothing: float = 0.0

    def weights_for(self, logits: Tensor) -> Tensor | None:
        """The class weights where the logits are."""
        return None if self.class_weights is None else self.class_weights.to(logits)


Loss = Callable[[Tensor, Tensor, LossSettings], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """The mean over labelled pixels of the negative log-likelihood of their class, in nats.

    With class weights it is their weighted mean, as `torch.nn.CrossEntropyLoss` has it.
    """
    losses = _pixel_losses(logits, targets, settings)
    return losses.sum() / _total_weight(targets, settings.weights_for(logits), losses)


def focal(logits: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """Cross-entropy in which pixels count the less the surer they are right: by (1 - p)^2.

    Source: Lin, Goyal, Girshick, He and Dollár, "Focal Loss for Dense Object Detection" (ICCV
    2017), equation 5, with their gamma of 2.
    """
    losses = _pixel_losses(logits, targets, settings)
    known = targets.clamp(min=0).unsqueeze(1)
    sureness = logits.softmax(dim=1).gather(1, known).squeeze(1)
    losses = (1 - sureness).pow(_GAMMA) * losses
    return losses.sum() / _total_weight(targets, settings.weights_for(logits), losses)


def dice(logits: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """1 - Dice, 2 |A and B| / (|A| + |B|), averaged over the classes that the batch has.

    Areas are sums of probabilities over all pixels of the batch: Dice of a class that a picture
    lacks tells nothing.

    Source: Milletari, Navab and Ahmadi, "V-Net" (3DV 2016), section 3, there with squares in the
    denominator; without them as Drozdzal et al., "The Importance of Skip Connections in Biomedical
    Image Segmentation" (DLMIA 2016).
    """
    probabilities, truth, is_known = _flat(logits, targets)
    probabilities = probabilities * is_known
    shared = (probabilities * truth).sum(dim=1)
    areas = probabilities.sum(dim=1) + truth.sum(dim=1)
    # |A| + |B| is at least 1 for every class that is counted.
    return _mean_of_present(1 - 2 * shared / areas.clamp(min=1.0), truth, settings)


def lovasz(logits: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """A convex surrogate of 1 - IoU, averaged over the classes that the batch has.

    Source: Berman, Triki and Blaschko, "The Lovász-Softmax loss: A tractable surrogate for the
    optimization of the intersection-over-union measure in neural networks" (CVPR 2018), algorithm
    1 and the mean over the classes present.
    """
    probabilities, truth, is_known = _flat(logits, targets)
    # Errors of 0 come last and change nothing, so ignored pixels need not be taken out.
    errors = (truth - probabilities).abs() * is_known
    ordered, order = errors.sort(dim=1, descending=True)
    hits = truth.gather(1, order)
    size = hits.sum(dim=1, keepdim=True)
    intersection = size - hits.cumsum(dim=1)
    union = size + (1 - hits).cumsum(dim=1)
    jaccard = 1 - intersection / union
    steps = torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)
    return _mean_of_present((ordered * steps).sum(dim=1), truth, settings)


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
    "lovasz": lovasz,
}


def parse_losses(text: str) -> tuple[str, ...]:
    """The losses of a sum such as `cross-entropy+dice`.

    Raises:
        ConfigError: There is no such loss, or it is named twice.

    Example:
        >>> parse_losses("cross-entropy+dice")
        ('cross-entropy', 'dice')
    """
    names = tuple(part.strip() for part in text.split("+"))
    check_losses(names)
    return names


def check_losses(names: Sequence[str]) -> None:
    """Refuse what is no sum of losses.

    Raises:
        ConfigError: There is no such loss, none at all, or one is named twice.
    """
    for name in names:
        if name not in LOSSES:
            raise ConfigError(f"There is no loss `{name}`. {did_you_mean(name, LOSSES)}")
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"`{'+'.join(names)}` is no sum of losses: each is named once, at least one, joined by "
            f"`+`. There are {', '.join(LOSSES)}."
        )


def summed_loss(
    names: Sequence[str], logits: Tensor, targets: Tensor, settings: LossSettings
) -> Tensor:
    """The sum of some rows of LOSSES, a scalar."""
    return torch.stack([LOSSES[name](logits, targets, settings) for name in names]).sum()


def _pixel_losses(logits: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """(B, H, W) cross-entropy of each pixel, weighted; 0 where it is not labelled."""
    return F.cross_entropy(
        logits,
        targets,
        weight=settings.weights_for(logits),
        ignore_index=IGNORE,
        label_smoothing=settings.label_smoothing,
        reduction="none",
    )


def _total_weight(targets: Tensor, weights: Tensor | None, losses: Tensor) -> Tensor:
    """The weights of all labelled pixels; 1 where there are none, so that 0 / 1 is their loss."""
    is_known = targets != IGNORE
    if weights is None:
        total = is_known.sum().to(losses.dtype)
    else:
        total = (weights[targets.clamp(min=0)] * is_known).sum()
    return torch.where(total > 0, total, torch.ones_like(total))


def _flat(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (K, N), truth (K, N) of 0 and 1, and (N,) whether the pixel is labelled."""
    num_classes = logits.shape[1]
    probabilities = logits.softmax(dim=1).transpose(0, 1).reshape(num_classes, -1)
    flat = targets.reshape(-1)
    classes = torch.arange(num_classes, device=flat.device).unsqueeze(1)
    truth = (flat.unsqueeze(0) == classes).to(probabilities.dtype)
    return probabilities, truth, (flat != IGNORE).to(probabilities.dtype)


def _mean_of_present(values: Tensor, truth: Tensor, settings: LossSettings) -> Tensor:
    """The weighted mean of values (K,) over the classes that occur in truth (K, N); 0 for none."""
    weights = (truth.sum(dim=1) > 0).to(values.dtype)
    given = settings.weights_for(values)
    if given is not None:
        weights = weights * given
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, torch.ones_like(total))
