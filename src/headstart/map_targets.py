"""Where masks go: each picture gets files of its own, below one folder, and replaces no others.

Reads no pixel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.contracts import Sample
from headstart.data import find_pictures
from headstart.data.listing import count
from headstart.data.own_files import is_own
from headstart.data.rasters import RASTER_SUFFIXES, raster_facts
from headstart.errors import ConfigError, DataError
from headstart.map_options import MapOptions

# A folder may be called so, but who types one of these means a file.
_FILES = RASTER_SUFFIXES | {".png", ".jpg", ".jpeg", ".gpkg", ".geojson", ".json", ".csv"}

# Files that an error names.
_MOST_NAMED = 8


@dataclass(frozen=True)
class ToMap:
    """A picture that is to be mapped.

    Attributes:
        sample: The picture.
        name: Of its mask below the output folder, without a suffix, such as `2024/field`.
    """

    sample: Sample
    name: str


@dataclass(frozen=True)
class Targets:
    """The files that are written of one picture.

    Attributes:
        mask: The class of each pixel, `.tif` of a scene, `.png` of a photo.
        overlay: Of a photo.
        probabilities: None where they are not wanted.
        polygons: Likewise.
    """

    mask: Path
    overlay: Path
    probabilities: Path | None
    polygons: Path | None


def pictures_to_map(paths: Sequence[Path | str], *, fetched: Path | None = None) -> list[ToMap]:
    """Pictures with names that keep the folders they are in.

    Of one folder, names keep what lies below it. Of several folders, or of files from several,
    they keep what lies below the deepest folder that all have in common: so two pictures of one
    name in two folders stay two, and nothing depends on which pictures there are.

    Args:
        paths: See `find_pictures`.
        fetched: A folder with scenes that were fetched; they keep what lies below it.

    Raises:
        DataError: See `find_pictures`.
    """
    samples = find_pictures(paths)
    places = [_plain(sample.path) for sample in samples]
    apart = None if fetched is None else _plain(fetched)
    is_apart = [apart is not None and place.is_relative_to(apart) for place in places]
    folders = [_plain(Path(p)) for p in paths if Path(p).is_dir()]
    alone = {
        place.parent
        for place, is_so in zip(places, is_apart, strict=True)
        if not is_so and not any(place.is_relative_to(folder) for folder in folders)
    }
    base = _shared([*folders, *alone]) if folders or alone else apart
    named = []
    for sample, place, is_so in zip(samples, places, is_apart, strict=True):
        above = apart if is_so else base
        assert above is not None
        name = place.relative_to(above).with_suffix("").as_posix()
        named.append(ToMap(sample, name))
    return named


def targets_of(
    pictures: Sequence[ToMap], output: Path, *, options: MapOptions
) -> list[tuple[Targets, ...]]:
    """Where each picture's files go: one Targets a picture, as a tuple with that of a photo last.

    A TIFF whose values stand for colours turns out to be a photo only when it is opened, so that
    of a TIFF both are given.

    Raises:
        ConfigError: Two pictures would write the same file, one would replace a picture, or the
            output is named like a file.
    """
    if output.suffix.lower() in _FILES and not output.is_dir():
        raise ConfigError(
            f"--output {output} is named like a file, but masks go into a folder, each under the "
            f"name of its picture. Give a folder, such as --output {output.with_suffix('')}."
        )
    given = {each.sample.path.resolve() for each in pictures}
    owners: dict[Path, Sample] = {}
    found = []
    for each in pictures:
        is_scene = each.sample.path.suffix.lower() in RASTER_SUFFIXES
        suffixes = (".tif", ".png") if is_scene else (".png",)
        targets = tuple(
            _targets(output, each.name, suffix=suffix, options=options) for suffix in suffixes
        )
        written = [path for t in targets for path in vars(t).values() if path is not None]
        for path in dict.fromkeys(written):
            if path in owners:
                raise ConfigError(
                    f"`{owners[path].id}` and `{each.sample.id}` would both write `{path}`. "
                    "Predict them one after the other, each into an --output of its own."
                )
            if path.resolve() in given:
                raise ConfigError(
                    f"The mask of `{each.sample.id}` would replace the picture `{path}`. Give "
                    "--output another folder."
                )
            owners[path] = each.sample
        found.append(targets)
    return found


def refuse_to_replace(
    pictures: Sequence[ToMap], targets: Sequence[Sequence[Targets]], *, takes_photos: bool
) -> None:
    """Refuse to write where a file is that no prediction wrote; one of an earlier one is replaced.

    Args:
        pictures: To be mapped.
        targets: Of each, see `targets_of`.
        takes_photos: Whether the model takes rasters whose values stand for colours as photos.

    Raises:
        ConfigError: With all such files.
    """
    found = [
        path
        for each, possible in zip(pictures, targets, strict=True)
        for path in _there(each.sample, possible, takes_photos=takes_photos)
        if not is_own(path)
    ]
    if not found:
        return
    listed = "".join(f"\n- `{path}`" for path in found[:_MOST_NAMED])
    if len(found) > _MOST_NAMED:
        listed += f"\n- and {len(found) - _MOST_NAMED:,} more"
    it = "it" if len(found) == 1 else "them"
    raise ConfigError(
        f"{count(len(found), 'file')} would be replaced, though `headstart predict` has not "
        f"written {it}:{listed}\nGive --output another folder, or move {it} away."
    )


def _there(sample: Sample, possible: Sequence[Targets], *, takes_photos: bool) -> list[Path]:
    """What is there already of the files that a picture will write."""
    paths = {path for t in possible for path in vars(t).values() if path is not None}
    there = {path for path in paths if os.path.lexists(path)}
    if not there:
        return []
    is_photo = len(possible) == 1
    if not is_photo:
        try:
            is_photo = takes_photos and bool(raster_facts(sample.path).colours)
        except DataError:
            return []  # that is told where it is read, and nothing is written
    used = possible[-1] if is_photo else possible[0]
    written = [used.mask, used.overlay if is_photo else None, used.probabilities, used.polygons]
    return [path for path in written if path is not None and path in there]


def _targets(output: Path, name: str, *, suffix: str, options: MapOptions) -> Targets:
    def beside(end: str) -> Path:
        return output / f"{name}{end}"

    return Targets(
        mask=beside(suffix),
        overlay=beside("-overlay.png"),
        probabilities=beside("-probabilities.tif") if options.probabilities else None,
        polygons=beside(f".{options.polygons}") if options.polygons else None,
    )


def _plain(path: Path) -> Path:
    """Whole, without `..`, and with links as they are."""
    return Path(os.path.normpath(path.absolute()))


def _shared(folders: Sequence[Path]) -> Path:
    """The deepest folder that holds all of some."""
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # Windows: on several drives
        raise ConfigError(
            "The pictures lie on several drives, so that no folder holds them all. Predict those "
            "of one drive at a time."
        ) from None
