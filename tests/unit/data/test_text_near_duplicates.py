from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.data import open_dataset
from headstart.data import text_near_duplicates as near_texts
from headstart.data.text_near_duplicates import find_near_texts, plain

WORDS = [
    f"{a}{b}{c}" for a in ("ka", "ro", "mi", "sut") for b in ("len", "dor", "pa") for c in "aeiou"
]


def sentences(number: int, *, length: int, seed: int = 0) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    return {f"{i:05}": " ".join(rng.choice(WORDS, length)) for i in range(number)}


def test_case_punctuation_and_spaces_make_no_difference() -> None:
    texts = {"a": "Not  bad!", "b": "not bad", "c": "(NOT-BAD)", "d": "bad not", "e": "!!"}
    found = find_near_texts(texts)
    assert found.groups == (("a", "b", "c"),)
    assert {p.similarity for p in found.pairs} == {1.0}
    assert plain("Größe, 日本! x_1") == "größe 日本 x 1"


def test_vowel_signs_tones_and_symbols_make_other_words() -> None:
    texts = {
        "he": "वह आता है",
        "she": "वह आती है",
        "crab": "ปู",
        "grandfather": "ปู่",
        "plus": "What is C++?",
        "sharp": "What is C#?",
    }
    assert find_near_texts(texts).groups == ()
    assert plain("Donau\u00addampf-Schiff") == "donaudampf schiff"  # a soft hyphen is not seen


def test_a_word_changed_in_a_long_text_is_found_and_nothing_else() -> None:
    texts = sentences(300, length=30)
    changed = {}
    for name in list(texts)[:50]:
        words = texts[name].split()
        words[int(name) % 30] = "altogether"
        changed[f"{name} changed"] = " ".join(words)
    found = find_near_texts({**texts, **changed})
    assert len(found.groups) >= 49
    assert all(group[0] + " changed" == group[1] for group in found.groups)
    assert all(0.8 <= pair.similarity < 1.0 for pair in found.pairs)


def test_the_likeness_is_the_share_of_shingles_in_common() -> None:
    one, other = "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxy!"
    (pair,) = find_near_texts({"one": one, "other": other}).pairs
    assert pair.similarity == round(21 / 22, 4)
    assert not find_near_texts({"one": "abcdefgh", "other": "abcdefgx"}).pairs


def test_short_texts_of_one_template_are_not_alike() -> None:
    assert not find_near_texts({f"{i}": f"this is the text number {i}" for i in range(30)}).pairs
    chinese = {
        "a": "今天天气很好我们去公园散步吧朋友们都在等着我们快点走",
        "c": "完全不同的一句话没有相同的地方在这里面出现过",
    }
    (pair,) = find_near_texts({**chinese, "b": chinese["a"] + "吧"}).pairs
    assert (pair.first, pair.second) == ("a", "b")


def test_equal_texts_stand_for_each_other() -> None:
    text = "the quick brown fox jumps over the lazy dog and away"
    found = find_near_texts({"a": text, "b": text, "c": text + " now", "d": "unlike all of them"})
    assert [(p.first, p.second) for p in found.pairs] == [("a", "c")]
    assert found.group_of == {"a": "a", "b": "a", "c": "a"}
    assert find_near_texts({"a": text, "b": text}).pairs == ()


def test_questions_of_one_template_do_not_chain(trec: Path) -> None:
    texts = {s.id: s.text or "" for s in open_dataset(trec)}
    found = find_near_texts(texts)
    assert found.pairs
    assert max(map(len, found.groups)) <= 5
    told = {frozenset((texts[p.first], texts[p.second])) for p in found.pairs}
    asked = "What does the abbreviation {} stand for ?"
    assert not any(t <= {asked.format(w) for w in ("AIDS", "OAS", "SOS")} for t in told)


def test_very_many_look_alikes_are_compared_in_bounded_time_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = "dear customer your order has been sent and will arrive within three days number "
    texts = {f"{i:05}": f"{form}{i}" for i in range(2000)}
    found = find_near_texts(texts)
    assert len(found.pairs) < 16 * 5 * len(texts)
    assert "look-alikes" in found.notes[0]
    monkeypatch.setattr(near_texts, "_EFFORT", 1)
    assert "only the likeliest" in find_near_texts(texts).notes[0]


def test_the_search_does_not_depend_on_the_order_or_on_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = {
        **sentences(200, length=12),
        "x": "nearly the same quite long text of some words",
        "y": "nearly the same quite long text of some words more",
    }
    whole = find_near_texts(texts)
    assert ("x", "y") in {(p.first, p.second) for p in whole.pairs}
    monkeypatch.setattr(near_texts, "_BLOCK", 100)
    assert find_near_texts(dict(reversed(texts.items()))) == whole


@pytest.mark.parametrize("texts", [{}, {"a": ""}, {"a": "one"}, {"a": "?!", "b": "--"}])
def test_with_nothing_to_compare_nothing_is_found(texts: dict[str, str]) -> None:
    assert find_near_texts(texts).pairs == ()
