"""The verb `fit`: from a folder to a run. Only wiring; each step is done elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from headstart.backbones import load_backbone, resolve_auto
from headstart.collecting import UNUSABLE, Collector
from headstart.compute import choose_device, choose_format
from headstart.config import FitOptions, parse_duration_s
from headstart.contracts import (
    ComputeFormat,
    FeatureTable,
    Prediction,
    Sample,
    Split,
)
from headstart.data import open_dataset
from headstart.data.balance import class_weights
from headstart.data.checks import check_dataset, leave_out_bad, raise_for_errors
from headstart.data.splits import class_counts, split_dataset
from headstart.errors import DataError, InterruptedFit, RunError
from headstart.feeding import Feed, Loading
from headstart.interrupt import StopSignal
from headstart.predictor import EmbedOnly, Predictor, batch_size_for, example_input
from headstart.progress import JsonlSink, Progress
from headstart.recording import Record, record_results, record_start
from headstart.rundir import RunFolder
from headstart.saved import load_model
from headstart.settle import (
    GRADIENT_STRATEGIES,
    Choice,
    DataSize,
    settle_strategy,
    settle_training,
    without_effect,
)
from headstart.strategies import StrategySettings, make_strategy
from headstart.tasks import make_task

if TYPE_CHECKING:
    from headstart.engine.plan import TrainingPlan

# What evaluation, saving, checking and the report take after training, at least: kept of a budget.
_TAIL_S = 4.0
# Of the budget, what reading pictures may take before samples are left out.
_READING_SHARE = 0.7
# How a run names an augmentation that a Python caller gave.
OWN_AUGMENT = "own"
# Samples on which the saved model must predict as the one in memory.
_NUM_VERIFIED = 8


class FitJob:
    """One fit on its way. Its steps run in the order in which they stand here, each once.

    Args:
        data: The folder or table.
        options: As the user gave them.
        progress: Is told everything.
        resume: The folder of an interrupted run to go on with.
    """

    def __init__(
        self,
        data: Path,
        options: FitOptions,
        *,
        progress: Progress,
        augment: Any = None,
        resume: RunFolder | None = None,
    ) -> None:
        self.data = data
        self.options = options
        self.progress = progress
        self.own_augment = augment
        self.resume = resume
        self.choices: list[Choice] = []
        self.seconds: dict[str, float] = {}
        self.left_out: dict[str, str] = {}
        self.fit_facts: dict[str, Any] = {}
        self.earlier: dict[str, Any] = {}

    def run(self) -> RunFolder:
        """Do it all.

        Raises:
            HeadstartError: With what to do; nothing that was done is lost.
        """
        self.started = time.monotonic()
        budget = self.options.budget
        self.deadline = self.started + parse_duration_s(budget) if budget else None
        torch.manual_seed(self.options.seed)
        with StopSignal(self.progress) as self.stop:
            self._read()
            self._open_folder()
            try:
                self._load()
                self._settle()
                self._extract()
                self._learn()
                self._evaluate()
                self._save()
                self._verify()
            except (KeyboardInterrupt, InterruptedFit):
                if not self.folder.config.is_file():
                    raise InterruptedFit(
                        f"Stopped before anything was done; `{self.folder.path}` can be removed."
                    ) from None
                raise InterruptedFit(
                    f"Stopped. Go on with: headstart fit --resume {self.folder.path}"
                ) from None
        return self.folder

    # --- data ---------------------------------------------------------------------------------

    def _read(self) -> None:
        """Recognise, check and split the data; what makes a fit impossible stops it here."""
        options = self.options
        dataset = open_dataset(
            self.data,
            image_column=options.image_column,
            label_column=options.label_column,
            group=options.group,
        )
        self.progress.note(f"{self.data}: {dataset.reason}")
        for note in dataset.notes:
            self.progress.note("  " + note)
        # A feature pass finds by itself what cannot be decoded; training must not stop for it.
        decode = options.strategy in GRADIENT_STRATEGIES and options.strategy != "head"
        checkup = check_dataset(dataset, decode=decode, progress=self.progress)
        if options.on_bad == "skip" and checkup.bad_ids:
            self.left_out = dict.fromkeys(checkup.bad_ids, UNUSABLE)
            dataset, checkup = leave_out_bad(dataset, checkup)
        raise_for_errors(checkup)
        self.findings = checkup.findings
        for finding in checkup.warnings:
            self.progress.warn(f"{finding.message} {finding.remedy}")
        self.checkup = checkup
        self.dataset = dataset
        self.split = split_dataset(dataset, seed=options.seed, same_content=checkup.same_content)
        for note in self.split.notes:
            self.progress.note("  " + note)
        if not self.split.ids("test"):
            raise DataError(
                f"`{self.data}` leaves no sample to test with: {self.split.reason} "
                "Add samples: at least two a class."
            )
        self.task = make_task(dataset.task, is_multilabel=dataset.is_multilabel)
        self.seconds["read"] = time.monotonic() - self.started

    def _open_folder(self) -> None:
        if self.resume is not None:
            self.folder = self.resume
            self.folder.remove_leftovers()
            choices = self.folder.read_json(self.folder.config)["choices"]
            self.earlier = {choice["name"]: choice["value"] for choice in choices}
            before = self.folder.read_json(self.folder.dataset)
            entries = self.folder.read_json(self.folder.split)["assignment"]
            splits = {id_: entry["split"] for id_, entry in entries.items()}
            if before["fingerprint"] != self.checkup.fingerprint or splits != self.split.assignment:
                raise RunError(
                    f"`{self.data}` is not what it was when the run `{self.folder.path}` began: "
                    "pictures, labels or names have changed. Fit anew, without --resume."
                )
            # What it began without stays out, though there may be more time now.
            self.left_out = {**dict.fromkeys(before["left_out"], UNUSABLE), **self.left_out}
        else:
            name = self.data.resolve().stem or "run"
            self.folder = RunFolder.create(name, output=self.options.output)
        self.progress = self.progress.with_sink(JsonlSink(self.folder.log))
        self.progress.note(f"Run folder: {self.folder.path}")

    def samples(self, *splits: Split) -> list[Sample]:
        """The samples of some splits, in the order of the data set."""
        wanted = {id_ for split in splits for id_ in self.split.ids(split)}
        wanted -= self.left_out.keys()
        return [sample for sample in self.dataset if sample.id in wanted]

    # --- model --------------------------------------------------------------------------------

    def _load(self) -> None:
        """The backbone, on its device, in the format that is fastest for it."""
        self._choose(settle_strategy(self.options))
        self.strategy_name = self._value("strategy")
        self.device = choose_device(self.options.device)
        reference, weights = self.options.backbone, self.options.weights
        if self.strategy_name == "scratch":
            weights = "random"
        if reference == "auto":
            reference, reason = resolve_auto(progress=self.progress)
            self._choose([Choice("backbone", reference, reason)])
        self.backbone = load_backbone(reference, weights=weights, progress=self.progress)
        self.backbone.module.to(self.device)

    def _settle(self) -> None:
        counts = class_counts(self.dataset, self.split.assignment)["train"]
        size = DataSize(len(self.samples("train")), counts)
        choices = settle_training(
            self.options,
            strategy=self.strategy_name,
            size=size,
            device_type=self.device.type,
        )
        if self.own_augment is not None:
            own = Choice("augment", OWN_AUGMENT, f"the caller's {type(self.own_augment).__name__}")
            choices = [*(c for c in choices if c.name != "augment"), own]
        self._choose(choices)
        unused = without_effect(self.options, strategy=self.strategy_name)
        if self.own_augment is not None and self._is_blind_to_augmentation:
            unused.append("augment")
        if unused:
            self.progress.warn(
                f"{', '.join(unused)} has no effect with the strategy {self.strategy_name}."
            )
        weights = class_weights(
            counts,
            self.dataset.classes,
            num_samples=size.num_train,
            is_multilabel=self.dataset.is_multilabel,
        )
        is_weighted = self._value("balance") == "weights"
        self.task = self.task.with_loss(
            label_smoothing=self.options.label_smoothing,
            class_weights=weights if is_weighted else None,
        )
        self.strategy = make_strategy(
            self.strategy_name,
            StrategySettings(
                classes=self.dataset.classes,
                is_multilabel=self.dataset.is_multilabel,
                classifier=self.options.classifier,
                dropout=self.options.dropout,
                hidden=self.options.hidden,
                layer_decay=self.options.layer_decay,
                class_weights=weights if is_weighted else None,
                pretrained_classes=self.backbone.pretrained_classes,
                seed=self.options.seed,
            ),
        )
        head = self.strategy.new_head(self.backbone)
        self.model = self.task.build(self.backbone, head).to(self.device)
        self._choose_inference_format()

    @property
    def _is_blind_to_augmentation(self) -> bool:
        return self.strategy_name == "as-is" or (
            self.strategy_name == "probe" and not self._value("views")
        )

    def _choose_inference_format(self) -> None:
        self.compute_format = self._choose_format("inference")
        self.predictor = self._new_predictor()

    def _choose_format(self, mode: Literal["inference", "training"]) -> ComputeFormat:
        """The fastest format; of a resumed fit the one it began with, for the same bits."""
        name = f"{mode} format"
        if name in self.earlier:
            self._choose([Choice(name, self.earlier[name], "as when the fit began")])
            return ComputeFormat.parse(self.earlier[name])
        compute_format, reason = choose_format(
            EmbedOnly(self.model),
            example_input(self.backbone.contract, self.device),
            mode=mode,
            precision=self.options.precision,
            name=self.backbone.spec.reference,
        )
        self._choose([Choice(name, str(compute_format), reason)])
        return compute_format

    def _new_predictor(self) -> Predictor:
        return Predictor(
            self.model,
            self.task,
            contract=self.backbone.contract,
            classes=self.dataset.classes,
            device=self.device,
            compute_format=self.compute_format,
        )

    def _choose(self, choices: list[Choice]) -> None:
        for choice in choices:
            self.choices.append(choice)
            self.progress.choice(choice.name, choice.value, choice.reason)

    def _value(self, name: str) -> Any:
        """An option's value: as settled, or as given."""
        settled = {choice.name: choice.value for choice in self.choices}
        return settled[name] if name in settled else getattr(self.options, name)

    def _record(self) -> Record:
        """What is told about this fit in the run folder, as far as it has come."""
        return Record(
            data=self.data,
            options=self.options,
            strategy=self.strategy_name,
            choices=tuple(self.choices),
            dataset=self.dataset,
            findings=self.findings,
            facts=self.checkup.facts,
            fingerprint=self.checkup.fingerprint,
            split=self.split,
            left_out=dict(self.left_out),
            backbone=self.backbone,
            model=self.model,
            device=self.device,
            compute_format=self.compute_format,
            fit=self.fit_facts,
            seconds={**self.seconds, "total": time.monotonic() - self.started},
        )

    # --- features -----------------------------------------------------------------------------

    @property
    def _is_frozen(self) -> bool:
        """Whether the backbone stays as it is, so that features may stand for pictures."""
        return self.strategy_name in ("as-is", "probe", "head")

    def _extract(self) -> None:
        """Features of all samples that need them, each picture through the backbone once."""
        if self.resume is None:  # a resumed fit keeps the record of its choices until it has them
            record_start(self.folder, self._record())
        reading_ends = float("inf")
        if self.deadline is not None:
            reading_ends = self.started + _READING_SHARE * (self.deadline - self.started)
        collector = Collector(
            predictor=self.predictor,
            backbone=self.backbone,
            facts=self.checkup.facts,
            loading=self._loading(),
            augment_name=self._value("augment") if self.own_augment is None else None,
            reading_ends=reading_ends,
            stops_at_bad=self.options.on_bad == "stop",
            is_stopped=lambda: self.stop.is_set,
            progress=self.progress,
            left_out=self.left_out,
        )
        self.tables: list[dict[str, Tensor]] = []
        started = time.monotonic()
        if self._is_frozen or self.strategy.needs_features:
            splits: list[Split] = ["train", "validation"]
            if self._is_frozen:
                splits.append("test")
            self.tables.append(collector.collect(self.samples(*splits)))
            self._refuse_empty_splits()
            self._collect_views(collector)
        self.on_unreadable = collector.note_unreadable
        self.seconds["features"] = time.monotonic() - started

    def _collect_views(self, collector: Collector) -> None:
        """Augmented views of the training pictures; fewer of them where the budget ends first."""
        wanted = (self._value("views") or 0) if self._is_frozen else 0
        for view in range(wanted):
            table = collector.collect(self.samples("train"), view=view)
            if any(sample.id not in table for sample in self.samples("train")):
                self.progress.warn(f"The budget had time for {view} of {wanted} augmented views.")
                return
            self.tables.append(table)

    def _loading(self) -> Loading:
        workers = self._value("workers")
        return Loading(
            augment=self._value("augment") if self.own_augment is None else self.own_augment,
            batch_size=self._value("batch_size") or batch_size_for(self.device),
            num_workers=1 if workers is None else workers,
            seed=self.options.seed,
            mixup=self.options.mixup,
            cutmix=self.options.cutmix,
            is_balanced=self._value("balance") == "sampling",
        )

    def _refuse_empty_splits(self) -> None:
        empty = [split for split in ("train", "test") if not self.samples(split)]
        if empty:
            raise DataError(
                f"Of {len(self.dataset)} pictures {len(self.left_out)} were left out, and none is "
                f"left for {' and '.join(empty)}. Give the budget more time, or mend the files."
            )

    # --- learning -----------------------------------------------------------------------------

    def _learn(self) -> None:
        """Initialise by the strategy; then epochs, if it leaves anything to learn."""
        started = time.monotonic()
        table = self._table() if self.strategy.needs_features else None
        self.fit_facts = dict(self.strategy.initialise(self.model, table))
        if table is not None:
            self.fit_facts["num_samples"] = self.num_fitted
        self.model.to(self.device)
        if self.strategy.prepare(self.model):
            self._train()
        self.seconds["fit"] = time.monotonic() - started
        if not self._is_frozen:
            self.predictor = self._new_predictor()

    def _table(self) -> FeatureTable:
        """Features to fit a classifier on.

        Where nothing is trained after it, the classifier chooses by cross-validation and has no use
        for a validation set of its own: the part that Headstart itself carved out goes back to
        training. One that came with the data stays out, and so does the one that later epochs are
        to be chosen by.
        """
        is_free = self.strategy_name == "probe" and self.split.rule != "as-given"
        samples = self.samples("train", "validation") if is_free else self.samples("train")
        self._refuse_one_class(samples)
        rows = [(s, table[s.id]) for table in self.tables for s in samples if s.id in table]
        self.num_fitted = sum(sample.id in self.tables[0] for sample in samples)
        names = [self.split.groups[sample.id] for sample, _ in rows]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return FeatureTable(
            features=torch.stack([row for _, row in rows]),
            targets=torch.tensor([self.task.target(s, self.dataset.classes) for s, _ in rows]),
            groups=torch.tensor([numbers[name] for name in names]),
            num_classes=len(self.dataset.classes),
            is_multilabel=self.dataset.is_multilabel,
        )

    def _refuse_one_class(self, samples: Sequence[Sample]) -> None:
        present = {label for sample in samples for label in sample.labels}
        if len(present) < min(2, len(self.dataset.classes)):
            raise DataError(
                f"Only the class {', '.join(sorted(present)) or 'none'} is left among "
                f"{len(samples)} training samples. Add samples of other classes, or give the "
                "budget more time."
            )

    def _train(self) -> None:
        # Here, since Fabric takes seconds to import and only training by gradient needs it.
        from headstart.engine.loop import Training
        from headstart.engine.lr_finder import find_lr
        from headstart.engine.plan import Surroundings

        feed = Feed(
            task=self.task,
            contract=self.backbone.contract,
            classes=self.dataset.classes,
            device=self.device,
            train=self.samples("train"),
            validation=self.samples("validation"),
            tables=self.tables if self._is_frozen else (),
            uses_views=bool(self._value("views")),
            on_unreadable=self.on_unreadable,
        )
        batches = feed.training(self._loading())
        is_on_features = feed.trains_on_features
        where = Surroundings(
            device=self.device,
            compute_format=ComputeFormat() if is_on_features else self._choose_format("training"),
            checkpoint=self.folder.checkpoint_tensors,
            stop=self.stop,
            progress=self.progress,
            deadline=self._training_deadline(),
            rehearse=self._rehearse,
        )
        plan = self._plan()
        if self.options.find_lr:
            if self.folder.has_checkpoint:
                lr, reason = float(self.earlier["lr"]), "as found when the fit began"
            else:
                reason = "the learning-rate finder: where the loss falls most"
                lr = find_lr(
                    self.model,
                    self.task,
                    strategy=self.strategy,
                    train=batches,
                    plan=plan,
                    surroundings=where,
                )
            self._choose([Choice("lr", lr, reason)])
            plan = replace(plan, lr=lr)
        record_start(self.folder, self._record())  # a resumed fit goes by these choices
        training = Training(
            self.model,
            self.task,
            strategy=self.strategy,
            train=batches,
            validate=feed.scorer(where.compute_format),
        )
        try:
            result = training.fit(plan, where)
        finally:
            batches.close()
        self.fit_facts.update(
            epochs=result.num_epochs,
            best_epoch=result.best_epoch,
            stopped=result.stopped,
            monitor=plan.monitor,
            num_steps=result.num_steps,
            groups=[
                {
                    "name": group.name,
                    "lr_scale": group.lr_scale,
                    "num_parameters": sum(p.numel() for p in group.parameters),
                }
                for group in training.groups
            ],
        )

    def _plan(self) -> TrainingPlan:
        from headstart.engine.plan import TrainingPlan

        names = [*("lr", "optimizer", "weight_decay", "schedule", "warmup", "accumulate")]
        names += ["clip_norm", "ema", "patience", "monitor", "seed"]
        values = {name: self._value(name) for name in names}
        return TrainingPlan(num_epochs=self._value("epochs"), **values)

    def _training_deadline(self) -> float | None:
        """When training must be over for the rest to fit into the budget."""
        if self.deadline is None:
            return None
        test_s = 0.0
        if not self._is_frozen and self.tables:
            seconds_each = self.seconds["features"] / max(len(self.tables[0]), 1)
            test_s = 1.5 * len(self.samples("test")) * seconds_each
        return self.deadline - _TAIL_S - test_s

    def _rehearse(self) -> None:
        """Evaluate, draw and save on a few validation samples, in a folder that is then removed."""
        samples = (self.samples("validation") or self.samples("train"))[:_NUM_VERIFIED]
        predictor = self._new_predictor()
        prediction = predictor.predict(samples, progress=Progress())
        with self.folder.rehearsal() as folder:
            folder.write_text(folder.log, "")
            record_start(folder, self._record())
            evaluation = self.task.evaluate(prediction, samples)
            record_results(folder, self._record(), evaluation, prediction)

    # --- the end ------------------------------------------------------------------------------

    def _predict(self, samples: Sequence[Sample]) -> Prediction:
        """From features where the backbone is frozen, else from the pictures."""
        if self._is_frozen:
            ids = [sample.id for sample in samples]
            return self.predictor.answer(ids, torch.stack([self.tables[0][i] for i in ids]))
        return self.predictor.predict(samples, progress=self.progress, on_error=self.on_unreadable)

    def _evaluate(self) -> None:
        """The sealed test set, once, after all choices have been made."""
        started = time.monotonic()
        samples = self.samples("test")
        self.prediction = self._predict(samples)
        read = set(self.prediction.ids)
        # Copies share a group in the split, and are no independent evidence.
        groups = self.split.groups
        self.tested = [replace(s, group=groups[s.id]) for s in samples if s.id in read]
        self.evaluation = self.task.evaluate(self.prediction, self.tested)
        self.seconds["evaluate"] = time.monotonic() - started

    def _save(self) -> None:
        """Weights, predictions, metrics; then the report. The checkpoint is no longer needed."""
        record_results(self.folder, self._record(), self.evaluation, self.prediction)
        self.folder.remove_checkpoint()

    def _verify(self) -> None:
        """The saved model, loaded anew, must predict what the model in memory predicts.

        Raises:
            RunError: It does not; the run is then not to be used.
        """
        samples = self.tested[:_NUM_VERIFIED]
        silent = Progress()
        expected = self.predictor.predict(samples, progress=silent).probabilities
        loaded = load_model(self.folder, device=str(self.device))
        found = loaded.predictor.predict(samples, progress=silent).probabilities
        difference = float(np.abs(expected - found).max())
        if difference > 1e-4:
            self.folder.metrics.unlink()
            raise RunError(
                f"The model saved in `{self.folder.path}` does not predict what the fitted one "
                f"does: probabilities differ by {difference:.2g}. The run is marked unfinished. "
                "This is a defect of Headstart: please report it with the run's config.json."
            )
        self.progress.note(f"Saved, loaded anew, same predictions on {len(samples)} pictures.")
