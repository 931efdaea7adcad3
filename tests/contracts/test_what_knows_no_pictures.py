"""Feed, engine and strategies ask nothing of a task that only pictures have.

The task here is of texts: its samples are files of words, its batches token ids, its backbone
declares a vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.contracts import (
    Backbone,
    BackboneSpec,
    Batch,
    ComputeFormat,
    Evaluation,
    FeatureTable,
    LabelTask,
    Prediction,
    Sample,
)
from headstart.engine.loop import Training
from headstart.engine.plan import Surroundings, TrainingPlan
from headstart.fitting.feeding import Feed, Loading
from headstart.interrupt import StopSignal
from headstart.metrics.classification import evaluate_single_label, point_metrics
from headstart.model import Model
from headstart.progress import Progress
from headstart.strategies import StrategySettings, make_strategy

CLASSES = ("praise", "blame")
TEXTS = {"a.txt": "good fine", "b.txt": "bad poor", "c.txt": "fine", "d.txt": "poor bad bad"}
PADDING = 0


@dataclass(frozen=True)
class Vocabulary:
    """What the weights expect as input: the id of a word is its place here; 0 fills up."""

    words: tuple[str, ...] = ("", "good", "fine", "bad", "poor")
    length: int = 4


class MeanOfWords(nn.Module):
    """Token ids (B, length) -> features (B, 6); ids that fill up are left out."""

    def __init__(self, num_words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, 6)
        self.mix = nn.Linear(6, 6)

    def forward(self, ids: Tensor) -> Tensor:
        is_word = (ids != PADDING).unsqueeze(2)
        mean = (self.words(ids) * is_word).sum(dim=1) / is_word.sum(dim=1)
        mixed: Tensor = self.mix(mean)
        return mixed


class TextModel(Model):
    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(ids))
        return logits


class Tokenise:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def __call__(self, sample: Sample) -> Tensor:
        ids = [self.vocabulary.words.index(word) for word in sample.path.read_text().split()]
        return torch.tensor(ids + [PADDING] * (self.vocabulary.length - len(ids)))


class Gathered:
    def __init__(self) -> None:
        self.rows: list[tuple[Tensor, Tensor]] = []

    def add(self, logits: Tensor, targets: Tensor) -> None:
        self.rows.append((logits, targets))

    def metrics(self) -> dict[str, float]:
        logits, targets = (torch.cat(each) for each in zip(*self.rows, strict=True))
        return point_metrics(logits.softmax(dim=1).numpy(), targets.numpy())


class TextClassification:
    name = "text-classification"
    is_multilabel = False
    is_dense = False

    def with_loss(
        self, *, label_smoothing: float, class_weights: Tensor | None
    ) -> TextClassification:
        return self

    def preparation(self, contract: Vocabulary, augment: Any = None) -> Callable[[Sample], Tensor]:
        return Tokenise(contract)

    def new_head(self, backbone: Backbone[Vocabulary], num_classes: int) -> None:
        return None

    def build(self, backbone: Backbone[Vocabulary], head: nn.Module) -> TextModel:
        return TextModel(backbone, head)

    def logits(self, model: Model, batch: Batch) -> Tensor:
        logits: Tensor = (
            model(batch.inputs) if batch.features is None else model.head(batch.features)
        )
        return logits

    def loss(self, model: Model, batch: Batch) -> Tensor:
        assert batch.targets is not None
        return F.cross_entropy(self.logits(model, batch), batch.targets)

    def tally(self) -> Gathered:
        return Gathered()

    def target(self, sample: Sample, classes: Sequence[str]) -> int:
        return list(classes).index(sample.label)

    def predict(self, logits: Tensor, ids: Sequence[str], classes: Sequence[str]) -> Prediction:
        return Prediction(tuple(ids), tuple(classes), logits.softmax(dim=1).numpy())

    def evaluate(self, prediction: Prediction, samples: Sequence[Sample]) -> Evaluation:
        truth = torch.tensor([self.target(s, prediction.classes) for s in samples]).numpy()
        return evaluate_single_label(prediction.probabilities, truth, prediction.classes)

    def validation_metrics(self, logits: Tensor, targets: Tensor) -> dict[str, float]:
        return point_metrics(logits.softmax(dim=1).numpy(), targets.numpy())


TASK: LabelTask = TextClassification()
VOCABULARY = Vocabulary()


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    labels = dict(zip(TEXTS, CLASSES * 2, strict=True))
    return [Sample(name, tmp_path / name, (label,)) for name, label in labels.items()]


@pytest.fixture
def backbone() -> Backbone[Vocabulary]:
    torch.manual_seed(0)
    module = MeanOfWords(len(VOCABULARY.words))
    groups = (("words.weight",), ("mix.weight", "mix.bias"))
    spec = BackboneSpec("test", "mean-of-words", 6)
    return Backbone[Vocabulary](spec, VOCABULARY, module, groups)


def feed_of(samples: Sequence[Sample], tables: Sequence[Mapping[str, Tensor]] = ()) -> Feed:
    return Feed(
        task=TASK,
        contract=VOCABULARY,
        classes=CLASSES,
        target=lambda sample: TASK.target(sample, CLASSES),
        device=torch.device("cpu"),
        train=samples,
        validation=(),
        tables=tables,
        uses_views=True,
        on_unreadable=lambda sample, error: None,
    )


def labels_of(model: Model, samples: Sequence[Sample]) -> list[str]:
    inputs = torch.stack([Tokenise(VOCABULARY)(sample) for sample in samples])
    ids = [sample.id for sample in samples]
    with torch.no_grad():
        logits = TASK.logits(model.eval(), Batch(tuple(ids), inputs=inputs))
    return TASK.predict(logits, ids, CLASSES).labels


@pytest.mark.parametrize("name", ["head", "gradual", "full", "scratch"])
def test_a_task_of_texts_learns_by_gradient(
    name: str, samples: list[Sample], backbone: Backbone[Vocabulary], tmp_path: Path
) -> None:
    strategy = make_strategy(name, StrategySettings(CLASSES))
    model = TASK.build(backbone, strategy.new_head(backbone))
    table = table_of(backbone, samples) if strategy.needs_features else None
    strategy.initialise(model, table)
    feed = feed_of(samples)
    loading = Loading(augment=None, batch_size=2, num_workers=0, seed=0)
    Training(
        model,
        TASK,
        strategy=strategy,
        train=feed.training(loading),
        validate=feed.scorer(ComputeFormat()),
    ).fit(
        TrainingPlan(num_epochs=20, lr=0.1, monitor="loss"),
        Surroundings(
            device=torch.device("cpu"),
            compute_format=ComputeFormat(),
            checkpoint=tmp_path / "state.safetensors",
            stop=StopSignal(Progress()),
            progress=Progress(),
        ),
    )
    assert labels_of(model, samples) == [sample.label for sample in samples]


def test_a_probe_on_cached_features_of_texts_answers(
    samples: list[Sample], backbone: Backbone[Vocabulary]
) -> None:
    strategy = make_strategy("probe", StrategySettings(CLASSES))
    model = TASK.build(backbone, strategy.new_head(backbone))
    strategy.initialise(model, table_of(backbone, samples))
    features = features_of(backbone, samples)
    feed = feed_of(samples, [features])
    with torch.no_grad():
        assert feed.scorer(ComputeFormat())(model.eval())["accuracy"] == 1.0
    assert labels_of(model, samples) == [sample.label for sample in samples]


def features_of(backbone: Backbone[Vocabulary], samples: Sequence[Sample]) -> dict[str, Tensor]:
    prepare = TASK.preparation(backbone.contract)
    with torch.no_grad():
        return {s.id: backbone.module(torch.stack([prepare(s)]))[0] for s in samples}  # type: ignore[list-item]


def table_of(backbone: Backbone[Vocabulary], samples: Sequence[Sample]) -> FeatureTable:
    return FeatureTable(
        features=torch.stack(list(features_of(backbone, samples).values())),
        targets=torch.tensor([TASK.target(sample, CLASSES) for sample in samples]),
        groups=torch.arange(len(samples)),
        num_classes=len(CLASSES),
    )
