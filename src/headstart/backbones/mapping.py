"""Putting tensors into a module: all of them, by name or by order, or an error that says which not.

Knows nothing of files, hubs or architectures' sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHOWN = 8  # of each kind; the rest is counted
Shape = tuple[int, ...]


def fit_weights(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    reference: str,
    architecture: str,
    order: Sequence[str] = (),
) -> None:
    """Load tensors into a module whose tensors they all are; nothing is loaded in part.

    Step counters of norm layers (`num_batches_tracked`) may be absent: they are no weights.

    Args:
        module: Changed in place.
        tensors: By name.
        reference: Of the weights, for the error.
        architecture: Of the module, for the error.
        order: The names of `tensors` in the order of their file. When given, tensors whose names
            differ are mapped onto those of the module one after the other, if all shapes agree.

    Raises:
        WeightsError: Names or shapes differ; says which, what was expected, and what to do.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    is_by_name = not (expected.keys() - found.keys() - optional or found.keys() - expected.keys())
    if order and not is_by_name:
        tensors = _renamed_by_order(
            tensors, order, expected, described=_headline(reference, architecture)
        )
        found = {name: tuple(value.shape) for name, value in tensors.items()}
    trouble = describe_mismatch(expected, found)
    if trouble:
        raise WeightsError(
            f"{_headline(reference, architecture)}\n{trouble}\n"
            "Choose the architecture that these weights were made for with --backbone "
            "(`headstart models QUERY` lists them), or other weights with --weights."
        )
    module.load_state_dict(dict(tensors), strict=not (expected.keys() - found.keys()))


def describe_mismatch(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> str:
    """Which tensors are missing, left over or of another shape; empty when none is.

    Example:
        >>> print(describe_mismatch({"a": (2, 3)}, {"a": (2, 4)}))
        1 of another shape: `a` is 2 x 4, expected 2 x 3
    """
    missing = [n for n in expected if n not in found and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in found if n not in expected]
    wrong = [n for n in expected if n in found and expected[n] != found[n]]
    lines = []
    if missing:
        lines.append(
            f"{len(missing)} missing: " + _some([f"`{n}` ({_text(expected[n])})" for n in missing])
        )
    if unexpected:
        lines.append(
            f"{len(unexpected)} unexpected: "
            + _some([f"`{n}` ({_text(found[n])})" for n in unexpected])
        )
    if wrong:
        lines.append(
            f"{len(wrong)} of another shape: "
            + _some([f"`{n}` is {_text(found[n])}, expected {_text(expected[n])}" for n in wrong])
        )
    return "\n".join(lines)


def _renamed_by_order(
    tensors: Mapping[str, Tensor],
    order: Sequence[str],
    expected: Mapping[str, Shape],
    *,
    described: str,
) -> dict[str, Tensor]:
    """The tensors under the module's names, one after the other."""
    if len(order) != len(expected):
        raise WeightsError(
            f"{described}\nThe file has {len(order)} tensors, the architecture {len(expected)}, so "
            "they cannot be mapped by their order. Choose other weights with --weights."
        )
    wrong = [
        f"`{name}` is {_text(tuple(tensors[name].shape))}, `{own}` is {_text(shape)}"
        for name, (own, shape) in zip(order, expected.items(), strict=True)
        if tuple(tensors[name].shape) != shape
    ]
    if wrong:
        raise WeightsError(
            f"{described}\nMapped by their order, {len(wrong)} of {len(order)} tensors differ in "
            f"shape: {_some(wrong)}\nChoose other weights with --weights."
        )
    return {own: tensors[name] for name, own in zip(order, expected, strict=True)}


def _headline(reference: str, architecture: str) -> str:
    return f"The weights `{reference}` do not fit the architecture `{architecture}`:"


def _some(items: Sequence[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f", and {rest} more" if rest > 0 else "")


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape)) if shape else "a single number"
