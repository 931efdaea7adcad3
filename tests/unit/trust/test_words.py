"""Words whose absence changes the answer are found, in any script and any length."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from headstart.errors import DataError
from headstart.trust.words import MOST_ASKED, WordWeight, word_weights


class MadeUpModel:
    """Adds up what each of some strings is worth for class 1; counts what it is asked."""

    def __init__(self, worth: dict[str, float]) -> None:
        self.worth = worth
        self.asked: list[str] = []
        self.largest = 0

    def __call__(self, texts: Sequence[str]) -> Tensor:
        self.asked += texts
        self.largest = max(self.largest, len(texts))
        sums = [sum(w for word, w in self.worth.items() if word in text) for text in texts]
        return torch.tensor([[0.0, value] for value in sums])


def strongest(text: str, spans: Sequence[WordWeight]) -> str:
    span = max(spans, key=lambda span: span.weight)
    return text[span.start : span.end]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("what a wonderful film", "wonderful"),
        ("bus was late 😡 again 🙂", "😡"),
        ("family: 👨\u200d👩\u200d👧!", "👨\u200d👩\u200d👧"),
        ("هذا الفيلم رائع جدا", "رائع"),
        ("זה סרט נפלא מאוד", "נפלא"),
        ("यह फिल्म अच्छी है", "अच्छी"),
        ("really ?", "?"),
        ("one", "one"),
    ],
)
def test_the_decisive_word_is_found_in_any_script(text: str, word: str) -> None:
    (spans,) = word_weights([text], [1], MadeUpModel({word: 3.0}))
    assert strongest(text, spans) == word
    others = [s.weight for s in spans if text[s.start : s.end] != word]
    assert others == pytest.approx([0.0] * len(others))


def test_scripts_without_spaces_are_weighed_in_short_runs() -> None:
    text = "我非常喜欢这部电影"
    (spans,) = word_weights([text], [1], MadeUpModel({"喜": 3.0}))
    assert "喜" in strongest(text, spans)
    assert max(s.end - s.start for s in spans) <= 2


def test_the_weight_is_the_change_of_the_log_probability() -> None:
    (spans,) = word_weights(["good bad"], [1], MadeUpModel({"good": 2.0, "bad": -1.0}))
    logs = torch.nn.functional.logsigmoid(torch.tensor([1.0, -1.0, 2.0]).double()).tolist()
    assert [s.weight for s in spans] == pytest.approx([logs[0] - logs[1], logs[0] - logs[2]])
    assert [(s.start, s.end) for s in spans] == [(0, 4), (5, 8)]


def test_the_other_class_gets_the_other_sign() -> None:
    model = MadeUpModel({"good": 2.0})
    for_it, against = word_weights(["so good", "so good"], [1, 0], model)
    assert for_it[1].weight > 0 > against[1].weight


def test_several_labels_are_explained_each_alone() -> None:
    def logits_of(texts: Sequence[str]) -> Tensor:
        return torch.tensor([[float("rain" in t), 5.0 * ("sun" in t)] for t in texts])

    (spans,) = word_weights(["sun rain"], [0], logits_of, is_multilabel=True)
    assert spans[0].weight == pytest.approx(0.0)
    assert spans[1].weight > 0.3


def test_texts_without_words_have_no_spans_and_are_not_asked() -> None:
    model = MadeUpModel({"good": 2.0})
    found = word_weights(["", " \n", "good"], [1, 1, 1], model)
    assert [len(spans) for spans in found] == [0, 0, 1]
    assert model.asked == ["good", ""]
    assert word_weights([], [], model) == []


@pytest.mark.parametrize("place", [0, 5_000, 16_665])
def test_in_100_000_characters_the_word_is_found_with_few_calls(place: int) -> None:
    words = [f"w{i:04d}" for i in range(16_666)]
    words[place] = "zounds"
    text = " ".join(words)
    assert len(text) >= 99_990
    model = MadeUpModel({"zounds": 4.0})
    (spans,) = word_weights([text], [1], model)
    assert strongest(text, spans) == "zounds"
    assert len(model.asked) <= MOST_ASKED
    assert model.largest <= 64


def test_two_far_apart_words_are_both_found() -> None:
    words = ["filler"] * 4000
    words[100], words[3900] = "superb", "awful"
    text = " ".join(words)
    (spans,) = word_weights([text], [1], MadeUpModel({"superb": 4.0, "awful": -3.0}))
    ordered = sorted(spans, key=lambda span: span.weight)
    assert text[ordered[-1].start : ordered[-1].end] == "superb"
    assert text[ordered[0].start : ordered[0].end] == "awful"


@pytest.mark.parametrize("num_words", [1, 95, 96, 97, 400])
@pytest.mark.parametrize("most_asked", [2, 10, 96])
def test_spans_cover_all_words_within_the_calls_allowed(num_words: int, most_asked: int) -> None:
    text = " ".join(f"w{i}" for i in range(num_words))
    model = MadeUpModel({"w0": 1.0, "w77": 2.0})
    (spans,) = word_weights([text], [1], model, most_asked=most_asked)
    assert len(model.asked) <= most_asked
    assert " ".join(text[s.start : s.end] for s in spans) == text
    assert len(spans) == num_words or num_words >= most_asked


def test_what_stands_beside_a_text_does_not_change_its_weights() -> None:
    model = MadeUpModel({"good": 2.0, "bad": -1.0})
    texts = ["good day", " ".join(["bad"] + ["x"] * 300), ""]
    together = word_weights(texts, [1, 0, 0], model)
    alone = [word_weights([t], [c], model)[0] for t, c in zip(texts, [1, 0, 0], strict=True)]
    assert together == alone


def test_answers_that_do_not_fit_are_told() -> None:
    with pytest.raises(DataError, match="1 texts and 2 classes"):
        word_weights(["a"], [0, 1], MadeUpModel({}))
    with pytest.raises(DataError, match="column for class 2"):
        word_weights(["a"], [2], MadeUpModel({}))
    with pytest.raises(DataError, match="shape"):
        word_weights(["a"], [0], lambda texts: torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("one two three", {"two three", "one three", "one two"}),
        ("one\ntwo", {"one", "two"}),
        ("one, two", {", two", "one two", "one,"}),
    ],
)
def test_no_space_is_left_where_a_word_was(text: str, asked: set[str]) -> None:
    model = MadeUpModel({"one": 1.0})
    word_weights([text], [1], model)
    assert set(model.asked) - {text} == asked
