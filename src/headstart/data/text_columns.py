"""Which column of a table holds the texts; and whether a table holds texts at all.

Goes by the names that columns have in published data sets, and by what is in them: words. What
labels, splits and groups are called is in `columns`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.data.columns import (
    find_other_roles,
    image_rank,
    is_missing,
    label_rank,
    probe,
    require,
)
from headstart.data.delimited_files import IsHeader
from headstart.data.folders import Request
from headstart.data.listing import is_picture_name, series
from headstart.data.table_files import Table
from headstart.errors import DataError, did_you_mean

# Names that columns have in published data sets; the earlier wins where several would do.
_TEXT_NAMES = (
    *("text", "texts", "sentence", "content", "review", "body", "document", "article", "message"),
    *("tweet", "comment", "comment_text", "review_text", "full_text", "post", "question"),
    *("utterance", "query", "description", "abstract", "headline", "title", "phrase", "summary"),
    *("string", "words", "txt"),
)
# Two texts that are labelled as a pair.
_PAIRS = (
    *(("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2")),
    *(("question1", "question2"), ("text1", "text2"), ("text_a", "text_b")),
)
_PROBED_CELLS = 100
_LONGEST_NAME = 40  # characters of the name of a column, beyond which it is a cell
_MOST_WORDS = 5  # the same in words
_NUMBER = re.compile(r"\s*[+-]?[\d.,]+(?:[eE][+-]?\d+)?%?\s*")


@dataclass(frozen=True)
class TextRoles:
    """Which columns are which; texts are joined in this order.

    Attributes:
        texts: Column -> the name with which it stands in a joined text.
        label: Column.
        split: Column.
        group: Column.
    """

    texts: Mapping[str, str]
    label: str
    split: str | None
    group: str | None


def header_of_texts(*asked: str | Sequence[str] | None) -> IsHeader:
    """Tells headers as `is_text_header` does, and by the columns that were asked for."""
    names: set[str] = set()
    for each in asked:
        names.update([each] if isinstance(each, str) else each or ())
    return lambda rows: any(c.strip() in names for c in rows[0]) or is_text_header(rows)


def is_text_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of some rows names the columns.

    It does when it has a name that texts or labels go by. It does not when it has a number, a cell
    too long for a name, or a cell that recurs below, as a label does; or several words in a single
    column. Where all of it recurs, tables were joined that each had it.
    """
    first = [cell.strip() for cell in rows[0]]
    others = [cells for row in rows[1:] if (cells := [cell.strip() for cell in row]) != first]
    below = [
        {cells[place] for cells in others if len(cells) > place} for place in range(len(first))
    ]
    if any(_is_known(cell) and cell not in below[place] for place, cell in enumerate(first)):
        return True
    if len(first) == 1 and len(first[0].split()) > 1:  # a text, where there is nothing else
        return False
    for place, cell in enumerate(first):
        is_long = len(cell) > _LONGEST_NAME or len(cell.split()) > _MOST_WORDS
        if is_long or _NUMBER.fullmatch(cell) or is_picture_name(cell):
            return False
        if cell and cell in below[place]:
            return False
    named = [cell for cell in first if cell]
    return 0 < len(named) == len(set(named))


def names_columns(line: str) -> bool:
    """Whether a line looks like the header of a table: short cells, one a name of texts or labels.

    Example:
        >>> names_columns("id,text,label"), names_columns("Dear all, the text is late")
        (True, False)
    """
    for separator in "\t;,":
        cells = [cell.strip() for cell in line.split(separator)]
        is_short = all(cell and len(cell.split()) <= 2 for cell in cells)
        if len(cells) > 1 and is_short and any(map(_is_known, cells)):
            return True
    return False


def is_number(text: str) -> bool:
    """Whether a text is nothing but a number.

    Example:
        >>> is_number(" -1,200.5 "), is_number("12 monkeys")
        (True, False)
    """
    return _NUMBER.fullmatch(text) is not None


def text_column(table: Table) -> str | None:
    """The column that seems to hold texts; None when none does, or when pictures are named.

    Args:
        table: Its first rows are enough.
    """
    columns = {name: _shown(cells) for name, cells in table.columns.items()}
    if any(_names_pictures(table, name, shown) for name, shown in columns.items()):
        return None
    named = sorted((_text_rank(name), name) for name in columns if _is_text_name(name))
    if named:
        return named[0][1]
    if any(_may_be_paths(name, shown) for name, shown in columns.items()):
        return None
    wordy = [
        name for name, shown in columns.items() if label_rank(name) is None and _is_prose(shown)
    ]
    return max(wordy, key=lambda name: _mean_length(columns[name]), default=None)


def find_text_roles(table: Table, request: Request, notes: list[str]) -> TextRoles:
    """Which columns hold texts, labels, splits and groups: as asked for, or found out.

    Args:
        table: With at least one row; the first rows of it are enough.
        request: The columns that the user named.
        notes: Guesses are added here.

    Raises:
        DataError: A column asked for does not exist, or it cannot be told which one is meant.
    """
    texts = request.text_columns
    if texts is None:
        taken = {request.label_column, request.group} - {None}
        free = Table(table.path, {c: v for c, v in table.columns.items() if c not in taken})
        texts = guess_texts(free, notes, usual=request.usual_text_columns)
        if not request.usual_text_columns:
            notes.extend(_others_told(free, texts))
    texts = whole_names(texts, table.columns)
    for column in texts:
        require(table, column, "--text-column")
    named = as_in_the_fit(texts, request.usual_text_columns, notes)
    label, split, group = find_other_roles(table, request, notes, taken=texts, noun="text")
    if label in texts:
        raise DataError(
            f"Column `{label}` of `{table.path}` cannot hold both texts and labels. "
            "Give --text-column and --label-column different names."
        )
    return TextRoles(named, label, split, group)


def guess_texts(table: Table, notes: list[str], *, usual: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns that seem to hold the texts, in the order in which they are joined.

    Args:
        table: With at least one row; the first rows of it are enough.
        notes: Is told what was guessed.
        usual: Those that a model was fitted on: where they are all there, it is these; a single one
            may be called otherwise.

    Raises:
        DataError: It cannot be told, or some of several usual ones are not there.
    """
    name, columns = table.path.name, series((f"`{c}`" for c in table.columns), limit=30)
    if usual and all(column in table.columns for column in usual):
        hold = "Column {} of {} holds" if len(usual) == 1 else "Columns {} of {} hold"
        notes.append(f"{hold.format(_quoted(usual), name)} the texts, as in the fit.")
        return tuple(usual)
    if len(usual) > 1:
        raise DataError(
            f"The model was fitted on {_quoted(usual)} together, but `{table.path}` has {columns}. "
            "Name those that stand for them, in this order, with --text-column."
        )
    lower = {column.strip().lower(): column for column in table.columns}
    for first, second in _PAIRS:
        if not usual and first in lower and second in lower:
            pair = lower[first], lower[second]
            notes.append(f"Columns {_quoted(pair)} of {name} hold pairs of texts.")
            return pair
    if len(table.columns) == 1:
        return tuple(table.columns)
    found = text_column(table)
    if found is None:
        raise DataError(
            f"It cannot be told which column of `{table.path}` holds the texts; it has {columns}. "
            f"Give its name with --text-column. {did_you_mean('text', table.columns)}"
        )
    why = "its name says so" if _is_text_name(found) else "it has the longest texts"
    notes.append(f"Column `{found}` of {name} holds the texts: {why}.")
    return (found,)


def as_in_the_fit(columns: Sequence[str], usual: Sequence[str], notes: list[str]) -> dict[str, str]:
    """Column -> the name with which it is joined, in the order of the fit.

    Columns that stand for others go by the names of these: a model reads names, too.

    Args:
        columns: As they were asked for, or guessed.
        usual: Those of the fit; none while there is none.
        notes: Is told which stand for others, once.

    Example:
        >>> as_in_the_fit(["subject", "body"], ["title", "text"], [])
        {'subject': 'title', 'body': 'text'}
        >>> as_in_the_fit(["text", "subject"], ["title", "text"], [])
        {'subject': 'title', 'text': 'text'}
    """
    if len(columns) != len(usual) or len(columns) == 1:
        return {column: column for column in columns}
    others = [column for column in columns if column not in usual]
    named = {name: name if name in columns else others.pop(0) for name in usual}
    told = [f"`{column}` stands for `{name}`" for name, column in named.items() if column != name]
    if told and (note := f"{series(told)}, as a column of the fit.") not in notes:
        notes.append(note)
    return {column: name for name, column in named.items()}


def whole_names(parts: Sequence[str], columns: Iterable[str]) -> tuple[str, ...]:
    """Names of columns, of which those with commas were taken apart at these.

    Example:
        >>> whole_names(("title", "why", "and how"), ["title", "why, and how"])
        ('title', 'why, and how')
    """
    parted = {tuple(part.strip() for part in name.split(",")): name for name in columns}
    found: list[str] = []
    start = 0
    while start < len(parts):
        ends = range(len(parts), start, -1)
        end = next((end for end in ends if tuple(parts[start:end]) in parted), start + 1)
        found.append(parted.get(tuple(parts[start:end]), parts[start]))
        start = end
    return tuple(found)


def _quoted(columns: Sequence[str]) -> str:
    return " and ".join(f"`{column}`" for column in columns)


def _others_told(table: Table, texts: Sequence[str]) -> list[str]:
    """What may be text, too, beside the one column that was guessed."""
    others = [
        column
        for column, cells in table.columns.items()
        if column not in texts and label_rank(column) is None and _is_prose(_shown(cells))
    ]
    if len(texts) > 1 or not others:
        return []
    return [
        f"{series(f'`{c}`' for c in others)} may be text too: `--text-column "
        f"{','.join((*others, *texts))}` reads them together."
    ]


# --- what a column may hold -------------------------------------------------------------------


def _shown(cells: Sequence[Any]) -> list[str]:
    """The first cells that are not empty, as text."""
    shown: list[str] = []
    for cell in cells:
        if not is_missing(cell) and not isinstance(cell, list | dict):
            shown.append(str(cell))
            if len(shown) == _PROBED_CELLS:
                break
    return shown


def _is_known(cell: str) -> bool:
    return _is_text_name(cell) or label_rank(cell) is not None


def _text_rank(name: str) -> int:
    name = name.strip().lower()
    return _TEXT_NAMES.index(name) if name in _TEXT_NAMES else len(_TEXT_NAMES)


def _is_text_name(name: str) -> bool:
    is_one_of_two = any(name.strip().lower() in pair for pair in _PAIRS)
    return is_one_of_two or _text_rank(name) < len(_TEXT_NAMES)


def _names_pictures(table: Table, name: str, shown: Sequence[str]) -> bool:
    """Whether most cells are names of pictures, or some are files that exist."""
    if not shown:
        return False
    is_named = sum(map(is_picture_name, shown)) > len(shown) / 2
    return is_named or probe(shown, table.path.parent)[0] > 0.5


def _may_be_paths(name: str, shown: Sequence[str]) -> bool:
    """Whether a column is called like one of pictures and its cells are single words."""
    is_called_so = image_rank(name) < image_rank("name")
    return is_called_so and bool(shown) and not any(" " in cell for cell in shown)


def _is_prose(shown: Sequence[str]) -> bool:
    """Whether cells are of several words and differ: not labels, dates or codes."""
    wordy = [cell for cell in shown if _has_words(cell)]
    return len(wordy) > len(shown) / 2 and len(set(wordy)) > len(wordy) / 2


def _has_words(cell: str) -> bool:
    """Two spaces, or letters of a script that may do without."""
    return cell.count(" ") >= 2 or (len(cell) >= 6 and sum(c > "\u2e80" for c in cell) >= 4)


def _mean_length(shown: Sequence[str]) -> float:
    return sum(map(len, shown)) / max(1, len(shown))
