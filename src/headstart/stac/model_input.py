"""Items as input of a model: the bands that it wants, fetched to be predicted."""

from __future__ import annotations

from pathlib import Path

from headstart.errors import DataError
from headstart.progress import Progress
from headstart.stac.bands import choose_bands
from headstart.stac.fetching import (
    Errand,
    Fetched,
    as_fetched,
    file_names,
    refuse_local,
    run_errands,
    tell_failures,
)
from headstart.stac.grids import Wanted
from headstart.stac.searching import Found
from headstart.stac.side_items import write_index


def fetch_input(
    found: Found,
    wanted: Wanted,
    *,
    output: Path,
    is_for_the_eye: bool,
    on_bad: str,
    progress: Progress,
) -> Fetched:
    """Cut the bands of a model out of each item: one GeoTIFF an item, called after it and its day.

    Args:
        found: The items.
        wanted: The bands of the model, and the window.
        output: The folder.
        is_for_the_eye: Take them from a picture made for the eye, such as the asset `visual` of
            Sentinel-2, where an item has one: for a model that was fitted on such pictures.
        on_bad: `stop` at what cannot be fetched, once the rest is, or `skip` it with a warning.
        progress: Shows a bar.

    Raises:
        DataError: Nothing was found, or something cannot be fetched; the rest is then there.
    """
    if not found.items:
        raise DataError(
            "No item fits, so there is nothing to predict. Look with `headstart stac search`, and "
            "widen --bbox, --datetime or --max-cloud."
        )
    errands = []
    for item, name in zip(found.items, file_names(found.items, has_day=True), strict=True):
        try:
            bands = choose_bands(item, wanted.bands, is_for_the_eye=is_for_the_eye)
        except DataError as error:
            if on_bad != "skip":
                raise
            progress.warn(f"{error} It is left out.")
            continue
        errands.append(Errand(item, tuple(bands), wanted, output / f"{name}.tif"))
    if not errands:
        raise DataError(
            f"None of {len(found.items):,} items has the bands that the model wants "
            f"({', '.join(wanted.bands)}). Choose another --collection."
        )
    refuse_local(errands, found.io)
    if wanted.bbox is None:
        progress.note("There is no --bbox, so each item is fetched whole.")
    outcome = run_errands(errands, found.io, progress=progress)
    index = write_index(output, outcome.done)
    if on_bad != "skip" or not outcome.done:
        tell_failures(outcome.failures, outcome.done, output)
    for path, reason in outcome.failures.items():
        progress.warn(f"`{path.stem}` is left out. {reason}")
    return as_fetched(output, outcome, index)
