"""Grey values of 16 bits as 8 bits, in a unit that is decided once for a data set.

The PNG and TIFF formats define 65535 as white, so that values are divided by 257. Some instruments
write values of 8 bits into files of 16 instead, which dividing would turn black. One picture does
not tell which it is: of a dark one of the first kind, too, no value exceeds 255. All of a data set
do. So a fit looks at all of its 16-bit pictures (`data.checks`), and what it found goes with the
model as a part of its input contract: whatever the model reads later is read in the same unit.
Knows pictures, no files.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# What values are divided by: 65535 / 255, or nothing where no picture has a value over 255.
WHOLE_RANGE, AS_STORED = 257, 1


def is_wide(mode: str) -> bool:
    """Whether pictures of this mode, as Pillow calls it, have integers of more than 8 bits."""
    return mode.startswith("I")


def as_eight_bits(image: Image.Image, *, divisor: int | None) -> Image.Image:
    """A loaded grey picture of 16 bits as RGB.

    Args:
        image: Of a wide mode.
        divisor: What its values are divided by, WHOLE_RANGE or AS_STORED; None goes by this picture
            alone.

    Raises:
        ValueError: Divided, a value would not fit into 8 bits.

    Example:
        >>> dark = Image.fromarray(np.array([[0, 200]], np.uint16))
        >>> [as_eight_bits(dark, divisor=d).getpixel((1, 0))[0] for d in (WHOLE_RANGE, AS_STORED)]
        [1, 200]
    """
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if divisor is None:
        divisor = WHOLE_RANGE if high > 255 else AS_STORED
    if low < 0 or high > 255 * divisor:
        expected = "0 to 65535 (16 bit) is needed"
        if divisor == AS_STORED:
            expected = "those of the 16-bit pictures that the model was fitted on end at 255"
        raise ValueError(
            f"its integers run from {low} to {high}, but {expected}; "
            "rescale it and save it as PNG or TIFF"
        )
    values = (values.astype(np.uint32) + divisor // 2) // divisor
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")
