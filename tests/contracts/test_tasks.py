"""What every row of LABEL_TASKS promises.

What answers pixel by pixel promises other things: tests/unit/tasks/test_semantic_segmentation.py.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from headstart.backbones import load_backbone, load_text_backbone
from headstart.contracts import Batch, Legend, Sample
from headstart.errors import ConfigError, DataError
from headstart.protocols import LabelTask
from headstart.strategies.heads import linear_head
from headstart.tasks import LABEL_TASKS, make_label_task, make_mask_task

CLASSES = ("a", "b", "c")


@pytest.fixture(
    params=[(n, m) for n in LABEL_TASKS for m in (False, True)],
    ids=[f"{n}-{kind}" for n in LABEL_TASKS for kind in ("single", "multi")],
)
def task(request: pytest.FixtureRequest) -> LabelTask:
    name, is_multilabel = request.param
    return make_label_task(name, is_multilabel=is_multilabel)


@pytest.fixture
def picture(tmp_path: Path) -> Sample:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    return Sample("x.png", tmp_path / "x.png", ("b",))


def targets_of(task: LabelTask, *labels: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor([task.target(Sample("x", Path("x"), each), CLASSES) for each in labels])


def contract_of(task: LabelTask, folder: Path) -> Any:
    """That of a backbone that reads what the task is about."""
    if task.unit == "picture":
        return load_backbone("timm:test_resnet", weights="random").contract
    pytest.importorskip("transformers", reason="needs the extra `text`")
    from tiny_language_models import write_model

    return load_text_backbone(str(write_model("bert", folder / "model"))).contract


@pytest.fixture
def sample(task: LabelTask, picture: Sample) -> Sample:
    if task.unit == "picture":
        return picture
    return Sample("a.csv#1", picture.path.with_name("a.csv"), ("b",), text="what films are these ?")


def test_what_is_prepared_fits_the_contract(
    task: LabelTask, sample: Sample, tmp_path: Path
) -> None:
    contract = contract_of(task, tmp_path)
    for augment in (None, "medium"):
        found = task.preparation(contract, augment)(sample)
        if task.unit == "picture":
            assert found.shape == (len(contract.bands), contract.height, contract.width)
            assert found.dtype == torch.uint8
        else:
            assert found.ndim == 1
            assert 2 < len(found) <= contract.window
            assert found.dtype == torch.int64


def test_preparation_can_be_sent_to_worker_processes(
    task: LabelTask, sample: Sample, tmp_path: Path
) -> None:
    prepare = task.preparation(contract_of(task, tmp_path))
    assert torch.equal(pickle.loads(pickle.dumps(prepare))(sample), prepare(sample))


def test_what_evaluation_reads_is_what_is_prepared(
    task: LabelTask, sample: Sample, tmp_path: Path
) -> None:
    contract = contract_of(task, tmp_path)
    [batch] = task.batches([sample], contract, device=torch.device("cpu"))
    assert batch.ids == (sample.id,)
    assert batch.inputs is not None
    assert torch.equal(batch.inputs[0], task.preparation(contract)(sample))


def test_a_file_that_is_no_picture_is_refused_by_its_path(tmp_path: Path) -> None:
    task = make_label_task("image-classification", is_multilabel=False)
    (tmp_path / "no.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"no\.jpg"):
        task.preparation(contract_of(task, tmp_path))(Sample("no.jpg", tmp_path / "no.jpg"))


def test_probabilities_are_probabilities(task: LabelTask) -> None:
    logits = torch.tensor([[3.0, -1.0, 0.0], [-200.0, 200.0, 0.0]])
    found = task.predict(logits, ["x", "y"], CLASSES)
    assert found.probabilities.shape == (2, 3)
    assert found.probabilities.dtype == np.float32
    assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()
    assert found.labels[0].split("|")[0] == "a"
    if not task.is_multilabel:
        assert found.probabilities.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_perfect_logits_measure_as_perfect(task: LabelTask) -> None:
    samples = [Sample(str(i), Path("x"), (c,)) for i, c in enumerate("abcabc")]
    targets = targets_of(task, *[s.labels for s in samples])
    logits = 20.0 * (F.one_hot(torch.arange(6) % 3, 3).float() - 0.5)
    metrics = task.validation_metrics(logits, targets)
    assert metrics["loss"] == pytest.approx(0.0, abs=1e-3)
    assert metrics["accuracy"] == metrics["macro_f1"] == metrics["balanced_accuracy"] == 1.0
    evaluation = task.evaluate(task.predict(logits, [s.id for s in samples], CLASSES), samples)
    assert evaluation.n == 6
    assert float(evaluation.metrics["macro_f1"]) == 1.0
    assert set(evaluation.per_class) == set(CLASSES)


def test_label_smoothing_and_class_weights_follow_their_formulas(task: LabelTask) -> None:
    backbone = load_backbone("timm:test_resnet", weights="random")
    head = linear_head(backbone.spec.num_features, 3, dropout=0.0, hidden=0)
    torch.nn.init.normal_(head.last.weight, generator=torch.Generator().manual_seed(0))
    model = task.build(backbone, head)
    features = torch.randn(2, backbone.spec.num_features, generator=torch.Generator())
    targets = targets_of(task, ("a",), ("c",))
    weights = torch.tensor([1.0, 2.0, 3.0])
    batch = Batch(("x", "y"), targets=targets, features=features)
    found = task.with_loss(label_smoothing=0.1, class_weights=weights).loss(model, batch)
    with torch.no_grad():
        logits = head(features).double()
    if task.is_multilabel:
        smooth = targets.double() * 0.9 + 0.05
        log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
        expected = -(weights * smooth * log_p + (1 - smooth) * log_q).mean()
    else:
        smooth = torch.eye(3, dtype=torch.float64)[targets] * 0.9 + 0.1 / 3
        summed = -(weights * smooth * logits.log_softmax(dim=1)).sum()
        expected = summed / weights[targets].sum()
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-4)


def test_with_another_loss_it_is_the_same_task(task: LabelTask) -> None:
    other = task.with_loss(label_smoothing=0.2, class_weights=None)
    assert (other.name, other.is_multilabel) == (task.name, task.is_multilabel)


def test_undecided_logits_cost_what_guessing_costs(task: LabelTask) -> None:
    metrics = task.validation_metrics(torch.zeros(3, 3), targets_of(task, ("a",), ("b",), ("c",)))
    per_decision = math.log(2) if task.is_multilabel else math.log(3)
    assert metrics["loss"] == pytest.approx(per_decision, rel=1e-4)


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean `image-classification`"):
        make_label_task("image-clasification", is_multilabel=False)
    with pytest.raises(
        ConfigError, match=r"no task `image-classification` that answers with masks"
    ):
        make_mask_task("image-classification", Legend(("a", "b"), ((0,), (1,))))


def test_answers_that_are_no_finite_numbers_have_no_score(task: LabelTask) -> None:
    targets = targets_of(task, ("a",), ("b",))
    sound = task.validation_metrics(torch.zeros(2, 3), targets)
    broken = task.validation_metrics(torch.tensor([[0.0, 1.0, 2.0], [math.nan, 0.0, 0.0]]), targets)
    assert sound.keys() == broken.keys()
    assert all(map(math.isfinite, sound.values()))
    assert all(map(math.isnan, broken.values()))
