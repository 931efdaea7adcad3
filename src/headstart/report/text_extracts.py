"""Extracts of the texts that a report shows, kept in the run: the page is drawn from them alone.

A picture is found again by its path. A row of a table is not: its name, `train.csv#17`, is its
place, and one row more above it would put another text under the same label, unseen; and to look
for it would mean to read the whole table. So the fit keeps what its report shows, and nothing else
of what people wrote: extracts here, and in metrics.json the few texts whose words are explained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from headstart.errors import RunError
from headstart.rundir import RunFolder

# Some six lines of a card. What a text is about is mostly said where it begins; the rest is kept
# for its end, where letters and reviews come to their point.
MOST_OF_THE_BEGINNING, MOST_OF_THE_END = 280, 100
# A cut is moved by up to so many characters, so that no word is torn.
_MOST_MOVED = 25
# What breaks a page or a file: control characters but white space, and half surrogates.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    r"""A text without what breaks a page or a file, its white space kept short.

    Example:
        >>> printable("one \t two\r\n\n three\x00")
        'one two\nthree\ufffd'
    """
    text = _UNPRINTABLE.sub("\ufffd", text)
    return re.sub(r"\s+", lambda found: "\n" if "\n" in found.group() else " ", text)


def extract(text: str) -> str:
    """A text as a card of the report has it: whole where it is short, else its two ends.

    Example:
        >>> extract("How far is it ?"), len(extract("word " * 20_000)) < 400
        ('How far is it ?', True)
    """
    # Of the longest texts only what may be shown is looked at, with room for white space.
    room = 4 * (MOST_OF_THE_BEGINNING + MOST_OF_THE_END)
    if len(text) > 2 * room:
        first, last = printable(text[:room]).strip(), printable(text[-room:]).strip()
    else:
        first = last = printable(text).strip()
        if len(first) <= MOST_OF_THE_BEGINNING + MOST_OF_THE_END:
            return first
    return f"{_beginning(first)} … {_end(last)}"


def _beginning(text: str) -> str:
    cut = text[:MOST_OF_THE_BEGINNING]
    words, space, torn = cut.rpartition(" ")
    return words if space and len(torn) <= _MOST_MOVED else cut


def _end(text: str) -> str:
    cut = text[-MOST_OF_THE_END:]
    torn, space, words = cut.partition(" ")
    return words if space and len(torn) <= _MOST_MOVED else cut


def write_extracts(folder: RunFolder, ids: Iterable[str], texts: Mapping[str, str]) -> None:
    """Keep extracts of some texts in the run.

    Args:
        folder: The run.
        ids: Of those that are shown; may repeat.
        texts: sample id -> text, of all samples; an id that is not there is left out.

    Raises:
        RunError: The file cannot be written.
    """
    kept = {id_: extract(texts[id_]) for id_ in dict.fromkeys(ids) if id_ in texts}
    folder.write_json(folder.texts, kept)


def read_extracts(folder: RunFolder) -> dict[str, str]:
    """sample id -> what the run kept of its text; empty where the file was taken out of the run.

    Raises:
        RunError: The file is damaged.
    """
    if not folder.texts.is_file():
        return {}
    kept = folder.read_json(folder.texts)
    if not all(isinstance(text, str) for text in kept.values()):
        raise RunError(
            f"`{folder.texts}` holds something else than texts. Fit again, or remove it: the "
            "report is then without these extracts."
        )
    return kept
