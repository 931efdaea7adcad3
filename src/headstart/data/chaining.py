"""Pairs chained into groups: what is linked to one of a group belongs to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Key = TypeVar("Key", str, int)


def chained(pairs: Iterable[tuple[Key, Key]]) -> dict[Key, Key]:
    """Member of a pair -> one member that stands for all that are chained to it.

    Example:
        >>> root = chained([("a", "b"), ("b", "c"), ("x", "x")])
        >>> root["a"] == root["c"], root["a"] == root["x"]
        (True, False)
    """
    parent: dict[Key, Key] = {}

    def find(key: Key) -> Key:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]  # halve the path on the way
            key = parent[key]
        return key

    for first, second in pairs:
        parent[find(second)] = find(first)
    return {key: find(key) for key in list(parent)}
