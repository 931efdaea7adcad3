"""Where in its pictures a model's answers came from, as heat over a few chosen test pictures.

By gradients at the last layer that still has places (Grad-CAM); by covering parts of the picture
where there is no such layer. Knows modules by what they give, not by their architecture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.contracts import Prediction, Sample
from headstart.model import Model
from headstart.predictor import Predictor

NUM_EXPLAINED = 4
# The surest mistakes come first; the rest are pictures that were answered right.
_NUM_MISTAKES = 2
# Heat is told on a grid of so many cells a side.
GRID = 14
# Pictures that are not reached by then are left out.
_MOST_SECONDS = 2.0
# Tokens that stand for no place: a class token and registers come before those that do.
_MOST_PREFIX_TOKENS = 8
# Occlusion covers one of so many squares a side at a time: 49 answers a picture.
_OCCLUDED = 7
_BATCH = 8


def explain(
    predictor: Predictor, prediction: Prediction, samples: Sequence[Sample]
) -> list[dict[str, Any]]:
    """The part `explanations` of metrics.json, as many as two seconds hold.

    Args:
        predictor: Of the model.
        prediction: Of it for the samples.
        samples: With their labels, in the order of the prediction.
    """

    def tell(sample: Sample, index: int) -> dict[str, Any] | None:
        heat = heat_of(predictor, sample, class_index=index)
        if heat is None:
            return None
        return {"heat": [[round(value, 3) for value in row] for row in heat.tolist()]}

    return explain_chosen(prediction, samples, tell=tell, most_s=_MOST_SECONDS)


def explain_chosen(
    prediction: Prediction,
    samples: Sequence[Sample],
    *,
    tell: Callable[[Sample, int], dict[str, Any] | None],
    most_s: float,
) -> list[dict[str, Any]]:
    """Some samples with their answers, and what is told about these.

    Args:
        prediction: For the samples.
        samples: With their labels, in the order of the prediction.
        tell: Is given a sample and the index of its likeliest class; None leaves it out.
        most_s: Seconds after which no further one is begun.
    """
    started = time.monotonic()
    told = []
    for place in choose_explained(prediction, samples):
        if time.monotonic() - started > most_s:
            break
        index = _answer(prediction, place)
        found = tell(samples[place], index)
        if found is None:
            continue
        answered, explained = prediction.labels[place], prediction.classes[index]
        told.append(
            {
                "id": samples[place].id,
                "label": samples[place].label,
                "predicted": answered,
                "probability": round(float(prediction.confidences[place]), 6),
                **({"explained": explained} if explained != answered else {}),
                **found,
            }
        )
    return told


def choose_explained(prediction: Prediction, samples: Sequence[Sample]) -> list[int]:
    """Places of the surest mistakes and of some right answers, in turns; eight at the most.

    Right answers are the surest of each class, one class after the other.
    """
    confidences = prediction.confidences
    surest = sorted(range(len(samples)), key=lambda i: (-float(confidences[i]), samples[i].id))
    labels = prediction.labels
    is_right = [
        set(labels[i].split("|")) == set(samples[i].labels or ("",)) for i in range(len(samples))
    ]
    mistakes = [i for i in surest if not is_right[i]]
    by_class: dict[str, list[int]] = {}
    for i in surest:
        if is_right[i]:
            by_class.setdefault(labels[i], []).append(i)
    right = [i for row in zip_longest(*by_class.values()) for i in row if i is not None]
    num_right = max(NUM_EXPLAINED - len(mistakes), NUM_EXPLAINED - _NUM_MISTAKES)
    chosen = zip_longest(mistakes[: NUM_EXPLAINED - min(num_right, len(right))], right[:num_right])
    return list(islice((i for pair in chosen for i in pair if i is not None), NUM_EXPLAINED))


def heat_of(predictor: Predictor, sample: Sample, *, class_index: int) -> Tensor | None:
    """(GRID, GRID) shares from 0 to 1: how much each place spoke for a class.

    None where no place did, or where the picture cannot be read any more.

    Args:
        predictor: Of the model.
        sample: A picture.
        class_index: The answer to explain.
    """
    batch = next(iter(predictor.batches([sample], on_error=lambda *_: None)), None)
    if batch is None or batch.inputs is None:
        return None
    images = batch.inputs.to(predictor.device)
    heat = class_activation(predictor.model, images, class_index=class_index)
    if heat is None:
        heat = occlusion(
            lambda covered: predictor.task.predict(
                predictor.logits(predictor.embed(covered)), [], []
            ).probabilities[:, class_index],
            images,
        )
    heat = F.interpolate(heat[None, None], (GRID, GRID), mode="bilinear", align_corners=False)[0, 0]
    most = float(heat.max())
    return heat / most if most > 0 else None


def class_activation(model: Model, images: Tensor, *, class_index: int) -> Tensor | None:
    """(h, w) float32, not negative: heat by gradients at the last layer that has places.

    The maps of that layer are summed with the mean gradient of the class's logit as weights, and
    what is negative is cut off. With average pooling and a linear head it is exactly each place's
    share in the logit. Where a vision transformer answers from its class token, that layer is the
    one before the last attention.

    Args:
        model: In eval mode, float32.
        images: (1, bands, H, W) raw values.
        class_index: Whose logit.

    Returns:
        None where no layer has places, or none that the logit depends on smoothly.

    Source: Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based
    localization" (ICCV 2017); it equals CAM, Zhou et al., "Learning deep features for
    discriminative localization" (CVPR 2016), for pooled features under a linear head.
    """
    given: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            given.append(output)

    hooks = [module.register_forward_hook(keep) for module in model.backbone.modules()]
    try:
        with torch.enable_grad():
            logits = model(images.float().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    if not logits.requires_grad:
        return None
    logit = logits[0, class_index]
    height, width = images.shape[-2:]
    num_features = given[-1].shape[-1] if given else 0
    for output in reversed(given):
        maps = as_maps(output, aspect=height / width, num_features=num_features)
        if maps is None:
            continue
        (gradient,) = torch.autograd.grad(logit, output, retain_graph=True, allow_unused=True)
        if gradient is None:
            continue
        slopes = as_maps(gradient, aspect=height / width, num_features=num_features)
        assert slopes is not None
        if slopes.any():
            weights = slopes.mean(dim=(1, 2), keepdim=True)
            return (weights * maps.detach()).sum(dim=0).clamp(min=0).float().cpu()
    return None


def as_maps(output: Tensor, *, aspect: float, num_features: int) -> Tensor | None:
    """(C, h, w): what a layer gave for one picture, by place; None where it has no places.

    Channels may come first (convolutions) or last (some transformers). Of tokens (1, N, C) those
    at the end are the places; they count where they have as many channels as the features.

    Args:
        output: Of one picture, with the 1 in front.
        aspect: Height over width of the picture, which its places have too.
        num_features: Channels of the features.

    Example:
        >>> as_maps(torch.zeros(1, 197, 768), aspect=1.0, num_features=768).shape
        torch.Size([768, 14, 14])
    """
    if output.ndim == 4:
        _, a, b, c = output.shape
        if _is_grid(b, c, aspect):
            return output[0]
        return output[0].permute(2, 0, 1) if _is_grid(a, b, aspect) else None
    if output.ndim != 3 or output.shape[2] != num_features:
        return None
    for num_prefix in range(_MOST_PREFIX_TOKENS + 1):
        num_places = output.shape[1] - num_prefix
        height = round((max(num_places, 0) * aspect) ** 0.5)
        if height and num_places % height == 0 and _is_grid(height, num_places // height, aspect):
            places = output[0, num_prefix:].transpose(0, 1)
            return places.reshape(-1, height, num_places // height)
    return None


def _is_grid(height: int, width: int, aspect: float) -> bool:
    """Whether these are places of a picture: at least two a side, in its proportions."""
    return height >= 2 and width >= 2 and abs(height - width * aspect) < max(1.0, aspect)


def occlusion(answer: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    """(7, 7) float32: how much less sure the answer is where a place is covered by the mean colour.

    Args:
        answer: images (n, bands, H, W) -> (n,) probability of the answer.
        images: (1, bands, H, W) raw values.

    Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks" (ECCV 2014),
    section 4.2.
    """
    whole = float(answer(images)[0])
    fill = images.float().mean(dim=(2, 3), keepdim=True).to(images.dtype)
    covered = torch.cat(list(_covered(images, fill)))
    drops = [whole - torch.as_tensor(answer(part)).float() for part in torch.split(covered, _BATCH)]
    return torch.cat(drops).reshape(_OCCLUDED, _OCCLUDED).clamp(min=0).cpu()


def _covered(images: Tensor, fill: Tensor) -> Iterator[Tensor]:
    """The picture with one square after the other covered, row by row."""
    height, width = images.shape[-2:]
    for i in range(_OCCLUDED):
        for j in range(_OCCLUDED):
            rows = slice(i * height // _OCCLUDED, (i + 1) * height // _OCCLUDED)
            columns = slice(j * width // _OCCLUDED, (j + 1) * width // _OCCLUDED)
            picture = images.clone()
            picture[:, :, rows, columns] = fill
            yield picture


def _answer(prediction: Prediction, place: int) -> int:
    """The likeliest class of a sample."""
    return int(prediction.probabilities[place].argmax())
