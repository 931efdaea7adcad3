"""Which languages texts are in, by an even sample, within a second; else which scripts.

The only file that imports py3langid, which knows 140 languages by the bytes they are written with.
Knows no model.

Source: Lui and Baldwin, "langid.py: an off-the-shelf language identification tool" (ACL 2012).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from headstart.atomic import replacing
from headstart.cache import cache_folder, touch
from headstart.data.listing import count, series

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

ENGLISH, LATIN = "English", "Latin script"
# An even sample of so many texts, and of each so many characters: 0.2 s, beside 0.6 s to load what
# knows the languages (our measurement). A share in them is within 2 points of that in all.
_MOST_TEXTS = 2000
_MOST_CHARACTERS = 400
_FIRST = 100  # characters that a script is told by
# What is less sure is not told. Of 3,000 questions of TREC, all English, 97% of the answers were
# right, of those as sure as this (74%) all but one; of sentences of SST-2 (90%) all.
_SURE = 0.8
# A language of fewer texts is not told by its name: it may be an error.
_LEAST_SHARE = 0.005
_MOST_NAMED = 8
_LAYOUT = 2  # of what is kept; a new number makes old ones be found anew
_NAMES = {
    **{"ar": "Arabic", "ary": "Arabic", "arz": "Arabic"},  # and its kinds of Morocco and Egypt
    **{"af": "Afrikaans", "az": "Azerbaijani", "be": "Belarusian"},
    **{"bg": "Bulgarian", "bn": "Bengali", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech"},
    **{"cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek", "en": ENGLISH},
    **{"es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish"},
    **{"fr": "French", "ga": "Irish", "gl": "Galician", "gu": "Gujarati", "he": "Hebrew"},
    **{"hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian"},
    **{"is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh"},
    **{"ko": "Korean", "la": "Latin", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian"},
    **{"ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi", "ms": "Malay", "ne": "Nepali"},
    **{"nl": "Dutch", "nb": "Norwegian", "nn": "Norwegian", "no": "Norwegian", "pa": "Punjabi"},
    **{"pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak"},
    **{"sl": "Slovene", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili"},
    **{"ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish"},
    **{"uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese"},
}
# As Unicode begins the names of letters.
_SCRIPTS = {"CJK": "Han", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}


@dataclass(frozen=True)
class Languages:
    """What languages, or scripts, some texts are in.

    Attributes:
        shares: Name -> share of the texts told, the most common first; rare ones are not named.
        num_told: How many texts could be told.
        num_asked: Of how many, an even sample of all.
        num_texts: How many there are.
        are_scripts: Nothing here knows languages: the names are of scripts.
    """

    shares: dict[str, float]
    num_told: int
    num_asked: int
    num_texts: int
    are_scripts: bool = False

    @property
    def share_not_english(self) -> float:
        """Of the texts told; by scripts alone of those that are in another than Latin."""
        return 1 - self.shares.get(LATIN if self.are_scripts else ENGLISH, 0.0)

    @property
    def others(self) -> dict[str, float]:
        """The shares of all that are named but English, or Latin script."""
        return {name: s for name, s in self.shares.items() if name not in (ENGLISH, LATIN)}

    @property
    def told(self) -> str:
        """In a sentence; empty where there is nothing to tell."""
        if not self.num_told:
            return ""
        named = [f"{name} {_percent(share)}" for name, share in self.shares.items()]
        rest = 1 - sum(self.shares.values())
        if rest >= 0.0005:
            named.append(f"others {_percent(rest)}")
        sample = f", evenly spread over {self.num_texts:,}" * (self.num_asked < self.num_texts)
        told = f"{', '.join(named)}, of {count(self.num_told, 'text')}{sample}"
        if self.num_told < self.num_asked:
            told += f"; {self.num_asked - self.num_told:,} more are too short or mixed to tell"
        if self.are_scripts:
            told += "; languages are told where py3langid is installed (headstart[text])"
        return f"{told}."

    def to_json(self) -> dict[str, Any]:
        """As the run keeps it, with the sentence."""
        return {**asdict(self), "told": self.told}


def find_languages(texts: Sequence[str]) -> Languages:
    """The languages of some texts; what was found is kept in the cache for the next time."""
    step = min(len(texts), _MOST_TEXTS)
    asked = [texts[i * len(texts) // step][:_MOST_CHARACTERS] for i in range(step)]
    if find_spec("py3langid") is None:
        scripts = [_script_of(text) for text in asked]
        return _counted(scripts, len(texts), are_scripts=True)
    kept = cache_folder("data") / "languages" / f"v{_LAYOUT}-{_key(asked)}.json"
    try:
        found: list[str | None] = json.loads(kept.read_text(encoding="utf-8"))
        touch(kept)
    except (OSError, ValueError):
        found = [_language_of(text) for text in asked]
        with contextlib.suppress(OSError), replacing(kept) as temporary:  # else found anew
            temporary.write_text(json.dumps(found), encoding="utf-8")
    return _counted(found, len(texts))


def _counted(
    names: Sequence[str | None], num_texts: int, *, are_scripts: bool = False
) -> Languages:
    counts = Counter(name for name in names if name is not None)
    total = counts.total()
    shares = {
        name: number / total
        for name, number in counts.most_common(_MOST_NAMED)
        if number >= _LEAST_SHARE * total
    }
    return Languages(shares, total, len(names), num_texts, are_scripts)


def _language_of(text: str) -> str | None:
    """None where it cannot be told surely."""
    if not any(map(str.isalpha, text)):
        return None
    sureness: Counter[str] = Counter()
    for code, confidence in _identifier().rank(text)[:_MOST_NAMED]:
        sureness[_NAMES.get(code, code)] += confidence
    [(name, sure)] = sureness.most_common(1)
    return name if sure >= _SURE else None


def _script_of(text: str) -> str | None:
    """The script of most of its first letters; None where it has none."""
    scripts = Counter(_script_of_letter(c) for c in text[:_FIRST] if c.isalpha())
    return f"{scripts.most_common(1)[0][0]} script" if scripts else None


@functools.lru_cache(4096)
def _script_of_letter(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0].partition("-")[0]
    return _SCRIPTS.get(name, name.capitalize())


@functools.cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _key(texts: Sequence[str]) -> str:
    from importlib.metadata import version

    digest = hashlib.sha256(version("py3langid").encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:24]


def _percent(share: float) -> str:
    return f"{share:.1%}".replace(".0%", "%")


def named(shares: dict[str, float]) -> str:
    """`German 30%, French 2%`.

    Example:
        >>> named({"German": 0.3, "French": 0.021})
        'German 30%, French 2.1%'
    """
    return series(f"{name} {_percent(share)}" for name, share in shares.items())
