"""The Protocols between the parts of Headstart that can be exchanged: tasks and strategies.

What they pass to one another is in `contracts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from headstart.contracts import (
    Backbone,
    Batch,
    Evaluation,
    Example,
    FeatureTable,
    Initialised,
    ParameterGroup,
    Prediction,
    Sample,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from headstart.errors import DataError
    from headstart.model import Model


class Tally(Protocol):
    """Answers to a pass over samples, gathered batch by batch as far as metrics need them."""

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Take in the answers to a batch, (B, num_classes, ...), and what was right."""
        ...

    def metrics(self) -> dict[str, float]:
        """Point metrics of all that was added, always with `loss`; no intervals."""
        ...


class Objective(Protocol):
    """What a training makes small; every task is one."""

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar."""
        ...


class Task(Protocol):
    """What every problem tells the engine, the strategies and the steps that all fits share.

    How its samples become inputs, how a model is made and what it costs to be wrong. What a model
    answers is no part of it: see LabelTask and MaskTask. One file in `tasks/` tells one task
    completely.

    Attributes:
        unit: What a sample is called: `picture` or `text`.
        is_multilabel: Whether each class is decided alone.
        is_dense: Whether each pixel has a target and an answer of its own; the head is then the
            task's, and samples are prepared as `Example`.
    """

    name: str
    unit: str
    is_multilabel: bool
    is_dense: bool

    def with_loss(self, *, label_smoothing: float, class_weights: Tensor | None) -> Self:
        """The same task with another loss; class_weights (num_classes,) or None."""
        ...

    def preparation(
        self, contract: Any, augment: Any = None
    ) -> Callable[[Sample], Tensor | Example]:
        """What reads a sample and makes it the model's input; augmented when `augment` is given.

        It raises DataError with the path, and can be sent to worker processes.

        Args:
            contract: Of the kind that the task's backbones have: of pictures an InputContract.
            augment: Of the kind that its samples can be changed by; None: as evaluation sees them.
        """
        ...

    def sizes(self, samples: Sequence[Sample], contract: Any) -> Sequence[int] | None:
        """How large each sample is once prepared; None where all are alike.

        By it batches are put together, where a smaller sample is filled up to the largest.
        """
        ...

    def new_head(self, backbone: Backbone[Any], num_classes: int) -> nn.Module | None:
        """A head that only the task knows how to make; None where it is the strategy's to make."""
        ...

    def build(self, backbone: Backbone[Any], head: nn.Module) -> Model:
        """Backbone and head as one model."""
        ...

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar; uses `batch.features` where they are given."""
        ...

    def logits(self, model: Model, batch: Batch) -> Tensor:
        """(B, num_classes, ...) float32 scores; uses `batch.features` where they are given."""
        ...

    def tally(self) -> Tally:
        """Nothing gathered yet; for the metrics after an epoch."""
        ...


class LabelTask(Task, Protocol):
    """A task with one answer a sample: a class, or any number of them."""

    def batches(
        self,
        samples: Sequence[Sample],
        contract: Any,
        *,
        device: Any,
        on_error: Callable[[Sample, DataError], None] | None = None,
    ) -> Iterator[Batch]:
        """Unlabelled batches as evaluation sees the samples, in any order.

        Args:
            samples: Any number.
            contract: See `preparation`.
            device: The torch.device that they are for, by which batches have their size.
            on_error: Told of each sample that cannot be read, which is then left out; None: the
                error is raised.
        """
        ...

    def statistics(self, inputs: Tensor) -> Tensor:
        """(B, m) float32: what is known of inputs without a backbone; m is 0 for nothing."""
        ...

    def target(self, sample: Sample, classes: Sequence[str]) -> Any:
        """The sample's target as the loss wants it: a class index, or a 0/1 vector."""
        ...

    def predict(self, logits: Tensor, ids: Sequence[str], classes: Sequence[str]) -> Prediction:
        """Logits (n, num_classes) as a Prediction."""
        ...

    def evaluate(self, prediction: Prediction, samples: Sequence[Sample]) -> Evaluation:
        """Metrics with intervals, for samples whose truth is known."""
        ...

    def validation_metrics(self, logits: Tensor, targets: Tensor) -> dict[str, float]:
        """The metrics of `tally`, of logits that are all at hand."""
        ...


class MaskTask(Task, Protocol):
    """A task with one class a pixel; its answers are counted, not kept."""

    @property
    def losses(self) -> Sequence[str]:
        """The losses whose sum is learnt by."""
        ...

    def with_model(self, *, decoder: str, losses: Sequence[str]) -> Self:
        """The same task with another decoder and the sum of other losses."""
        ...

    def evaluate(
        self,
        counts: NDArray[np.int64],
        classes: Sequence[str],
        *,
        groups: NDArray[np.int64] | None = None,
        boundary: NDArray[np.int64] | None = None,
    ) -> Evaluation:
        """Metrics with intervals; see `metrics.segmentation.evaluate_segmentation`."""
        ...


class Strategy(Protocol):
    """Which parameters learn, when, and how fast.

    A strategy makes the head, initialises it (from cached features, if it wants them), then names
    the parameters that are trained by gradient; one that names none is done after `initialise`.
    """

    name: str
    needs_features: bool

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """A head for the backbone: features (B, num_features) -> logits (B, num_classes)."""
        ...

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Set the head's weights before training."""
        ...

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """Each parameter that will ever learn, in exactly one group (asserted by the engine)."""
        ...

    def train_mode(self, model: Model) -> None:
        """`model.train()` with frozen norm layers left in eval."""
        ...

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        """Called before each epoch, from 0: freeze and unfreeze; returns the phase's name.

        It depends on its arguments alone, so that a resumed run is in the phase it was in.
        """
        ...

    def finish(self, model: Model) -> None:
        """Called once after training, with the best weights in the model: what it is kept as."""
        ...
