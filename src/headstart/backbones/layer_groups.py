"""The parameters of a module in groups, the one nearest the input first. Knows no architecture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

Groups = tuple[tuple[str, ...], ...]
# What transformers call the norm behind their last block.
_FINAL_NORMS = ("norm", "ln_f", "final_norm", "final_layer_norm", "final_layernorm")


def check_groups(groups: Sequence[Sequence[str]], module: nn.Module) -> Groups:
    """The groups without empty ones, if each parameter is in exactly one of them.

    Raises:
        WeightsError: A parameter is in no group, in several, or does not exist; says which.
    """
    counts = Counter(name for group in groups for name in group)
    own = {name for name, _ in module.named_parameters()}
    wrong = sorted((own ^ counts.keys()) | {name for name, count in counts.items() if count > 1})
    if wrong:
        raise WeightsError(
            f"{len(wrong)} parameters of {type(module).__name__} are not in exactly one layer "
            f"group: {', '.join(wrong[:8])}. This architecture cannot be trained layer by layer; "
            "choose another (`headstart models QUERY`)."
        )
    return tuple(tuple(group) for group in groups if group)


def group_by_children(module: nn.Module) -> Groups:
    """A group for each child with parameters, in the order of their definition.

    Children that are mere sequences are opened, once; parameters of the module itself (class
    tokens, position embeddings) belong to the first group.
    """
    from torch import nn

    places: dict[str, int] = {}
    own = [name for name, _ in module.named_parameters(recurse=False)]
    for child_name, child in module.named_children():
        is_sequence = isinstance(child, nn.Sequential | nn.ModuleList)
        for name, _ in child.named_parameters():
            step = f"{child_name}.{name.split('.')[0]}" if is_sequence else child_name
            places.setdefault(step, len(places))
    groups: list[list[str]] = [[] for _ in range(max(1, len(places)))]
    groups[0] += own
    for name, _ in module.named_parameters():
        if name in own:
            continue
        step = next(s for s in (".".join(name.split(".")[:2]), name.split(".")[0]) if s in places)
        groups[places[step]].append(name)
    return check_groups(groups, module)


def group_by_blocks(module: nn.Module) -> Groups:
    """Embeddings, then each block of a transformer, then what normalises its last states.

    The blocks are the list of modules that holds the most parameters. Of all other parameters
    those of a norm that comes after the blocks and belongs to nothing smaller are the last group;
    the rest (tokens, positions, what is shared by all blocks) is the first.
    """
    from torch import nn

    lists = {n: m for n, m in module.named_modules() if isinstance(m, nn.ModuleList) and len(m)}
    if not lists:
        return group_by_children(module)
    blocks = max(lists, key=lambda name: sum(p.numel() for p in lists[name].parameters()))
    parent = blocks.rpartition(".")[0]
    groups: list[list[str]] = [[] for _ in range(len(lists[blocks]) + 2)]
    for name, _ in module.named_parameters():
        if name.startswith(blocks + "."):
            groups[1 + int(name.removeprefix(blocks + ".").split(".")[0])].append(name)
        else:
            owner, _, layer = name.rpartition(".")[0].rpartition(".")
            is_final = layer.lower() in _FINAL_NORMS and owner == parent
            groups[-1 if is_final else 0].append(name)
    return check_groups(groups, module)
