"""A fit of semantic segmentation, from split data to a verified model. Only wiring."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headstart.backbones import load_backbone
from headstart.backbones.pyramid import as_pyramid
from headstart.config import FitOptions
from headstart.contracts import Backbone
from headstart.data.chips import gives_photo
from headstart.errors import ConfigError, DataError, RunError
from headstart.fitting.attempt import (
    NUM_TRIED,
    Attempt,
    Embedder,
    Situation,
    measure_format,
    read_as_stored,
)
from headstart.fitting.choosing import load_chosen
from headstart.fitting.controlling_masks import train_mask_control
from headstart.fitting.feeding import Loading
from headstart.fitting.judging_masks import judge
from headstart.fitting.ladder import DEFAULT_BUDGET_S
from headstart.fitting.learning import learn
from headstart.fitting.mask_rungs import JudgedRung, cheap_rungs, judged_rung
from headstart.fitting.preparing import PreparedData
from headstart.fitting.recording import record_start, record_transfer
from headstart.fitting.rungs import Climb
from headstart.fitting.saving_masks import save_masks
from headstart.fitting.settle import Choice, Choices, DataSize
from headstart.fitting.settle_masks import settle_masks
from headstart.mask_predictor import MaskPredictor
from headstart.report.wording import count
from headstart.rundir import RunFolder
from headstart.saved import load_segmenter

# Side of the crops that are learnt from, in pixels: a multiple of every backbone's stride.
CROP_SIDE = 256
_STRATEGIES = ("full", "gradual", "head", "scratch")


class MaskAttempt(Attempt):
    """A strategy tried on masks: its model answers pixel by pixel."""

    predictor: MaskPredictor  # type: ignore[assignment]

    def new_predictor(self) -> MaskPredictor:  # type: ignore[override]
        """What predicts with the model as it is now."""
        return MaskPredictor(
            self.model,
            self.task,
            contract=self.backbone.contract,
            classes=self.classes,
            device=self.where.device,
            compute_format=self.compute_format,
        )

    def settle_autos(self, size: DataSize) -> list[Choice]:
        """As they are for masks."""
        return settle_masks(
            self.where.options,
            strategy=self.name,
            num_train=size.num_train,
            crops_a_chip=self.crops_a_chip,
            device_type=self.where.device.type,
        )

    @property
    def is_frozen(self) -> bool:
        """Never: maps of features are not cached."""
        return False

    @property
    def loading(self) -> Loading:
        """As many crops of a chip in an epoch as it has room for."""
        return replace(super().loading, repeats=self.crops_a_chip)

    @property
    def crops_a_chip(self) -> int:
        """So many crops have the area of a chip, in the median."""
        facts = self.where.data.checkup.facts
        areas = [facts[s.id].width * facts[s.id].height for s in self.where.data.samples("train")]
        return max(1, round(statistics.median(areas) / CROP_SIDE**2))

    def rehearse(self) -> None:
        """Evaluate, draw and save a few validation samples, in a folder that is then removed."""
        data, folder = self.where.data, self.where.folder
        samples = (data.samples("validation") or data.samples("train"))[:NUM_TRIED]
        judged = judge(self.new_predictor(), samples)
        with folder.rehearsal() as rehearsal:
            rehearsal.write_text(rehearsal.log, "")
            record_start(rehearsal, self.record())
            save_masks(rehearsal, self, judged)


class Segmenting:
    """One fit on its way. Its steps run in the order in which they stand here, each once.

    Args:
        where: What was read, and where it goes.
        choices: None made yet.
        resume: The folder of an interrupted run to go on with.
    """

    def __init__(self, where: Situation, choices: Choices, *, resume: RunFolder | None) -> None:
        if where.deadline is None and where.options.strategy == "auto":
            where = replace(where, deadline=where.started + DEFAULT_BUDGET_S)
        self.where = where
        self.choices = choices
        self.resume = resume
        self.progress = where.progress

    def run(self) -> None:
        """All steps but the control.

        Raises:
            HeadstartError: With what to do; nothing that was done is lost.
        """
        self._settle()
        self._learn()
        self._evaluate()
        self._save()
        self._verify()

    @staticmethod
    def refuse(options: FitOptions, data: PreparedData) -> None:
        """Refuse what is not for masks, before anything is made.

        Raises:
            ConfigError: An option, with what to take instead.
            DataError: Pictures without red, green and blue; all of them are counted.
        """
        if options.balance not in (None, "none"):
            raise ConfigError(
                f"--balance {options.balance} weighs labels of whole pictures, which masks are "
                "not; the Dice loss counts every class alike. Leave it away."
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
        names = {
            sample.id: facts.raster.bands
            for sample in data.dataset
            if (facts := data.checkup.facts[sample.id]).raster is not None
            and not gives_photo(facts.raster)
        }
        if names:
            first, bands = next(iter(names.items()))
            raise DataError(
                f"{count(len(names), 'picture')} without bands for red, green and blue, such as "
                f"`{first}` with {', '.join(bands)}. A fit learns from these three so far. Make "
                "pictures of three bands, red first, or name the bands as B04, B03, B02 or red, "
                "green, blue."
            )

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

    def _new_control(self, where: Situation) -> MaskAttempt:
        """The same architecture, from random weights."""
        reference = self.attempt.value("backbone")
        loaded = load_backbone(reference, weights="random", progress=where.progress)
        loaded.module.to(where.device)
        backbone = as_pyramid(replace(loaded, contract=self.attempt.backbone.contract))
        embedder = Embedder(backbone, self.attempt.embedder.inference)
        choices = Choices(where.options, progress=where.progress)
        return MaskAttempt("scratch", where, embedder=embedder, choices=choices)

    # --- settling -----------------------------------------------------------------------------

    def _settle(self) -> None:
        """The backbone, and the strategy with its model."""
        where, options = self.where, self.where.options
        strategy = options.strategy
        if strategy == "auto":
            strategy = "full"
            why = "the ladder for masks has no other rung yet that trains"
            self.choices.add(Choice("strategy", strategy, why))
        loaded = load_chosen(
            where, self.choices, resume=self.resume, is_random=strategy == "scratch"
        )
        contract = replace(loaded.contract, height=CROP_SIDE, width=CROP_SIDE)
        backbone = as_pyramid(replace(loaded, contract=contract))
        read_as_stored(backbone, where.data)
        embedder = Embedder(backbone, self._inference(backbone))
        choices = self.choices.branch()
        self.attempt = MaskAttempt(strategy, where, embedder=embedder, choices=choices)
        # Speed was measured on crops: chips have more pixels. What follows training looks at the
        # validation samples thrice more (norms before and after, and the ladder), and at crops.
        num_validation, num_test = (len(where.data.samples(n)) for n in ("validation", "test"))
        chips = 3 * num_validation + num_test
        self.attempt.num_looked_at_after = self.attempt.crops_a_chip * chips

    def _inference(self, backbone: Backbone) -> Any:
        where = self.where
        head = where.task.new_head(backbone, len(where.data.dataset.classes))
        assert head is not None
        model = where.task.build(backbone, head).to(where.device)
        return measure_format(model, backbone, mode="inference", where=where, choices=self.choices)

    # --- learning, and the end ----------------------------------------------------------------

    def _learn(self) -> None:
        started = time.monotonic()
        if self.resume is None:
            record_start(self.where.folder, self.attempt.record())
        rungs = cheap_rungs(self.attempt) if self.where.options.strategy == "auto" else []
        learn(self.attempt, ())
        if rungs:
            self.attempt.climb = self._climb(rungs)
        self.where.seconds["fit"] = time.monotonic() - started

    def _climb(self, rungs: Sequence[JudgedRung]) -> Climb:
        """What was trained beside the rungs below it, on the validation samples."""
        attempt = self.attempt
        data = self.where.data
        judged = judge(attempt.predictor, data.samples("validation"), on_error=data.note_unreadable)
        below = max(rungs, key=lambda each: each.rung.metrics["miou"].value)
        counts = {e.sample.id: e.counts for e in judged if e.sample.id in below.counts}
        last = judged_rung(
            attempt.name,
            "everything learns, the decoder from random weights",
            counts,
            attempt=attempt,
            below=below,
            seconds=attempt.seconds,
        )
        gain, found = last.rung.gain, last.rung.metrics["miou"].value
        assert gain is not None
        is_majority = below.rung.strategy == "majority"
        other = "the most common class" if is_majority else "a classifier of single pixels"
        verdict = (
            f"Fine-tuning has a mean IoU of {100 * found:.1f}% on {count(len(counts), 'picture')} "
            f"for validation, {other} {100 * (found - gain.value):.1f}%: {100 * gain.value:+.1f} "
            "points"
        )
        if gain.low is not None and gain.high is not None:
            verdict += f" (95% {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        verdict += "."
        if gain.value <= 0:
            verdict += f" It is no better than {other}: look at the data, or train longer."
            self.progress.warn(verdict)
        kept = replace(last.rung, is_kept=True)
        return Climb([*(each.rung for each in rungs), kept], verdict)

    def _evaluate(self) -> None:
        """The sealed test set, once, after all choices have been made."""
        started = time.monotonic()
        data = self.where.data
        self.judged = judge(
            self.attempt.predictor, data.samples("test"), on_error=data.note_unreadable
        )
        self.where.seconds["evaluate"] = time.monotonic() - started

    def _save(self) -> None:
        """Weights, metrics; then the report."""
        save_masks(self.where.folder, self.attempt, self.judged)

    def _verify(self) -> None:
        """The saved model, loaded anew, must answer what the model in memory answers.

        Raises:
            RunError: It does not; the run is then not to be used.
        """
        folder = self.where.folder
        samples = [each.sample for each in self.judged[:NUM_TRIED]]
        loaded = load_segmenter(folder, device=str(self.where.device))
        pairs = zip(
            self.attempt.predictor.answers(samples), loaded.predictor.answers(samples), strict=True
        )
        difference = max(
            float((mine.softmax(dim=1) - theirs.softmax(dim=1)).abs().max())
            for (_, mine), (_, theirs) in pairs
        )
        if difference > 1e-3:
            folder.metrics.unlink()
            raise RunError(
                f"The model saved in `{folder.path}` does not predict what the fitted one "
                f"does: probabilities differ by {difference:.2g}. The run is marked unfinished. "
                "This is a defect of Headstart: please report it with the run's config.json."
            )
        folder.remove_checkpoint()
        self.progress.note(f"Saved, loaded anew, same masks on {len(samples)} chips.")
