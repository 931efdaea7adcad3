"""The shell over catalogues of Earth observation data: `headstart stac search` and its like.

Wires nothing: the verbs are in `stac`. Quick to import.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from headstart.errors import ConfigError
from headstart.progress import ConsoleSink, Progress

if TYPE_CHECKING:
    from headstart.stac.searching import Found

app = App(
    name="stac",
    help="Search catalogues of Earth observation data, and fetch from them.",
    help_format="plaintext",
)

Quiet = Annotated[bool, Parameter(name="--quiet", negative="", help="Only warnings and results.")]


@dataclass(frozen=True)
class Filters:
    """What an item must be like.

    Attributes:
        collection: The id of a collection.
        bbox: West,south,east,north in degrees, such as -62.1,-3.4,-61.9,-3.2.
        datetime: A day, month or year, or two with / between them and .. for an open end, such as
            2023-06/2023-08.
        max_cloud: Percent of an item that clouds may cover.
        limit: How many items at most.
    """

    collection: str | None = None
    bbox: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    datetime: str | None = None
    max_cloud: float | None = None
    limit: int = 100


@dataclass(frozen=True)
class Cut:
    """What is cut out of items.

    Attributes:
        bands: Names or common names, such as B02,B03,B04,B08 or red,nir; all of an item's one
            picture without it.
        resolution: Metres a pixel; that of the finest band without it.
        crs: A coordinate system such as EPSG:32720; that of the finest band without it.
    """

    bands: str | None = None
    resolution: float | None = None
    crs: str | None = None


Filtering = Annotated[Filters | None, Parameter(name="*")]


@app.command
def search(
    catalog: str,
    /,
    *,
    filters: Filtering = None,
    save: Path | None = None,
) -> None:
    """List the items of a catalogue that fit.

    Sign-in: HEADSTART_STAC_TOKEN, or HEADSTART_STAC_HEADERS as "Name: value; Name: value". Both go
    to the catalogue's own host alone.

    Args:
        catalog: The landing page of a STAC API; the catalog.json, collection or item of a
            catalogue of files, on the web or not; or a GeoJSON file that --save wrote.
        filters: What an item must be like.
        save: A GeoJSON file to write the items to; `fetch` takes it in place of a catalogue.
    """
    from headstart import stac

    progress = Progress([ConsoleSink()])
    found = stac.search(
        catalog,
        stac.make_criteria(**asdict(filters or Filters())),
        progress=progress,
    )
    _show_items(found, progress)
    if save is not None:
        stac.save_items(found, save)
        progress.note(f"Written: {save}")


@app.command
def fetch(
    catalog: str,
    /,
    *,
    output: Path,
    filters: Filtering = None,
    item: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    cut: Annotated[Cut | None, Parameter(name="*")] = None,
    quiet: Quiet = False,
) -> None:
    """Fetch a window of some bands of the items that fit; just that window is read.

    Items with labels become a data set that is ready for `headstart fit`: images/, masks/ and
    classes.json. What is there already is not fetched again.

    Sign-in: as for `search`. Pictures on other hosts than the catalogue's see none of it; name
    them with HEADSTART_STAC_ASSET_HEADERS as "data.example.org Name: value".

    Args:
        catalog: As for `search`.
        output: The folder to write to.
        filters: What an item must be like; its --bbox is also the window.
        item: The id of an item; may be repeated.
        cut: What is cut out of items.
        quiet: Only warnings and results.
    """
    from headstart import stac

    asked, window = filters or Filters(), cut or Cut()
    progress = Progress([ConsoleSink(is_quiet=quiet)])
    found = stac.search(
        catalog,
        stac.make_criteria(**asdict(asked), ids=item),
        progress=progress,
    )
    if found.was_cut:
        progress.warn(f"There are more than {asked.limit:,} items; --limit takes more.")
    fetched = stac.fetch(
        found,
        output,
        bands=window.bands,
        bbox=asked.bbox,
        resolution_m=window.resolution,
        crs=window.crs,
        progress=progress,
    )
    _show_fetched(fetched)


@app.command
def describe(run: Path, /, *, output: Path | None = None) -> None:
    """Describe a run as a STAC item with the machine-learning model extension (mlm).

    Args:
        run: The run folder.
        output: A JSON file to write; without it the item goes to standard output.
    """
    from headstart import stac
    from headstart.atomic import replacing

    item = stac.describe_run(run, beside=None if output is None else output.parent)
    text = json.dumps(item, indent=1, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with replacing(output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"Cannot write `{output}`: {error.strerror}. Give --output a file that can be written."
        ) from None
    Progress([ConsoleSink()]).note(f"Written: {output}")


def _show_items(found: Found, progress: Progress) -> None:
    from headstart.stac.searching import item_row

    if not found.items:
        progress.note("Nothing matches. Widen --bbox, --datetime or --max-cloud.")
        return
    results = Progress([ConsoleSink(sys.stdout)])
    title = f"{len(found.items):,} items" + (", and there are more" if found.was_cut else "")
    columns = ["id", "date", "cloud", "footprint", "assets"]
    results.table(title, columns, [item_row(item) for item in found.items])


def _show_fetched(fetched: object) -> None:
    from headstart.stac.fetching import Fetched
    from headstart.stac.labels import LabelledSet

    results = Progress([ConsoleSink(sys.stdout)])
    files = fetched.fetched if isinstance(fetched, LabelledSet) else fetched
    assert isinstance(files, Fetched)
    kept = f", {files.num_kept:,} of them kept" if files.num_kept else ""
    results.note(
        f"{files.folder}: {len(files.paths):,} GeoTIFFs{kept}, {files.num_bytes / 1e6:,.1f} MB"
    )
    if isinstance(fetched, LabelledSet):
        names = ", ".join(f"{value} {name}" for value, name in fetched.classes.items())
        results.note(
            f"{fetched.num_masks:,} masks; classes: {names or 'not told'}; licence of the labels: "
            f"{', '.join(fetched.licences)}\nFit: headstart fit {files.folder}"
        )
