"""The parameters of a module in groups, the one nearest the input first. Knows no architecture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

Groups = tuple[tuple[str, ...], ...]


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
