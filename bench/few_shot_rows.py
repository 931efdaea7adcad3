"""One row of `few_shot.py`, in a process of its own: learns from few texts, answers the test.

    python bench/few_shot_rows.py contrastive|setfit|setfit-20|tfidf
        '{"data": FOLDER, "weights": FOLDER, "backbone": NAME, "seed": 0}'

Its last line is JSON: accuracy on the test, and seconds without imports.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any


def read(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def result(answers: Sequence[str], labels: Sequence[str], seconds: float) -> dict[str, Any]:
    """As `few_shot.py` takes it."""
    right = sum(one == other for one, other in zip(answers, labels, strict=True))
    return {"accuracy": right / len(labels), "seconds": round(seconds, 2)}


def contrastive(told: dict[str, Any]) -> dict[str, Any]:
    """A fit as a user would call it, from the folder to the report."""
    # What a fit imports is not timed, as it is not for the peers.
    import jinja2  # noqa: F401
    import lightning_fabric  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    from transformers.models.bert import modeling_bert  # noqa: F401

    import headstart as hs
    from headstart.cache import clear

    for kind in ("features", "miniatures"):
        clear(kind)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = hs.fit(
            told["data"],
            strategy="contrastive",
            backbone=told["backbone"],
            seed=told["seed"],
            output=Path(folder) / "run",
        )
        seconds = time.perf_counter() - started
        return {"accuracy": float(run.metrics["accuracy"]), "seconds": round(seconds, 2)}


def setfit(told: dict[str, Any], *, num_iterations: int | None = None) -> dict[str, Any]:
    """SetFit with its defaults, or with so many pairs of each kind a text."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    texts, labels = read(Path(told["data"]) / "train.csv")
    asked, truth = read(Path(told["data"]) / "test.csv")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        model = SetFitModel.from_pretrained(told["weights"], device="cpu")
        settings = TrainingArguments(
            output_dir=folder,
            seed=told["seed"],
            num_iterations=num_iterations,
            save_strategy="no",
            report_to="none",
            show_progress_bar=False,
        )
        rows = Dataset.from_dict({"text": texts, "label": labels})
        Trainer(model, settings, train_dataset=rows).train()
        answers = [str(label) for label in model.predict(asked, show_progress_bar=False)]
        return result(answers, truth, time.perf_counter() - started)


def tfidf(told: dict[str, Any]) -> dict[str, Any]:
    """Words and pairs of words, weighed, and a logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, labels = read(Path(told["data"]) / "train.csv")
    asked, truth = read(Path(told["data"]) / "test.csv")
    started = time.perf_counter()
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    model = LogisticRegression(C=16.0, max_iter=1000).fit(vectorizer.fit_transform(texts), labels)
    answers = [str(label) for label in model.predict(vectorizer.transform(asked))]
    return result(answers, truth, time.perf_counter() - started)


ROWS = {
    "contrastive": contrastive,
    "setfit": setfit,
    "setfit-20": partial(setfit, num_iterations=20),
    "tfidf": tfidf,
}


if __name__ == "__main__":
    print(json.dumps(ROWS[sys.argv[1]](json.loads(sys.argv[2]))), flush=True)
