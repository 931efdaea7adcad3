"""What windows of large pictures are called: the id of the picture, then where they begin."""

from __future__ import annotations

import re

_WINDOW = re.compile(r"(?P<picture>.+)#\d+,\d+")


def window_id(picture: str, *, left: int, top: int) -> str:
    """The id of a window.

    Args:
        picture: Its id.
        left: First column of the window, from 0.
        top: First row of the window, from 0.

    Example:
        >>> window_id("north/scene.tif", left=512, top=0)
        'north/scene.tif#512,0'
    """
    return f"{picture}#{left},{top}"


def picture_of(sample_id: str) -> str:
    """The id of the picture that a window is of; empty where it is the id of no window.

    Example:
        >>> picture_of("north/scene.tif#512,0"), picture_of("north/scene.tif")
        ('north/scene.tif', '')
    """
    found = _WINDOW.fullmatch(sample_id)
    return found["picture"] if found else ""
