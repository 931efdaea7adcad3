"""The verb `inspect`: what is in a data set, and everything that is wrong with it. Only wiring."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from headstart.atomic import replacing
from headstart.contracts import Dataset, Finding, InputContract, Legend, Sample, Split
from headstart.errors import ConfigError, DataError, MissingExtraError
from headstart.progress import Progress

if TYPE_CHECKING:
    from headstart.data.checks import Checkup
    from headstart.data.languages import Languages
    from headstart.data.leaks import LeakedSample
    from headstart.data.near_duplicates import NearDuplicates
    from headstart.data.splits import SplitPlan
    from headstart.data.text_lengths import TextLengths


# Six rows of crops that show what is done to a chip, on a page that stays small.
_SHEET_ROWS, _SHEET_PIXELS = 6, 256


class DataOptions(TypedDict, total=False):
    """How labelled data are read; see FitOptions.

    Attributes:
        image_column: Of a table.
        text_column: Of a table; several are joined.
        label_column: Of a table.
        group: What may not straddle a split.
        ignore_value: Values of masks that belong to no class.
        bands: Of rasters, to tell of.
        units: What the values of rasters mean.
        seed: Of the splits.
        outside: What pixels in no polygon are.
        backbone: Whose tokens texts are counted in, if it is on this machine.
    """

    image_column: str | None
    text_column: tuple[str, ...] | None
    label_column: str | None
    group: str | None
    ignore_value: tuple[int, ...] | None
    bands: tuple[str, ...] | None
    units: str | None
    seed: int
    outside: Literal["background", "ignore"] | None
    backbone: str


@dataclass(frozen=True)
class Inspected:
    """What `inspect` found.

    Attributes:
        dataset: As it was recognised.
        findings: Everything that is wrong with it, errors first.
        counts: split -> class -> number of samples, as a fit would split it.
        split_reason: How a fit would split it, in a sentence.
        formats: picture format -> number of files.
        sizes: `width` and `height` -> smallest, median and largest, in pixels.
        page: The HTML page, if one was asked for.
        sheet: The sheet of augmented samples, if one was asked for.
        near: Samples that are nearly the same.
        leaks: Samples of a ready-made test that also stand, or nearly, in train or validation.
        pixels: As `counts`, of pixels, where samples have masks; else empty.
        lengths: Of texts; None of pictures.
        languages: Of texts; None of pictures.
    """

    dataset: Dataset
    findings: tuple[Finding, ...]
    counts: Mapping[str, Mapping[str, int]]
    split_reason: str
    formats: Mapping[str, int]
    sizes: Mapping[str, tuple[int, float, int]]
    page: Path | None = None
    sheet: Path | None = None
    near: NearDuplicates | None = None
    leaks: tuple[LeakedSample, ...] = ()
    pixels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    lengths: TextLengths | None = None
    languages: Languages | None = None


def inspect(
    data: Path | str,
    *,
    output: Path | str | None = None,
    augment: Any = None,
    progress: Progress | None = None,
    **reading: Unpack[DataOptions],
) -> Inspected:
    """What is in a data set, and everything that is wrong with it.

    Args:
        data: A folder or a table.
        output: An HTML page to write, with samples and distributions; with `augment` alone, `.png`
            writes just the sheet.
        augment: A preset (or in Python any augmentation) to draw on some samples.
        progress: Told about everything; None is silent.
        **reading: See DataOptions.

    Raises:
        ConfigError: Texts are to be augmented, or there is no such backbone.
        DataError: Nothing there can be recognised.
        TypeError: There is no such option.
    """
    if unknown := set(reading) - DataOptions.__annotations__.keys():
        raise TypeError(f"inspect() has no option `{min(unknown)}`.")
    from headstart.backbones.text_languages import language_findings, models_of_many
    from headstart.data.leaks import leak_findings, near_duplicate_findings
    from headstart.data.mask_classes import pixel_counts, unlearnt_findings
    from headstart.data.near_samples import find_near_samples
    from headstart.data.planning import plan_splits
    from headstart.data.sample_findings import noun_of
    from headstart.data.splits import class_counts
    from headstart.data.text_lengths import unknown_findings
    from headstart.report import Inspection, write_inspection
    from headstart.report.mask_inspection import BandReading

    progress = progress or Progress()
    dataset = _opened(Path(data), reading, progress)
    is_text = noun_of(dataset) == "text"
    _refuse_what_is_of_others(data, reading, augment, is_text=is_text)
    dataset, checkup = _checked(dataset, reading, progress)
    near = find_near_samples(dataset, checkup)
    for note in near.notes:
        progress.note(note)
    usable = dataset.without(checkup.bad_ids)
    counts, reason = class_counts(dataset), "no sample can be used"
    seed = reading.get("seed", 0)
    leaks: tuple[LeakedSample, ...] = ()
    unlearnt: tuple[Finding, ...] = ()
    unread: tuple[Finding, ...] = ()
    assignment: Mapping[str, Split] | None = None
    if usable.samples:
        try:
            planned = plan_splits(usable, checkup, near, seed=seed)
        except DataError as error:  # a fit would stop here; an inspection has more to say
            reason = str(error)
        else:
            usable = usable.without(planned.left_out)
            assignment, leaks = planned.split.assignment, planned.leaks
            counts, reason = class_counts(usable, assignment), planned.split.reason
            for note in planned.split.notes:
                progress.note(note)
            unlearnt = tuple(unlearnt_findings(usable, checkup.masks, assignment))
            unread = _unread_together(usable, checkup, planned.split, reading)
    leaking = leak_findings(leaks, noun=noun_of(dataset))
    languages = _languages(dataset) if is_text else None
    told = (*near_duplicate_findings(dataset, near), *unlearnt, *leaking)
    if languages is not None:
        told += language_findings(languages, [reading.get("backbone", "auto")])
    lengths = _lengths(dataset, reading.get("backbone", "auto"), progress) if is_text else None
    if lengths is not None and lengths.tokens is not None:
        others = models_of_many(beside=reading.get("backbone", "auto"))
        told += unknown_findings(lengths.tokens, dataset.samples, others=others)
    findings = (*checkup.errors, *unread, *checkup.warnings, *told)
    page = Path(output) if output is not None else None
    picture = sheet_path = None
    if augment is not None:
        divisor = checkup.sixteen_bit_divisor
        picture = _draw_sheet(usable, augment, sixteen_bit_divisor=divisor)
        if page is None or page.suffix.lower() == ".png":
            sheet_path, page = page or Path(f"augment-{augment}.png"), None
            with replacing(sheet_path) as temporary:
                picture.save(temporary, format="PNG")
    facts = {id_: facts for id_, facts in checkup.facts.items() if facts.format}
    shown = dataset if assignment is None else usable
    pixels = pixel_counts(shown, checkup.masks, assignment) if dataset.legend else {}
    if page is not None:
        write_inspection(
            page,
            Inspection(
                dataset=dataset,
                findings=findings,
                facts=facts,
                counts=counts,
                split_reason=reason,
                augmented=picture,
                augment_name=str(augment or ""),
                near=near,
                leaks=leaks,
                pixels=pixels,
                assignment=dict(assignment or {}),
                reading=BandReading(reading.get("bands"), reading.get("units")),
                lengths=lengths,
                languages=languages,
            ),
            progress=progress,
        )
    return Inspected(
        dataset=dataset,
        findings=findings,
        counts=counts,
        split_reason=reason,
        formats=Counter({f.part_of or id_: f.format for id_, f in facts.items()}.values()),
        sizes=_sizes(list(facts.values())),
        page=page,
        sheet=sheet_path,
        near=near,
        leaks=leaks,
        pixels=pixels,
        lengths=lengths,
        languages=languages,
    )


def _refuse_what_is_of_others(
    data: Path | str, reading: DataOptions, augment: Any, *, is_text: bool
) -> None:
    """Raise ConfigError at options for pictures where there are texts, and the other way round."""
    backbone = reading.get("backbone", "auto")
    if is_text and augment is not None:
        raise ConfigError(
            f"--augment {augment} changes pictures, and `{data}` has texts. Leave it away."
        )
    if not is_text and backbone != "auto":
        raise ConfigError(
            f"--backbone {backbone} counts the tokens of texts, and `{data}` has pictures. Leave "
            "it away."
        )


def _opened(path: Path, reading: DataOptions, progress: Progress) -> Dataset:
    """The data as they are recognised."""
    from headstart.data import Request, read_dataset

    request = Request(
        image_column=reading.get("image_column"),
        label_column=reading.get("label_column"),
        group=reading.get("group"),
        ignore_values=reading.get("ignore_value"),
        outside=reading.get("outside"),
        text_columns=reading.get("text_column"),
        progress=progress,
    )
    return read_dataset(path, request)


def _checked(dataset: Dataset, reading: DataOptions, progress: Progress) -> tuple[Dataset, Checkup]:
    """Everything that is wrong with single samples."""
    from headstart.data.checks import check_dataset
    from headstart.data.mask_checks import check_masks
    from headstart.data.sample_findings import noun_of
    from headstart.data.text_checks import check_texts

    if noun_of(dataset) == "text":
        return dataset, check_texts(dataset, progress=progress)
    masks = None
    if dataset.legend is not None:
        ignored = reading.get("ignore_value")
        checked = check_masks(dataset, progress=progress, ignore_values=ignored)
        dataset, masks = checked.dataset, checked.facts
    return dataset, check_dataset(dataset, decode=True, progress=progress, hashed=True, masks=masks)


def _languages(dataset: Dataset) -> Languages:
    from headstart.data.languages import find_languages

    return find_languages([sample.text or "" for sample in dataset])


def _lengths(dataset: Dataset, backbone: str, progress: Progress) -> TextLengths:
    """How long the texts are; in tokens only where nothing must be fetched for it."""
    from headstart.backbones import text_contract_at_hand
    from headstart.backbones.text_catalog import PACKAGED_TEXT_DEFAULT
    from headstart.data.text_lengths import TextLengths, count_characters, count_tokens
    from headstart.data.tokenising import Tokeniser

    texts = [sample.text or "" for sample in dataset]
    characters = count_characters(texts)
    try:
        found = text_contract_at_hand(backbone)
    except MissingExtraError as error:
        if backbone != "auto":
            raise
        return TextLengths(characters, why_not=f"Their tokens were not counted. {error}")
    if found is None:
        name = PACKAGED_TEXT_DEFAULT if backbone == "auto" else backbone
        why_not = (
            f"Their tokens were not counted, as `{name}` is not on this machine: `headstart pull "
            f"{name.replace('hf://', 'hf:')}` fetches it."  # with // it would be a weights file
        )
        return TextLengths(characters, why_not=why_not)
    if not texts:
        return TextLengths(characters)
    model, contract = found
    tokens = count_tokens(texts, Tokeniser(contract), model=model, progress=progress)
    return TextLengths(characters, tokens)


def _unread_together(
    usable: Dataset, checkup: Checkup, split: SplitPlan, reading: DataOptions
) -> tuple[Finding, ...]:
    """What a fit of masks would say of rasters whose bands or units differ or cannot be told."""
    if usable.legend is None or not any(checkup.facts[s.id].raster for s in usable):
        return ()  # no rasters: nothing of torch is loaded for photos
    from headstart.config import make_options
    from headstart.data.chips import PHOTO_BANDS
    from headstart.fitting.preparing import PreparedData
    from headstart.fitting.sensing import sense

    options = make_options({"bands": reading.get("bands"), "units": reading.get("units")})
    data = PreparedData(usable.root, usable, checkup, split)
    try:
        sense(options, data, known=PHOTO_BANDS)
    except DataError as error:
        remedy = "`headstart fit` takes --bands and --units in the same way."
        return (Finding("bands-or-units", "error", str(error), remedy),)
    return ()


def _sizes(facts: Sequence[Any]) -> dict[str, tuple[int, float, int]]:
    sizes = {}
    for side in ("width", "height"):
        values = [getattr(fact, side) for fact in facts]
        if values:
            sizes[side] = (min(values), statistics.median(values), max(values))
    return sizes


def _draw_sheet(dataset: Dataset, augment: Any, *, sixteen_bit_divisor: int) -> Any:
    """A few samples of each class, as the packaged default backbone would see them."""
    from headstart.backbones.catalog import PACKAGED_DEFAULT, catalog
    from headstart.data.augment_sheet import augmented_sheet

    if dataset.legend is not None:
        return _draw_chip_sheet(dataset, dataset.legend, augment)
    a_class = {name: [s for s in dataset if name in s.labels] for name in dataset.classes}
    num_each = max(1, 6 // max(len(dataset.classes), 1))
    chosen = [sample for group in a_class.values() for sample in group[:num_each]][:8]
    contract = catalog()[PACKAGED_DEFAULT].contract
    contract = replace(contract, sixteen_bit_divisor=sixteen_bit_divisor)
    return augmented_sheet(chosen, contract=contract, augment=augment, seed=0)


def _draw_chip_sheet(dataset: Dataset, legend: Legend, augment: Any) -> Any:
    """A few samples with their masks in colours, as training would see them."""
    import io

    from PIL import Image

    from headstart.data.augment_sheet import draw_sheet, sheet_title
    from headstart.data.chip_transforms import chip_preset_description
    from headstart.data.chips import PrepareChip
    from headstart.data.rasters import RASTER_SUFFIXES, raster_facts
    from headstart.data.seeding import seeded_for
    from headstart.report.chip_figures import segmentation_figures, visible_picture
    from headstart.report.colours import class_colours

    colours = class_colours(len(legend.names), own=legend.colours)
    samples = dataset.samples[:: max(1, len(dataset) // _SHEET_ROWS)][:_SHEET_ROWS]

    def drawn(sample: Sample, prepare: PrepareChip) -> Image.Image:
        example = prepare(sample)
        picture = visible_picture(example.inputs.numpy(), prepare.contract.bands)
        assert example.target is not None  # it has a mask
        truth = example.target.numpy()
        painted = segmentation_figures(picture, truth, truth, colours)["truth"]
        return Image.open(io.BytesIO(painted)).convert("RGB")

    rows = []
    for index, sample in enumerate(samples):
        bands: tuple[str, ...] = ("R", "G", "B")
        if sample.path.suffix.lower() in RASTER_SUFFIXES:
            bands = raster_facts(sample.path).bands
        zeros, ones = (0.0,) * len(bands), (1.0,) * len(bands)
        contract = InputContract(bands, _SHEET_PIXELS, _SHEET_PIXELS, zeros, ones)
        views = [drawn(sample, PrepareChip(contract, legend))]
        views[0] = views[0].resize((_SHEET_PIXELS, _SHEET_PIXELS), Image.Resampling.BOX)
        change = PrepareChip(contract, legend, augment)
        for view in range(4):
            with seeded_for(0, epoch=view, index=index):
                views.append(drawn(sample, change))
        rows.append(views)
    named = isinstance(augment, str)
    lines = chip_preset_description(augment) if named else [type(augment).__name__]
    return draw_sheet(rows, samples=samples, title=sheet_title(augment), lines=lines)
