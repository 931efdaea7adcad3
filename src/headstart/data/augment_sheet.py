"""A sheet of augmented samples, so that one sees what the model will see.

Knows how pictures are read and transformed; nothing of what is done with the sheet.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from headstart.contracts import InputContract, Sample
from headstart.data.seeding import seeded_for
from headstart.data.transforms import (
    PRESETS,
    Augment,
    eval_transform,
    preset_description,
    shorter_side_for,
    train_transform,
)
from headstart.errors import DataError

_TILE, _GAP, _MARGIN = 144, 6, 24  # pixels
_NAMES_WIDTH, _COLUMN_HEAD = 150, 26
_INK, _FAINT, _PAPER = "#1c2430", "#6b7684", "#ffffff"


def augmented_sheet(
    samples: Sequence[Sample],
    *,
    contract: InputContract,
    augment: Augment,
    seed: int,
    num_views: int = 7,
) -> Image.Image:
    """Draws each sample as evaluation sees it, and beside it as training may see it.

    Args:
        samples: One a row; a handful.
        contract: The input contract of the weights.
        augment: As for `transforms.train_transform`.
        seed: The same seed draws the same sheet.
        num_views: Augmented views a sample.

    Returns:
        An RGB picture.

    Raises:
        ConfigError: `augment` is no augmentation, or does not return pictures.
        DataError: There are no samples, or a picture cannot be read.
    """
    from headstart.data.images import read_image

    if not samples:
        raise DataError("There are no samples to draw. Check that the data has pictures.")
    evaluate, change = eval_transform(contract), train_transform(contract, augment)
    side = shorter_side_for(contract, augment)
    rows = []
    for index, sample in enumerate(samples):
        picture = read_image(
            sample.path, shorter_side=side, sixteen_bit_divisor=contract.sixteen_bit_divisor
        )
        views = [evaluate(picture)]
        for view in range(num_views):
            with seeded_for(seed, epoch=view, index=index):
                views.append(change(picture))
        rows.append([Image.fromarray(v.permute(1, 2, 0).numpy()) for v in views])
    return draw_sheet(rows, samples=samples, title=sheet_title(augment), lines=_lines(augment))


def sheet_title(augment: object) -> str:
    """What stands above a sheet."""
    return f"Augmentation: {augment}" if isinstance(augment, str) else "Augmentation: your own"


def _lines(augment: Augment) -> list[str]:
    if isinstance(augment, str) and augment in PRESETS:
        return preset_description(augment)
    return [type(augment).__name__]


def draw_sheet(
    rows: list[list[Image.Image]], *, samples: Sequence[Sample], title: str, lines: list[str]
) -> Image.Image:
    """Pictures of equal shape in rows, each with the name of its sample; the originals first.

    Args:
        rows: Of each sample the picture as evaluated, then its views.
        samples: One a row.
        title: Stands above.
        lines: What is done, below the title.
    """
    fonts = {size: ImageFont.load_default(size) for size in (12, 14, 22)}
    tile_width, tile_height = _tile_size(rows[0][0])
    left, top = _MARGIN + _NAMES_WIDTH, _MARGIN + 36 + 18 * len(lines) + 14
    columns = len(rows[0])
    first_view = left + tile_width + 3 * _GAP  # a wider gap after the original

    def column(i: int) -> int:
        return left if i == 0 else first_view + (i - 1) * (tile_width + _GAP)

    text_width = max(fonts[14].getlength(line) for line in [*lines, title + title])
    width = max(column(columns) - _GAP, left + round(text_width)) + _MARGIN
    height = top + _COLUMN_HEAD + len(rows) * (tile_height + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=fonts[22])
    for i, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + 36 + 18 * i), line, fill=_FAINT, font=fonts[14])
    for i in range(columns):
        head = "as evaluated" if i == 0 else f"view {i}"
        draw.text((column(i), top + 4), head, fill=_FAINT, font=fonts[14])
    for j, (views, sample) in enumerate(zip(rows, samples, strict=True)):
        y = top + _COLUMN_HEAD + j * (tile_height + _GAP)
        room = _NAMES_WIDTH - 2 * _GAP
        name = _shorten(sample.label or "no label", font=fonts[14], width=room)
        file = _shorten(sample.path.name, font=fonts[12], width=room)
        draw.text((_MARGIN, y + 2), name, fill=_INK, font=fonts[14])
        draw.text((_MARGIN, y + 22), file, fill=_FAINT, font=fonts[12])
        for i, view in enumerate(views):
            tile = view.resize((tile_width, tile_height), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column(i), y))
    return sheet


def _tile_size(view: Image.Image) -> tuple[int, int]:
    """(width, height) of a tile with the shape of the model's input."""
    longer = max(view.size)
    return max(1, view.width * _TILE // longer), max(1, view.height * _TILE // longer)


def _shorten(text: str, *, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, or as much of its beginning and end as fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2:
        short = text[: (kept + 1) // 2] + "..." + text[len(text) - kept // 2 :]
        if font.getlength(short) <= width:
            return short
        kept -= 1
    return text[:2]
