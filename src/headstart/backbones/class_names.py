"""Human-readable, unique names for the classes of a pretrained classifier. Knows no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence


def name_classes(
    num_classes: int,
    names: Sequence[str] | Mapping[str, str] | None,
    descriptions: Mapping[str, str] | None,
) -> tuple[str, ...]:
    """One name a class: the description of its label, else the label, else `class 7`.

    Different classes may have the same description (the bird and the machine are both a crane);
    those get their label behind it.

    Args:
        num_classes: How many names are needed.
        names: Labels in the order of the classes, or by the index as a string; not used when there
            are more or fewer than classes.
        descriptions: label -> what a person calls it.

    Example:
        >>> name_classes(2, ["n01", "n02"], {"n01": "crane", "n02": "crane"})
        ('crane (n01)', 'crane (n02)')
    """
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names, key=int)]
    labels = list(names or ())
    if len(labels) != num_classes:
        return tuple(f"class {i}" for i in range(num_classes))
    texts = [(descriptions or {}).get(label, label) for label in labels]
    counts = Counter(texts)
    return tuple(
        f"{text} ({label})" if counts[text] > 1 and text != label else text
        for text, label in zip(texts, labels, strict=True)
    )
