"""A text with the words tinted that carried a decision, cut to what is worth reading.

Makes plain pieces; `templates/words.html` sets them, escaped. Knows no run and no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from headstart.report.text_extracts import printable

# (start, end, weight) of a part of a text: characters, and what it did for the class.
Span = tuple[int, int, float]
Side = Literal["for", "against", ""]

# A text longer than this is cut to an extract of about so many characters: some eight lines.
MOST_SHOWN = 700
# Around a strong word so many characters are shown, so that it can be understood.
_AROUND = 80
# A part that was weighed as a whole is shown by its beginning and its end, each about so long.
_MOST_OF_A_PART = 60
# Below this share of the strongest word a word has no tint, so that the others stand out.
_FAINT = 0.15
# Where no word changes the log-probability by more, none is tinted: it means 5% of a probability,
# and an untinted text is the truth about a decision that many words carried.
_LEAST_WEIGHT = 0.05
_NUM_STRONGEST = 3


@dataclass(frozen=True)
class Piece:
    """A part of a text as it is shown.

    Attributes:
        text: Its characters; an ellipsis where something was left out.
        side: Whether it spoke for the class or against it; empty without a tint.
        share: Of the strongest word's weight, from 0 to 1.
        weight: In words, such as `+1.20`; empty without a tint.
    """

    text: str
    side: Side = ""
    share: float = 0.0
    weight: str = ""


@dataclass(frozen=True)
class TintedText:
    """A text, or an extract of it, whose words are tinted.

    Attributes:
        pieces: In the order of the text; none of an empty text.
        supporting: The words that spoke most for the class, the strongest first.
        opposing: The same for those against it.
    """

    pieces: tuple[Piece, ...]
    supporting: tuple[str, ...]
    opposing: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedText:
    """A text of the section on words, as the template takes it.

    Attributes:
        id: Of the sample.
        truth: Its label; empty without one.
        said: The answer.
        confidence: In it, from 0 to 1; None where it was not written down.
        tinted: The text.
        explained: The class that the tints are of, where the answer is none or several.
    """

    id: str
    truth: str
    said: str
    confidence: float | None
    tinted: TintedText
    explained: str = ""


def tinted_text(text: str, spans: Sequence[Span], *, most_shown: int = MOST_SHOWN) -> TintedText:
    """A text with its words tinted by what they did for a class.

    Args:
        text: From outside; nothing in it is trusted.
        spans: In the order of the text, without overlaps; what no span covers has no tint.
        most_shown: A longer text is cut to about so many characters around its strongest words.

    Raises:
        ValueError: The spans overlap, or lie outside the text.

    Example:
        >>> tinted = tinted_text("so good", [(0, 2, 0.01), (3, 7, 2.0)])
        >>> [(piece.text, piece.side) for piece in tinted.pieces]
        [('so ', ''), ('good', 'for')]
    """
    parts = list(_covering(text, spans))
    strongest = max((abs(weight) for _, _, weight in spans), default=0.0)
    strongest = strongest if strongest >= _LEAST_WEIGHT else math.inf
    shown = range(len(parts)) if len(text) <= most_shown else _extract(parts, most_shown)
    pieces: list[Piece] = []
    last = -1
    for place in shown:
        if place != last + 1:
            _append(pieces, Piece(" … "))
        start, end, weight = parts[place]
        _append(pieces, _piece(text[start:end], weight, strongest))
        last = place
    if parts and last != len(parts) - 1:
        _append(pieces, Piece(" …"))
    ordered = sorted(parts, key=lambda part: (-abs(part[2]), part))
    supporting = [part for part in ordered if part[2] / strongest >= _FAINT][:_NUM_STRONGEST]
    opposing = [part for part in ordered if -part[2] / strongest >= _FAINT][:_NUM_STRONGEST]
    return TintedText(
        tuple(pieces),
        tuple(_shortened(text[start:end]) for start, end, _ in supporting),
        tuple(_shortened(text[start:end]) for start, end, _ in opposing),
    )


def kept_of(
    text: str, spans: Sequence[Span], *, most_shown: int = MOST_SHOWN
) -> tuple[str, list[Span]]:
    """What is shown of a text, as a text of its own with its spans: all that a run need keep of it.

    Args:
        text: Of any length.
        spans: See `tinted_text`.
        most_shown: Of a longer text about so many characters are kept, around its strongest words.

    Raises:
        ValueError: See `tinted_text`.

    Example:
        >>> kept_of("so good", [(0, 2, 0.01), (3, 7, 2.0)])
        ('so good', [(0, 2, 0.01), (3, 7, 2.0)])
    """
    parts = list(_covering(text, spans))
    weighed = set(spans)
    shown = range(len(parts)) if len(text) <= most_shown else _extract(parts, most_shown)
    pieces: list[str] = []
    kept: list[Span] = []
    length, last = 0, -1
    for place in shown:
        start, end, weight = parts[place]
        gap = " … " if place != last + 1 else ""
        piece = _shortened(text[start:end])
        length += len(gap)
        if parts[place] in weighed:
            kept.append((length, length + len(piece), weight))
        length += len(piece)
        pieces += [gap, piece]
        last = place
    if parts and last != len(parts) - 1:
        pieces.append(" …")
    return "".join(pieces), kept


def _covering(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """The spans, and what lies between them with a weight of 0."""
    last = 0
    for start, end, weight in spans:
        if not last <= start < end <= len(text):
            raise ValueError(
                f"A span from {start} to {end} does not go with a text of {len(text)} characters "
                f"whose last span ends at {last}."
            )
        if start > last:
            yield last, start, 0.0
        yield start, end, weight
        last = end
    if last < len(text):
        yield last, len(text), 0.0


def _extract(parts: Sequence[Span], most_shown: int) -> list[int]:
    """The places of the strongest parts and of their neighbours, in order."""
    sizes = [min(end - start, 2 * _MOST_OF_A_PART) for start, end, _ in parts]
    ordered = sorted(range(len(parts)), key=lambda i: (-abs(parts[i][2]), i))
    least = _FAINT * abs(parts[ordered[0]][2])
    shown: set[int] = set()
    left = most_shown
    for place in ordered:
        if left <= 0 or abs(parts[place][2]) < least:
            break
        for i in _near(sizes, place):
            if i not in shown and left > 0:
                shown.add(i)
                left -= sizes[i]
    return sorted(shown)


def _near(sizes: Sequence[int], place: int) -> Iterator[int]:
    """A part, and those before and behind it as far as `_AROUND` goes."""
    yield place
    for step in (-1, 1):
        i, left = place + step, _AROUND
        while 0 <= i < len(sizes) and sizes[i] <= left:
            yield i
            left -= sizes[i]
            i += step


def _piece(text: str, weight: float, strongest: float) -> Piece:
    share = abs(weight) / strongest
    if share < _FAINT:
        return Piece(_shortened(text))
    return Piece(
        _shortened(text), "for" if weight > 0 else "against", round(share, 2), f"{weight:+.2f}"
    )


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece; what has no tint goes to the one before it that has none either."""
    if pieces and not piece.side and not pieces[-1].side:
        pieces[-1] = Piece(pieces[-1].text + piece.text)
    else:
        pieces.append(piece)


def _shortened(text: str) -> str:
    """Printable, white space kept short, and of a long part only its beginning and its end."""
    if len(text) > 4 * _MOST_OF_A_PART:
        # White space at the ends is kept: it parts words.
        text = f"{text[:_MOST_OF_A_PART]} … {text[-_MOST_OF_A_PART:]}"
    return printable(text)
