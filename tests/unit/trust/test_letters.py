from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from headstart.errors import DataError, RunError
from headstart.tensor_files import write_tensors
from headstart.trust import letters as module
from headstart.trust.letters import Letters

NOUNS = ("river", "train", "doctor", "garden", "market", "window", "teacher", "island", "letter")
VERBS = ("crosses", "remembers", "paints", "follows", "repairs", "describes", "visits", "forgets")


def sentences(num: int, *, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [
        f"the {rng.choice(NOUNS)} {rng.choice(VERBS)} an old {rng.choice(NOUNS)} near the "
        f"{rng.choice(NOUNS)} of number {rng.integers(100)}"
        for _ in range(num)
    ]


@pytest.fixture(scope="module")
def known() -> Letters:
    return Letters.of(sentences(300, seed=0))


def test_new_texts_of_the_kind_pass(known: Letters) -> None:
    assert known.is_stranger(sentences(400, seed=1)).mean() <= 0.03


@pytest.mark.parametrize(
    "text",
    [
        "wo liegt der höchste berg, den man ohne seil besteigen kann?",
        "¿dónde está la montaña más alta que se puede subir sin cuerda?",
        "不用绳子能爬上去的最高的山在哪里?",
        "أين يقع أعلى جبل يمكن تسلقه بدون حبل؟",
        "qzkx wvvb jfpq xxnm zzrt kqwj",
        "{'user_id': 17, \"tags\": [a, b]}",
        "x" * 100_000,
        "👩‍👩‍👧‍👦" * 8,
        "".join(np.random.default_rng(0).permutation(list(sentences(1, seed=2)[0]))),
    ],
)
def test_languages_gibberish_and_code_are_flagged(text: str, known: Letters) -> None:
    assert known.is_stranger([text]).tolist() == [True]


def test_layout_and_capitals_make_no_stranger(known: Letters) -> None:
    [text] = sentences(1, seed=3)
    plain, loud, laid_out = known.scores([text, text.upper(), text.replace(" ", "\n\t ")])
    assert plain == loud == laid_out


def test_next_to_nothing_is_no_stranger(known: Letters) -> None:
    scores = known.scores(["", "  ", "the"])
    assert scores[:2].tolist() == pytest.approx([known.mean] * 2)
    assert not known.is_stranger(["", " ", "the"]).any()


def test_halves_of_characters_can_be_read(known: Letters) -> None:
    assert np.isfinite(known.scores(["\ud83d half a face", "\0\x1b[0m"])).all()


def test_chances_of_all_letters_sum_to_one() -> None:
    known = Letters._counted(module._threes(["abca abcb"])[0])
    for context in ("ab", "zb", "zz"):
        codes = [ord(c) for c in context]
        keys = np.array([(codes[0] << 42) | (codes[1] << 21) | i for i in range(2**16)], np.int64)
        assert np.exp2(-known._bits(keys)).sum() == pytest.approx(1.0)


def test_what_was_kept_gives_the_same_scores(known: Letters, tmp_path: Path) -> None:
    write_tensors(tmp_path / "letters.safetensors", known.state())
    loaded = Letters.from_state(load_file(tmp_path / "letters.safetensors"))
    assert loaded is not None
    texts = [*sentences(5, seed=4), "qzkx wvvb"]
    assert loaded.scores(texts).tolist() == known.scores(texts).tolist()
    assert loaded.threshold == known.threshold


def test_a_run_without_letters_has_none_and_half_of_them_is_said(known: Letters) -> None:
    assert Letters.from_state({}) is None
    state = known.state()
    del state["letters.mean"]
    with pytest.raises(RunError, match="no mean"):
        Letters.from_state(state)


def test_the_scale_of_other_scores_is_kept(known: Letters) -> None:
    texts = [*sentences(2, seed=5), "qzkx wvvb jfpq xxnm zzrt"]
    joined = known.joined(texts, np.array([0.5, 2.0, 0.5], np.float32), threshold=1.5)
    assert (joined > 1.5).tolist() == [False, True, True]


def test_copies_are_held_out_together() -> None:
    texts = sentences(50, seed=6)
    alone = Letters.of(texts)
    doubled = Letters.of(texts * 2, groups=np.tile(np.arange(50), 2))
    assert Letters.of(texts * 2).threshold < alone.threshold
    assert doubled.threshold == pytest.approx(alone.threshold, rel=0.1)


def test_of_many_letters_an_even_sample_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_LETTERS_IN_ALL", 2000)
    few = Letters.of(sentences(300, seed=0))
    assert int(few.counts.sum()) < 2500


def test_one_group_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="At least two groups"):
        Letters.of(["one", "two"], groups=np.array([3, 3]))


def test_texts_without_a_letter_tell_nothing_of_others() -> None:
    nothing = Letters.of([" ", "\n\t", "  \u2003"])
    before = replace(nothing, threshold=0.0)  # as it was once written
    for known in (nothing, Letters.from_state(before.state())):
        assert known is not None
        assert not known.is_stranger(["", "some words"]).any()
        scores = np.array([0.5, 2.0], np.float32)
        assert known.joined(["", "some words"], scores, threshold=1.5).tolist() == [0.5, 2.0]
