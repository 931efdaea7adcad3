from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.backbones.text_catalog import text_catalog
from headstart.backbones.text_languages import language_findings, languages_of
from headstart.data import languages
from headstart.data.languages import Languages, find_languages

SENTENCES = {
    "English": "Where is the highest mountain that one can climb without a rope?",
    "German": "Der Zug nach Hamburg fährt jeden Morgen um halb sieben vom Bahnhof ab.",
    "French": "Le gouvernement ne veut pas augmenter les impôts l'année prochaine.",
    "Spanish": "En invierno los erizos duermen bajo un montón de hojas secas.",
    "Chinese": "开往上海的火车每天早上六点半出发。",
    "Arabic": "لا تريد الحكومة أن ترفع الضرائب في العام المقبل.",
    "Russian": "Поезд в Москву отправляется каждое утро в половине седьмого.",
    "Japanese": "電車は毎朝六時半に東京へ出発します。",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def _only_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "find_spec", lambda name: None)


@pytest.fixture
def _identified() -> None:
    pytest.importorskip("py3langid", reason="needs the extra `text`")


def some(**shares: float) -> Languages:
    return Languages(shares, num_told=100, num_asked=100, num_texts=100)


@pytest.mark.usefixtures("_identified")
@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_tells_its_language(name: str) -> None:
    assert find_languages([SENTENCES[name]]).shares == {name: 1.0}


@pytest.mark.usefixtures("_identified")
def test_what_is_too_short_is_not_guessed() -> None:
    found = find_languages([SENTENCES["German"], "ok", "17", ""])
    assert (found.shares, found.num_told, found.num_asked) == ({"German": 1.0}, 1, 4)
    assert found.told == "German 100%, of 1 text; 3 more are too short or mixed to tell."


@pytest.mark.usefixtures("_identified")
def test_what_was_found_is_found_again_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [SENTENCES["German"], SENTENCES["English"]]
    first = find_languages(texts)

    def fail(text: str) -> str:
        raise AssertionError(text)

    monkeypatch.setattr(languages, "_language_of", fail)
    assert find_languages(texts) == first


@pytest.mark.usefixtures("_only_scripts")
def test_without_the_package_scripts_are_told() -> None:
    found = find_languages(list(SENTENCES.values()))
    assert found.are_scripts
    assert found.shares["Latin script"] == pytest.approx(0.5)
    assert {"Cyrillic script", "Arabic script", "Han script"} <= found.shares.keys()
    assert found.share_not_english == pytest.approx(0.5)
    assert "py3langid" in found.told


@pytest.mark.usefixtures("_only_scripts")
def test_no_texts_and_no_letters_tell_nothing() -> None:
    for texts in ([], ["", "17 + 4", "😀"]):
        found = find_languages(texts)
        assert (found.num_told, found.told, found.shares) == (0, "", {})


@pytest.mark.usefixtures("_only_scripts")
def test_of_many_texts_an_even_sample_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "_MOST_TEXTS", 10)
    found = find_languages([SENTENCES["English"]] * 500 + [SENTENCES["Arabic"]] * 500)
    assert (found.num_asked, found.num_texts) == (10, 1000)
    assert found.shares == {"Latin script": 0.5, "Arabic script": 0.5}
    assert "evenly spread over 1,000" in found.told


@pytest.mark.usefixtures("_only_scripts")
def test_rare_ones_are_others() -> None:
    found = find_languages([SENTENCES["English"]] * 999 + [SENTENCES["Arabic"]])
    assert list(found.shares) == ["Latin script"]
    assert "others 0.1%" in found.told
    assert json.loads(json.dumps(found.to_json()))["told"] == found.told


def test_a_model_of_english_is_no_good_for_german() -> None:
    [finding] = language_findings(some(English=0.6, German=0.38, French=0.02), ["minilm"])
    assert finding.kind == "other-language"
    assert "40% of the texts" in finding.message
    assert "(German 38%, French 2%), and `minilm` is a model of English" in finding.message
    assert "--backbone multilingual-e5-small" in finding.remedy
    assert "auto stands for models" in language_findings(some(German=1.0), ["auto"])[0].message


@pytest.mark.parametrize(
    ("shares", "reference"),
    [
        ({"English": 0.97, "German": 0.03}, "minilm"),
        ({"German": 1.0}, "multilingual-e5-small"),
        ({"German": 1.0}, "hf:FacebookAI/xlm-roberta-base"),
        ({"German": 1.0}, "a/folder"),
        ({"German": 1.0}, "hf:somebody/bert-base-german"),
    ],
)
def test_a_model_that_may_know_the_language_is_not_complained_of(
    shares: dict[str, float], reference: str
) -> None:
    assert language_findings(some(**shares), [reference]) == ()


def test_a_race_of_models_of_english_is_complained_of() -> None:
    german = some(German=1.0)
    [finding] = language_findings(german, ["minilm", "bge-small-en"])
    assert "and `minilm`, `bge-small-en` are models of English" in finding.message
    [finding] = language_findings(german, ["any"])  # only the packaged one is here
    assert "and `minilm` is a model of English" in finding.message
    for other in ("multilingual-e5-small", "a/folder"):
        assert language_findings(german, ["minilm", other]) == ()
        assert language_findings(german, ["any", other]) == ()


def test_every_named_model_says_what_it_reads() -> None:
    assert all(row.languages for row in text_catalog().values())
    assert languages_of("hf:google-bert/bert-base-uncased") == "english"
