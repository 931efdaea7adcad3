"""A backbone for other bands than its weights know: its first filters, made from those it has.

Nothing but the first convolution, or the embedding of patches, sees bands. Its filters for bands
that the weights do not know are mixed from those that they know, by what the bands see; all else
stays as it is. Knows modules and tensors, no data and no source of backbones but by `SOURCES`.

Where a filter of a new band comes from:

1. A band that the weights know, by name or by what it is commonly called, has its own filter.
2. Another is made from its neighbours in wavelength: from the two next to it where it lies between
   them, each the more the nearer it is, and from the last one where it lies beyond all of them.
   Neighbouring bands of a scene are nearly copies of one another, and less so with the distance
   (Price 1994, "Band selection procedure for multispectral scanners"; Landgrebe 2002,
   "Hyperspectral image data analysis"), so that the neighbour's filter meets patterns that it
   knows. For near infrared of plants the red filter sees the contrast the wrong way round, and
   still finds its edges; for what is far from all (thermal) it is as good a start as any other.
3. A band whose name says no wavelength has the mean of all filters, which looks for brightness.

Never by place (timm repeats red, green, blue, red, ...), which makes blue of what happens to come
third.

All filters are then multiplied by (bands known) / (bands now). Bands are normalised one by one and
go up and down together, so that a filter's answer grows with their number and not with its root:
so scaled, it answers to a pattern that all bands share as it did, which the batch norms and layers
behind it expect. Source: Carreira and Zisserman 2017, "Quo Vadis, Action Recognition?", section 2,
where filters are repeated over time and divided by the number of repetitions. For a single band
this makes the mean of the filters their sum, as if a grey photo had been shown in all three; and so
it is taken for any single band that the weights know, too, for the filters of one colour alone are
half of a comparison with the others.

What was made is a start and no more. Measured on 29 and 15 chips of the Amazon forest, whose three
bands and their mean were called B8A, B11, B05 and B12, so that all filters began as the red one: a
U-Net on a frozen EfficientNet-Lite0 came in 60 steps of 8 crops of 128 pixels to a mean IoU of
0.850 and 0.868 (two seeds) with the weights' own filters for red, green and blue, and of 0.826 and
0.809 with made ones that stayed as they were. Where these learnt too it was 0.829 with the first
seed, the only one tried: so few steps bring little of it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from headstart.backbones import build_backbone, build_unset_backbone
from headstart.contracts import Backbone, BackboneSpec
from headstart.data.bands import choose_bands, common_name, sensor_of, wavelength
from headstart.errors import ConfigError, DataError

# What made filters cost, see above.
_COST = "2.4 and 5.9 points of mean IoU (60 steps, two seeds)"


@dataclass(frozen=True)
class Origin:
    """Where the filters of a band come from.

    Attributes:
        band: The new one.
        shares: Known band -> its share; they add up to 1.
        how: `own`, `wavelength` or `mean`.
    """

    band: str
    shares: Mapping[str, float]
    how: str

    @property
    def words(self) -> str:
        """Such as `as R`, `from R 40%, G 60%`, or `from the mean of all`."""
        if self.how == "mean":
            return "from the mean of all"
        if len(self.shares) == 1:
            return ("as " if self.how == "own" else "from ") + next(iter(self.shares))
        return "from " + ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())

    def __str__(self) -> str:
        """In words, such as `B08 from R`."""
        return f"{self.band} {self.words}"


def origins(known: Sequence[str], bands: Sequence[str], *, sensor: str = "") -> tuple[Origin, ...]:
    """Where the filters of each band come from, in the order of the new bands; see the module.

    Args:
        known: Bands of the weights, such as R, G, B.
        bands: New ones.
        sensor: That the new ones are of, a row of `data.bands.SENSORS`; empty when not known.

    Example:
        >>> [str(o) for o in origins("RGB", ["B04", "B08", "band_3"])]
        ['B04 as R', 'B08 from R', 'band_3 from the mean of all']
    """
    known = tuple(known)
    found = [_own(band, known, sensor) for band in bands]
    if len(found) == 1 < len(known):
        return (_mean(bands[0], known),)
    return tuple(
        Origin(band, {own: 1.0}, "own") if own else _made(band, known, sensor)
        for band, own in zip(bands, found, strict=True)
    )


def told_together(found: Sequence[Origin]) -> str:
    """All origins in one line, bands of one origin together.

    Example:
        >>> told_together(origins("RGB", ["B04", "B08", "B8A", "B02"]))
        'B04 as R; B08, B8A from R; B02 as B'
    """
    bands: dict[str, list[str]] = {}
    for origin in found:
        bands.setdefault(origin.words, []).append(origin.band)
    return "; ".join(f"{', '.join(names)} {words}" for words, names in bands.items())


def adapt_stem(backbone: Backbone, bands: Sequence[str], *, sensor: str = "") -> Backbone:
    """The same backbone for other bands: a copy with the same weights but for its first filters.

    With random weights, its first filters are random too, as there is nothing to start from. Where
    the bands are those of the weights in another order, nothing but their order changes, and
    nothing needs to learn. Else `stem_is_adapted` is true of it, and its first filters have to
    learn even where the rest is frozen (`Model.stem`).

    Its spec tells `arguments["stem"]`: `parameters`, the names of those filters, and `made`, from
    what, in words; and `model_args["in_chans"]`, by which the same module is built again. The
    means and spreads of its contract are mixed as the filters are; who knows the data replaces
    them.

    Args:
        backbone: One vector or a pyramid; it is not changed.
        bands: Names, in channel order.
        sensor: That they are of, a row of `data.bands.SENSORS`; empty when not known.

    Raises:
        ConfigError: The architecture does not see bands by one convolution each, such as one that
            first moves blocks of pixels into channels.
    """
    bands = tuple(bands)
    known = backbone.contract.bands
    found = origins(known, bands, sensor=sensor)
    is_reordered = len(bands) == len(known) and (
        {name for origin in found for name in origin.shares if origin.how == "own"} == set(known)
    )
    if bands == known:
        return backbone
    is_random = backbone.spec.weights == "random"
    spec = _spec_for(backbone.spec, len(bands))
    names = _names_of_stem(backbone)
    module = build_backbone(spec) if is_random else build_unset_backbone(spec)
    if not is_random:
        shares = torch.tensor([[o.shares.get(name, 0.0) for name in known] for o in found])
        shares *= len(known) / len(bands)
        module.load_state_dict(_mixed(backbone.module.state_dict(), names, shares))
    if not is_random and not is_reordered:
        told = {"parameters": list(names), "made": told_together(found)}
        spec = replace(spec, arguments={**spec.arguments, "stem": told})
    contract = replace(
        backbone.contract,
        bands=bands,
        mean=_mixed_figures(found, known, backbone.contract.mean),
        std=_mixed_figures(found, known, backbone.contract.std),
    )
    module.requires_grad_(True)
    if not backbone.module.training:
        module.eval()
    device = next(backbone.module.parameters()).device
    return replace(
        backbone,
        spec=spec,
        contract=contract,
        module=module.to(device),
        pretrained_head=backbone.pretrained_head if is_reordered else None,
        pretrained_classes=backbone.pretrained_classes if is_reordered else (),
    )


def stem_is_adapted(backbone: Backbone) -> bool:
    """Whether its first filters were made for bands that its weights do not know.

    Maps and features of it must not be cached while they are to learn, and a strategy that leaves
    them as they were made is to be warned about.
    """
    return "stem" in backbone.spec.arguments


def frozen_stem_warning(backbone: Backbone) -> str:
    """What to tell where a stem that was made stays as it was made; empty where it is the weights'.

    For strategies that compute maps or features once and keep them. The evidence is in the module.
    """
    told = backbone.spec.arguments.get("stem")
    if told is None:
        return ""
    return (
        f"The first filters were made from those that the weights have ({told['made']}), and "
        "stay so with the frozen backbone: nothing fits them to these bands. On the Amazon forest "
        f"that cost {_COST}. With --strategy full or gradual they learn."
    )


def _own(band: str, known: Sequence[str], sensor: str) -> str:
    """The name of a band among those known; empty where it is not there."""
    if band in known:
        return band
    common = common_name(band, sensor=sensor)
    if not common:  # a number, too, says nothing of what a band sees
        return ""
    try:
        (place,) = choose_bands([common], known, sensor=sensor_of(known), source="the weights")
    except DataError:
        return ""
    return known[place]


def _made(band: str, known: Sequence[str], sensor: str) -> Origin:
    """From the neighbours in wavelength, else from all."""
    length = wavelength(band, sensor=sensor)
    own = sensor_of(known)
    lengths = sorted((w, k) for k in known if (w := wavelength(k, sensor=own)) is not None)
    if length is None or not lengths:
        return _mean(band, known)
    below = [each for each in lengths if each[0] <= length]
    above = [each for each in lengths if each[0] > length]
    if not below or not above:
        nearest = (below or above[:1])[-1][1]
        return Origin(band, {nearest: 1.0}, "wavelength")
    (low, first), (high, second) = below[-1], above[0]
    share = (length - low) / (high - low)
    return Origin(band, {first: 1 - share, second: share}, "wavelength")


def _mean(band: str, known: Sequence[str]) -> Origin:
    return Origin(band, dict.fromkeys(known, 1 / len(known)), "mean")


def _spec_for(spec: BackboneSpec, num_bands: int) -> BackboneSpec:
    model_args = {**spec.arguments.get("model_args", {}), "in_chans": num_bands}
    return replace(spec, arguments={**spec.arguments, "model_args": model_args})


def _names_of_stem(backbone: Backbone) -> tuple[str, ...]:
    """The parameters whose shape goes with the number of bands.

    Raises:
        ConfigError: There are none, or they do not have one filter a band.
    """
    num_known = len(backbone.contract.bands)
    own = dict(backbone.module.named_parameters())
    wider: nn.Module = build_unset_backbone(_spec_for(backbone.spec, num_known + 1))
    names = tuple(n for n, p in wider.named_parameters() if n in own and p.shape != own[n].shape)
    if not names or any(own[name].ndim != 4 or own[name].shape[1] != num_known for name in names):
        raise ConfigError(
            f"`{backbone.spec.reference}` does not see bands one by one (its first layer mixes "
            f"places and bands), so that it takes {', '.join(backbone.contract.bands)} only. "
            "Choose another backbone, such as efficientnet-lite0, or give --bands red,green,blue."
        )
    return names


def _mixed(state: Mapping[str, Tensor], names: Sequence[str], shares: Tensor) -> dict[str, Tensor]:
    """A state whose filters (out, known, h, w) are mixed to (out, bands, h, w).

    Args:
        shares: (bands, known).
    """
    mixed = dict(state)
    for name in names:
        filters = state[name]
        exact = torch.einsum("bk,okhw->obhw", shares.to(filters.device, torch.float64),
                             filters.double())  # fmt: skip
        mixed[name] = exact.to(filters.dtype)
    return mixed


def _mixed_figures(
    found: Sequence[Origin], known: Sequence[str], figures: Sequence[float]
) -> tuple[float, ...]:
    values = dict(zip(known, figures, strict=True))
    return tuple(sum(s * values[name] for name, s in origin.shares.items()) for origin in found)
