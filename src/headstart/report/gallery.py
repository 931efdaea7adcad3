"""Which samples a report shows: mistakes, those behind the matrix, suspects, strangers, heat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from headstart.contracts import InputContract
from headstart.progress import Progress
from headstart.report.album import Album, Line, Tile, fill_album
from headstart.report.cells import Cell, cells
from headstart.report.evidence import Explanation
from headstart.report.mistakes import Mistakes, confused_pairs, find_mistakes
from headstart.report.overlay import heat_overlay, seen_region
from headstart.report.predictions import PredictionTable
from headstart.report.record import RunRecord
from headstart.report.results import MOST_CLASSES_TABLED
from headstart.report.suspects import SuspectLabel
from headstart.report.wording import percent

# Together some 1.5 MB of thumbnails, half of what a page may weigh.
MOST_MISTAKES, MOST_SUSPECTS, MOST_STRANGERS, MOST_EXPLAINED = 24, 24, 12, 12
MOST_BEHIND_CELLS = 96


@dataclass(frozen=True)
class CellSheet:
    """A cell of the confusion matrix with samples of it; `num_left` have no room in the page."""

    cell: Cell
    tiles: tuple[Tile, ...]
    num_left: int


@dataclass(frozen=True)
class ExplainedTile:
    """A sample with the heat of its answer laid over it as SVG; empty without its picture."""

    tile: Tile
    overlay: str


@dataclass(frozen=True)
class Gallery:
    """Every sample that a report shows, in its place.

    Attributes:
        mistakes: The surest mistakes, and how many there are.
        mistake_tiles: Of the surest.
        cells: (truth, said) -> what is behind that cell; empty for multi-label.
        suspects: The most suspicious labels.
        strangers: The test samples farthest from training, the farthest first.
        explained: Where answers came from.
        num_missing: Samples that can no longer be shown.
    """

    mistakes: Mistakes
    mistake_tiles: tuple[Tile, ...]
    cells: Mapping[tuple[str, str], CellSheet]
    suspects: tuple[Tile, ...]
    strangers: tuple[Tile, ...]
    explained: tuple[ExplainedTile, ...]
    num_missing: int


@dataclass(frozen=True)
class Chosen:
    """The samples that a report has room for; see `Gallery`.

    Attributes:
        mistakes: The surest mistakes, and how many there are.
        behind: (truth, said) -> the samples behind that cell of the matrix.
        shown: Those of them that the page has room for.
        suspects: The most suspicious labels.
        strangers: (sample id, score, is flagged) of the test samples farthest from training.
        explained: Those whose answers are explained by heat.
    """

    mistakes: Mistakes
    behind: Mapping[tuple[str, str], Cell]
    shown: frozenset[str]
    suspects: Sequence[SuspectLabel]
    strangers: Sequence[tuple[str, float, bool]]
    explained: Sequence[Explanation]

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all of them, each once."""
        ids = [
            *(mistake.id for mistake in self.mistakes.surest),
            *sorted(self.shown),
            *(suspect.id for suspect in self.suspects),
            *(sample_id for sample_id, _, _ in self.strangers),
            *(explanation.id for explanation in self.explained),
        ]
        return tuple(dict.fromkeys(ids))


def choose_samples(
    record: RunRecord, predictions: PredictionTable, *, suspects: Sequence[SuspectLabel]
) -> Chosen:
    """Which samples the report of a run shows.

    Args:
        record: The run.
        predictions: On its test samples.
        suspects: Its suspect labels, most suspicious first.
    """
    mistakes = find_mistakes(
        predictions,
        classes=record.classes,
        is_multilabel=record.is_multilabel,
        limit=MOST_MISTAKES,
    )
    behind = _cells(record, predictions)
    return Chosen(
        mistakes=mistakes,
        behind=behind,
        shown=frozenset(_in_turns(behind.values(), MOST_BEHIND_CELLS)),
        suspects=suspects[:MOST_SUSPECTS],
        strangers=_strangest(record, predictions),
        explained=record.evidence.explanations[:MOST_EXPLAINED],
    )


def hang_gallery(record: RunRecord, chosen: Chosen, *, progress: Progress) -> Gallery:
    """Read the samples that were chosen.

    Args:
        record: The run.
        chosen: Of its samples.
        progress: Told of the pictures drawn.
    """
    album = fill_album(record, chosen.ids, progress=progress)
    mistakes = chosen.mistakes
    return Gallery(
        mistakes=mistakes,
        mistake_tiles=tuple(
            album.tile(
                m.id,
                Line("said", m.said, f", {percent(m.confidence)} sure"),
                Line("labelled", m.truth or "nothing"),
            )
            for m in mistakes.surest
        ),
        cells={key: _sheet(cell, album, chosen.shown) for key, cell in chosen.behind.items()},
        suspects=tuple(_suspect_tile(suspect, album) for suspect in chosen.suspects),
        strangers=tuple(
            album.tile(
                sample_id,
                Line(
                    "unknown words" if record.is_of_words else "distance",
                    percent(score) if record.is_of_words else f"{score:.3g}",
                    ", flagged" if is_flagged else "",
                ),
            )
            for sample_id, score, is_flagged in chosen.strangers
        ),
        explained=tuple(_explain(item, album, record) for item in chosen.explained),
        num_missing=sum(not album.shows(sample_id) for sample_id in chosen.ids),
    )


def _cells(record: RunRecord, predictions: PredictionTable) -> dict[tuple[str, str], Cell]:
    """The cells that the page has a place for: all of a small matrix, the worst of a large one."""
    confusion = record.metrics.get("confusion")
    if record.is_multilabel or not confusion:
        return {}
    found = cells(predictions, confusion["classes"])
    if len(confusion["classes"]) <= MOST_CLASSES_TABLED:
        return dict(found)
    worst = [(pair.truth, pair.said) for pair in confused_pairs(confusion)]
    return {key: found[key] for key in worst if key in found}


def _in_turns(behind: Iterable[Cell], limit: int) -> list[str]:
    """Sample ids, one of each cell in turn, so that each shows something before any shows much."""
    rows = zip_longest(*([sample.id for sample in cell.samples] for cell in behind))
    return list(islice((i for row in rows for i in row if i is not None), limit))


def _sheet(cell: Cell, album: Album, shown: frozenset[str]) -> CellSheet:
    tiles = tuple(
        album.tile(sample.id, Line("", percent(sample.confidence), " sure"))
        for sample in cell.samples
        if sample.id in shown
    )
    return CellSheet(cell, tiles, cell.count - len(tiles))


def _suspect_tile(suspect: SuspectLabel, album: Album) -> Tile:
    score = "" if suspect.score is None else f" (score {suspect.score:.2f})"
    return album.tile(
        suspect.id,
        Line("labelled", suspect.label),
        Line("likely", suspect.likely, score),
    )


def _strangest(record: RunRecord, predictions: PredictionTable) -> list[tuple[str, float, bool]]:
    """(sample id, score, is flagged) of the farthest test samples: the flagged, at least six."""
    strangers, scores = record.evidence.strangers, predictions.strangeness
    if strangers is None or scores is None:
        return []
    rows = [
        (sample_id, score, score > strangers.threshold)
        for sample_id, score in zip(predictions.ids, scores, strict=True)
    ]
    rows.sort(key=lambda row: (-row[1], row[0]))
    num_flagged = sum(is_flagged for _, _, is_flagged in rows)
    return rows[: max(6, min(num_flagged, MOST_STRANGERS))]


def _explain(item: Explanation, album: Album, record: RunRecord) -> ExplainedTile:
    sure = "" if item.probability is None else f", {percent(item.probability)} sure"
    tile = album.tile(
        item.id,
        Line("said", item.predicted or "nothing", sure),
        Line("labelled", item.label or "nothing"),
    )
    picture = tile.picture
    if picture is None or not isinstance(record.contract, InputContract):
        return ExplainedTile(tile, "")
    region = seen_region(record.contract, width=picture.width, height=picture.height)
    name = f"What “{item.explained or item.predicted}” came from"
    return ExplainedTile(tile, heat_overlay(picture, item.heat, region=region, name=name))
