"""A training small enough to be repeated many times: 24 pictures of 8 x 8, a net of two stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.contracts import Backbone, BackboneSpec, Batch, ComputeFormat, InputContract
from headstart.data.seeding import epoch_order
from headstart.engine.loop import Training
from headstart.engine.plan import FitResult, Surroundings, TrainingPlan
from headstart.interrupt import StopSignal
from headstart.model import Model
from headstart.progress import Event, Progress
from headstart.protocols import Strategy, Task
from headstart.strategies import StrategySettings, make_strategy
from headstart.tasks.image_classification import ImageClassification

NUM_SAMPLES, SIDE, CLASSES = 24, 8, ("a", "b", "c")
CPU = torch.device("cpu")


class Recorder:
    """A sink that keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]


class Pictures:
    """Training batches whose order is a function of the epoch; tells before each which it is."""

    def __init__(self, batch_size: int, on_batch: Callable[[int, int], None] | None = None) -> None:
        generator = torch.Generator().manual_seed(5)
        self.targets = torch.arange(NUM_SAMPLES) % len(CLASSES)
        noise = torch.randint(0, 120, (NUM_SAMPLES, 3, SIDE, SIDE), generator=generator)
        colour = 120 * nn.functional.one_hot(self.targets, 3)[:, :, None, None]
        self.inputs = (noise + colour).to(torch.uint8)
        self.batch_size = batch_size
        self.on_batch = on_batch

    def __len__(self) -> int:
        return -(-NUM_SAMPLES // self.batch_size)

    def batch_of(self, rows: Tensor) -> Batch:
        ids = tuple(f"p{i}" for i in rows.tolist())
        return Batch(ids, inputs=self.inputs[rows], targets=self.targets[rows])

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        order = torch.from_numpy(epoch_order(NUM_SAMPLES, seed=0, epoch=epoch, weights=None))
        for number, rows in list(enumerate(order.split(self.batch_size)))[start:]:
            if self.on_batch is not None:
                self.on_batch(epoch, number)
            yield self.batch_of(rows)

    def close(self) -> None:
        pass


def tiny_backbone(*, with_norms: bool) -> Backbone:
    torch.manual_seed(1)
    norm = nn.BatchNorm2d if with_norms else lambda _: nn.Identity()
    stage = [nn.Conv2d(3, 6, 3, stride=2, padding=1), norm(6), nn.ReLU()]
    stage2 = [nn.Conv2d(6, 8, 3, stride=2, padding=1), norm(8), nn.ReLU()]
    module = nn.Sequential(
        nn.Sequential(*stage),
        nn.Sequential(*stage2),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    names = [name for name, _ in module.named_parameters()]
    groups = tuple(tuple(n for n in names if n.startswith(str(i))) for i in range(2))
    contract = InputContract(("R", "G", "B"), SIDE, SIDE, (0.5,) * 3, (0.5,) * 3)
    return Backbone(BackboneSpec("test", "tiny", 8), contract, module, groups)


@dataclass
class Lab:
    """One training: change a field, then `fit()`.

    Attributes:
        validate: Gives the metrics after an epoch; None computes them on the training pictures.
        on_batch: Called with epoch and batch number before each batch, also of the rehearsal.
    """

    checkpoint: Path
    strategy_name: str = "full"
    plan: TrainingPlan = field(default_factory=lambda: TrainingPlan(3, 0.01, checkpoint_s=0.0))
    batch_size: int = 4
    with_norms: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    task: Task = field(default_factory=ImageClassification)
    validate: Callable[[Model], Mapping[str, float]] | None = None
    on_batch: Callable[[int, int], None] | None = None
    deadline: float | None = None
    rehearse: Callable[[], None] | None = None
    recorder: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.progress = Progress([self.recorder])
        self.stop = StopSignal(self.progress)

    def build(self) -> tuple[Model, Strategy]:
        backbone = tiny_backbone(with_norms=self.with_norms)
        strategy = make_strategy(
            self.strategy_name, StrategySettings(classes=CLASSES, **self.settings)
        )
        torch.manual_seed(2)
        return self.task.build(backbone, strategy.new_head(backbone)), strategy

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            device=CPU,
            compute_format=ComputeFormat(),
            checkpoint=self.checkpoint,
            stop=self.stop,
            progress=self.progress,
            deadline=self.deadline,
            rehearse=self.rehearse,
        )

    def fit(self) -> FitResult:
        self.model, self.strategy = self.build()
        pictures = Pictures(self.batch_size, self.on_batch)

        def on_training_pictures(model: Model) -> Mapping[str, float]:
            batch = pictures.batch_of(torch.arange(NUM_SAMPLES))
            with torch.no_grad():
                logits = self.task.logits(model, batch)
            return self.task.validation_metrics(logits, pictures.targets)

        self.training = Training(
            self.model,
            self.task,
            strategy=self.strategy,
            train=pictures,
            validate=self.validate or on_training_pictures,
        )
        return self.training.fit(self.plan, self.surroundings)

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: t.clone() for name, t in self.model.state_dict().items()}


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., Lab]:
    """`lab(strategy_name="gradual", ...)` -> Lab; each with a checkpoint file of its own name."""

    def make(name: str = "run", **values: Any) -> Lab:
        return Lab(tmp_path / name / "state.safetensors", **values)

    return make
