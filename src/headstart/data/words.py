"""Where the words of a text are, in any script. Knows no model and no tokenizer.

The only file that imports `regex`, which knows the scripts and the marks of Unicode: to the
expressions of Python itself the vowel signs of Hindi and the points of Hebrew end a word.

Source: letters, marks and grapheme clusters: Unicode Standard Annexes 29 and 44.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from headstart.errors import MissingExtraError

if TYPE_CHECKING:
    import regex

# Scripts that are written without spaces between words.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"


def word_spans(text: str, *, run: int = 1) -> list[tuple[int, int]]:
    """Where each word begins and ends, in order; all that is not space is in a word.

    A word is letters, digits and their marks, with an apostrophe inside; marks of punctuation that
    stand together are one too, and so is an emoji with all that belongs to it.

    Args:
        text: Of any script; empty gives none.
        run: In scripts that have no spaces between words so many characters are taken as one.

    Raises:
        MissingExtraError: The package that knows the scripts is not installed.

    Example:
        >>> text = "Don't go, 北京烤鸭 😀"
        >>> [text[start:end] for start, end in word_spans(text, run=2)]
        ["Don't", 'go', ',', '北京', '烤鸭', '😀']
    """
    return [match.span() for match in _pattern(run).finditer(text)]


def words_of(text: str, *, run: int = 1) -> list[str]:
    """The words themselves; see `word_spans`."""
    found: list[str] = _pattern(run).findall(text)
    return found


@functools.cache
def _pattern(run: int) -> regex.Pattern[str]:
    try:
        import regex
    except ImportError:
        raise MissingExtraError("Finding the words of texts", extra="text") from None

    letters = rf"[\w--[{_UNSPACED}]]+"
    return regex.compile(
        rf"(?:(?=[{_UNSPACED}])\X){{1,{run}}}"  # a few characters of an unspaced script
        rf"|{letters}(?:['’]{letters})*"
        r"|\p{P}+"
        r"|(?![\s\p{Cc}\p{Cf}])\X",  # a symbol or an emoji; what cannot be seen is left out
        regex.VERSION1,
    )
