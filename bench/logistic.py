"""Choosing C and fitting: Headstart's solver over scikit-learn's LogisticRegressionCV.

Synthetic features of three shapes: few photos on a 1,280-wide backbone, solar cells on the same,
questions on a 384-wide sentence encoder. Both get the same standardised features, folds and values
of C, and end with a fit on all samples. Run:

    python bench/logistic.py

Headstart is run before and after scikit-learn, and the better time counts. `p` is the largest
difference of a probability between the two final fits, both at the C that Headstart chose.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit
from torch import Tensor

from headstart.strategies.linear_fit import DEFAULT_CS
from headstart.strategies.logistic import cross_validate_logistic

SHAPES = ((245, 1280, 2), (2624, 1280, 2), (2624, 1280, 4), (5452, 384, 6))


def samples(n: int, width: int, *, num_classes: int) -> tuple[Tensor, Tensor]:
    """Overlapping classes, correlated features: variances fall as a backbone's do."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(num_classes, (n,), generator=generator)
    centres = 2.5 * torch.randn(num_classes, width, generator=generator) / width**0.5
    noise = torch.randn(n, width, generator=generator)
    mix = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    features = ((centres[targets] + noise) * torch.arange(1, width + 1) ** -0.6) @ mix
    return (features - features.mean(dim=0)) / features.std(dim=0, correction=0), targets


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    print(f"{'n x width, classes':24}{'headstart s':>12}{'sklearn s':>12}{'ratio':>8}{'p':>10}")
    for n, width, num_classes in SHAPES:
        features, targets = samples(n, width, num_classes=num_classes)
        folds = torch.arange(n) % 5

        def ours(features=features, targets=targets, folds=folds, num_classes=num_classes):
            return cross_validate_logistic(features, targets, folds, num_classes=num_classes)

        def theirs(features=features, targets=targets, folds=folds):
            model = LogisticRegressionCV(
                Cs=list(DEFAULT_CS),
                cv=PredefinedSplit(folds.numpy()),
                scoring="neg_log_loss",
                max_iter=1000,
                l1_ratios=(0.0,),
                use_legacy_attributes=False,
            )
            return model.fit(features.numpy(), targets.numpy())

        before, peer, after = seconds(ours), seconds(theirs), seconds(ours)
        mine = min(before, after)
        found = ours()
        model = LogisticRegression(C=found.C, tol=1e-8, max_iter=10_000)
        model.fit(features.double().numpy(), targets.numpy())
        expected = torch.from_numpy(model.predict_proba(features.double().numpy()))
        gap = (found.fit.logits(features).softmax(dim=1) - expected).abs().max()
        name = f"{n} x {width}, {num_classes}"
        print(f"{name:24}{mine:12.2f}{peer:12.2f}{mine / peer:8.3f}{gap:10.1e}", flush=True)


if __name__ == "__main__":
    main()
