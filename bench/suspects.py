"""Labels flipped at random: are they found, and are clean ones left alone?

    python bench/suspects.py [--seeds N] [--share 0.05] [--wheel FILE]

Of ants and bees, of solar cells mono or poly, and of solar cells functional or defective (whose own
labels are the experts' doubts, rounded), so large a share of the labels is flipped. Features by the
packaged default backbone, probabilities out of fold by the probe at its chosen C. `found` is the
share of the planted errors among as many most suspicious labels: precision and recall at once. It
is given for the classifier alone, and with the neighbours. `named` are the labels that
`find_suspects` names, with precision and recall; `expected` is its estimate of the errors.
The first line of each set is without planted errors: what is named there are alarms on the labels
as they came. With 5 features the classifier is weak, and should accuse hardly any.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from labelled_features import Embedding, Labelled, ants_and_bees, cell_types, solar_cells
from measuring import print_table

from headstart.data.folds import folds
from headstart.strategies.logistic import cross_validate_logistic
from headstart.trust.suspects import find_suspects

COLUMNS = (
    *("data", "planted", "found, classifier", "found, both", "least", "named"),
    *("precision", "recall", "expected", "probe s", "suspects s"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--wheel", type=Path, help="of elpv-dataset; otherwise it is downloaded")
    given = parser.parse_args()
    embedding = Embedding()
    photos = ants_and_bees(embedding)
    data = {
        "ants-bees": photos,
        "the same, 5 features": replace(photos, features=photos.features[:, :5]),
        "cells, mono / poly": cell_types(embedding, given.wheel),
        "cells, defective": solar_cells(embedding),
    }
    rows = []
    for name, labelled in data.items():
        rows.append([name, *_figures([_measure(labelled, share=0.0, seed=0)])])
        measured = [_measure(labelled, share=given.share, seed=seed) for seed in range(given.seeds)]
        rows.append(["", *_figures(measured)])
    print_table(COLUMNS, rows)


def _measure(data: Labelled, *, share: float, seed: int) -> dict[str, float]:
    """One draw of flipped labels."""
    rng = np.random.default_rng(seed)
    n = len(data.targets)
    flipped = rng.choice(n, round(share * n), replace=False)
    labels = data.targets.numpy().copy()
    labels[flipped] = 1 - labels[flipped]
    held_out = torch.from_numpy(folds(labels, np.arange(n), num_folds=5, seed=seed))
    started = time.perf_counter()
    found = cross_validate_logistic(
        data.features, torch.from_numpy(labels), held_out, num_classes=2
    )
    probed = time.perf_counter()
    shares = found.out_of_fold_logits.softmax(dim=1).numpy()
    suspects = find_suspects(shares, labels, features=data.features)
    ended = time.perf_counter()
    alone = find_suspects(shares, labels)
    named = {suspect.index for suspect in suspects.found}
    hits = len(named & set(flipped.tolist()))
    return {
        "planted": len(flipped),
        "alone": _found(alone.scores, flipped),
        "both": _found(suspects.scores, flipped),
        "named": len(named),
        "precision": hits / max(len(named), 1),
        "recall": hits / max(len(flipped), 1),
        "expected": suspects.num_expected,
        "probe_s": probed - started,
        "suspects_s": ended - probed,
    }


def _found(scores: np.ndarray, flipped: np.ndarray) -> float:
    """Share of the planted errors among as many of the highest scores."""
    top = np.argsort(-scores, kind="stable")[: len(flipped)]
    return len(np.intersect1d(top, flipped)) / max(len(flipped), 1)


def _figures(measured: list[dict[str, float]]) -> list[str]:
    mean = {name: statistics.mean(each[name] for each in measured) for name in measured[0]}
    quality = [
        *(f"{mean['alone']:.3f}", f"{mean['both']:.3f}"),
        f"{min(each['both'] for each in measured):.3f}",
    ]
    named = [f"{mean['precision']:.3f}", f"{mean['recall']:.3f}"]
    if not mean["planted"]:
        quality, named = ["-"] * 3, ["-"] * 2
    return [
        *(f"{mean['planted']:.0f}", *quality, f"{mean['named']:.1f}", *named),
        *(f"{mean['expected']:.1f}", f"{mean['probe_s']:.2f}", f"{mean['suspects_s']:.2f}"),
    ]


if __name__ == "__main__":
    main()
