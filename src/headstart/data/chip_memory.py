"""Decoded chips that training asks for again and again, kept in memory as far as it allows.

An epoch takes several crops of each chip, and the next epoch the same chips: decoding a chip of 512
pixels takes five times as long as changing a crop of it.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.contracts import Example

if TYPE_CHECKING:
    import torch

# Bytes that each process keeps at most: some 200 chips of 512 x 512 pixels in three bands.
MOST_BYTES = 256 << 20


class ChipMemory:
    """Examples by sample id, until they would be more than `most_bytes`; what is kept then stays.

    An epoch goes through all samples in a new order, so that of those that do not all fit, any part
    is as good as another, and exchanging them would gain nothing. May be asked from many threads;
    sent to another process it arrives empty.

    Args:
        most_bytes: Of pictures and masks together.

    Example:
        >>> import torch
        >>> memory = ChipMemory(most_bytes=100)
        >>> memory.keep("a", Example(torch.zeros(1, 2, 2, dtype=torch.uint8)))
        >>> memory.keep("b", Example(torch.zeros(1, 20, 20)))
        >>> memory.get("a") is None, memory.get("b") is None
        (False, True)
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.num_bytes = 0
        self._examples: dict[str, Example] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ChipMemory, most_bytes=self.most_bytes), ()

    def get(self, id_: str) -> Example | None:
        """An example of its own masks and shared pixels, which must not be changed in place."""
        kept = self._examples.get(id_)
        if kept is None or kept.target is None:
            return kept
        return Example(kept.inputs, kept.target.long())

    def keep(self, id_: str, example: Example) -> None:
        """Keep an example, if there is room; indices of classes need two bytes of their eight."""
        target = None if example.target is None else example.target.short()
        size = _bytes_of(example.inputs) + (0 if target is None else _bytes_of(target))
        with self._lock:
            if id_ in self._examples or self.num_bytes + size > self.most_bytes:
                return
            self.num_bytes += size
            self._examples[id_] = Example(example.inputs, target)


def _bytes_of(tensor: torch.Tensor) -> int:
    return tensor.nelement() * tensor.element_size()
