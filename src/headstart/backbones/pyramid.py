"""A backbone that gives feature maps of several sizes, in place of one vector a picture.

Decoders need to know where things are as well as what they are, so they take the outputs of several
stages. Knows modules and tensors, no data, and of decoders only those that came with the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from headstart.backbones.pretrained_decoder import brings_decoder
from headstart.contracts import Backbone, BackboneSpec
from headstart.errors import ConfigError

# All common strides divide it: 2 to 32, and the 14 and 16 pixels of the patches of transformers.
_SIDE = 224
# So many blocks of a plain transformer are taken, evenly spread: as many as other networks have
# stages. Source: Bao, Dong, Piao and Wei, "BEiT" (ICLR 2022), on segmentation.
_NUM_PLAIN_LEVELS = 4


class Pyramid(nn.Module):
    """The outputs of some stages, fine to coarse.

    Args:
        trunk: A backbone with timm's `forward_intermediates`. It is changed.
        places: Which of its stages, ascending.
        unused: Names of modules and parameters in it that none of these outputs depends on.
            Modules are taken out; parameters become buffers, so that nothing tries to train them.
    """

    def __init__(self, trunk: nn.Module, places: Sequence[int], unused: Sequence[str]) -> None:
        super().__init__()
        self.trunk = trunk
        self.places = list(places)
        modules = dict(trunk.named_modules())
        for name in unused:
            if name in modules:
                trunk.set_submodule(name, nn.Identity())
                continue
            owner_name, _, own_name = name.rpartition(".")
            owner = trunk.get_submodule(owner_name)
            value = owner.get_parameter(own_name).detach()
            delattr(owner, own_name)
            owner.register_buffer(own_name, value)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images: (B, bands, H, W) -> maps (B, C, H / stride, W / stride), fine to coarse."""
        return _levels(self.trunk, images, self.places)


def as_pyramid(backbone: Backbone) -> Backbone:
    """The same backbone, giving feature maps of several sizes; a copy, with the same weights.

    Of stages that give maps of one size the last is taken. Networks whose maps are all of one size
    (plain transformers) give some of their blocks, evenly spread. What none of the maps depends on
    (a last projection, the norm before the classifier) is gone. Where the architecture can be told
    to, it takes pictures of any size.

    A decoder that the weights bring stays, as it takes such maps; a classifier does not.

    Its spec tells the levels as `arguments["pyramid"]`: `channels` and `strides` from fine to
    coarse, and `places` and `unused` to build the same module again.

    Raises:
        ConfigError: The architecture does not give the outputs of its stages, or takes pictures of
            one size only.

    Example:
        >>> from headstart.backbones import load_backbone
        >>> pyramid = as_pyramid(load_backbone("test_resnet", weights="random"))
        >>> levels = pyramid.spec.arguments["pyramid"]
        >>> levels["channels"], levels["strides"]
        ([32, 32, 48, 192, 96], [2, 4, 8, 16, 32])
    """
    if not gives_pyramid(backbone):
        raise ConfigError(
            f"`{backbone.spec.reference}` does not give the outputs of its stages, which "
            "segmentation needs. Choose another backbone, such as efficientnet-lite0."
        )
    trunk, spec = _any_size_copy(backbone)
    trunk.eval().requires_grad_(True)
    num_bands = len(backbone.contract.bands)
    device = next(trunk.parameters()).device
    try:
        with torch.enable_grad():  # also where the caller wants none: it tells what is unused
            maps = _levels(trunk, torch.zeros(1, num_bands, _SIDE, _SIDE, device=device), None)
        strides = [round(_SIDE / level.shape[2]) for level in maps]
        places = _choose_places(strides)
        wider = torch.zeros(1, num_bands, _SIDE, _SIDE + 2 * max(strides), device=device)
        with torch.no_grad():
            _levels(trunk, wider, places)
    except (AssertionError, RuntimeError, ValueError) as error:  # how architectures refuse a size
        contract = backbone.contract
        raise ConfigError(
            f"`{spec.reference}` does not take pictures of other sizes than {contract.height} x "
            f"{contract.width} ({_first_line(error)}), which segmentation needs. Choose another "
            "backbone, such as efficientnet-lite0."
        ) from None
    unused = _find_unused(trunk, [maps[place] for place in places])
    told = {
        "channels": [int(maps[place].shape[1]) for place in places],
        "strides": [strides[place] for place in places],
        "places": places,
        "unused": unused,
    }
    module = Pyramid(trunk, places, unused).eval()
    left = {name for name, _ in module.named_parameters()}
    groups = [
        tuple(f"trunk.{name}" for name in group if f"trunk.{name}" in left)
        for group in backbone.layer_groups
    ]
    return replace(
        backbone,
        spec=replace(spec, arguments={**spec.arguments, "pyramid": told}),
        module=module,
        layer_groups=tuple(group for group in groups if group),
        pretrained_head=backbone.pretrained_head if brings_decoder(backbone) else None,
        pretrained_classes=backbone.pretrained_classes if brings_decoder(backbone) else (),
    )


def gives_pyramid(backbone: Backbone) -> bool:
    """Whether `as_pyramid` can be had of it, and is not what it is already."""
    return hasattr(backbone.module, "forward_intermediates")


def _levels(trunk: Any, images: Tensor, places: list[int] | None) -> list[Tensor]:
    levels: list[Tensor] = trunk.forward_intermediates(
        images, indices=places, intermediates_only=True
    )
    return levels


def _any_size_copy(backbone: Backbone) -> tuple[nn.Module, BackboneSpec]:
    """A copy that takes pictures of any size where the architecture can, and its spec."""
    spec = backbone.spec
    if getattr(backbone.module, "dynamic_img_size", True):
        return copy.deepcopy(backbone.module), spec
    from headstart.backbones import build_unset_backbone

    model_args = {**spec.arguments.get("model_args", {}), "dynamic_img_size": True}
    spec = replace(spec, arguments={**spec.arguments, "model_args": model_args})
    trunk = build_unset_backbone(spec)
    trunk.load_state_dict(backbone.module.state_dict())
    return trunk.to(next(backbone.module.parameters()).device), spec


def _choose_places(strides: Sequence[int]) -> list[int]:
    """The last stage of each stride; where all have one stride, some evenly spread."""
    last_of = {stride: place for place, stride in enumerate(strides)}
    if len(last_of) > 1:
        return sorted(last_of.values())
    num_levels = min(_NUM_PLAIN_LEVELS, len(strides))
    return [(i + 1) * len(strides) // num_levels - 1 for i in range(num_levels)]


def _find_unused(trunk: nn.Module, maps: Sequence[Tensor]) -> list[str]:
    """The largest modules, and the parameters besides, that none of the maps depends on."""
    names, parameters = zip(*trunk.named_parameters(), strict=True)
    with torch.enable_grad():
        total = torch.stack([level.float().sum() for level in maps]).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    unused = {name for name, grad in zip(names, gradients, strict=True) if grad is None}
    found: list[str] = []
    for prefix, module in trunk.named_modules():
        own = {f"{prefix}.{name}" for name, _ in module.named_parameters()}
        if prefix and own and own <= unused:  # a parent comes before its children
            found.append(prefix)
            unused -= own
    return found + sorted(unused)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
