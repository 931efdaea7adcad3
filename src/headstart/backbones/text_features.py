"""The vectors of a text: states of its tokens, pooled at one depth of a transformer or several.

Knows modules and tensors, no architecture by name, and no text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.errors import WeightsError

Pooling = Literal["cls", "mean", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
# (depth, pooling): the depth is the number of blocks that a state has passed.
Place = tuple[int, Pooling]


class TextFeatures(nn.Module):
    """Token ids to features: a transformer's last states pooled, or those of several depths.

    States of other places than the last one are scaled to length 1 each, so that the last one still
    decides by its size what is near what, as `depths.DepthFeatures` does for pictures.

    A text without any token, and a part of one, has no state: its features are zero, and a part
    that is empty does not count.

    Args:
        trunk: Takes `input_ids` and `attention_mask` as transformers names them, and gives
            `last_hidden_state` and `hidden_states`.
        places: What is pooled, and how; the last of them is at the full depth.
        num_blocks: How many blocks the transformer has, its full depth.
        padding_id: What stands in for the tokens that are not there.
        is_causal: Whether no token sees those behind it. Then the padding behind a text changes
            nothing, and no mask is needed, which spares the slower attention.
    """

    def __init__(
        self,
        trunk: nn.Module,
        places: Sequence[Place],
        *,
        num_blocks: int,
        padding_id: int = 0,
        is_causal: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.places = [(int(depth), pooling) for depth, pooling in places]
        self.num_blocks = num_blocks
        self.padding_id = padding_id
        self.is_causal = is_causal

    def forward(self, ids: Tensor) -> Tensor:
        """Features of texts, those of the last place last.

        Args:
            ids: (B, length) int64, -1 where a text is over; or (B, parts, length) of texts in
                parts, whose features are averaged.

        Returns:
            (B, num_features), in the dtype of the transformer.
        """
        if ids.ndim == 2:
            return self._pooled(ids)
        counts = (ids >= 0).any(dim=2)  # (B, parts)
        rows = self._pooled(ids[counts])  # (parts that count, num_features)
        owners = counts.nonzero()[:, 0]
        sums = rows.new_zeros(len(ids), rows.shape[1], dtype=torch.float32)
        sums = sums.index_add(0, owners, rows.float())
        return (sums / counts.sum(dim=1, keepdim=True).clamp(min=1)).to(rows.dtype)

    def _pooled(self, ids: Tensor) -> Tensor:
        """ids: (n, length) -> (n, num_features)."""
        lengths = (ids >= 0).sum(dim=1)
        longest = max(1, int(lengths.max())) if len(ids) else 1
        ids = ids[:, :longest]  # columns in which no text has a token cost as much as others
        is_real = ids >= 0
        inputs = torch.where(is_real, ids, self.padding_id)
        mask = None
        if not self.is_causal and not bool(is_real.all()):
            seen = is_real.clone()
            seen[:, 0] = True  # a row that sees nothing would be divided by zero
            mask = seen.long()
        is_deep = any(depth != self.num_blocks for depth, _ in self.places)
        trunk: Any = self.trunk
        output = trunk(input_ids=inputs, attention_mask=mask, output_hidden_states=is_deep)
        vectors = []
        for i, (depth, pooling) in enumerate(self.places):
            is_full = depth == self.num_blocks
            states = output.last_hidden_state if is_full else output.hidden_states[depth]
            vector = _POOLS[pooling](states, is_real, lengths)
            is_last = i == len(self.places) - 1
            vectors.append(vector if is_last else F.normalize(vector, dim=1))
        pooled = vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=1)
        return pooled.to(output.last_hidden_state.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TextFeatures:
        """As of any module, but what is no weight keeps its precision.

        Such are the frequencies of rotary position embeddings: rounded to bfloat16 they are wrong
        by radians some hundred tokens into a text.
        """
        before = dict(_unsaved_floats(self.trunk))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # torch leaves it so
        for name, buffer in _unsaved_floats(self.trunk).items():
            if buffer.dtype != before[name].dtype:
                owner, _, own_name = name.rpartition(".")
                kept = before[name].to(buffer.device)
                setattr(self.trunk.get_submodule(owner), own_name, kept)
        return self


def _unsaved_floats(module: nn.Module) -> dict[str, Tensor]:
    """Buffers of real numbers that are in no state dict, by name."""
    saved = module.state_dict(keep_vars=True).keys()
    return {
        name: buffer
        for name, buffer in module.named_buffers(remove_duplicate=False)
        if buffer.is_floating_point() and name not in saved
    }


# --- poolings: states (n, length, width), is_real (n, length), lengths (n,) -> (n, width) float32


def _mean(states: Tensor, is_real: Tensor, lengths: Tensor) -> Tensor:
    weights = is_real.float() / lengths.clamp(min=1).unsqueeze(1)
    return torch.bmm(weights.unsqueeze(1), states.float()).squeeze(1)


def _first(states: Tensor, is_real: Tensor, lengths: Tensor) -> Tensor:
    return states[:, 0].float() * is_real[:, :1]


def _last(states: Tensor, is_real: Tensor, lengths: Tensor) -> Tensor:
    rows = torch.arange(len(states), device=states.device)
    return states[rows, (lengths - 1).clamp(min=0)].float() * is_real[:, :1]


_POOLS: dict[Pooling, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "mean": _mean,
    "last": _last,
}


# --- what a transformer is, found out by trying it --------------------------------------------


def count_blocks(trunk: nn.Module, *, name: str) -> tuple[int, int]:
    """How many blocks a transformer has, and how wide its last states are.

    Raises:
        WeightsError: It does not give the states of its tokens.
    """
    ids = torch.ones(1, 2, dtype=torch.int64)
    try:
        with torch.no_grad():
            output: Any = trunk(input_ids=ids, attention_mask=None, output_hidden_states=True)
        blocks, width = len(output.hidden_states) - 1, int(output.last_hidden_state.shape[2])
    except (AttributeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"`{name}` is a {type(trunk).__name__}, which does not turn the tokens of a text into "
            f"one state each ({reason}). A language model is needed (`headstart models`)."
        ) from None
    return blocks, width


@torch.no_grad()
def is_causal(trunk: nn.Module) -> bool:
    """Whether no token sees those behind it: the first states are the same whatever comes last."""
    ids = torch.tensor([[3, 4, 5, 1], [3, 4, 5, 2]])
    states: Tensor = trunk(input_ids=ids, attention_mask=None).last_hidden_state
    one, other = states[:, :3]
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))
