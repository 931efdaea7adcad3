"""Quarter turns as a transform of torchvision's v2 family, which has none of its own.

Importing this module imports torchvision (seconds), so it is imported where pipelines are built.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

_TURNS = {
    1: Image.Transpose.ROTATE_90,
    2: Image.Transpose.ROTATE_180,
    3: Image.Transpose.ROTATE_270,
}


class RandomRotate90(v2.Transform):  # type: ignore[misc]  # torchvision publishes no types
    """Turns a picture counter-clockwise by 0, 90, 180 or 270 degrees, each equally often.

    No pixel is interpolated. A picture that is not square changes its shape. Together with a
    random flip it reaches all eight orientations of the square (the dihedral group), as pictures
    taken from above have no natural upright.

    Source: Cohen & Welling 2016, "Group Equivariant Convolutional Networks", section 2 (the group
    p4m that these eight orientations belong to).

    Example:
        >>> from PIL import Image
        >>> RandomRotate90()(Image.new("RGB", (4, 4))).size
        (4, 4)
    """

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Boxes and points would have to turn along.

        Raises:
            TypeError: There are boxes or points among the inputs.
        """
        kinds = (tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)
        found = [type(value).__name__ for value in flat_inputs if isinstance(value, kinds)]
        if found:
            raise TypeError(
                f"RandomRotate90 was given {found[0]}, but turns pictures and masks only. "
                "Use torchvision's RandomHorizontalFlip and RandomVerticalFlip for boxes."
            )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The number of quarter turns, drawn from torch's global generator."""
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """`inpt`: a PIL picture, or a tensor (..., H, W)."""
        turns = params["turns"]
        if turns == 0:
            return inpt
        if isinstance(inpt, Image.Image):
            return inpt.transpose(_TURNS[turns])
        turned: Tensor = torch.rot90(inpt.as_subclass(Tensor), turns, dims=(-2, -1))
        is_wrapped = isinstance(inpt, tv_tensors.TVTensor)
        return tv_tensors.wrap(turned, like=inpt) if is_wrapped else turned
