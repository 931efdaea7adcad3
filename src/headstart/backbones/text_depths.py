"""Features of a text from several depths and poolings of one pass, for a probe to choose among.

Which of them suits a task is not known beforehand: the layers in between often serve better than
the last one (up to 16% on embedding tasks), in encoders as well as in decoders.

Source: Skean et al., "Layer by Layer: Uncovering Hidden Representations in Language Models"
(ICML 2025, arXiv:2502.02013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headstart.backbones.text_features import POOLINGS, Place, Pooling, TextFeatures
from headstart.contracts import Backbone, TextContract
from headstart.errors import ConfigError

# Depths times poolings: what the cache and the choice among them may cost at most.
MOST_PLACES = 6


def gives_text_depths(backbone: Backbone[TextContract]) -> bool:
    """Whether `with_text_depths` can be had of it, and is not what it is already."""
    module = backbone.module
    return isinstance(module, TextFeatures) and len(module.places) == 1


def with_text_depths(backbone: Backbone[TextContract]) -> Backbone[TextContract]:
    """The same backbone, giving features from several depths and poolings.

    They are half the blocks, three quarters and all of them, each with the backbone's own pooling
    and with the one other that may serve it: `mean`, or else the single token that stands for the
    whole, the first where attention sees both ways and the last where it does not. The features of
    the backbone as it was come last.

    Raises:
        ConfigError: It gives several already.
    """
    module = _plain(backbone)
    own = module.places[0][1]
    other: Pooling = "mean" if own != "mean" else ("last" if module.is_causal else "cls")
    depths = sorted({-(-module.num_blocks // 2), -(-3 * module.num_blocks // 4), module.num_blocks})
    return with_places(backbone, [(depth, how) for depth in depths for how in (other, own)])


def with_places(
    backbone: Backbone[TextContract], places: Sequence[Place]
) -> Backbone[TextContract]:
    """The same backbone, pooled at other places: (how many blocks deep, pooling).

    Its spec tells them and their widths, so that the same module is built again from it. The module
    shares its weights with the one of `backbone`.

    Raises:
        ConfigError: There is no such place, or there are too many, or it gives several already.
    """
    module = _plain(backbone)
    name, deepest = backbone.spec.reference, module.num_blocks
    wrong = [p for p in places if p[1] not in POOLINGS or not 0 <= p[0] <= deepest]
    if wrong:
        raise ConfigError(
            f"`{name}` has no place {wrong[0]}. A place is a depth from 0 to {deepest} and one of "
            f"{', '.join(POOLINGS)}."
        )
    if not 1 <= len(places) <= MOST_PLACES:
        raise ConfigError(
            f"{len(places)} places of `{name}` were asked for; give 1 to {MOST_PLACES}."
        )
    widths = [backbone.spec.num_features] * len(places)
    arguments = dict(backbone.spec.arguments)
    arguments["depths"] = {"places": [list(place) for place in places], "widths": widths}
    again = TextFeatures(
        module.trunk,
        places,
        num_blocks=module.num_blocks,
        padding_id=module.padding_id,
        is_causal=module.is_causal,
    )
    return replace(
        backbone,
        spec=replace(backbone.spec, num_features=sum(widths), arguments=arguments),
        module=again.train(module.training),
    )


def _plain(backbone: Backbone[TextContract]) -> TextFeatures:
    module = backbone.module
    if not isinstance(module, TextFeatures) or len(module.places) != 1:
        raise ConfigError(
            f"`{backbone.spec.reference}` gives features of several places already, or is no "
            "language model. Load it anew."
        )
    return module
