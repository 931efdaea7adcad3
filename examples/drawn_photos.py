"""Small pictures drawn for the example notebooks, so that they run anywhere and download nothing.

Leaves of two kinds, round and long, in many colours, places and turns, on a noisy ground. Set
EXAMPLE_PHOTOS to a folder of your own class folders, and the notebooks use that instead.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

# Half width and half height in pixels, and the colour that most leaves of the kind have about.
KINDS = {"long": ((44, 14), (90, 150, 80)), "round": ((30, 27), (170, 150, 60))}


def draw_leaf(kind: str, rng: np.random.Generator) -> Image.Image:
    """A picture of 128 x 112 pixels."""
    width, height = 128, 112
    ground = rng.integers(60, 120, size=3) + rng.normal(0, 14, (height, width, 3))
    picture = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    leaf = Image.new("RGBA", (width, height))
    sides, colour = KINDS[kind]
    half_width, half_height = (side * rng.uniform(0.85, 1.15) for side in sides)
    x, y = width / 2 + rng.uniform(-12, 12), height / 2 + rng.uniform(-8, 8)
    box = (x - half_width, y - half_height, x + half_width, y + half_height)
    red, green, blue = (int(value) for value in rng.normal(colour, 25).clip(20, 230))
    pen = ImageDraw.Draw(leaf)
    pen.ellipse(box, fill=(red, green, blue, 255))
    pen.line((box[0], y, box[2], y), fill=(red // 2, green // 2, blue // 2, 255), width=2)
    leaf = leaf.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, center=(x, y))
    picture.paste(leaf, mask=leaf)
    return picture


def photos(*, count: int, folder: Path | None = None) -> Path:
    """A folder with a folder of `count` pictures for each kind; or your own, EXAMPLE_PHOTOS."""
    own = os.environ.get("EXAMPLE_PHOTOS")
    if own:
        return Path(own).expanduser().resolve()
    root = folder or Path(tempfile.mkdtemp()) / "leaves"
    rng = np.random.default_rng(0)
    for kind in KINDS:
        (root / kind).mkdir(parents=True)
        for i in range(count):
            draw_leaf(kind, rng).save(root / kind / f"{kind}-{i:02}.png")
    return root
