"""An epoch of the strategy `full` over a plain PyTorch loop of the same work.

    python bench/full_epoch.py [--data FOLDER] [--epochs N] [--repeats N]

Pictures a second within the epochs, validation left out on both sides. The plain loop has the same
model and head, format, batch size, optimizer, gradient clipping and number of loader processes; its
loader is a plain DataLoader over the same augmentation. Norms keep their statistics in both. The
loop draws no bar, writes no checkpoint, checks no loss and knows no schedule. A fit and a loop run
in turns; the median epoch of each counts. The target is 0.95.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch
from measuring import BACKBONE, arguments, folders_of, own_cache, print_table, splits_of
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import headstart as hs
from headstart.api import Run
from headstart.backbones import load_backbone
from headstart.progress import Event
from headstart.strategies.heads import linear_head
from headstart.tasks import make_label_task


class EpochTimes:
    """Keeps the seconds of each epoch's batches."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def handle(self, event: Event) -> None:
        if event.kind == "end" and event.values["unit"] == "batches":
            self.seconds.append(event.values["seconds"])


def fit(data: Path, output: Path, *, epochs: int) -> tuple[Run, list[float]]:
    times = EpochTimes()
    run = hs.fit(
        data,
        strategy="full",
        backbone=BACKBONE,
        epochs=epochs,
        output=output,
        progress=hs.Progress([times]),
    )
    return run, times.seconds


class Pictures(Dataset):
    """(picture (3, H, W) uint8, class index)."""

    def __init__(self, samples, *, prepare, classes) -> None:
        self.samples, self.prepare, self.classes = samples, prepare, classes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int):
        sample = self.samples[index]
        return self.prepare(sample), self.classes.index(sample.label)


def plain_loop(data: Path, run: Run, *, epochs: int) -> list[float]:
    """Seconds of each epoch of a loop as one would write it by hand."""
    config = run.folder.read_json(run.folder.config)
    options = config["options"]
    choices = {choice["name"]: choice["value"] for choice in config["choices"]}
    dtype, _, layout = choices["training format"].partition(" ")
    dataset, split = hs.open_dataset(data), splits_of(run.path)
    samples = [sample for sample in dataset if split[sample.id] == "train"]
    task = make_label_task(dataset.task, is_multilabel=False)
    backbone = load_backbone(BACKBONE)
    loader = DataLoader(
        Pictures(
            samples,
            prepare=task.preparation(backbone.contract, options["augment"]),
            classes=dataset.classes,
        ),
        batch_size=options["batch_size"],
        shuffle=True,
        num_workers=options["workers"],
        persistent_workers=options["workers"] > 0,
    )
    head = linear_head(backbone.spec.num_features, len(dataset.classes), dropout=0.0, hidden=0)
    model = task.build(backbone, head)
    model.requires_grad_(True).train()
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    memory_format = torch.channels_last if layout else torch.contiguous_format
    model.to(memory_format=memory_format)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    times = []
    for epoch in range(epochs + 1):
        started = time.perf_counter()
        for number, (images, targets) in enumerate(loader):
            images = images.contiguous(memory_format=memory_format)
            with torch.autocast("cpu", getattr(torch, dtype), enabled=dtype != "float32"):
                logits = model(images)
            F.cross_entropy(logits.float(), targets).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), options["clip_norm"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if epoch == 0 and number == 1:  # as Headstart's rehearsal, it starts the workers
                break
        if epoch:
            times.append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees",))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    folders = folders_of(given.data)
    rows = []
    with own_cache(BACKBONE), tempfile.TemporaryDirectory() as runs:
        for name, data in folders.items():
            own: list[float] = []
            plain: list[float] = []
            for repeat in range(given.repeats):
                run, times = fit(data, Path(runs) / f"{name}-{repeat}", epochs=given.epochs)
                own += times
                plain += plain_loop(data, run, epochs=given.epochs)
            count = sum(value == "train" for value in splits_of(run.path).values())
            ours, theirs = count / statistics.median(own), count / statistics.median(plain)
            rows.append([name, f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}"])
    print_table(["data", "headstart pictures/s", "plain loop pictures/s", "ratio"], rows)


if __name__ == "__main__":
    main()
