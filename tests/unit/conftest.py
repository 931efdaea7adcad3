"""Fits on features that a test decides: pictures are drawn, but what a backbone sees is given."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from headstart.contracts import Sample
from headstart.progress import Event, Progress

NUM_FEATURES = 96  # of test_resnet
NUM_STATISTICS = 5
TINY = {
    "backbone": "timm:test_resnet.r160_in1k",
    "weights": "random",
    "precision": "float32",
    "workers": 0,
}


class Recorder:
    """A sink that keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[str]:
        """Messages of a kind."""
        return [event.message for event in self.events if event.kind == kind]


@dataclass(frozen=True)
class Fitted:
    """A finished run, and what was told on the way."""

    path: Path
    recorder: Recorder

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the run, as strictly as a parser of another language."""

        def refuse(word: str) -> float:
            raise AssertionError(f"{name} holds {word}, which is no JSON")

        text = (self.path / name).read_text(encoding="utf-8")
        values: dict[str, Any] = json.loads(text, parse_constant=refuse)
        return values

    @property
    def metrics(self) -> dict[str, Any]:
        return self.read("metrics.json")

    @property
    def rungs(self) -> dict[str, dict[str, Any]]:
        """By strategy."""
        return {rung["strategy"]: rung for rung in self.metrics["rungs"]}

    @property
    def choices(self) -> dict[str, Any]:
        """Settled last, by name."""
        return {each["name"]: each["value"] for each in self.read("config.json")["choices"]}


@pytest.fixture
def draw_table(tmp_path: Path) -> Callable[..., Path]:
    """Pictures of noise, and a CSV about them: `draw_table([{"label": "a", ...}, ...])`."""

    def draw(rows: Sequence[Mapping[str, str]], *, name: str = "data") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for i in range(len(rows)):
            pixels = np.random.default_rng(i).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:03}.png")
        with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["file", *rows[0]], lineterminator="\n")
            writer.writeheader()
            writer.writerows({"file": f"{i:03}.png", **row} for i, row in enumerate(rows))
        return folder / "labels.csv"

    return draw


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Fitted]:
    """`fit(data, strategy="auto", ...)` with a tiny model of random weights."""
    import headstart as hs

    def run(data: Path, *, name: str = "run", **options: Any) -> Fitted:
        recorder = Recorder()
        values = {**TINY, "output": tmp_path / name, **options}
        hs.fit(data, progress=Progress([recorder]), **values)
        return Fitted(tmp_path / name, recorder)

    return run


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`see(features)`: the backbone gives features(sample), (NUM_FEATURES,), instead of its own.

    `see(features, depths=...)`: and depths(sample), (NUM_DEPTHS,), as those of all depths.

    What is exchanged is the cache's contents, at the one place where a fit reads it.
    """
    from headstart.fitting.collecting import Collector

    def exchange(
        features: Callable[[Sample], Tensor], depths: Callable[[Sample], Tensor] | None = None
    ) -> None:
        def collect(collector: Collector, samples: Sequence[Sample]) -> dict[str, Tensor]:
            noise = {s.id: noise_of(s, NUM_STATISTICS) for s in samples}
            collector.statistics |= noise
            if depths is not None:
                collector.depths |= {sample.id: depths(sample) for sample in samples}
            return {sample.id: features(sample) for sample in samples}

        monkeypatch.setattr(Collector, "collect", collect)

    return exchange


def noise_of(sample: Sample, width: int = NUM_FEATURES) -> Tensor:
    """(width,) noise of the sample's own."""
    seed = int.from_bytes(sample.id.encode()[-7:], "little") % 2**31
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def separable() -> Callable[[Sample], Tensor]:
    """Features that tell the labels, far apart."""

    def features(sample: Sample) -> Tensor:
        row = noise_of(sample)
        for label in sample.labels:
            generator = torch.Generator().manual_seed(sum(map(ord, label)))
            row += 2.0 * torch.randn(NUM_FEATURES, generator=generator)
        return row

    return features


@pytest.fixture
def say_nothing() -> Callable[[Sample], Tensor]:
    """Features of which nothing can be learned."""
    return noise_of


@pytest.fixture
def slow_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is said to train one picture in ten seconds."""
    from headstart.compute import MeasuredFormat
    from headstart.contracts import ComputeFormat
    from headstart.fitting.attempt import Attempt

    measured = MeasuredFormat(ComputeFormat(), 0.1, "as the test has it")
    monkeypatch.setattr(Attempt, "training", property(lambda attempt: measured))


@pytest.fixture
def tiny_racers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Backbones that race, with random weights, the same each time.

    Those named `blind...` give the same features for all pictures; `unreachable...` cannot be had.
    """
    from headstart.backbones import load_backbone
    from headstart.compute import MeasuredFormat
    from headstart.contracts import Backbone, ComputeFormat
    from headstart.errors import WeightsError

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny models gain nothing from more

    def load(unit: str, name: str, **options: Any) -> Backbone:
        if name.startswith("unreachable"):
            raise WeightsError("The registry does not answer.")
        torch.manual_seed(0)
        is_blind = name.startswith("blind")
        backbone = load_backbone("test_resnet" if is_blind else name, weights="random")
        if is_blind:
            for parameter in backbone.module.parameters():
                torch.nn.init.zeros_(parameter)
        return backbone

    def measure(*_: Any, **__: Any) -> MeasuredFormat:
        return MeasuredFormat(ComputeFormat(), 500.0, "as the test has it")

    monkeypatch.setattr("headstart.field.load_backbone_for", load)
    monkeypatch.setattr("headstart.fitting.choosing.load_backbone_for", load)
    monkeypatch.setattr("headstart.fitting.embedding.choose_format", measure)
    monkeypatch.setattr("headstart.racing._LEAST_SAMPLES", 16)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    yield
    torch.set_num_threads(num_threads)
