"""What a fit of masks sees: which bands of its pictures, in which units, and how they are scaled.

All pictures are looked at, and all that is wrong with any of them is told at once. Nothing is
guessed: bands go by their names, units by what the files say or what their values leave no doubt
of, and where that is not enough, an error lists the choices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from headstart.backbones.catalog import catalog
from headstart.backbones.stem import adapt_stem, origins, stem_is_adapted, told_together
from headstart.config import FitOptions
from headstart.contracts import Backbone, Sample, Split
from headstart.data.alpha_bands import warn_of_unread_alpha
from headstart.data.band_statistics import measure_bands
from headstart.data.bands import choose_bands, common_name, sensor_of
from headstart.data.chips import PHOTO_BANDS, gives_photo, is_unnamed
from headstart.data.raster_header import RasterFacts
from headstart.data.raster_values import STRETCHED, recognise_file
from headstart.data.units import UNITS
from headstart.errors import DataError
from headstart.fitting.preparing import PreparedData
from headstart.fitting.settle import Choice, Choices
from headstart.progress import Progress
from headstart.report.wording import count

# What begins the reason why a picture takes no part, where its bands or its unit are the reason.
_LEFT_OUT = "seen otherwise: "
# Files that an error names; more of one kind say no more.
_MOST_NAMED = 8
# Bands whose mean and spread fit into a line.
_MOST_TOLD = 4


@dataclass(frozen=True)
class Sensed:
    """What a fit is to see.

    Attributes:
        bands: Names or numbers, in the order of the channels.
        units: As `InputContract.units`.
        sensor: A row of `data.bands.SENSORS` that all pictures are of; empty where there is none.
        why_bands: In words.
        why_units: In words.
        told: One sentence a kind of unit that was recognised, to be said aloud.
        left_out: sample id -> why it cannot take part.
    """

    bands: tuple[str, ...]
    units: str
    sensor: str
    why_bands: str
    why_units: str
    told: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Picture:
    """A file, as far as bands go; `facts` is None of what is read as a photo."""

    sample: Sample
    bands: tuple[str, ...]
    sensor: str
    facts: RasterFacts | None


def refuse_senseless(options: FitOptions, data: PreparedData) -> None:
    """Refuse data whose bands or units cannot be told, before anything is made.

    With `--on-bad skip`, what differs from the rest is left out.

    Raises:
        DataError: With all pictures that are the reason, and what to do; or nothing would be left
            of a split.
    """
    rows = catalog()
    row = rows.get(options.backbone)
    known = PHOTO_BANDS if row is None else row.contract.bands
    found = sense(options, data, known=known).left_out
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for split in splits:
        samples = data.samples(split)
        if samples and all(sample.id in found for sample in samples):
            why = found[samples[0].id]
            raise DataError(
                f"Nothing is left of {split}: all of its {count(len(samples), 'picture')} would be "
                f"left out, for one: {why.removeprefix(_LEFT_OUT)}\nBring them to the bands and "
                "the unit of the others, or take others into it."
            )
    data.left_out.update(found)


def sense(options: FitOptions, data: PreparedData, *, known: Sequence[str]) -> Sensed:
    """Bands and units of all pictures that take part.

    Args:
        options: As the user gave them.
        data: Split.
        known: Bands of the weights.

    Raises:
        DataError: They cannot be told, or pictures differ; with all of them.
    """
    pictures = _pictures(data, asked=options.bands or ())
    bands, why_bands, troubles = _choose_bands(options, pictures, known=tuple(known))
    what = f"without all of the bands {', '.join(bands)}, or with others besides"
    left_out = _judged(troubles, options, what=what, remedy="Choose bands that all have (--bands)")
    seen = [picture for picture in pictures if picture.sample.id not in left_out]
    units, why_units, told, troubles = _choose_units(options, seen, bands=bands)
    what, remedy = "that cannot be read in one unit with the others", "Bring all to one unit"
    left_out |= _judged(troubles, options, what=what, remedy=remedy)
    sensors = {picture.sensor for picture in seen}
    sensor = sensors.pop() if len(sensors) == 1 else ""
    why_of = {p.sample.path: left_out[p.sample.id] for p in pictures if p.sample.id in left_out}
    everywhere = {s.id: why_of[s.path] for s in data.dataset if s.path in why_of}
    return Sensed(bands, units, sensor, why_bands, why_units, told, everywhere)


def sensing_backbone(
    backbone: Backbone,
    data: PreparedData,
    options: FitOptions,
    *,
    choices: Choices,
    progress: Progress,
) -> Backbone:
    """The backbone for the bands of the data, its contract with their units and their statistics.

    What was chosen is added to the choices; it is said aloud where it is not what photos have.

    Args:
        backbone: As its weights came.
        data: Split.
        options: As the user gave them.
        choices: Of the fit.
        progress: Is told of units, stems, and what was left out.

    Raises:
        ConfigError: The backbone cannot take other bands.
        DataError: See `sense`; or no training picture holds data.
    """
    known = backbone.contract
    left_out = sum(reason.startswith(_LEFT_OUT) for reason in data.left_out.values())
    if left_out:
        progress.warn(f"{count(left_out, 'picture')} left out, whose bands or units differ.")
    sensed = sense(options, data, known=known.bands)
    if options.bands is None:
        warn_of_unread_alpha(data.samples("train"), bands=None, progress=progress)
    if sensed.bands == known.bands == PHOTO_BANDS and sensed.units == known.units:
        return backbone
    for sentence in sensed.told:
        progress.note(f"  {sentence}")
    choices.add(Choice("bands", ", ".join(sensed.bands), sensed.why_bands))
    choices.add(Choice("units", sensed.units or "as stored", sensed.why_units))
    adapted = adapt_stem(backbone, sensed.bands, sensor=sensed.sensor)
    if stem_is_adapted(adapted):
        found = origins(known.bands, sensed.bands, sensor=sensed.sensor)
        reason = "filters for the bands begin as those of the weights: "
        choices.add(Choice("stem", "adapted", reason + told_together(found)))
    contract = replace(adapted.contract, units=sensed.units)
    is_known = all(o.how == "own" for o in origins(known.bands, sensed.bands, sensor=sensed.sensor))
    if sensed.units == known.units and (is_known or not sensed.units):
        return replace(adapted, contract=contract)
    contract = replace(contract, scale=1.0)
    found_values = measure_bands(data.samples("train"), contract)
    if found_values.constant:
        progress.warn(
            f"The same value everywhere in {', '.join(found_values.constant)}: nothing can be "
            "learnt from that. Look at the files, or choose others with --bands."
        )
    how = (
        f"of the values of {count(found_values.num_samples, 'training picture')}, the outermost "
        "1% drawn in: those of the weights are for other bands or units"
    )
    values = zip(sensed.bands, found_values.mean, found_values.std, strict=True)
    listed = ", ".join(f"{band} {mean:.3g} ± {std:.2g}" for band, mean, std in values)
    if len(sensed.bands) > _MOST_TOLD:
        listed = f"mean and spread of {len(sensed.bands)} bands, see input.json"
    choices.add(Choice("normalisation", listed, how))
    contract = replace(contract, mean=found_values.mean, std=found_values.std)
    return replace(adapted, contract=contract)


# --- pictures ---------------------------------------------------------------------------------


def _pictures(data: PreparedData, *, asked: Sequence[str]) -> list[_Picture]:
    """One a file: windows of a scene are alike.

    What is marked as alpha is a band like others where its number is asked for.
    """
    pictures = {}
    for sample in data.dataset:
        if sample.id in data.left_out or sample.path in pictures:
            continue
        facts = data.checkup.facts[sample.id].raster
        if facts is None or facts.colours:
            pictures[sample.path] = _Picture(sample, PHOTO_BANDS, "", None)
        elif facts.has_alpha and str(len(facts.bands) + 1) in asked:
            pictures[sample.path] = _Picture(sample, facts.readable_bands, facts.sensor, facts)
        elif _is_plain(facts):  # three bands or a grey one, that have no names
            pictures[sample.path] = _Picture(sample, PHOTO_BANDS, facts.sensor, facts)
        else:
            pictures[sample.path] = _Picture(sample, facts.bands, facts.sensor, facts)
    return list(pictures.values())


def _is_plain(facts: RasterFacts) -> bool:
    return is_unnamed(facts.bands) and gives_photo(facts)


def _judged(
    troubles: Mapping[str, str], options: FitOptions, *, what: str, remedy: str
) -> dict[str, str]:
    """sample id -> why it is left out.

    Choices that a message lists are told once, behind all messages.

    Raises:
        DataError: None is to be left out; all are listed.
    """
    if not troubles:
        return {}
    if options.on_bad == "skip":
        return {id_: _LEFT_OUT + trouble for id_, trouble in troubles.items()}
    lines = [f"{count(len(troubles), 'picture')} {what}:"]
    choices: dict[str, None] = {}
    for trouble in list(troubles.values())[:_MOST_NAMED]:
        told, has_choices, listed = trouble.partition("\n")
        if has_choices:
            told, _, ask = told.rpartition(". ")
            choices[f"{ask}\n{listed}"] = None
            told += "."
        lines.append(f"- {told}")
    if len(troubles) > _MOST_NAMED:
        others = list(troubles)[_MOST_NAMED:]
        lines.append(f"- likewise {', '.join(f'`{id_}`' for id_ in others)}")
    lines += choices
    lines.append(f"{remedy}, or leave these out: --on-bad skip.")
    raise DataError("\n".join(lines))


# --- bands ------------------------------------------------------------------------------------

_Chosen = tuple[tuple[str, ...], str, dict[str, str]]


def _choose_bands(
    options: FitOptions, pictures: Sequence[_Picture], *, known: tuple[str, ...]
) -> _Chosen:
    """The bands, why, and sample id -> what is wrong with it."""
    if options.bands is not None:
        troubles = dict(_lacking(options.bands, pictures))
        good = [picture for picture in pictures if picture.sample.id not in troubles]
        _refuse_all(troubles, good)
        return _named(options.bands, good), "as --bands says", troubles
    is_domain = not {common_name(band) for band in known} <= {"red", "green", "blue"}
    if is_domain and not dict(_lacking(known, pictures)):
        return known, "those that the weights know", {}
    kinds = Counter(picture.bands for picture in pictures)
    wanted, _ = kinds.most_common(1)[0]
    if is_unnamed(wanted) and len(wanted) > 1:
        raise _unnamed(wanted, [p for p in pictures if p.bands == wanted])
    troubles = dict(_lacking(wanted, pictures, is_all=True))
    good = [picture for picture in pictures if picture.sample.id not in troubles]
    _refuse_all(troubles, good)
    bands = _named(("1",) if is_unnamed(wanted) else wanted, good)
    if sorted(common_name(band) for band in bands) == ["blue", "green", "red"]:
        bands = PHOTO_BANDS  # in whatever order the files have them
    why = "red, green and blue" if bands == PHOTO_BANDS else "all that every picture has"
    return bands, why, troubles


def _refuse_all(troubles: Mapping[str, str], good: Sequence[_Picture]) -> None:
    if not good:
        raise DataError(f"No picture can be read so. {next(iter(troubles.values()))}")


def _lacking(
    wanted: Sequence[str], pictures: Sequence[_Picture], *, is_all: bool = False
) -> Iterator[tuple[str, str]]:
    """Sample ids of pictures without some band, or with others besides; and what is wrong."""
    for picture in pictures:
        id_ = picture.sample.id
        try:
            places = choose_bands(wanted, picture.bands, sensor=picture.sensor, source=id_)
        except DataError as error:
            yield id_, str(error)
            continue
        if len(set(places)) < len(places):
            names = ", ".join(wanted)
            yield id_, f"Some of {names} are one band of `{id_}`, which has {_listed(picture)}."
        elif is_all and len(picture.bands) > len(places):
            yield id_, f"`{id_}` has others besides: {_listed(picture)}."


def _listed(picture: _Picture) -> str:
    return ", ".join(picture.bands)


def _named(wanted: Sequence[str], pictures: Sequence[_Picture]) -> tuple[str, ...]:
    """Bands by the names that later pictures are asked for.

    A number becomes a name where all files agree on it. Names that do not tell their sensor become
    what the bands are commonly called: B5 is another band in each generation of Landsat. Red, green
    and blue in this order are a photo's.
    """
    names = [_name(band, pictures) for band in wanted]
    sensors = {picture.sensor for picture in pictures}
    if len(sensors) == 1 and (sensor := sensors.pop()) != sensor_of(names):
        names = [common_name(name, sensor=sensor) or name for name in names]
    commons = [common_name(name) for name in names]
    return PHOTO_BANDS if commons == ["red", "green", "blue"] else tuple(names)


def _name(band: str, pictures: Sequence[_Picture]) -> str:
    if band.isdigit():
        at_place = {picture.bands[int(band) - 1] for picture in pictures}
        if len(at_place) != 1 or is_unnamed(tuple(at_place)):
            return band
        (band,) = at_place
    return band


def _unnamed(bands: Sequence[str], pictures: Sequence[_Picture]) -> DataError:
    numbers = ",".join(str(i + 1) for i in range(len(bands)))
    return DataError(
        f"{count(len(pictures), 'picture')} of {len(bands)} bands without names, such as "
        f"`{pictures[0].sample.id}`: nothing tells what each band sees. Say it:\n"
        f"- `--bands {numbers}` learns from all of them, by number; their filters then begin "
        "alike, as no wavelength is known.\n"
        "- `--bands` with some of the numbers learns from these alone.\n"
        "- Names in the files are better: descriptions of the bands such as B02, B03, B04, B08, or "
        "red, green, blue, nir."
    )


# --- units ------------------------------------------------------------------------------------

_Units = tuple[str, str, tuple[str, ...], dict[str, str]]


def _choose_units(
    options: FitOptions, pictures: Sequence[_Picture], *, bands: Sequence[str]
) -> _Units:
    """The units, why, what is to be said, and sample id -> what is wrong with it."""
    is_stored = all(p.facts is None or _is_eight_bits(p.facts) for p in pictures)
    if options.units is None and is_stored and set(bands) <= set(PHOTO_BANDS):
        return "", "8 bits, as the weights know them", (), {}
    found: dict[str, str] = {}
    sentences: dict[str, str] = {}
    troubles: dict[str, str] = {}
    for picture in pictures:
        id_ = picture.sample.id
        if picture.facts is None:
            found[id_] = "8bit"
            if options.units not in (None, "8bit"):
                troubles[id_] = f"`{id_}` is a photo of 8 bits, not of --units {options.units}."
            continue
        asked = _asked(picture, bands)
        try:
            unit = recognise_file(picture.sample.path, bands=asked, declared=options.units)
        except DataError as error:
            troubles[id_] = str(error)
            continue
        found[id_] = unit.name
        sentences.setdefault(unit.name, unit.sentence)
    if troubles and len(troubles) == len(pictures):
        # All are of one kind, so that one sentence with the choices says it.
        num = count(len(troubles), "picture")
        raise DataError(f"{next(iter(troubles.values()))}\nThis is so of {num}.")
    if options.units is not None:
        return options.units, "as --units says", (), troubles
    counts = Counter(found.values())
    told = tuple(
        f"{sentence} ({count(counts[name], 'picture')})" for name, sentence in sentences.items()
    )
    stretched = sorted(set(counts) & set(STRETCHED))
    if not stretched:
        return "reflectance", "each file is recognised and converted", told, troubles
    if len(counts) == 1:
        return stretched[0], f"all are of {UNITS[stretched[0]][2]}", told, troubles
    commonest = counts.most_common(1)[0][0]
    is_of_common = {
        name: name == commonest or (commonest not in STRETCHED and name not in STRETCHED)
        for name in counts
    }
    for id_, name in found.items():
        if not is_of_common[name]:
            troubles[id_] = f"`{id_}` is of {UNITS[name][2]}, others of {_words(commonest)}."
    units = commonest if commonest in STRETCHED else "reflectance"
    return units, "what most of the files are", told, troubles


def _words(unit: str) -> str:
    return UNITS[unit][2] if unit in UNITS else "values with a scale and an offset"


def _is_eight_bits(facts: RasterFacts) -> bool:
    return facts.dtype == "uint8" and not facts.scales


def _asked(picture: _Picture, bands: Sequence[str]) -> list[str | int]:
    """Bands as the file itself has them: a plain one has only numbers."""
    assert picture.facts is not None
    if not _is_plain(picture.facts):
        return list(bands)
    if len(picture.facts.bands) == 1:
        return [1]
    return [PHOTO_BANDS.index(band) + 1 if band in PHOTO_BANDS else band for band in bands]
