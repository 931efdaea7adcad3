"""The shell over the verb `predict`: a table of classes, or masks in a folder.

Wires nothing: the verbs are in `api`. Quick to import.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from headstart import showing
from headstart.atomic import refuse_to_replace
from headstart.cli_stac import Filters, Quiet
from headstart.errors import ConfigError
from headstart.map_options import MapOptions
from headstart.option_values import columns_of
from headstart.progress import ConsoleSink, Progress

Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")]
_MASKS = Group("Masks", help="Of a model that answers with masks.", sort_key=1)
_SEARCH = Group(
    "Catalogues",
    help="Of a model that answers with masks: scenes out of a STAC catalogue. They also hold for "
    "STAC items among the paths.",
    sort_key=2,
)


# Stands for `-`, standard input, while arguments are read: it would be taken for an option. No
# argument can be this, nor any path.
_STANDARD_INPUT = "\0"


def shielded(arguments: Sequence[str]) -> list[str]:
    r"""Arguments of the command line with which `predict` can be given `-` among its paths.

    Example:
        >>> shielded(["predict", "run", "-"])
        ['predict', 'run', '\x00']
    """
    if list(arguments[:1]) != ["predict"]:
        return list(arguments)
    return [_STANDARD_INPUT if argument == "-" else argument for argument in arguments]


def predict(
    model: str,
    /,
    *paths: str,
    output: Path | None = None,
    min_confidence: float | None = None,
    text_column: str | None = None,
    masks: Annotated[MapOptions | None, Parameter(name="*", group=_MASKS, negative="")] = None,
    stac: Annotated[str | None, Parameter(group=_SEARCH)] = None,
    filters: Annotated[Filters | None, Parameter(name="*", group=_SEARCH)] = None,
    on_bad: Literal["stop", "skip"] = "stop",
    trust_remote_code: Annotated[bool, Parameter(negative="")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Predict for new pictures or texts; of masks also for items of a catalogue.

    Args:
        model: A run folder; or a pretrained model as it comes, such as timm:resnet50 or
            ukis-csmask-4b-l2a.
        paths: Of pictures folders, files or patterns such as 'new/*.jpg'. Of texts .txt files,
            folders of them, tables, or - for standard input (one text a line, or JSON objects); a
            row's id is its table and its place below the header: new.csv#17. For masks also STAC
            items: an address on the web, an item as .json, or a .geojson that `stac search --save`
            wrote.
        output: A .csv, .json or .parquet file. Without it CSV goes to standard output. Of a model
            that answers with masks: a folder for them, in which pictures keep their folders;
            scenes of a catalogue are kept in its folder scenes/.
        text_column: Of tables of texts, and of JSON objects, the column to read; several with
            commas between them are joined, each with its name. As in the fit by default, else
            guessed. Columns of other names stand for those of the fit, in the order of these.
        min_confidence: Leave undecided what is answered less surely than this, such as 0.9. The
            report tells what share is then answered, and how much of that is right.
        masks: What is written beside masks, and how.
        stac: The catalogue, as of `headstart stac search`; the bands that the model wants are
            fetched, of the window of --bbox.
        filters: What an item must be like.
        on_bad: At a file, or a row of texts, that cannot be read, stop, or skip it with a warning.
        trust_remote_code: Run the Python code that the model of the run brings, if it does, now and
            from now on, until its line in trusted_code.json in the cache folder is deleted. It can
            do on this machine whatever you can.
        device: Where to compute.
        quiet: Only warnings and results.
    """
    from headstart import api, api_masks
    from headstart.prediction_files import PredictionTally, check_format, prediction_file, to_csv

    paths = tuple("-" if path == _STANDARD_INPUT else path for path in paths)
    if not paths and stac is None:
        raise ConfigError(
            "What shall be predicted? Give files, folders or tables: "
            f"headstart predict {model} NEW/"
        )
    progress = Progress([ConsoleSink(is_quiet=quiet)])
    if api_masks.answers_with_masks(model):
        for name, value in (("min-confidence", min_confidence), ("text-column", text_column)):
            if value is not None:
                raise ConfigError(f"--{name} is not for masks. Leave it away.")
        if output is None:
            raise ConfigError(
                f"`{model}` answers with masks, which need a folder: give --output MASKS/."
            )
        (masks or MapOptions()).check()  # before anything is fetched
        catalogues = [path for path in paths if api_masks.is_catalogue(path)]
        scenes = _fetched(
            model,
            [*catalogues, stac] if stac is not None else catalogues,
            output=output,
            filters=filters,
            on_bad=on_bad,
            progress=progress,
        )
        files = [path for path in paths if path not in catalogues]
        mapped = api_masks.map_pictures(
            model,
            [*files, *scenes],
            output,
            options=masks,
            device=device,
            on_bad=on_bad,
            progress=progress,
        )
        showing.show_mapped(mapped, progress)
        return
    _refuse_masks(model, masks, stac=stac, filters=filters)
    if output is not None:
        check_format(output)
        refuse_to_replace(output, [path for path in paths if Path(path).is_file()])
    parts = api.predict_parts(
        model,
        paths,
        text_columns=columns_of(text_column),
        min_confidence=min_confidence,
        device=device,
        on_bad=on_bad,
        trust_remote_code=trust_remote_code,
        progress=progress,
    )
    tally = PredictionTally()
    if output is None:
        for part in parts:
            sys.stdout.write(to_csv(part, has_header=not tally.num_samples))
            tally.add(part)
    else:
        with prediction_file(output) as write:
            for part in parts:
                write(part)
                tally.add(part)
    showing.show_predicted(tally, progress, output=output)


def _fetched(
    model: str,
    catalogues: Sequence[str],
    *,
    output: Path,
    filters: Filters | None,
    on_bad: Literal["stop", "skip"],
    progress: Progress,
) -> list[Path]:
    """Scenes of catalogues, and of items that are given as one."""
    from headstart.api_masks import fetch_scenes
    from headstart.stac import make_criteria

    if filters is not None and not catalogues:
        raise ConfigError(
            f"{_given(filters)} is of catalogues, and none is given. Add --stac CATALOGUE, or "
            "leave it away."
        )
    criteria = make_criteria(**asdict(filters or Filters()))
    return [
        scene
        for catalogue in catalogues
        for scene in fetch_scenes(
            model, catalogue, output, criteria=criteria, on_bad=on_bad, progress=progress
        )
    ]


def _refuse_masks(
    model: str, masks: MapOptions | None, *, stac: str | None, filters: Filters | None
) -> None:
    """A classifier has no use for what is of masks."""
    given = "--stac" if stac is not None else _given(masks) or _given(filters)
    if given:
        raise ConfigError(
            f"{given} is of masks, and `{model}` answers with classes. Leave it away."
        )


def _given(options: MapOptions | Filters | None) -> str:
    """The first option that differs from its default, as it is typed; empty where none does."""
    if options is None:
        return ""
    names = [f.name for f in fields(options) if getattr(options, f.name) != f.default]
    return f"--{names[0].replace('_', '-')}" if names else ""
