"""What every row of STRATEGIES promises, for one label a picture and for several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headstart.backbones import build_backbone, load_backbone
from headstart.contracts import Backbone, Batch, ComputeFormat, FeatureTable, Sample
from headstart.engine.loop import Training
from headstart.engine.optimizer import check_groups
from headstart.engine.plan import Surroundings, TrainingPlan
from headstart.errors import ConfigError
from headstart.interrupt import StopSignal
from headstart.model import Model
from headstart.progress import Progress
from headstart.protocols import Strategy
from headstart.strategies import STRATEGIES, StrategySettings, make_strategy
from headstart.strategies.heads import build_head, describe_head
from headstart.tasks.image_classification import ImageClassification

CLASSES = ("red", "green")
SIDE = 32
LEARN_BY_GRADIENT = ("head", "gradual", "full", "scratch")
LEARN = ("probe", *LEARN_BY_GRADIENT)
# What changes linear layers alone has nothing to learn in a convolutional network.
TRANSFORMERS_ALONE = ("lora",)
# Their loss is their own, and the head comes after it.
LEARN_BY_PAIRS = ("contrastive",)


class FourPictures:
    """Four noisy pictures, two of them red and two green; for several labels one is both.

    Each batch holds all four. Of two pictures a batch, batch norm would leave the signs of their
    differences alone where a map has one pixel, as the last ones here: in training the pairs are
    then told apart by what is unlike within each, and in evaluation, whose statistics are those of
    both pairs together, that means something else. A loss of 0.3 to 0.6 was left, by chance on the
    right side or on the wrong one; of four it is below 0.001.
    """

    def __init__(self, *, is_multilabel: bool) -> None:
        generator = torch.Generator().manual_seed(3)
        pixels = torch.randint(0, 90, (4, 3, SIDE, SIDE), generator=generator)
        labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
        if is_multilabel:
            labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
        pixels[:, :2] += 160 * labels[:, :, None, None].long()
        self.inputs = pixels.to(torch.uint8)
        self.targets = labels if is_multilabel else labels.argmax(dim=1)

    def __len__(self) -> int:
        return 2

    @property
    def whole(self) -> Batch:
        return Batch(tuple("abcd"), inputs=self.inputs, targets=self.targets)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        for _ in range(start, len(self)):
            yield self.whole

    def close(self) -> None:
        pass


@dataclass
class Case:
    strategy: Strategy
    task: ImageClassification
    backbone: Backbone
    model: Model
    pictures: FourPictures

    def train(self, folder: Path, *, num_epochs: int) -> None:
        """Trains in place; what is to be trained already there is taken up."""
        plan = TrainingPlan(num_epochs, 0.02, monitor="loss", weight_decay=0.0, clip_norm=None)
        validate = lambda model: self.task.validation_metrics(  # noqa: E731
            self.logits(), self.pictures.targets
        )
        training = Training(
            self.model,
            self.task,
            strategy=self.strategy,
            train=self.pictures,
            validate=validate,
        )
        training.fit(plan, self.surroundings(folder))

    def surroundings(self, folder: Path) -> Surroundings:
        return Surroundings(
            device=torch.device("cpu"),
            compute_format=ComputeFormat(),
            checkpoint=folder / "state.safetensors",
            stop=StopSignal(Progress()),
            progress=Progress(),
        )

    def table(self) -> FeatureTable:
        with torch.no_grad():
            features = self.model.eval().embed(self.pictures.inputs)
        return FeatureTable(
            features=features,
            targets=self.pictures.targets,
            groups=torch.arange(4),
            num_classes=2,
            is_multilabel=self.task.is_multilabel,
        )

    def logits(self) -> Tensor:
        with torch.no_grad():
            return self.task.logits(self.model.eval(), self.pictures.whole)

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


def make(name: str, *, is_multilabel: bool, architecture: str = "test_resnet") -> Case:
    torch.manual_seed(0)
    architecture = "test_vit" if name in TRANSFORMERS_ALONE else architecture
    backbone = load_backbone(f"timm:{architecture}", weights="random")
    backbone.contract = replace(backbone.contract, height=SIDE, width=SIDE)
    classifier = nn.Linear(backbone.spec.num_features, 3)
    backbone.pretrained_head, backbone.pretrained_classes = classifier, ("green", "blue", "red")
    task = ImageClassification(is_multilabel=is_multilabel)
    settings = StrategySettings(
        CLASSES, is_multilabel=is_multilabel, pretrained_classes=backbone.pretrained_classes
    )
    strategy = make_strategy(name, settings)
    model = task.build(backbone, strategy.new_head(backbone))
    case = Case(strategy, task, backbone, model, FourPictures(is_multilabel=is_multilabel))
    strategy.initialise(model, case.table() if strategy.needs_features else None)
    return case


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


AS_IS_MULTI = ("as-is", True)
any_labels = pytest.mark.parametrize("is_multilabel", [False, True], ids=["single", "multi"])
# as-is has one label a picture only, by the nature of its classifier: see the test of its refusal.
any_strategy_and_labels = pytest.mark.parametrize(
    ("name", "is_multilabel"),
    [
        (name, multi)
        for name in STRATEGIES
        for multi in (False, True)
        if (name, multi) != AS_IS_MULTI
    ],
)


@any_labels
@pytest.mark.parametrize("name", LEARN)
def test_it_overfits_four_samples(name: str, is_multilabel: bool, tmp_path: Path) -> None:
    case = make(name, is_multilabel=is_multilabel)
    if case.strategy.prepare(case.model):
        case.train(tmp_path, num_epochs=30)
    answer = case.task.predict(case.logits(), list("abcd"), CLASSES)
    samples = [(c in "ac", c in "bd") for c in "abcd"]
    if is_multilabel:
        samples = [(bool(a), bool(b)) for a, b in case.pictures.targets.tolist()]
    expected = ["|".join(n for n, has in zip(CLASSES, s, strict=True) if has) for s in samples]
    assert answer.labels == expected


@any_strategy_and_labels
@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "test_efficientnet"])
def test_each_parameter_that_learns_is_in_one_group(
    name: str, is_multilabel: bool, architecture: str
) -> None:
    case = make(name, is_multilabel=is_multilabel, architecture=architecture)
    groups = case.strategy.prepare(case.model)
    names = {id(p): n for n, p in case.model.named_parameters()}
    grouped = sorted(names[id(p)] for group in groups for p in group.parameters)
    assert len(set(grouped)) == len(grouped)
    learning: set[str] = set()
    for epoch in range(10):
        case.strategy.on_epoch(case.model, epoch, num_epochs=10)
        check_groups(case.model, groups)
        learning |= {n for n, p in case.model.named_parameters() if p.requires_grad}
    assert sorted(learning) == grouped
    assert bool(grouped) == (name in (*LEARN_BY_GRADIENT, *TRANSFORMERS_ALONE, *LEARN_BY_PAIRS))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_phase_is_a_function_of_the_epoch_alone(name: str) -> None:
    case = make(name, is_multilabel=False)
    case.strategy.prepare(case.model)

    def phases(epochs: list[int]) -> dict[int, tuple[str, tuple[bool, ...]]]:
        found = {}
        for epoch in epochs:
            phase = case.strategy.on_epoch(case.model, epoch, num_epochs=7)
            found[epoch] = (phase, tuple(p.requires_grad for p in case.model.parameters()))
        return found

    assert phases(list(range(7))) == phases([6, 0, 3, 1, 5, 2, 4])


@any_labels
@pytest.mark.parametrize("name", LEARN_BY_GRADIENT)
def test_what_is_frozen_does_not_move(name: str, is_multilabel: bool, tmp_path: Path) -> None:
    case = make(name, is_multilabel=is_multilabel)
    before = case.state()
    num_epochs = 1  # so that `gradual` stays in its first phase, where only the head learns
    case.train(tmp_path, num_epochs=num_epochs)
    moved = differing(before, case.state())
    learning = {n for n, p in case.model.named_parameters() if p.requires_grad}
    statistics = {n for n in before if n.endswith(("running_mean", "running_var", "tracked"))}
    assert learning
    assert statistics
    if name == "scratch":
        assert moved & statistics  # it has no statistics but its own
        assert moved - statistics <= learning
    else:
        assert moved <= learning
    if name in ("head", "gradual"):
        assert all(n.startswith("head.") for n in moved)
    else:
        assert any(n.startswith("backbone.") for n in moved)


@pytest.mark.parametrize("name", [*LEARN_BY_GRADIENT, *TRANSFORMERS_ALONE])
def test_frozen_parts_stay_in_eval(name: str) -> None:
    case = make(name, is_multilabel=False)
    case.strategy.prepare(case.model)
    for epoch in range(5):
        case.strategy.on_epoch(case.model, epoch, num_epochs=5)
        case.strategy.train_mode(case.model)
        for path, child in case.model.named_modules():
            parameters = list(child.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                assert not child.training, path
        assert case.model.head.training


@any_strategy_and_labels
def test_saved_and_loaded_it_predicts_the_same(
    name: str, is_multilabel: bool, tmp_path: Path
) -> None:
    case = make(name, is_multilabel=is_multilabel)
    if case.strategy.prepare(case.model):
        case.train(tmp_path, num_epochs=2)
        case.strategy.finish(case.model)
    save_file(case.state(), tmp_path / "model.safetensors")
    head = build_head(describe_head(case.model.head))
    module = build_backbone(case.backbone.spec)
    anew = case.task.build(Backbone(case.backbone.spec, case.backbone.contract, module, ()), head)
    anew.load_state_dict(load_file(tmp_path / "model.safetensors"))
    with torch.no_grad():
        found = case.task.logits(anew.eval(), case.pictures.whole)
    assert torch.equal(found, case.logits())


@any_strategy_and_labels
def test_the_size_of_a_batch_does_not_matter(name: str, is_multilabel: bool) -> None:
    case = make(name, is_multilabel=is_multilabel)
    inputs = case.pictures.inputs
    with torch.no_grad():
        one_by_one = [
            case.task.logits(case.model.eval(), Batch((str(i),), inputs=inputs[i : i + 1]))
            for i in range(4)
        ]
    assert torch.allclose(torch.cat(one_by_one), case.logits(), rtol=1e-3, atol=1e-4)


@any_strategy_and_labels
def test_its_first_loss_is_finite_and_comes_from_features_too(
    name: str, is_multilabel: bool
) -> None:
    case = make(name, is_multilabel=is_multilabel)
    case.model.eval()
    with torch.no_grad():
        loss = case.task.loss(case.model, case.pictures.whole)
        features = case.model.embed(case.pictures.inputs)
        cached = replace(case.pictures.whole, inputs=None, features=features)
        from_features = case.task.loss(case.model, cached)
    assert loss.shape == ()
    assert bool(loss.isfinite())
    assert torch.allclose(loss, from_features, rtol=1e-4, atol=1e-5)


def test_a_head_that_learns_by_gradient_begins_undecided() -> None:
    case = make("head", is_multilabel=False)
    assert torch.equal(case.logits(), torch.zeros(4, 2))


def test_layers_nearer_the_input_learn_slower() -> None:
    for name in ("gradual", "full"):
        case = make(name, is_multilabel=False)
        rates = [g.lr_scale for g in case.strategy.prepare(case.model)]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == 1.0
        assert rates[-1] < 0.5


def test_norms_and_biases_have_no_weight_decay() -> None:
    case = make("full", is_multilabel=False)
    for group in case.strategy.prepare(case.model):
        assert {p.ndim > 1 for p in group.parameters} == {group.weight_decay_scale > 0}


def test_samples_of_every_strategy_are_those_of_the_task() -> None:
    """`target` is the only way from labels to numbers."""
    sample = Sample("x", Path("x"), ("green",))
    assert ImageClassification().target(sample, CLASSES) == 1
    assert ImageClassification(is_multilabel=True).target(sample, CLASSES) == [0.0, 1.0]


def test_as_is_refuses_several_labels_a_sample() -> None:
    with pytest.raises(ConfigError, match="one class a sample"):
        make("as-is", is_multilabel=True)
