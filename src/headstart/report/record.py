"""A run as the report reads it: every file of the run folder, checked and typed. Draws nothing."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.contracts import (
    SPLITS,
    BackboneSpec,
    InputContract,
    Measure,
    TermsContract,
    TextContract,
)
from headstart.errors import RunError
from headstart.report.chips import Chips, read_chips
from headstart.report.colours import Colour, class_colours
from headstart.report.commands import fit_command
from headstart.report.evidence import Evidence
from headstart.report.evidence_file import read_evidence
from headstart.rundir import RunFolder, given_options

_HEADLINES = ("accuracy", "miou", "macro_f1", "map", "balanced_accuracy")
_DENSE, _OF_TEXTS = ("semantic-segmentation",), ("text-classification",)
# Options of a fit that only samples of one kind have.
_OF_PICTURES = (
    *("image_column", "ignore_value", "outside", "bands", "units", "augment", "mixup", "cutmix"),
    *("views", "decoder", "loss"),
)
_OF_TEXTS_ALONE = ("text_column", "long")
# Options that another fit has its own of.
_OF_ONE_FIT = ("output", "drop_suspects")
# What the id of a text from a table has behind the name of that: the number of its row.
_ROW = re.compile(r"#\d+$")


@dataclass(frozen=True)
class RunRecord:
    """Everything that was written about one run.

    Attributes:
        config: Contents of config.json.
        dataset: Contents of dataset.json.
        split: Contents of split.json.
        metrics: Contents of metrics.json.
        contract: What the model expects as input; of texts, its tokenizer or its terms are told by
            their sha256.
        backbone: The pretrained model it was built on, or that there is none.
        measures: The metrics, the headline first.
        epochs: The epoch events in order, one an epoch (a resumed run may tell one twice).
        lr_finder: The event of the learning-rate finder, if it ran.
        warnings: Messages that were shown as warnings during the fit.
        num_damaged_lines: Lines of the log that are no JSON, as a killed process may leave.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    dataset: Mapping[str, Any]
    split: Mapping[str, Any]
    metrics: Mapping[str, Any]
    contract: InputContract | TextContract | TermsContract
    backbone: BackboneSpec
    measures: Mapping[str, Measure]
    epochs: tuple[Mapping[str, Any], ...]
    lr_finder: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    num_damaged_lines: int

    @property
    def uses_depths(self) -> bool:
        """Whether the head sees features of several depths of the backbone."""
        return "depths" in self.backbone.arguments

    @property
    def is_of_words(self) -> bool:
        """Whether it goes by the words of texts alone, without any pretrained backbone."""
        return isinstance(self.contract, TermsContract)

    @property
    def name(self) -> str:
        """The name of the run: that of its folder."""
        return self.folder.path.resolve().name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the model, in its order."""
        return tuple(self.config["model"]["classes"])

    @property
    def is_multilabel(self) -> bool:
        """Whether a sample may have several labels, or none."""
        return bool(self.config["model"]["is_multilabel"])

    @property
    def is_dense(self) -> bool:
        """Whether it answers for each pixel of a picture, and not for the picture."""
        return self.task in _DENSE

    @property
    def is_of_texts(self) -> bool:
        """Whether its samples are texts."""
        return self.task in _OF_TEXTS

    @property
    def unit(self) -> str:
        """What a sample is called: `picture` or `text`. All sentences about a run take it."""
        return "text" if self.is_of_texts else "picture"

    @property
    def options_shown(self) -> dict[str, Any]:
        """All options of the fit but those that only samples of another kind have."""
        others = _OF_PICTURES if self.is_of_texts else _OF_TEXTS_ALONE
        options: Mapping[str, Any] = self.config["options"]
        return {name: value for name, value in options.items() if name not in others}

    @property
    def given(self) -> dict[str, Any]:
        """The options that the user gave, with the backbone that won, if several raced."""
        given = given_options(self.config)
        return {n: self.config["options"][n] if n == "backbone" else v for n, v in given.items()}

    def fit_command(self, *more: str) -> str:
        """The fit that this run came from, as it is typed, with more behind it."""
        given = {name: value for name, value in self.given.items() if name not in _OF_ONE_FIT}
        return fit_command(self.config["data"], given, *more)

    @property
    def counted(self) -> str:
        """What its answers are counted in: `pixel` where each has one, else as `unit`."""
        return "pixel" if self.is_dense else self.unit

    @property
    def task(self) -> str:
        """The name of its task."""
        return str(self.metrics.get("task") or self.config.get("task"))

    @property
    def num_tested(self) -> int:
        """How many samples the metrics rest on."""
        return int(self.metrics["n"])

    @cached_property
    def split_sizes(self) -> dict[str, int]:
        """split -> number of samples. (Class counts add up to more where samples have several.)"""
        sizes = Counter(entry["split"] for entry in self.split["assignment"].values())
        return {name: sizes[name] for name in SPLITS if name in sizes}

    @property
    def num_trained(self) -> int:
        """How many samples were for training."""
        return self.split_sizes.get("train", 0)

    @property
    def is_sealed(self) -> bool:
        """Whether the metrics come from a test set that nothing was chosen by."""
        return bool(self.metrics.get("split", "test") == "test")

    @property
    def fit(self) -> Mapping[str, Any]:
        """What the strategy told about its fit."""
        facts: Mapping[str, Any] = self.config["fit"]
        return facts

    @property
    def best_epoch(self) -> int | None:
        """The epoch that scored best on the validation samples; None without any."""
        return self.fit.get("best_epoch") or None

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """split -> class -> number of samples."""
        counts: Mapping[str, Mapping[str, int]] = self.dataset["counts"]
        return counts

    @cached_property
    def headline(self) -> str:
        """The name of the metric to tell first."""
        preferred = _HEADLINES[1:] if self.is_multilabel else _HEADLINES
        known: list[str] = [*preferred, *self.measures]
        for name in known:
            if name in self.measures:
                return name
        raise RunError(f"`{self.folder.metrics}` lists no metric. Fit again.")

    @cached_property
    def evidence(self) -> Evidence:
        """What the run proves about itself; each part only where it was written."""
        return read_evidence(self.metrics, path=self.folder.metrics)

    @cached_property
    def chips(self) -> Chips:
        """How it did on each test picture, for a model that answers for each pixel."""
        return read_chips(self.metrics, path=self.folder.metrics)

    @cached_property
    def colours(self) -> dict[str, Colour]:
        """class -> the colour that figures show it in, for a model that answers for each pixel."""
        own = (self.dataset.get("legend") or {}).get("colours")
        return dict(zip(self.classes, class_colours(len(self.classes), own=own), strict=True))

    @cached_property
    def pixels(self) -> dict[str, int]:
        """class -> labelled test pixels of it, for a model that answers for each pixel."""
        confusion = self.metrics.get("confusion") or {"classes": (), "counts": ()}
        rows = zip(confusion["classes"], confusion["counts"], strict=True)
        return {name: sum(row) for name, row in rows}

    @cached_property
    def ious(self) -> dict[str, float]:
        """class -> IoU, where the test has a pixel of it, for a model that answers for each."""
        known = {
            name: row.get("iou")
            for name, row in self.metrics["per_class"].items()
            if row.get("n", 1)
        }
        return {
            name: float(iou)
            for name, iou in known.items()
            if iou is not None and math.isfinite(iou)
        }

    @property
    def majority(self) -> float | None:
        """The headline metric of always answering the most common class, where that is known."""
        if self.headline == "accuracy":
            value = (self.metrics.get("majority") or {}).get("accuracy")
            return None if value is None else float(value)
        if self.headline == "miou" and any(self.pixels.values()):
            # Its IoU is its share of all pixels, that of every other class with a pixel is 0.
            sizes = [n for n in self.pixels.values() if n]
            return max(sizes) / sum(sizes) / len(sizes)
        return None

    @property
    def most_common_class(self) -> str:
        """The class with the most training samples, or with the most of all without any.

        For a model that answers for each pixel, the class with the most test pixels.
        """
        totals = self.pixels if self.is_dense else self.counts.get("train") or self.totals
        return max(totals, key=lambda name: totals[name]) if totals else ""

    @cached_property
    def totals(self) -> dict[str, int]:
        """class -> number of samples in all splits."""
        totals = dict.fromkeys(self.dataset["classes"], 0)
        for split in self.counts.values():
            for name, number in split.items():
                totals[name] = totals.get(name, 0) + number
        return totals

    def sample_path(self, sample_id: str) -> Path:
        """Where a sample of the run's data set lay; of a window or a row the file it is of."""
        root = Path(self.dataset["root"])
        if self.is_of_texts:
            return root / _ROW.sub("", sample_id)
        from headstart.data.window_ids import (
            picture_of,
        )  # with the formats of data, which take time

        return root / (picture_of(sample_id) or sample_id)


def read_record(folder: RunFolder) -> RunRecord:
    """Read a finished run.

    Raises:
        RunError: A file is missing, damaged, or lacks an entry.
    """
    needed = ("model", "strategy", "options", "choices", "data", "fit", "environment", "created")
    config = _read(folder, folder.config, needed)
    parts = ("backbone", "head", "format", "classes", "is_multilabel", "num_parameters")
    _require(config["model"], parts, folder.config)
    dataset = _read(
        folder, folder.dataset, ("root", "classes", "counts", "findings", "reason", "num_samples")
    )
    split = _read(folder, folder.split, ("rule", "reason", "assignment"))
    metrics = _read(folder, folder.metrics, ("n", "metrics", "per_class"))
    events, num_damaged = _read_log(folder)
    epochs = {e["epoch"]: e for e in events if e["kind"] == "epoch" and "epoch" in e}
    finders = [e for e in events if e["kind"] == "lr_finder" and e.get("lrs")]
    try:
        contract = _read_contract(folder)
        backbone = BackboneSpec.from_json(config["model"]["backbone"])
        measures = {name: Measure(**values) for name, values in metrics["metrics"].items()}
    except TypeError as error:
        raise RunError(
            f"`{folder.path}` was written by another version of Headstart ({error}). "
            "Fit again, or make its report with the version that fitted it."
        ) from None
    return RunRecord(
        folder=folder,
        config=config,
        dataset=dataset,
        split=split,
        metrics=metrics,
        contract=contract,
        backbone=backbone,
        measures=measures,
        epochs=tuple(epochs[number] for number in sorted(epochs)),
        lr_finder=finders[-1] if finders else None,
        warnings=tuple(dict.fromkeys(e["message"] for e in events if e["kind"] == "warning")),
        num_damaged_lines=num_damaged,
    )


def _read_contract(folder: RunFolder) -> InputContract | TextContract | TermsContract:
    """What the model takes; texts are those that are cut into tokens, or whose words are known.

    Raises:
        TypeError: It has other entries than this version knows.
    """
    entries = _read(folder, folder.input, ())
    if "vocabulary" in entries:
        _require(entries, ("sizes",), folder.input)
        return TermsContract(**entries)
    if "tokenizer" not in entries:
        _require(entries, ("bands", "height", "width", "mean", "std"), folder.input)
        return InputContract.from_json(entries)
    _require(entries, ("window", "long"), folder.input)
    return TextContract(**entries)


def _read(folder: RunFolder, path: Path, keys: Sequence[str]) -> dict[str, Any]:
    values = folder.read_json(path)
    _require(values, keys, path)
    return values


def _require(values: Mapping[str, Any], keys: Sequence[str], path: Path) -> None:
    missing = [key for key in keys if key not in values]
    if missing:
        listed = ", ".join(f"`{key}`" for key in missing)
        raise RunError(f"`{path}` has no entry {listed}, which the report needs. Fit again.")


def _read_log(folder: RunFolder) -> tuple[list[dict[str, Any]], int]:
    """The events, and how many lines are none."""
    try:
        lines = folder.log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise RunError(f"`{folder.log}` is missing from the run. Fit again.") from None
    events, num_damaged = [], 0
    for line in lines:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            num_damaged += 1
            continue
        if isinstance(event, dict) and "kind" in event:
            events.append({"message": "", **event})
        else:
            num_damaged += 1
    return events, num_damaged
