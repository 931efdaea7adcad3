"""Headstart's TF-IDF baseline against scikit-learn's, on the same texts.

    python bench/tfidf.py [--data FOLDER ...] [--column text] [--label label]

Each folder has a `train.csv` and a `test.csv`. `ours` chooses C and the kinds of terms by
cross-validation and fits on all; `scikit-learn` is TfidfVectorizer (words and pairs of words) and
LogisticRegression with one C, so one fit where ours has some twenty. Accuracy is that on the test
texts; seconds are those of a whole fit, taken in turns (ours, scikit-learn, ours).
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from headstart.strategies.tfidf import fit_tfidf

# What scikit-learn's fit is given: about what cross-validation finds.
_THEIR_C = 16.0


def read(path: Path, text: str, label: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row[text] for row in rows], [row[label] for row in rows]


def main() -> None:
    """Print a table of accuracy and seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path("../shared/data")
    parser.add_argument("--data", nargs="+", type=Path, default=[shared / "trec", shared / "sst2"])
    parser.add_argument("--column", default="text")
    parser.add_argument("--label", default="label")
    given = parser.parse_args()
    print("data            n     classes  ours    s      out of fold  scikit-learn  s      ratio")
    for folder in given.data:
        texts, labels = read(folder / "train.csv", given.column, given.label)
        asked, truths = read(folder / "test.csv", given.column, given.label)
        classes = sorted(set(labels))
        targets = torch.tensor([classes.index(label) for label in labels])
        truth = np.array([classes.index(label) if label in classes else -1 for label in truths])
        ours_s: list[float] = []
        theirs_s = 0.0
        for turn in ("ours", "scikit-learn", "ours"):
            started = time.perf_counter()
            if turn == "ours":
                model, found = fit_tfidf(texts, targets, num_classes=len(classes))
                ours_s.append(time.perf_counter() - started)
            else:
                vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
                theirs = LogisticRegression(C=_THEIR_C, max_iter=1000)
                theirs.fit(vectorizer.fit_transform(texts), targets.numpy())
                theirs_s = time.perf_counter() - started
        right = float((model.logits(asked).argmax(dim=1).numpy() == truth).mean())
        their_right = float((theirs.predict(vectorizer.transform(asked)) == truth).mean())
        assert found.out_of_fold is not None
        unseen = float((found.out_of_fold.argmax(dim=1) == targets).float().mean())
        print(
            f"{folder.name:<15} {len(texts):<6}{len(classes):<8} {right:<7.3f} "
            f"{min(ours_s):<6.2f} {unseen:<12.3f} {their_right:<13.3f} {theirs_s:<6.2f} "
            f"{theirs_s / min(ours_s):.1f}"
        )


if __name__ == "__main__":
    main()
