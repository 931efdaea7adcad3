"""Texts to token rows and batches."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.contracts import Sample, TextContract
from headstart.data import text_batches as text_batches_module
from headstart.data.text_batches import text_batches
from headstart.data.tokenising import MOST_PARTS, Tokeniser, as_ids
from headstart.errors import WeightsError

pytest.importorskip("tokenizers", reason="needs the extra `text`")

WORDS = [f"w{i}" for i in range(100)]


def contract(**changes: object) -> TextContract:
    """One token a word, [CLS] = 1 before and [SEP] = 2 behind; word i is token i + 3."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(3)  # as files often say: what counts is the contract
    tokenizer.enable_padding(length=9)
    return TextContract(**{"tokenizer": tokenizer.to_str(), "window": 10, **changes})  # type: ignore[arg-type]


def words(count: int) -> str:
    return " ".join(WORDS[:count])


def test_a_short_text_is_its_tokens_and_those_that_are_added() -> None:
    tokeniser = Tokeniser(contract())
    assert [row.tolist() for row in tokeniser.rows(["w0 w1", "", "other"])] == [
        [1, 3, 4, 2],
        [1, 2],
        [1, 0, 2],
    ]
    assert (tokeniser.before, tokeniser.after, tokeniser.room) == ([1], [2], 8)


@pytest.mark.parametrize(
    ("long", "expected"),
    [
        ("cut", [1, *range(3, 11), 2]),
        ("head-tail", [1, 3, 4, *range(17, 23), 2]),
    ],
)
def test_a_long_text_is_shortened_to_the_window(long: str, expected: list[int]) -> None:
    (row,) = Tokeniser(contract(long=long)).rows([words(20)])
    assert row.tolist() == expected


def test_a_long_text_is_read_in_even_parts_that_hold_all_of_it() -> None:
    tokeniser = Tokeniser(contract(long="windows"))
    short, long = tokeniser.rows([words(8), words(20)])
    assert short.shape == (10,)
    assert long.shape == (3, 9)
    assert [int((part >= 0).sum()) for part in long] == [9, 8, 9]
    assert [t for part in long for t in part if t > 2] == list(range(3, 23))
    assert all(part[0] == 1 and part[part >= 0][-1] == 2 for part in long)


def test_of_an_endless_text_so_many_parts_are_read_from_its_beginning_to_its_end() -> None:
    tokeniser = Tokeniser(contract(long="windows"))
    (row,) = tokeniser.rows([" ".join(WORDS * 50)])
    assert row.shape == (MOST_PARTS, 10)
    assert row[0, 1] == 3
    assert row[-1, -2] == 102


def test_the_prefix_of_the_weights_comes_before_every_text() -> None:
    (row,) = Tokeniser(contract(prefix="w9 ")).rows(["w0"])
    assert row.tolist() == [1, 12, 3, 2]


def test_lengths_are_those_of_the_whole_texts_and_come_in_a_stream() -> None:
    tokeniser = Tokeniser(contract())
    endless = (words(i % 40) for i in range(10_000))
    lengths = tokeniser.lengths(endless)
    assert [next(lengths) for _ in range(3)] == [2, 3, 4]
    rest = np.fromiter(lengths, dtype=np.int64)
    assert len(rest) == 9_997
    assert (rest > 10).mean() == pytest.approx(31 / 40, abs=0.01)


def test_half_a_character_is_no_reason_to_stop() -> None:
    assert Tokeniser(contract()).rows(["w0 \ud83d", "w1"])[1].tolist() == [1, 4, 2]


def test_rows_are_stacked_with_minus_one_where_a_text_is_over() -> None:
    tokeniser = Tokeniser(contract(long="windows"))
    ids = as_ids(tokeniser.rows(["w0 w1", ""]))
    assert ids.dtype == torch.int64
    assert ids.tolist() == [[1, 3, 4, 2], [1, 2, -1, -1]]
    parts = as_ids(tokeniser.rows(["w0", words(20)]))
    assert parts.shape == (2, 3, 9)
    assert parts[0, 0].tolist() == [1, 3, 2, *[-1] * 6]
    assert (parts[0, 1:] == -1).all()


def test_it_can_be_sent_to_another_process() -> None:
    tokeniser = pickle.loads(pickle.dumps(Tokeniser(contract())))
    assert tokeniser.rows(["w0"])[0].tolist() == [1, 3, 2]


def test_a_window_without_room_for_text_is_refused() -> None:
    with pytest.raises(WeightsError, match="nothing is left for the text"):
        Tokeniser(contract(window=2))


def test_what_is_no_tokenizer_is_told() -> None:
    with pytest.raises(WeightsError, match="tokenizer of these weights cannot be read"):
        Tokeniser(TextContract("{}", 10))


def samples(lengths: list[int]) -> list[Sample]:
    return [Sample(f"t#{i}", Path("t"), text=words(n)) for i, n in enumerate(lengths)]


def test_batches_hold_every_text_once_within_the_budget_and_with_little_padding() -> None:
    rng = np.random.default_rng(0)
    given = samples(rng.integers(0, 9, size=400).tolist())
    tokeniser = Tokeniser(contract())
    batches = list(text_batches(iter(given), tokeniser, tokens_per_batch=64))
    own = {
        s.id: row
        for s, row in zip(given, tokeniser.rows([s.text or "" for s in given]), strict=True)
    }
    seen: list[str] = []
    for batch in batches:
        assert batch.inputs is not None
        assert batch.inputs.numel() <= 64
        seen += batch.ids
        for id_, row in zip(batch.ids, batch.inputs, strict=True):
            assert row[row >= 0].tolist() == own[id_].tolist()
    assert sorted(seen) == sorted(own)
    cells = sum(batch.inputs.numel() for batch in batches if batch.inputs is not None)
    assert cells < 1.05 * sum(len(row) for row in own.values())
    assert len(batches) < 2 * cells / 64


def test_a_text_beyond_the_budget_is_a_batch_of_its_own() -> None:
    given = samples([20, 20, 1])
    shapes = [
        tuple(batch.inputs.shape)
        for batch in text_batches(given, Tokeniser(contract(long="windows")), tokens_per_batch=8)
        if batch.inputs is not None
    ]
    assert shapes == [(1, 3, 9), (1, 3, 9), (1, 3)]


def test_texts_are_read_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_batches_module, "_SORTED_AT_ONCE", 5)
    taken = 0

    def stream() -> object:
        nonlocal taken
        for sample in samples([3] * 100):
            taken += 1
            yield sample

    batches = text_batches(stream(), Tokeniser(contract()))  # type: ignore[arg-type]
    assert len(next(batches)) == 5
    assert taken == 5


def test_every_part_of_a_long_text_begins_with_the_prefix() -> None:
    (row,) = Tokeniser(contract(prefix="w99 ", long="windows")).rows([words(20)])
    assert row.shape == (3, 10)
    assert [part[:2].tolist() for part in row] == [[1, 102]] * 3
    assert [t for part in row for t in part if 2 < t < 102] == list(range(3, 23))


def test_a_window_that_the_prefix_fills_is_refused() -> None:
    with pytest.raises(WeightsError, match="nothing is left for the text"):
        Tokeniser(contract(prefix=words(8) + " "))
