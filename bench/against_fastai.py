"""Headstart's fit against fastai's `fine_tune`, from the same weights.

    pip install -e '.[bench]'
    python bench/against_fastai.py [--data FOLDER ...] [--seeds N] [--first-seed N]
                                   [--strategy auto] [--epochs N]

Both start from the EfficientNet-Lite0 of the catalogue and answer on the same sealed test split,
that of Headstart's run. Headstart: `fit` with the strategy probe, or another one, and no cached
features, from the folder to the verified model and its report. fastai: a vision_learner on the same
backbone, pictures resized to 224, `aug_transforms()`, batches of 16, `fine_tune(3)` or as many
epochs as given (to give it the five minutes of the ladder, as many as take them), trained on all
pictures outside the test split, as the probe is; the validation pictures are also shown to it after
each epoch. Its time runs from the first line of its data block to the last prediction on the test
split. Importing fastai is not counted; what Headstart imports within its first fit is. The two run
in turns, a seed after the other.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path

from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)
from measuring import BACKBONE, arguments, folders_of, own_cache, print_table, splits_of

import headstart as hs
from headstart.api import Run
from headstart.backbones import load_backbone
from headstart.cache import clear


def headstart_fit(
    data: Path, output: Path, *, strategy: str, seed: int
) -> tuple[float, float, Run]:
    clear("features")
    started = time.perf_counter()
    run = hs.fit(data, strategy=strategy, backbone=BACKBONE, seed=seed, output=output)
    return run.metrics["accuracy"].value, time.perf_counter() - started, run


def fastai_fit(data: Path, split: dict[str, str], *, epochs: int, seed: int) -> tuple[float, float]:
    backbone = load_backbone(BACKBONE)
    contract = backbone.contract
    samples = [sample for sample in hs.open_dataset(data) if split[sample.id] != "test"]
    test = [sample for sample in hs.open_dataset(data) if split[sample.id] == "test"]
    shown = [i for i, sample in enumerate(samples) if split[sample.id] == "validation"]
    label_of = {sample.path: sample.label for sample in [*samples, *test]}

    def label(path):  # a function, as fastai inspects its signature
        return label_of[path]

    set_seed(seed, reproducible=True)
    started = time.perf_counter()
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_y=label,
        splitter=lambda items: (list(range(len(items))), shown or [0]),
        item_tfms=Resize((contract.height, contract.width)),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(contract.mean, contract.std)],
    )
    loaders = block.dataloaders([sample.path for sample in samples], bs=16)
    learner = vision_learner(
        loaders, backbone.spec.architecture, pretrained=False, metrics=accuracy
    )
    learner.model[0].model.load_state_dict(backbone.module.state_dict(), strict=True)
    with contextlib.redirect_stdout(io.StringIO()), learner.no_bar():
        learner.fine_tune(epochs)
        loader = loaders.test_dl([sample.path for sample in test])
        probabilities, _ = learner.get_preds(dl=loader)
    answers = [loaders.vocab[i] for i in probabilities.argmax(dim=1).tolist()]
    spent = time.perf_counter() - started
    right = [answer == sample.label for answer, sample in zip(answers, test, strict=True)]
    return statistics.mean(right), spent


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees", "elpv"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--strategy", choices=("probe", "auto"), default="probe")
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    folders = folders_of(given.data)
    columns = ["data", "headstart", "fastai", "headstart s", "fastai s", "fastai / headstart"]
    rows = []
    with own_cache(BACKBONE), tempfile.TemporaryDirectory() as runs:
        for name, data in folders.items():
            results = []
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                output = Path(runs) / f"{len(rows)}"
                own, own_s, run = headstart_fit(data, output, strategy=given.strategy, seed=seed)
                split = splits_of(run.path)
                peer, peer_s = fastai_fit(data, split, epochs=given.epochs, seed=seed)
                results.append((own, peer, own_s, peer_s))
                rows.append(row(f"{name}, seed {seed}", results[-1], peer_s / own_s))
                print(*rows[-1], sep="  ", flush=True)
            means = tuple(statistics.mean(column) for column in zip(*results, strict=True))
            ratio = statistics.median(peer_s / own_s for *_, own_s, peer_s in results)
            rows.append(row(f"{name}, mean", means, ratio))
    print_table(columns, rows)


def row(name: str, figures: tuple[float, ...], ratio: float) -> list[str]:
    own, peer, own_s, peer_s = figures
    return [name, f"{own:.3f}", f"{peer:.3f}", f"{own_s:.1f}", f"{peer_s:.1f}", f"{ratio:.1f}"]


if __name__ == "__main__":
    main()
