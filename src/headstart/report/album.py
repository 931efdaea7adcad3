"""The samples of a report: each is read once, wherever the page shows it, picture or text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from headstart.progress import Progress
from headstart.report.record import RunRecord
from headstart.report.text_extracts import read_extracts
from headstart.report.thumbnails import Thumbnail, read_thumbnail

THUMBNAIL_PIXELS = 160


@dataclass(frozen=True)
class Line:
    """What is told under a sample: words, then what matters set in bold, then more words."""

    before: str
    strong: str = ""
    after: str = ""


@dataclass(frozen=True)
class Tile:
    """A sample in a sheet of samples.

    Attributes:
        id: Of the sample.
        picture: None when it cannot be shown, and of texts.
        link: From the page to the file.
        lines: What is told under it.
        text: An extract of a text; None when the run has not kept it, and of pictures.
        is_text: Whether it is a text, or would be one.
    """

    id: str
    picture: Thumbnail | None
    link: str
    lines: tuple[Line, ...]
    text: str | None = None
    is_text: bool = False


class Album:
    """Some samples of a run, as they can be shown.

    Args:
        record: The run.
        thumbnails: sample id -> picture, None when it cannot be shown.
        texts: sample id -> extract, where samples are texts.
    """

    def __init__(
        self,
        record: RunRecord,
        thumbnails: Mapping[str, Thumbnail | None],
        texts: Mapping[str, str] | None = None,
    ) -> None:
        self._record = record
        self._thumbnails = thumbnails
        self._texts = texts or {}

    def shows(self, sample_id: str) -> bool:
        """Whether there is anything to see of a sample."""
        return sample_id in self._texts or self.thumbnail(sample_id) is not None

    def thumbnail(self, sample_id: str) -> Thumbnail | None:
        """The picture of a sample; None when it cannot be shown, or is none of the album's."""
        return self._thumbnails.get(sample_id)

    def link(self, sample_id: str) -> str:
        """A link from the page to the file of a sample."""
        return link(self._record.sample_path(sample_id), self._record.folder.path)

    def tile(self, sample_id: str, *lines: Line) -> Tile:
        """A sample with what is told under it."""
        return Tile(
            sample_id,
            self.thumbnail(sample_id),
            self.link(sample_id),
            lines,
            text=self._texts.get(sample_id),
            is_text=self._record.is_of_texts,
        )


def fill_album(record: RunRecord, ids: Iterable[str], *, progress: Progress) -> Album:
    """Read and embed the pictures of some samples, each once; or read what was kept of texts.

    Args:
        record: The run.
        ids: Samples; may repeat.
        progress: Told of the pictures drawn.
    """
    if record.is_of_texts:
        return Album(record, {}, read_extracts(record.folder))
    wanted = list(dict.fromkeys(ids))
    thumbnails: dict[str, Thumbnail | None] = {}
    with progress.bar("drawing pictures", total=len(wanted), unit="pictures") as advance:
        for sample_id in wanted:
            path = record.sample_path(sample_id)
            thumbnails[sample_id] = read_thumbnail(path, size=THUMBNAIL_PIXELS)
            advance(1)
    return Album(record, thumbnails)


def link(path: Path, start: Path) -> str:
    """A link from the page to a file, relative, so that it holds where both were moved alike."""
    try:
        relative = os.path.relpath(path.absolute(), start.absolute())
    except ValueError:  # on another drive, which only Windows has
        return path.absolute().as_uri()
    return quote(Path(relative).as_posix())
