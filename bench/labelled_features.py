"""Labelled pictures of the benches, and their features by the packaged default backbone."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import ANTS_BEES, BACKBONE, folders_of
from torch import Tensor

from headstart.backbones import load_backbone
from headstart.compute import choose_format
from headstart.contracts import Sample
from headstart.data import open_dataset
from headstart.data.checks import FileFacts
from headstart.fitting.collecting import Collector
from headstart.predictor import EmbedOnly, Predictor, example_input
from headstart.progress import ConsoleSink, Progress
from headstart.strategies.heads import linear_head
from headstart.tasks import make_label_task


@dataclass(frozen=True, eq=False)
class Labelled:
    """Features of labelled pictures.

    Attributes:
        features: (n, num_features) float32.
        targets: (n,) int64.
        is_test: (n,) bool, of the split the data set brings; all False without one.
        classes: Names.
    """

    features: Tensor
    targets: Tensor
    is_test: Tensor
    classes: tuple[str, ...]


class Embedding:
    """The backbone, ready to give features; what was computed once is in the cache."""

    def __init__(self) -> None:
        progress = Progress([ConsoleSink()])
        self.backbone = load_backbone(BACKBONE, progress=progress)
        task = make_label_task("image-classification", is_multilabel=False)
        head = linear_head(self.backbone.spec.num_features, 2, dropout=0.0, hidden=0)
        model = task.build(self.backbone, head)
        device = torch.device("cpu")
        compute_format = choose_format(
            EmbedOnly(model),
            example_input(self.backbone.contract, device),
            mode="inference",
            precision="auto",
            name=self.backbone.spec.reference,
        ).compute_format
        self.predictor = Predictor(
            model,
            task,
            contract=self.backbone.contract,
            classes=("a", "b"),
            device=device,
            compute_format=compute_format,
        )
        self.progress = progress

    def of(self, samples: Sequence[Sample]) -> Tensor:
        """(n, num_features) float32, in the order of the samples."""
        facts = {}
        for sample in samples:
            data = sample.path.read_bytes()
            facts[sample.id] = FileFacts(hashlib.sha256(data).hexdigest(), len(data))
        collector = Collector(
            predictor=self.predictor,
            backbone=self.backbone,
            facts=facts,
            seed=0,
            reading_ends=float("inf"),
            stops_at_bad=True,
            is_stopped=lambda: False,
            progress=self.progress,
        )
        found = collector.collect(samples)
        return torch.stack([found[sample.id] for sample in samples])


def ants_and_bees(embedding: Embedding) -> Labelled:
    """398 photos, in two splits."""
    if not ANTS_BEES.is_dir():
        raise SystemExit(f"There is no folder `{ANTS_BEES}`, which this measurement needs.")
    return _labelled(embedding, ANTS_BEES)


def solar_cells(embedding: Embedding) -> Labelled:
    """2,600 cells, functional or defective."""
    return _labelled(embedding, folders_of(["elpv"])["elpv"])


def cell_types(embedding: Embedding, wheel: Path | None) -> Labelled:
    """The same cells, mono or poly.

    Args:
        embedding: Of the backbone.
        wheel: Of the elpv package; None downloads it.
    """
    folder = folders_of(["elpv"])["elpv"]
    types = {Path(row[0]).name: row[2] for row in _rows(wheel) if row}
    dataset = open_dataset(folder)
    kinds = [types[sample.path.name] for sample in dataset]
    classes = tuple(sorted(set(kinds)))
    targets = torch.tensor([classes.index(kind) for kind in kinds])
    nowhere = torch.zeros(len(targets), dtype=torch.bool)
    return Labelled(embedding.of(dataset.samples), targets, nowhere, classes)


def _rows(wheel: Path | None) -> list[list[str]]:
    """Lines of the package's labels.csv: path, defect probability, cell type."""
    from headstart.backbones.packages import PackageFile, download_wheel
    from headstart.demo import PACKAGE, VERSION

    member = f"{PACKAGE.replace('-', '_')}/data/labels.csv"
    with tempfile.TemporaryDirectory() as name:
        if wheel is None:
            file = PackageFile(PACKAGE, VERSION, member)
            wheel = download_wheel(file, Path(name), progress=Progress([ConsoleSink()]))
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read(member).decode("utf-8")
    return list(csv.reader(io.StringIO(text), delimiter=" ", skipinitialspace=True))


def _labelled(embedding: Embedding, folder: Path) -> Labelled:
    dataset = open_dataset(folder)
    targets = torch.tensor([dataset.classes.index(sample.label) for sample in dataset])
    is_test = torch.tensor([sample.split in ("validation", "test") for sample in dataset])
    return Labelled(embedding.of(dataset.samples), targets, is_test, dataset.classes)
