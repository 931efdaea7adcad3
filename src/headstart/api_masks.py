"""The verbs that answer with masks, as Python functions; all others are in `api`. Only wiring.

Nothing is imported at the top that imports torch, so that `headstart --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.contracts import InputContract
from headstart.errors import DataError
from headstart.map_options import MapOptions
from headstart.progress import Progress
from headstart.rundir import RunFolder

if TYPE_CHECKING:
    from headstart.fitted import FittedSegmenter
    from headstart.mapping import Mapped
    from headstart.stac import Criteria

SCENES = "scenes"  # below the masks: what was fetched of them


def map_pictures(
    run: Path | str,
    paths: Sequence[Path | str],
    output: Path | str,
    *,
    options: MapOptions | None = None,
    device: str = "auto",
    on_bad: str = "stop",
    progress: Progress | None = None,
) -> list[Mapped]:
    """Masks of pictures and scenes, written into a folder.

    Args:
        run: The folder of a finished run of semantic segmentation, or a pretrained model that draws
            masks as it comes, such as `ukis-csmask-4b-l2a`.
        paths: Folders (searched through), files, or patterns such as `new/*.tif`; and STAC items,
            see `is_catalogue`, which are fetched as `fetch_scenes` does.
        output: A folder; made if it is not there. Masks keep the folders that pictures are in, see
            `map_targets.pictures_to_map`.
        options: What is written besides, and how.
        device: See FitOptions.
        on_bad: `stop` at a file that cannot be read, or `skip` it with a warning.
        progress: Told about everything; None is silent.

    Raises:
        ConfigError: Two masks would be one file, another process writes one of them, or the folder
            cannot be written to.
        DataError: Nothing was found, or a file cannot be read.
        RunError: There is no such run.
    """
    from headstart.map_targets import pictures_to_map
    from headstart.mapping import map_files

    progress = progress or Progress()
    options = options or MapOptions()
    options.check()
    files: list[Path | str] = []
    for path in paths:
        if is_catalogue(path):
            files += fetch_scenes(run, str(path), output, on_bad=on_bad, progress=progress)
        else:
            files.append(path)
    pictures = pictures_to_map(files, fetched=Path(output) / SCENES)
    fitted = ready_segmenter(run, device=device, units=options.units, progress=progress)

    def warn(sample: Any, error: DataError) -> None:
        progress.warn(str(error))

    return map_files(
        fitted,
        pictures,
        Path(output),
        options=options,
        on_error=warn if on_bad == "skip" else None,
        progress=progress,
    )


def fetch_scenes(
    run: Path | str,
    catalogue: str,
    output: Path | str,
    *,
    criteria: Criteria | None = None,
    on_bad: str = "stop",
    progress: Progress | None = None,
) -> list[Path]:
    """The scenes of a STAC catalogue that fit, with the bands that a model wants.

    Args:
        run: See `map_pictures`.
        catalogue: Whatever `stac.search` takes: the landing page of an API, a catalogue of files,
            an item, or a GeoJSON file of items; on the web or not.
        output: The folder for masks; scenes go to `scenes/` in it, and what is there already is not
            fetched again.
        criteria: What an item must be like; only the window of its box is fetched.
        on_bad: `stop` when an item cannot be fetched, once the others are; or `skip` it with a
            warning.
        progress: Told about everything; None is silent.

    Returns:
        One GeoTIFF an item, called after it and its day.

    Raises:
        CatalogueError: The catalogue does not answer as one.
        DataError: Nothing was found, or something could not be fetched; the rest is then there.
        MissingExtraError: The packages of the extra `geo` are missing.
    """
    from headstart import stac

    progress = progress or Progress()
    wanted = criteria or stac.make_criteria()
    contract = _contract_of(run)
    found = stac.search(catalogue, wanted, progress=progress)
    if found.was_cut:
        progress.warn(f"There are more than {wanted.limit:,} items; --limit takes more.")
    fetched = stac.fetch_scenes(
        found,
        Path(output) / SCENES,
        contract=contract,
        bbox=wanted.bbox,
        on_bad=on_bad,
        progress=progress,
    )
    return list(fetched.paths)


def answers_with_masks(model: Path | str) -> bool:
    """Whether a model answers pixel by pixel, so that `map_pictures` is to be asked."""
    if not Path(model).is_dir():
        return _is_pretrained_for_masks(model)
    folder = RunFolder.open_unfinished(Path(model))
    # The folder of a language model has a config.json, too, which names no task.
    return bool(folder.read_json(folder.config).get("task") == "semantic-segmentation")


def is_catalogue(path: Path | str) -> bool:
    """Whether a path is of STAC items, not of pictures: a web address, or a JSON file."""
    return "://" in str(path) or Path(path).suffix.lower() in (".json", ".geojson")


def ready_segmenter(
    model: Path | str, *, device: str, units: str | None, progress: Progress
) -> FittedSegmenter:
    """A model that answers with masks, of a run or pretrained as it comes, ready to be asked.

    Args:
        model: A run folder, or a name of the catalogue.
        device: See FitOptions.
        units: What the values of rasters mean; None goes by the files, as in the fit.
        progress: Told about everything.

    Raises:
        ConfigError: The model cannot take values in such units.
        RunError: There is no such run.
    """
    from headstart.fitted import read_in_units_of
    from headstart.saved import load_pretrained_segmenter, load_segmenter

    if not Path(model).is_dir() and _is_pretrained_for_masks(model):
        fitted = load_pretrained_segmenter(str(model), device=device, progress=progress)
    else:
        fitted = load_segmenter(RunFolder.open(Path(model)), device=device)
    read_in_units_of(fitted, units)
    return fitted


def _is_pretrained_for_masks(model: Path | str) -> bool:
    """Whether it names weights of the catalogue that draw masks as they come."""
    from headstart.backbones.catalog import catalog

    row = catalog().get(str(model))
    return row is not None and bool(row.decoder)


def _contract_of(model: Path | str) -> InputContract:
    """What a run, or a pretrained model that draws masks, expects as input."""
    from headstart.backbones.catalog import catalog

    if not Path(model).is_dir() and _is_pretrained_for_masks(model):
        return catalog()[str(model)].contract
    folder = RunFolder.open(Path(model))
    return InputContract.from_json(folder.read_json(folder.input))
