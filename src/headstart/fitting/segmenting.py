"""A fit of semantic segmentation, from split data to a verified model. Only wiring."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import Any

from headstart.backbones import load_backbone
from headstart.backbones.catalog import catalog
from headstart.backbones.pyramid import as_pyramid
from headstart.backbones.stem import adapt_stem, frozen_stem_warning
from headstart.config import FitOptions
from headstart.contracts import Backbone, Dataset
from headstart.data.mask_classes import pixel_counts
from headstart.errors import ConfigError, DataError, RunError
from headstart.fitting.attempt import NUM_TRIED
from headstart.fitting.choosing import load_chosen
from headstart.fitting.controlling_masks import train_mask_control
from headstart.fitting.embedding import Embedder, measure_format, read_as_stored
from headstart.fitting.judging_masks import judge
from headstart.fitting.learning import learn, samples_for_table
from headstart.fitting.mask_attempt import MaskAttempt, with_linear_decoder
from headstart.fitting.mask_ladder import MaskLadder
from headstart.fitting.mask_leakage import leakage_by_pixels, may_leak
from headstart.fitting.mask_probe import fit_mask_probe
from headstart.fitting.preparing import PreparedData
from headstart.fitting.recording import record_start, record_transfer
from headstart.fitting.saving_masks import save_masks
from headstart.fitting.sensing import refuse_senseless, sensing_backbone
from headstart.fitting.settle import Choices
from headstart.fitting.settle_masks import CROP_SIDE, settle_model
from headstart.fitting.situation import Situated, Situation, with_usual_budget
from headstart.map_twin import MapTwin
from headstart.model import DenseModel
from headstart.predictor import example_input
from headstart.protocols import MaskTask
from headstart.rundir import RunFolder
from headstart.saved import load_segmenter
from headstart.strategies.as_is import knows_masks, no_decoder
from headstart.tasks import make_mask_task

_STRATEGIES = ("as-is", "probe", "head", "gradual", "full", "scratch")


class Segmenting:
    """One fit on its way. Its steps run in the order in which they stand here, each once.

    Args:
        where: What was read, and where it goes.
        choices: None made yet.
        resume: The folder of an interrupted run to go on with.
    """

    def __init__(
        self, where: Situation[MaskTask], choices: Choices, *, resume: RunFolder | None
    ) -> None:
        where = with_usual_budget(where, choices)
        self.where = where
        self.choices = choices
        self.resume = resume
        self.progress = where.progress

    @classmethod
    def begin(
        cls, dataset: Dataset, situated: Situated, choices: Choices, *, resume: RunFolder | None
    ) -> Segmenting:
        """A fit with the task that the data is for."""
        assert dataset.legend is not None  # of every data set of masks
        return cls(situated(make_mask_task(dataset.task, dataset.legend)), choices, resume=resume)

    def run(self) -> None:
        """All steps but the control.

        Raises:
            HeadstartError: With what to do; nothing that was done is lost.
        """
        self._settle()
        self._learn()
        self._evaluate()
        self._measure_leakage()
        self._save()
        self._verify()

    @staticmethod
    def refuse(options: FitOptions, data: PreparedData) -> None:
        """Refuse what is not for masks, before anything is made.

        Raises:
            ConfigError: An option, with what to take instead.
            DataError: Pictures whose bands or units differ or cannot be told, with all of them.
        """
        if options.balance == "sampling":
            raise ConfigError(
                "--balance sampling draws whole pictures of rare classes more often, and a mask "
                "has several classes. Take --balance weights, which weighs their pixels."
            )
        if options.classifier != "logistic":
            raise ConfigError(
                f"--classifier {options.classifier} is for whole pictures: the probe of masks is a "
                "logistic regression. Leave --classifier away."
            )
        if options.strategy == "probe" and options.views:
            raise ConfigError(
                f"--views {options.views} augments whole pictures: the probe of masks draws pixels "
                "of the chips as they are. Leave --views away, or take --strategy head."
            )
        if options.hidden or options.dropout:
            raise ConfigError(
                "--hidden and --dropout are of the head of whole pictures, and masks have a "
                "decoder. Leave them away, or choose another with --decoder."
            )
        if options.racing:
            raise ConfigError(
                f"--backbone {options.backbone} stands for several, and backbones do not race for "
                "masks yet. Name one of them."
            )
        if options.mixup or options.cutmix:
            raise ConfigError(
                "--mixup and --cutmix blend pictures of one label each, which masks are not. Leave "
                "them away."
            )
        if options.strategy not in ("auto", *_STRATEGIES):
            raise ConfigError(
                f"--strategy {options.strategy} is not for masks. Take one of "
                f"{', '.join(_STRATEGIES)}."
            )
        row = catalog().get(options.backbone)
        if options.strategy == "as-is" and (row is None or not row.decoder):
            raise no_decoder(f"--backbone {options.backbone}")
        refuse_senseless(options, data)

    def control(self) -> None:
        """What random weights do in the same time; the run is finished whatever comes of it."""
        if self.where.options.control is None:
            return
        if self.where.stop.is_set:
            self.progress.warn("The control was left out, as you stopped; the run is finished.")
            return
        transfer = train_mask_control(self.attempt, self.judged, new_control=self._new_control)
        if transfer is not None:
            record_transfer(self.where.folder, transfer)

    def _new_control(self, where: Situation[MaskTask]) -> MaskAttempt:
        """The same architecture, from random weights, that sees what the kept one sees."""
        reference = self.attempt.value("backbone")
        loaded = load_backbone(reference, weights="random", progress=where.progress)
        contract = self.attempt.backbone.contract
        loaded = adapt_stem(loaded, contract.bands)
        loaded.module.to(where.device)
        backbone = as_pyramid(replace(loaded, contract=contract))
        choices = Choices(where.options, progress=where.progress)
        embedder = Embedder(backbone, self.attempt.embedder.inference)
        return MaskAttempt("scratch", where, embedder=embedder, choices=choices)

    # --- settling -----------------------------------------------------------------------------

    def _settle(self) -> None:
        """The backbone, and the strategy with its model."""
        strategy = self.where.options.strategy
        self._settle_model()
        where = self.where
        loaded = load_chosen(
            where,
            self.choices,
            reference=where.options.backbone,
            is_random=strategy == "scratch",
        )
        loaded = sensing_backbone(
            loaded, where.data, where.options, choices=self.choices, progress=self.progress
        )
        contract = replace(loaded.contract, height=CROP_SIDE, width=CROP_SIDE)
        backbone = as_pyramid(replace(loaded, contract=contract))
        read_as_stored(backbone, where.data)
        self.embedder = Embedder(backbone, self._inference(backbone))
        self.untrained = self._untrained_twin()
        first = "probe" if strategy == "auto" else strategy
        self.attempt = self._new_attempt(first)

    def _untrained_twin(self) -> MapTwin | None:
        """The backbone before anything is learnt, where leakage is to be measured by it."""
        where = self.where
        seed = where.options.seed
        if where.options.strategy == "scratch" or not may_leak(where.data, seed=seed):
            return None
        backbone = self.embedder.backbone
        own = replace(backbone, module=copy.deepcopy(backbone.module))
        head = where.task.new_head(own, len(where.data.dataset.classes))
        assert head is not None
        model = where.task.build(own, head).to(where.device)
        assert isinstance(model, DenseModel)
        example = example_input(own.contract, where.device)
        return MapTwin(model, self.embedder.inference.compute_format, example=example)

    def _settle_model(self) -> None:
        """Decoder and loss; the probe has its own, and what comes as it is learns nothing."""
        where = self.where
        if where.options.strategy == "probe":
            self.where = replace(where, task=with_linear_decoder(where.task))
            return
        if where.options.strategy == "as-is":
            return
        pixels = pixel_counts(
            where.data.dataset, where.data.checkup.masks, where.data.split.assignment
        )["train"]
        self.choices.add(*settle_model(where.options, pixels))
        losses = self.choices.value("loss")
        if isinstance(losses, str):
            losses = losses.split(",")
        task = where.task.with_model(decoder=self.choices.value("decoder"), losses=losses)
        self.where = replace(where, task=task)

    def _new_attempt(self, strategy: str, *, is_held: bool = False) -> MaskAttempt:
        """A strategy, settled.

        Args:
            strategy: Its name.
            is_held: It is one of several, that tells what was settled for it when it begins, and
                has a backbone of its own.
        """
        embedder = self.embedder
        if is_held:
            own = replace(embedder.backbone, module=copy.deepcopy(embedder.backbone.module))
            embedder = replace(embedder, backbone=own)
        choices = self.choices.branch(is_held=is_held)
        attempt = MaskAttempt(strategy, self.where, embedder=embedder, choices=choices)
        # Speed was measured on crops: chips have more pixels. What follows training looks at the
        # validation samples thrice more (norms before and after, and the ladder), and at crops.
        num_validation, num_test = (len(self.where.data.samples(n)) for n in ("validation", "test"))
        num_chips = 3 * num_validation + num_test
        if self.untrained is not None:
            num_chips += len(self.where.data.dataset)
        attempt.num_looked_at_after = attempt.crops_a_chip * num_chips
        return attempt

    def _pretrained_attempt(self) -> MaskAttempt | None:
        """The model as it comes, where it answers in the classes of the data."""
        classes = self.where.data.dataset.classes
        if not knows_masks(self.embedder.backbone, classes):
            return None
        return self._new_attempt("as-is", is_held=True)

    def _inference(self, backbone: Backbone) -> Any:
        where = self.where
        head = where.task.new_head(backbone, len(where.data.dataset.classes))
        assert head is not None
        model = where.task.build(backbone, head).to(where.device)
        # What learned does not mind; published weights are to answer as they were published.
        is_exact = where.options.strategy == "as-is" and where.options.precision == "auto"
        return measure_format(
            model,
            backbone,
            mode="inference",
            where=where,
            choices=self.choices,
            precision="float32" if is_exact else None,
        )

    # --- learning, and the end ----------------------------------------------------------------

    def _learn(self) -> None:
        started = time.monotonic()
        if self.resume is None:
            record_start(self.where.folder, self.attempt.record())
        if self.where.options.strategy == "auto":
            ladder = MaskLadder(
                self.attempt,
                lambda: self._new_attempt("full", is_held=True),
                as_is=self._pretrained_attempt(),
                is_resumed=self.resume is not None and self.where.folder.has_checkpoint,
            )
            self.attempt = ladder.climb()
        elif self.attempt.name == "probe":
            fit_mask_probe(self.attempt, samples_for_table(self.attempt))
        else:
            learn(self.attempt, ())
        told = frozen_stem_warning(self.attempt.backbone)
        if told and self.attempt.name == "probe":
            self.progress.warn(told)
        seconds = self.where.seconds
        seconds["fit"] = time.monotonic() - started - seconds.get("features", 0.0)

    def _evaluate(self) -> None:
        """The sealed test set, once, after all choices have been made."""
        started = time.monotonic()
        data = self.where.data
        self.judged = judge(
            self.attempt.predictor, data.samples("test"), on_error=data.note_unreadable
        )
        self.where.seconds["evaluate"] = time.monotonic() - started

    def _measure_leakage(self) -> None:
        """What neighbourhoods and groups kept whole take off the figures."""
        self.leakage = None
        if self.untrained is None:
            return
        started = time.monotonic()
        try:
            self.leakage = leakage_by_pixels(self.attempt, self.untrained)
        except DataError as error:  # the model is fitted and judged: that is not to be lost
            self.progress.warn(f"What neighbours leak was not measured. {error}")
        if self.leakage is not None:
            self.progress.note(f"  {self.leakage['sentence']}")
        self.where.seconds["leakage"] = time.monotonic() - started

    def _save(self) -> None:
        """Weights, metrics; then the report."""
        save_masks(
            self.where.folder,
            self.attempt,
            self.judged,
            predictor=self.attempt.predictor,
            leakage=self.leakage,
        )

    def _verify(self) -> None:
        """The saved model, loaded anew, must answer what the model in memory answers.

        Raises:
            RunError: It does not; the run is then not to be used.
        """
        folder = self.where.folder
        samples = [each.sample for each in self.judged[:NUM_TRIED]]
        try:
            loaded = load_segmenter(folder, device=str(self.where.device), is_as_fitted=True)
            pairs = zip(
                self.attempt.predictor.answers(samples),
                loaded.predictor.answers(samples),
                strict=True,
            )
            difference = max(
                float((mine.softmax(dim=1) - theirs.softmax(dim=1)).abs().max())
                for (_, mine), (_, theirs) in pairs
            )
        except BaseException:  # whatever it is, this is no finished run
            folder.metrics.unlink()
            raise
        if difference > 1e-3:
            folder.metrics.unlink()
            raise RunError(
                f"The model saved in `{folder.path}` does not predict what the fitted one "
                f"does: probabilities differ by {difference:.2g}. The run is marked unfinished. "
                "This is a defect of Headstart: please report it with the run's config.json."
            )
        folder.remove_checkpoint()
        self.progress.note(f"Saved, loaded anew, same masks on {len(samples)} chips.")
