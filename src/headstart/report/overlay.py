"""A heat map laid over a picture as SVG: where an answer came from. Knows no run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from headstart.contracts import InputContract
from headstart.report.thumbnails import Thumbnail

# Below this share of the most heat a cell shows nothing, so that the picture stays to be seen.
_FAINT = 0.15
_MOST_OPAQUE = 0.62

Region = tuple[float, float, float, float]


def seen_region(contract: InputContract, *, width: int, height: int) -> Region:
    """The part (left, top, width, height) of a picture of this size that the model sees.

    Example:
        >>> photo = InputContract(("R",), 224, 224, (0.0,), (1.0,), crop_fraction=0.875)
        >>> seen_region(photo, width=160, height=80)
        (45.0, 5.0, 70.0, 70.0)
    """
    if contract.resize == "squash":
        return 0.0, 0.0, float(width), float(height)
    unit = min(width / contract.width, height / contract.height) * contract.crop_fraction
    seen_width, seen_height = contract.width * unit, contract.height * unit
    return (width - seen_width) / 2, (height - seen_height) / 2, seen_width, seen_height


def heat_overlay(
    picture: Thumbnail, heat: Sequence[Sequence[float]], *, region: Region, name: str
) -> str:
    """A picture with heat over the region the model saw, and all else dimmed.

    Args:
        picture: The picture.
        heat: Rows of shares from 0 to 1, the top row first.
        region: Of the picture that the heat covers.
        name: What is shown, for screen readers; the place of the heat is added.
    """
    left, top, width, height = region
    step_x, step_y = width / len(heat[0]), height / len(heat)
    cells = [
        f'<rect x="{left + j * step_x:.1f}" y="{top + i * step_y:.1f}" width="{step_x + 0.2:.1f}" '
        f'height="{step_y + 0.2:.1f}" fill-opacity="{_MOST_OPAQUE * min(1.0, value):.2f}"/>'
        for i, row in enumerate(heat)
        for j, value in enumerate(row)
        if value >= _FAINT
    ]
    whole = f"M0 0H{picture.width}V{picture.height}H0Z"
    inner = f"M{left:.1f} {top:.1f}v{height:.1f}h{width:.1f}v{-height:.1f}Z"
    told = escape(f"{name}. Most heat {place_of_heat(heat)}.", quote=True)
    return (
        f'<svg class="overlay" viewBox="0 0 {picture.width} {picture.height}" role="img" '
        f'aria-label="{told}"><image href="{picture.source}" width="{picture.width}" '
        f'height="{picture.height}"/><g class="heat">{"".join(cells)}</g>'
        f'<path class="unseen" d="{whole}{inner}"/></svg>'
    )


def place_of_heat(heat: Sequence[Sequence[float]]) -> str:
    """Where the centre of the heat lies, in words.

    Example:
        >>> place_of_heat([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        'at the upper left'
        >>> place_of_heat([[0.0, 0.0], [0.0, 0.0]])
        'nowhere'
    """
    total = sum(map(sum, heat))
    if total <= 0:
        return "nowhere"
    down = sum((i + 0.5) * sum(row) for i, row in enumerate(heat)) / total / len(heat)
    across = sum((j + 0.5) * v for row in heat for j, v in enumerate(row)) / total / len(heat[0])
    vertical = "upper" if down < 0.42 else "lower" if down > 0.58 else ""
    horizontal = "left" if across < 0.42 else "right" if across > 0.58 else ""
    if vertical and horizontal:
        return f"at the {vertical} {horizontal}"
    half = vertical or horizontal
    return f"in the {half} half" if half else "in the middle"
