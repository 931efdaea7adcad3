from __future__ import annotations

from pathlib import Path

import pytest

from headstart.backbones import load_text_backbone, text_contract_at_hand
from headstart.errors import ConfigError

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "t5"])
def test_without_its_weights_a_model_has_the_contract_that_it_has_with_them(
    family: str, tmp_path: Path
) -> None:
    folder = write_model(family, tmp_path / family)
    found = text_contract_at_hand(str(folder))
    assert found == (str(folder), load_text_backbone(str(folder)).contract)


def test_a_model_that_is_not_here_is_not_fetched(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.backbones.packages.download_wheel", None)
    monkeypatch.setattr("headstart.backbones.hub.download", None)
    for reference in ("auto", "minilm", "bert-base-uncased", "hf:some/model"):
        assert text_contract_at_hand(reference) is None


def test_a_model_of_pictures_has_no_tokens() -> None:
    with pytest.raises(ConfigError, match="is a model of pictures"):
        text_contract_at_hand("timm:resnet50")
