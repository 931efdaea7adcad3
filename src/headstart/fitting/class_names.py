"""A model of texts before the first label: the class whose name is nearest in meaning answers.

Source: Yin, Hay and Roth, "Benchmarking zero-shot text classification" (EMNLP 2019), section 5, for
label names in the space of the texts as the unsupervised baseline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from headstart.contracts import Backbone, TextContract
from headstart.data.tokenising import Tokeniser, as_ids

# Cosines of a text and two names lie a tenth or two apart; times this, they make probabilities that
# are neither all alike nor all certain. Set by hand: answers do not depend on it.
_SCALE = 20.0


def with_class_names(
    backbone: Backbone[TextContract], classes: Sequence[str]
) -> Backbone[TextContract]:
    """The same backbone with a classifier of its own: likeness to the names of the classes.

    Args:
        backbone: On any device.
        classes: Their names, best in words that say what they mean.
    """
    device = next(backbone.module.parameters()).device
    rows = Tokeniser(backbone.contract).rows([_in_words(name) for name in classes])
    with torch.inference_mode():
        features = backbone.module(as_ids(rows).to(device)).float()
    centre = features.mean(dim=0)  # what all names have in common says nothing
    directions = _SCALE * F.normalize(features - centre, dim=1) / features.norm(dim=1).mean()
    head = nn.Linear(features.shape[1], len(classes), device=device)
    with torch.no_grad():
        head.weight.copy_(directions)
        head.bias.copy_(-directions @ centre)
    return replace(backbone, pretrained_head=head, pretrained_classes=tuple(classes))


def _in_words(name: str) -> str:
    """As somebody would write it: `sci_fi` and `sciFi` are words that a tokenizer knows.

    Example:
        >>> [_in_words(name) for name in ("sci_fi", "sportNews", "USA_news", "HTMLCode")]
        ['sci fi', 'sport news', 'usa news', 'html code']
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.sub(r"[_-]", " ", apart).split()).lower()
