"""A fit of pictures or texts with labels, from split data to a verified model. Only wiring."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
from torch import Tensor

from headstart.backbones.depths import with_depths
from headstart.config import FitOptions
from headstart.contracts import Backbone, Dataset
from headstart.errors import DataError, MissingExtraError, RunError
from headstart.fitting.attempt import NUM_TRIED
from headstart.fitting.baselines import Baseline, baseline_for
from headstart.fitting.choosing import choose_backbone, load_chosen, recall_race
from headstart.fitting.choosing_depths import at_depths
from headstart.fitting.class_names import with_class_names
from headstart.fitting.collecting import Collector
from headstart.fitting.contrasting import ContrastiveAttempt
from headstart.fitting.controlling import train_control
from headstart.fitting.embedding import Embedder
from headstart.fitting.explaining import explain
from headstart.fitting.explaining_texts import explain_texts
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.ladder import Found, Ladder
from headstart.fitting.learning import learn
from headstart.fitting.long_texts import read_long
from headstart.fitting.preparing import PreparedData, seen_through, with_findings
from headstart.fitting.proving import Prover
from headstart.fitting.recording import record_results, record_start, record_transfer
from headstart.fitting.settle import Choices
from headstart.fitting.situation import Situated, Situation, with_usual_budget
from headstart.fitting.words import begin_words, learn_words
from headstart.progress import Progress
from headstart.protocols import LabelTask
from headstart.rundir import RunFolder
from headstart.saved import load_model
from headstart.tasks import make_label_task


class Classifying:
    """One fit on its way. Its steps run in the order in which they stand here, each once.

    Args:
        where: What was read, and where it goes.
        choices: None made yet.
        resume: The folder of an interrupted run to go on with.
    """

    def __init__(
        self, where: Situation[LabelTask], choices: Choices, *, resume: RunFolder | None
    ) -> None:
        where = with_usual_budget(where, choices)
        self.where = where
        self.choices = choices
        self.resume = resume
        self.options = where.options
        self.progress = where.progress

    @classmethod
    def begin(
        cls, dataset: Dataset, situated: Situated, choices: Choices, *, resume: RunFolder | None
    ) -> Classifying:
        """A fit with the task that the data is for."""
        task = make_label_task(dataset.task, is_multilabel=dataset.is_multilabel)
        return cls(situated(task), choices, resume=resume)

    @staticmethod
    def refuse(options: FitOptions, data: PreparedData) -> None:
        """Refuse texts where nothing can read them, before there is a folder.

        Raises:
            MissingExtraError: The packages of the extra `text` are not installed.
        """
        needed = ("regex", "scipy") if options.strategy == "tfidf" else ("transformers",)
        is_of_texts = data.dataset.task == "text-classification"
        if is_of_texts and any(find_spec(name) is None for name in needed):
            raise MissingExtraError("Fitting texts", extra="text")

    def run(self) -> None:
        """All steps but the control.

        Raises:
            HeadstartError: With what to do; nothing that was done is lost.
        """
        self._settle()
        self._extract()
        self._learn()
        self._prove()
        self._evaluate()
        self._save()
        self._verify()

    @property
    def is_climbing(self) -> bool:
        """Whether the strategy is to be found."""
        return self.options.strategy == "auto"

    def _settle(self) -> None:
        """The backbone, and the strategy with its model."""
        if self.options.strategy == "tfidf":
            self.attempt = begin_words(self.where, self.choices.branch())
            return
        # The ladder begins with what is quickest: one pass, then classifiers on the features.
        strategy = "probe" if self.is_climbing else self.options.strategy
        backbone = self._load_backbone(is_random=strategy == "scratch")
        embedder = Embedder.of(backbone, self.where, choices=self.choices)
        choices = self.choices.branch()
        kind = ContrastiveAttempt if strategy == "contrastive" else LabelAttempt
        self.attempt = kind(strategy, self.where, embedder=embedder, choices=choices)

    def _load_backbone(self, *, is_random: bool) -> Backbone:
        reference = self.options.backbone
        if self.resume is not None:
            recall_race(self.resume, self.choices)
        if self.options.racing:
            reference = choose_backbone(self.where, self.choices)
        backbone = load_chosen(self.where, self.choices, reference=reference, is_random=is_random)
        if self.where.task.unit == "text":
            backbone, findings = read_long(backbone, self.where, self.choices)
            data = with_findings(self.where.data, findings, progress=self.progress)
            self.where = replace(self.where, data=data)
            if self.options.strategy == "as-is":
                backbone = with_class_names(backbone, self.where.data.dataset.classes)
        at_depths = self.options.features == "depths" and not is_random
        return with_depths(backbone) if at_depths else backbone

    # --- features -----------------------------------------------------------------------------

    def _extract(self) -> None:
        """Features of all samples that need them, each picture through the backbone once."""
        where, attempt = self.where, self.attempt
        if self.resume is None:  # a resumed fit keeps the record of its choices until it has them
            record_start(where.folder, attempt.record())
        collector = self._collector(attempt)
        self.depths = collector.depths
        self.tables: list[dict[str, Tensor]] = []
        self.statistics: dict[str, Tensor] = {}
        started = time.monotonic()
        if attempt.splits_to_read:
            self.tables.append(collector.collect(where.data.samples(*attempt.splits_to_read)))
            self.statistics = collector.statistics
            self._refuse_empty_splits()
            if attempt.backbone.spec.weights != "random" and where.task.unit == "picture":
                data = seen_through(where.data, self.tables[0], progress=self.progress)
                self.where = attempt.where = replace(where, data=data)
            self._collect_views(collector)
        where.seconds["features"] = time.monotonic() - started

    def _collector(self, attempt: LabelAttempt) -> Collector:
        where = self.where
        return Collector(
            predictor=attempt.predictor,
            embedder=attempt.embedder,
            facts=where.data.checkup.facts,
            seed=self.options.seed,
            reading_ends=where.reading_ends,
            stops_at_bad=self.options.on_bad == "stop",
            is_stopped=lambda: where.stop.is_set,
            progress=self.progress,
            left_out=where.data.left_out,
        )

    def _collect_views(self, collector: Collector) -> None:
        """Augmented views of the training pictures; fewer of them where the budget ends first."""
        wanted, train = self.attempt.num_views, self.where.data.samples("train")
        loading = self.attempt.loading
        # Features under an augmentation of the caller's own cannot be found again.
        name = (
            uuid.uuid4().hex
            if self.where.own_augment is not None
            else self.attempt.value("augment")
        )
        for view in range(wanted):
            table = collector.collect_view(train, view, loading=loading, name=name)
            if any(sample.id not in table for sample in self.where.data.samples("train")):
                self.progress.warn(f"The budget had time for {view} of {wanted} augmented views.")
                return
            self.tables.append(table)

    def _refuse_empty_splits(self) -> None:
        data = self.where.data
        empty = [name for name in ("train", "test") if not data.samples(name)]
        if empty:
            raise DataError(
                f"Of {len(data.dataset)} {self.where.task.unit}s {len(data.left_out)} were left "
                f"out, and none is left for {' and '.join(empty)}. Give the budget more time, or "
                "mend the files."
            )

    # --- learning, and the end ----------------------------------------------------------------

    def _learn(self) -> None:
        started = time.monotonic()
        if self.is_climbing:
            found = Found(self.tables, depths=self.depths, baseline=self._baseline)
            self.attempt, self.tables = Ladder(self.attempt, found, choices=self.choices).climb()
            # Words alone are learnt from texts, too, that the budget left unread.
            self.where = replace(self.where, data=self.attempt.where.data)
        elif self.options.strategy == "tfidf":
            self.tables = [learn_words(self.attempt)]
        else:
            if self._chooses_depths:
                self.attempt, table = at_depths(self.attempt, self.depths)
                self.tables = [table]
            learn(self.attempt, self.tables)
        self.where.seconds["fit"] = time.monotonic() - started

    @property
    def _chooses_depths(self) -> bool:
        """Whether a probe of texts is to find out what to see of them."""
        is_open = self.options.features is None and self.options.classifier == "logistic"
        is_of_texts = self.where.task.unit == "text" and bool(self.depths)
        return self.options.strategy == "probe" and is_of_texts and is_open

    @property
    def _baseline(self) -> Baseline:
        return baseline_for(self.where.task.unit, self.statistics)

    def _prove(self) -> None:
        self.prover = Prover(self.attempt, self.tables, baseline=self._baseline)
        self.prover.before_test()

    def _evaluate(self) -> None:
        """The sealed test set, once, after all choices have been made."""
        started = time.monotonic()
        samples = self.where.data.samples("test")
        features = self.tables[0] if self.tables else None
        self.prediction = self.attempt.predict(samples, features)
        read = set(self.prediction.ids)
        # Copies share a group in the split, and are no independent evidence.
        groups = self.where.data.split.groups
        self.tested = [replace(s, group=groups[s.id]) for s in samples if s.id in read]
        self.evaluation = self.attempt.task.evaluate(self.prediction, self.tested)
        self.prover.after_test(self.prediction, self.tested)
        tell = explain_texts if self.where.task.unit == "text" else explain
        explained = tell(self.attempt.predictor, self.prediction, self.tested)
        self.prover.proof.metrics["explanations"] = explained
        self.where.seconds["evaluate"] = time.monotonic() - started

    def _save(self) -> None:
        """Weights, predictions, metrics; then the report."""
        folder = self.where.folder
        record_results(
            folder,
            self.attempt.record(),
            self.evaluation,
            self.prediction,
            proof=self.prover.proof,
        )

    def _verify(self) -> None:
        """The saved model, loaded anew, must predict what the model in memory predicts.

        Raises:
            RunError: It does not; the run is then not to be used.
        """
        samples, folder = self.tested[:NUM_TRIED], self.where.folder
        silent = Progress()
        expected = self.attempt.predictor.predict(samples, progress=silent).probabilities
        try:
            loaded = load_model(folder, device=str(self.where.device), is_as_fitted=True)
            found = loaded.predictor.predict(samples, progress=silent).probabilities
        except BaseException:  # whatever it is, this is no finished run
            folder.metrics.unlink()
            raise
        difference = float(np.abs(expected - found).max())
        if difference > 1e-4:
            folder.metrics.unlink()
            raise RunError(
                f"The model saved in `{folder.path}` does not predict what the fitted one "
                f"does: probabilities differ by {difference:.2g}. The run is marked unfinished. "
                "This is a defect of Headstart: please report it with the run's config.json."
            )
        folder.remove_checkpoint()
        self.progress.note(
            f"Saved, loaded anew, same predictions on {len(samples)} {self.where.task.unit}s."
        )

    def control(self) -> None:
        """What random weights do in the same time; the run is finished whatever comes of it."""
        if self.options.control is None:
            return
        if self.where.stop.is_set:
            self.progress.warn("The control was left out, as you stopped; the run is finished.")
            return
        if not self.attempt.backbone.spec.is_pretrained:
            self.progress.note("The control was left out: nothing pretrained is in the model.")
            return
        transfer = train_control(
            self.attempt, self.tested, prediction=self.prediction, evaluation=self.evaluation
        )
        if transfer is not None:
            record_transfer(self.where.folder, transfer)
