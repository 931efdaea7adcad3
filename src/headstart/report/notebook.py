"""A run in a few lines, and its report, as a notebook shows them: fragments of HTML.

The summary has no script and no style sheet, and its colours are those of the notebook, so that it
is right in light and dark themes alike. The report stays by itself in a frame.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.report import summary
from headstart.report.cautions import cautions
from headstart.report.record import RunRecord, read_record
from headstart.report.wording import figure, interval, metric_words
from headstart.rundir import RunFolder

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # before Python 3.12 only the system's own kind of path can be subclassed

MOST_CAUTIONS = 3
_FRAME = "max-width:46rem;line-height:1.5;border-left:3px solid #0f8a91;padding:.2rem 0 .2rem 1rem"
_CELL = "text-align:left;padding:.15rem 1.2rem .15rem 0"
_TRACK = (
    "position:relative;display:inline-block;width:8rem;height:.7rem;"
    "background:rgba(128,128,128,.25);border-radius:3px"
)


def summary_html(folder: RunFolder) -> str:
    """What the model of a finished run can do, how sure that is, and what to watch out for.

    Args:
        folder: The run.

    Returns:
        A self-contained fragment of HTML: no script, no style sheet, no picture, nothing loaded.

    Raises:
        RunError: A file of the run is missing or damaged.
    """
    record = read_record(folder)
    rows = "".join(_row(record, name) for name in record.measures)
    found = cautions(record)
    warned = "".join(
        f"<li><b>{'Problem' if caution.is_serious else 'Note'}:</b> {escape(caution.message)}</li>"
        for caution in found[:MOST_CAUTIONS]
    )
    more = len(found) - MOST_CAUTIONS
    if more > 0:
        warned += f"<li>and {more:,} more in the report</li>"
    watched = f"<p><b>What to watch out for</b></p><ul>{warned}</ul>" if warned else ""
    comparison = escape(summary.comparison(record))
    return (
        f'<section aria-label="{escape(f"Run {record.name}", quote=True)}" style="{_FRAME}">'
        f"<p><b>{escape(summary.data_name(record))}: {escape(record.name)}</b><br/>"
        f"{escape(summary.purpose(record))} {escape(summary.making(record))}</p>"
        f"<p><b>{escape(summary.verdict(record))}</b> {comparison}</p>"
        f"<table><thead><tr>{_heading('Metric')}{_heading('Value')}{_heading('95% interval')}"
        f"</tr></thead><tbody>{rows}</tbody></table>{watched}"
        f"<p>The whole report: <code>{escape(folder.report.as_posix())}</code></p></section>"
    )


class ReportPage(_Path):
    """The path of a report; a notebook shows the page itself."""

    def _repr_html_(self) -> str | None:
        """The page in a frame from which it can reach nothing else; None where there is none."""
        if not self.is_file():
            return None
        page = escape(self.read_text(encoding="utf-8"), quote=True)
        return (
            '<iframe title="Report" sandbox="allow-scripts" style="width:100%;height:40rem;'
            f'border:1px solid rgba(128,128,128,.4)" srcdoc="{page}"></iframe>'
        )


def _heading(text: str) -> str:
    return f'<th scope="col" style="{_CELL}">{text}</th>'


def _row(record: RunRecord, name: str) -> str:
    """A metric with its interval, drawn too where it is a share."""
    measure, words = record.measures[name], metric_words(name)
    bounds = interval(measure, is_share=words.is_share)
    drawn = ""
    if words.is_share and measure.low is not None and measure.high is not None:
        left, width = 100 * measure.low, max(1.0, 100 * (measure.high - measure.low))
        drawn = (
            f'<span aria-hidden="true" style="{_TRACK}"><span style="position:absolute;top:0;'
            f"bottom:0;left:{left:.1f}%;width:{width:.1f}%;background:#0f8a91;"
            'border-radius:3px"></span></span> '
        )
    return (
        f'<tr><th scope="row" style="{_CELL}">{escape(words.title)}</th>'
        f'<td style="{_CELL}">{escape(figure(measure.value, is_share=words.is_share))}</td>'
        f'<td style="{_CELL}">{drawn}{escape(bounds) or "–"}</td></tr>'
    )
