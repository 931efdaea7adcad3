"""`--backbone auto`: the best backbone that can be reached, found out within seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass

from headstart.backbones import hub, weights
from headstart.backbones.catalog import PACKAGED_DEFAULT
from headstart.backbones.model_files import files_at_hand, find_local_files
from headstart.backbones.text_catalog import PACKAGED_TEXT_DEFAULT, text_catalog
from headstart.errors import UnreachableError, WeightsError

# ConvNeXts pretrained on the 12k largest classes of ImageNet-22k, then on ImageNet-1k: top-1 at
# 224 px 82.3% with 15 million parameters, and 84.2% with 28 million (timm's release notes of
# January 2023).
# Why these: accuracy on ImageNet goes with accuracy after transfer, frozen or not (Kornblith et al.
# 2019, arXiv:1805.08974), and convolutional networks pretrained with labels on large sets do best
# on most tasks (Goldblum et al. 2023, "Battle of the Backbones", arXiv:2310.19909, abstract).
# Speed on two cores, bf16 channels-last, batches of 16 at 224 px: ConvNeXt-nano 91 pictures/s,
# EfficientNet-Lite0 200, ViT-small 47 (our measurement; in fp32 34, 31 and 12).
_FOR_CPU = "convnext_nano.in12k_ft_in1k"
_FOR_GPU = "convnext_tiny.in12k_ft_in1k"
# 33 million parameters in twice the layers of MiniLM; known for better features on classification
# tasks (MTEB). From memory: no hub was in reach to compare them.
_FOR_TEXTS = "bge-small-en"

# What `auto` may stand for where samples are texts, the one it hopes for first.
TEXT_DEFAULTS = (_FOR_TEXTS, PACKAGED_TEXT_DEFAULT)


@dataclass(frozen=True)
class _Wanted:
    """What `auto` hopes for: its reference, where its weights are, why, and what else there is."""

    reference: str
    repository: str
    why: str
    otherwise: str


def resolve_auto(unit: str = "picture", *, timeout_s: float = hub.TIMEOUT_S) -> tuple[str, str]:
    """The backbone that `auto` stands for on this machine, now.

    Args:
        unit: What it is to read: `picture` or `text`.
        timeout_s: The most that a hub which does not answer may cost.

    Returns:
        The reference, and in words why: what was tried, and how long it took.
    """
    wanted = _text() if unit == "text" else _picture()
    repository, strong = wanted.repository, wanted.why
    if _is_here(f"hf://{repository}", unit):
        return wanted.reference, f"{strong}; its weights are already in the cache"
    started = time.perf_counter()
    try:
        hub.probe(hub.HubFile(repository, "model.safetensors"), timeout_s=timeout_s)
    except UnreachableError:
        tried = "is not allowed by HF_HUB_OFFLINE" if hub.is_offline() else "could not be reached"
    except WeightsError:
        tried = f"does not give out {repository}"
    else:
        seconds = time.perf_counter() - started
        return wanted.reference, f"{strong}; {hub.endpoint()} answered in {seconds:.1f} s"
    seconds = time.perf_counter() - started
    return (
        wanted.otherwise,
        f"needs only a package registry: the hub {hub.endpoint()} {tried} "
        f"(found out in {seconds:.1f} s)",
    )


def _is_here(reference: str, unit: str) -> bool:
    """Whether a model is on this machine; of texts with its other files, without which none is."""
    if unit == "text":
        return files_at_hand(reference) is not None
    return weights.find_local(reference) is not None


def texts_at_hand() -> list[str]:
    """The packaged language model, and all that are named and whose files are in the cache."""
    return [
        name
        for name, row in text_catalog().items()
        if name == PACKAGED_TEXT_DEFAULT or find_local_files(row.reference) is not None
    ]


def _picture() -> _Wanted:
    name, why = (_FOR_GPU, "a GPU") if _has_gpu() else (_FOR_CPU, "a CPU")
    strong = f"a ConvNeXt of a size for {why}, which transfers better than the packaged models"
    return _Wanted(f"timm:{name}", f"timm/{name}", strong, PACKAGED_DEFAULT)


def _text() -> _Wanted:
    row = text_catalog()[_FOR_TEXTS]
    strong = "its features tell more classes apart than those of the packaged model (English)"
    repository = row.reference.removeprefix("hf://")
    return _Wanted(row.name, repository, strong, PACKAGED_TEXT_DEFAULT)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
