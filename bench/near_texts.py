"""Near-duplicates among texts: what lies at which likeness, and how many planted copies are found.

    python bench/near_texts.py ../shared/data/trec ../shared/data/sst2

For each data set: how many pairs have a likeness in each range, with an example, the largest group,
and the share found of copies that were planted in four ways. The threshold of
`data/text_near_duplicates.py` was chosen by the first, and is checked by the second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from headstart.data import open_dataset
from headstart.data import text_near_duplicates as near_texts

_RANGES = (1.0, 0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5)
_NUM_PLANTED = 500
_LONG = 100  # letters from which on a text is long


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+")
    for path in parser.parse_args().data:
        texts = {s.id: s.text or "" for s in open_dataset(path)}
        _print_ranges(path, texts)
        _print_planted(texts)


def _print_ranges(path: str, texts: dict[str, str]) -> None:
    needed, near_texts.NEEDED = near_texts.NEEDED, _RANGES[-1]
    try:
        loose = near_texts.find_near_texts(texts)
    finally:
        near_texts.NEEDED = needed
    start = time.perf_counter()
    found = near_texts.find_near_texts(texts)
    seconds = time.perf_counter() - start
    largest = max(map(len, found.groups), default=0)
    print(
        f"{path}: {len(texts):,} texts in {seconds:.2f} s; {len(found.pairs)} pairs of {needed} or "
        f"more, the largest group has {largest}"
    )
    highest = 1.01
    for low in _RANGES:
        pairs = [p for p in loose.pairs if low <= p.similarity < highest]
        example = " | ".join(texts[i] for i in (pairs[0].first, pairs[0].second)) if pairs else ""
        print(f"  {low:4} {len(pairs):5}  {example[:120]}")
        highest = low


def _print_planted(texts: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    words = sorted({word for text in texts.values() for word in text.split()})

    def exchanged(text: str) -> str:
        parts = text.split()
        parts[rng.integers(len(parts))] = words[rng.integers(len(words))]
        return " ".join(parts)

    ways: dict[str, Callable[[str], str]] = {
        "upper case": str.upper,
        "without punctuation": lambda text: "".join(c if c.isalnum() else " " for c in text),
        "with !! at the end": lambda text: text + " !!",
        f"a word exchanged ({_LONG} letters or more)": exchanged,
    }
    for name, change in ways.items():
        of_length = [i for i, text in texts.items() if "exchanged" not in name or len(text) > _LONG]
        chosen = rng.permutation(sorted(of_length))[:_NUM_PLANTED].tolist()
        planted = {f"{i} planted": change(texts[i]) for i in chosen}
        group_of = near_texts.find_near_texts({**texts, **planted}).group_of
        same = [planted[f"{i} planted"] == texts[i] for i in chosen]
        hits = [
            group_of.get(i, i) == group_of.get(f"{i} planted", "")
            for i, is_same in zip(chosen, same, strict=True)
            if not is_same
        ]
        print(f"  planted, {name}: {np.mean(hits):.3f} of {len(hits)} found")


if __name__ == "__main__":
    main()
