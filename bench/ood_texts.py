"""Strangers among texts: what a user might feed a model of English questions or news by mistake.

    python bench/ood_texts.py [--data trec bbc]

A probe on the packaged language model is fitted to each data set. `features` is the share that lies
further from the training texts than the threshold lets pass, `letters` the share whose letters are
more surprising than theirs, and `flagged` what a prediction calls a stranger: either. For the
sealed test texts that is the share of false alarms. At the end, what both cost beside the features.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from measuring import ANTS_BEES, print_table
from strange_texts import LANGUAGES, OTHERS, gibberish

import headstart as hs
from headstart.contracts import Sample
from headstart.demo import SHOWCASES, unpacked
from headstart.progress import ConsoleSink, Progress
from headstart.trust.letters import Letters

NUM_SENSELESS = 60


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=["trec", "bbc"], default=["trec", "bbc"])
    for name in parser.parse_args().data:
        with tempfile.TemporaryDirectory() as folder:
            _measure(name, _folder_of(name), Path(folder) / "run")


def _folder_of(name: str) -> Path:
    if name == "bbc":
        return unpacked(SHOWCASES["text"], Progress([ConsoleSink()])).labelled
    folder = ANTS_BEES.parent / "trec"
    if not folder.is_dir():
        raise SystemExit(f"There is no folder `{folder}`, which this measurement needs.")
    return folder


def _measure(name: str, data: Path, output: Path) -> None:
    run = hs.fit(data, backbone="minilm", strategy="probe", output=output)
    predictor = hs.load(run.path).predictor
    near, letters = predictor.strangers, predictor.letters
    assert near is not None
    assert letters is not None
    split = json.loads((run.path / "split.json").read_text())["assignment"]
    texts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for sample in hs.open_dataset(data):
        if sample.id in split:
            texts[split[sample.id]["split"]].append(sample.text or "")
    test = texts["test"]
    some = random.Random(0).sample(test, min(NUM_SENSELESS, len(test)))
    rows: list[list[object]] = []
    kinds: dict[str, Sequence[str]] = {**gibberish(some, seed=0), **LANGUAGES, **OTHERS}
    for kind, given in {"sealed test": test, **kinds}.items():
        samples = [Sample(str(i), Path(), text=text) for i, text in enumerate(given)]
        features = torch.stack(list(predictor.features(samples).values()))
        by_features = near.is_stranger(near.scores(features)).numpy()
        by_letters = letters.is_stranger(given)
        either = hs.load(run.path).predict_texts(given).strangers if not rows else None
        flagged = (by_features | by_letters).mean()
        if either is not None:  # once, that a prediction says the same
            assert either.is_stranger.mean() == flagged
        shares = (by_features.mean(), by_letters.mean(), flagged)
        rows.append([kind, len(given), *(f"{share:.3f}" for share in shares)])
    print(f"\n{name}: {len(texts['train']):,} training texts")
    print_table(["against", "n", "features", "letters", "flagged"], rows)
    _costs(texts["train"])


def _costs(train: Sequence[str]) -> None:
    started = time.perf_counter()
    letters = Letters.of(train)
    counted = time.perf_counter() - started
    started = time.perf_counter()
    letters.scores(train)
    scored = time.perf_counter() - started
    size = sum(tensor.nbytes for tensor in letters.state().values())
    print(
        f"letters of {len(train):,} texts: counted and held out in turn {counted:.2f} s, scored "
        f"{scored:.2f} s, {len(letters.threes):,} threes, {size / 1e6:.2f} MB in the run"
    )


if __name__ == "__main__":
    main()
