"""A race of backbones: each round on more samples, and after each the better half goes on.

Each backbone is judged by logistic regression on its features, out of fold. Features go through
the cache, under the keys that a fit uses. Wiring of the cache, the probe and the rounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from headstart.compute import batch_size_for
from headstart.contracts import Backbone, Prediction, Sample
from headstart.data.numbering import numbered
from headstart.errors import ConfigError, DataError, InterruptedFit
from headstart.fitting.collecting import Collector
from headstart.fitting.embedding import Embedder
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import feature_table
from headstart.fitting.settle import Choices
from headstart.fitting.situation import Situation
from headstart.halving import nested_parts, plan_rounds
from headstart.predictor import example_input
from headstart.progress import Event, Progress
from headstart.protocols import LabelTask
from headstart.report.wording import count, figure, metric_words
from headstart.strategies.probe import fit_linear_probe

# No round has fewer samples (nor five a class): on 100 the 95% interval of an accuracy of 0.9
# reaches 6 points to either side, and who is worse by less than that should not drop out.
_LEAST_SAMPLES = 100
_LEAST_A_CLASS = 5
# Why one took no part that could have.
NO_TURN = "The budget was over before its turn. Give more time with --budget."
# So many batches at least are timed, to tell how fast pictures are read.
_TIMED_BATCHES = 4


@dataclass(frozen=True, eq=False)
class Answers:
    """What a probe answered out of fold in one round, and its point metrics."""

    prediction: Prediction
    scores: Mapping[str, float]


@dataclass(eq=False)
class PassWatch:
    """Notes how many pictures were really read, and in what time; told by the bars of progress."""

    num_read: int = 0
    seconds: float = 0.0

    def handle(self, event: Event) -> None:
        if event.kind == "end":
            self.num_read += event.values["done"]
            self.seconds += event.values["seconds"]


@dataclass(eq=False)
class Racer:
    """A backbone in the race, with its features and answers so far, one of these a round."""

    reference: str
    backbone: Backbone
    inference_per_s: float
    watch: PassWatch = field(default_factory=PassWatch)
    features: dict[str, Tensor] = field(default_factory=dict)
    answers: list[Answers] = field(default_factory=list)
    epoch_s: float | None = None

    @property
    def samples_per_s(self) -> float:
        """As measured on the way; before that, by the speed probe."""
        if self.watch.num_read:
            return self.watch.num_read / max(self.watch.seconds, 1e-9)
        return self.inference_per_s

    def sort_key(self, name: str) -> tuple[int, float, float]:
        """Those that ran longest first, then by a score, then by log loss."""
        last = self.answers[-1].scores
        return -len(self.answers), -last[name], last["loss"]


class Race:
    """One race.

    Args:
        where: Data, task and device, as for a fit.
        samples: That all may see.
        headline: The metric that decides who goes on.
        reading_ends: `time.monotonic()` at which to stop reading.
        allowed: The time until then, as messages call it, such as `budget of 5m`.

    Attributes:
        parts: How many samples each round had.
        notes: What the budget did not hold, in sentences.
        absent: (reference, why) of those whose turn never came.
    """

    def __init__(
        self,
        where: Situation[LabelTask],
        samples: Sequence[Sample],
        *,
        headline: str,
        reading_ends: float,
        allowed: str,
    ) -> None:
        self.where = where
        self.progress = where.progress
        self.samples = samples
        self.headline = headline
        self.reading_ends = reading_ends
        self.allowed = allowed
        self.parts: list[int] = []
        self.notes: list[str] = []
        self.absent: list[tuple[str, str]] = []
        self._spread()

    @property
    def num_samples(self) -> int:
        """That can be read."""
        return len(self._part(1))

    def run(self, racers: Sequence[Racer]) -> None:
        """Round after round, until they are through or the budget is."""
        running = list(racers)
        least = len(self.samples) // self.num_parts
        divisors = plan_rounds(len(running), len(self.samples), least=least)
        for number, planned in enumerate(divisors, start=1):
            divisor = self._affordable(planned, running, num_left=len(divisors) - number + 1)
            part = self._part(divisor)
            if self.parts and len(part) <= self.parts[-1]:
                self._note_end(number - 1, len(divisors))
                break
            self.progress.note(
                f"Round {number} of {len(divisors)}: {count(len(running), 'backbone')} on "
                f"{len(part):,} of {len(self.samples):,} samples"
            )
            running = self._run_round(running, divisor)
            if not running:
                self._note_end(number - 1, len(divisors))
                break
            self.parts.append(len(self._part(divisor)))
            running.sort(key=lambda racer: racer.sort_key(self.headline))
            if number < len(divisors):
                num_kept = math.ceil(len(running) / 2)
                for racer in running[num_kept:]:
                    racer.features.clear()
                running = running[:num_kept]
        if not self.parts:
            raise ConfigError(
                f"The {self.allowed} was over before any of {count(len(racers), 'backbone')} had "
                "been tried. Give more time with --budget; what was read is in the cache."
            )
        if self.parts[-1] < len(self._part(1)):
            self.notes.append(
                f"At most {self.parts[-1]:,} of {len(self.samples):,} samples were looked at: the "
                "budget held no more. Give more time with --budget."
            )

    def _affordable(self, planned: int, running: Sequence[Racer], *, num_left: int) -> int:
        """The divisor that an even share of the time left can hold; the most where none can."""
        allowed_s = (self.reading_ends - time.monotonic()) / num_left
        a_sample_s = sum(1 / racer.samples_per_s for racer in running)
        divisor = planned
        while divisor < self.num_parts:
            num_new = len(self._part(divisor)) - (self.parts[-1] if self.parts else 0)
            if num_new * a_sample_s <= allowed_s:
                break
            divisor *= 2
        return divisor

    def _note_end(self, num_done: int, num_planned: int) -> None:
        if num_done:
            self.notes.append(
                f"The {self.allowed} ended the race after round {num_done} of {num_planned}."
            )

    def _run_round(self, running: Sequence[Racer], divisor: int) -> list[Racer]:
        """Those that came through; in a later round none, unless all did."""
        through, is_first = [], not self.parts
        for racer in running:
            if self._run(racer, divisor):
                through.append(racer)
            elif is_first:
                self.absent.append((racer.reference, NO_TURN))
            else:
                for other in through:
                    other.answers.pop()
                return []
        return through

    def _run(self, racer: Racer, divisor: int) -> bool:
        """Features of a part and a probe on them; False where time was up first."""
        if time.monotonic() > self.reading_ends:
            return False
        attempt = new_probe(self.where, racer.backbone)
        try:
            samples = self._read(racer, attempt, divisor)
        except InterruptedFit:
            if self.where.stop.is_set:
                raise
            return False
        finally:
            racer.backbone.module.to("cpu")
        table = feature_table(attempt, [racer.features], samples)
        _, found = fit_linear_probe(table, attempt.settings)
        if found.out_of_fold is None:
            raise DataError(
                f"{count(len(samples), 'sample')} cannot be split into folds, so that nothing can "
                "be compared. Add samples: at least 4 that are no copies of each other."
            )
        ids = [sample.id for sample in samples]
        prediction = attempt.task.predict(found.out_of_fold, ids, attempt.classes)
        scores = attempt.task.validation_metrics(found.out_of_fold, table.targets)
        racer.answers.append(Answers(prediction, scores))
        words = metric_words(self.headline)
        score = figure(scores[self.headline], is_share=words.is_share)
        self.progress.note(f"  {racer.reference}: {words.title.lower()} {score}")
        return True

    def _read(self, racer: Racer, attempt: LabelAttempt, divisor: int) -> list[Sample]:
        """The samples of a part that can be read; the racer has their features."""
        unreadable: dict[str, str] = {}
        collector = Collector(
            predictor=attempt.predictor,
            embedder=attempt.embedder,
            facts=self.where.data.checkup.facts,
            seed=self.where.options.seed,
            reading_ends=math.inf,
            stops_at_bad=self.where.options.on_bad == "stop",
            is_stopped=lambda: self.where.stop.is_set or time.monotonic() > self.reading_ends,
            progress=self.progress.with_sink(racer.watch),
            left_out=unreadable,
        )
        new = [sample for sample in self._part(divisor) if sample.id not in racer.features]
        racer.features |= collector.collect(new)
        self.where.data.left_out.update(unreadable)
        return self._part(divisor)

    def measure_pass(self, racer: Racer) -> None:
        """Read a few pictures again where almost all features were in the cache."""
        num_wanted = _TIMED_BATCHES * batch_size_for(self.where.device)
        if racer.watch.num_read >= num_wanted:
            return
        attempt = new_probe(self.where, racer.backbone)
        watch, seen = PassWatch(), racer.answers[-1].prediction.ids
        by_id = {sample.id: sample for sample in self.samples}
        samples = [by_id[id_] for id_ in seen[:num_wanted]]
        attempt.predictor.embed(example_input(racer.backbone.contract, self.where.device))
        started = time.monotonic()
        for batch in attempt.predictor.batches(samples):
            assert batch.inputs is not None
            attempt.predictor.embed(batch.inputs)
            watch.num_read += len(batch)
        watch.seconds = time.monotonic() - started
        racer.watch = watch
        racer.backbone.module.to("cpu")

    def _spread(self) -> None:
        """Number the samples, so that those with the first numbers are a part like the whole."""
        task, classes = self.where.task, self.where.data.dataset.classes
        groups = self.where.data.split.groups
        least = max(_LEAST_SAMPLES, _LEAST_A_CLASS * len(classes))
        self.numbers = nested_parts(
            np.array([task.target(sample, classes) for sample in self.samples]),
            numbered([groups[sample.id] for sample in self.samples]),
            least=least,
            seed=self.where.options.seed,
        )
        self.num_parts = int(self.numbers.max()) + 1

    def _part(self, divisor: int) -> list[Sample]:
        """One of so many parts of the samples; each holds those of all larger divisors."""
        left_out, below = self.where.data.left_out, max(1, self.num_parts // divisor)
        return [
            sample
            for sample, number in zip(self.samples, self.numbers, strict=True)
            if number < below and sample.id not in left_out
        ]


def new_probe(where: Situation[LabelTask], backbone: Backbone) -> LabelAttempt:
    """A probe on a backbone, settled as a fit settles it, so that both share their features."""
    choices = Choices(where.options, progress=Progress())
    embedder = Embedder.of(backbone, where, choices=choices)
    return LabelAttempt("probe", where, embedder=embedder, choices=choices)
