"""Headstart's probe against scikit-learn's LogisticRegressionCV on float32 features.

    python bench/against_sklearn.py [--data FOLDER ...] [--seeds N]

`fit` is `headstart fit --strategy probe` as a user runs it: features in the format that is fastest
on this machine. The other two get the same float32 features of the same training pictures,
computed plainly: `ours` is the classifier of the probe, `scikit-learn` a StandardScaler and
LogisticRegressionCV with the same folds and values of C, and the same aim (log loss). Accuracy is
that on the run's sealed test split, seconds are those of choosing C and fitting, taken in turns
(ours, scikit-learn, ours).
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import (
    BACKBONE,
    arguments,
    folders_of,
    own_cache,
    print_table,
    seconds,
    splits_of,
)
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import headstart as hs
from headstart.backbones import load_backbone
from headstart.contracts import Dataset
from headstart.data.folds import folds
from headstart.data.reading_ahead import eval_batches
from headstart.model import Normalise
from headstart.strategies.linear_fit import DEFAULT_CS
from headstart.strategies.logistic import cross_validate_logistic
from headstart.tasks import make_label_task


@torch.inference_mode()
def float32_features(dataset: Dataset) -> torch.Tensor:
    """(n, num_features), in the order of the data set."""
    backbone = load_backbone(BACKBONE)
    normalise, module = Normalise(backbone.contract), backbone.module.eval()
    batches = eval_batches(
        dataset.samples,
        prepare=make_label_task(dataset.task, is_multilabel=False).preparation(backbone.contract),
        target=None,
        batch_size=16,
        num_threads=os.cpu_count() or 1,
    )
    return torch.cat([module(normalise(batch.inputs)) for batch in batches])


def measure(data: Path, features: torch.Tensor, *, seed: int) -> list[float]:
    """Accuracy of the fit, of ours and of theirs; seconds of ours and of theirs."""
    dataset = hs.open_dataset(data)
    with tempfile.TemporaryDirectory() as output:
        run = hs.fit(data, strategy="probe", backbone=BACKBONE, seed=seed, output=Path(output))
        accuracy, split = run.metrics["accuracy"].value, splits_of(run.path)
    targets = torch.tensor([dataset.classes.index(sample.label) for sample in dataset])
    is_test = torch.tensor([split[sample.id] == "test" for sample in dataset])
    x, y = features[~is_test], targets[~is_test]
    held_out = folds(y.numpy(), np.arange(len(y)), num_folds=5, seed=seed)
    model = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=list(DEFAULT_CS),
            cv=PredefinedSplit(held_out),
            scoring="neg_log_loss",
            max_iter=2000,
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        ),
    )

    def ours() -> None:
        found.append(
            cross_validate_logistic(
                x, y, torch.from_numpy(held_out), num_classes=len(dataset.classes)
            )
        )

    found: list = []
    before = seconds(ours)
    peer = seconds(lambda: model.fit(x.numpy(), y.numpy()))
    mine = min(before, seconds(ours))
    answers = found[-1].fit.logits(features[is_test]).argmax(dim=1)
    own = float((answers == targets[is_test]).float().mean())
    theirs = float((model.predict(features[is_test].numpy()) == targets[is_test].numpy()).mean())
    return [accuracy, own, theirs, mine, peer]


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees", "elpv"))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    folders = folders_of(given.data)
    rows = []
    with own_cache(BACKBONE):
        for name, data in folders.items():
            features = float32_features(hs.open_dataset(data))
            results = [measure(data, features, seed=seed) for seed in range(given.seeds)]
            for seed, (*accuracies, mine, peer) in enumerate(results):
                shown = [f"{value:.3f}" for value in accuracies]
                rows.append([f"{name}, seed {seed}", *shown, f"{mine:.2f}", f"{peer:.2f}"])
                rows[-1].append(f"{mine / peer:.3f}")
            means = [statistics.mean(column) for column in zip(*results, strict=True)]
            ratio = statistics.median(mine / peer for *_, mine, peer in results)
            shown = [f"{value:.3f}" for value in means[:3]] + [f"{v:.2f}" for v in means[3:]]
            rows.append([f"{name}, mean", *shown, f"{ratio:.3f}"])
    columns = [*("data", "accuracy: fit", "ours", "scikit-learn")]
    columns += ["ours s", "scikit-learn s", "ours / scikit-learn"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
