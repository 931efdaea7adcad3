"""The terms of a text, weighed in the place of a backbone: the same numbers as in the fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.backbones import build_unset_backbone
from headstart.backbones.term_scores import WeighedTerms, terms_backbone
from headstart.contracts import Backbone, BackboneSpec, TermsContract
from headstart.data.term_ids import TermReader
from headstart.data.tokenising import as_ids
from headstart.strategies.tfidf import TfidfModel, fit_tfidf
from headstart.trust.unknown_words import MOST_UNKNOWN

ASKED = [
    "the goal was a goal",
    "Striker! Striker?",
    "",
    "never seen",
    "unknown butter",
    "😀 \x00",
    "so " * 400 + "oven",
]


def as_backbone(model: TfidfModel) -> Backbone[TermsContract]:
    weights = torch.split(model.weight, [len(terms.names) for terms in model.terms], dim=1)
    kinds = {
        terms.kind: WeighedTerms(terms.names, terms.idf, weight)
        for terms, weight in zip(model.terms, weights, strict=True)
    }
    return terms_backbone(dict(kinds), num_classes=len(model.bias), num_texts=model.terms[0].n)


def read(backbone: Backbone[TermsContract], texts: list[str]) -> torch.Tensor:
    with torch.inference_mode():
        features: torch.Tensor = backbone.module(as_ids(TermReader(backbone.contract).rows(texts)))
    return features


def subjects(num: int) -> tuple[list[str], torch.Tensor]:
    words = [["striker", "goal", "match"], ["oven", "butter", "flour"], ["vote", "law", "senate"]]
    rng = np.random.default_rng(0)
    texts = [f"the {' '.join(rng.choice(words[i % 3], 3))} so" for i in range(num)]
    return texts, torch.arange(num) % 3


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_scores_are_those_of_the_fit(is_multilabel: bool) -> None:
    texts, targets = subjects(90)
    marks = torch.nn.functional.one_hot(targets, 3).float() if is_multilabel else targets
    model, _ = fit_tfidf(texts, marks, num_classes=3)
    features = read(as_backbone(model), [*texts, *ASKED])
    expected = model.logits([*texts, *ASKED])
    assert features.shape == (97, 4)
    torch.testing.assert_close(features[:, :3] + model.bias, expected, atol=1e-4, rtol=1e-4)


def test_scores_are_those_of_the_fit_with_pieces_of_words() -> None:
    texts = [f"{stem}{end}" for stem in ("un", "re") for end in map(str, range(100, 160))]
    model, _ = fit_tfidf(texts, torch.tensor([0] * 60 + [1] * 60), num_classes=2)
    assert len(model.terms) == 2
    asked = ["un999", "re100 un1", "qq"]
    features = read(as_backbone(model), asked)
    torch.testing.assert_close(
        features[:, :2] + model.bias, model.logits(asked), atol=1e-4, rtol=1e-4
    )
    assert features[:, 2].tolist()[0] == MOST_UNKNOWN  # the word is not known, but pieces are
    assert features[:, 2].tolist()[2] == 1


def test_the_share_of_unknown_words_goes_from_none_to_all() -> None:
    texts, targets = subjects(60)
    backbone = as_backbone(fit_tfidf(texts, targets, num_classes=3)[0])
    shares = read(backbone, ["the goal", "the goal qqq", "the qqq jjj", "qqq jjj", ""])[:, -1]
    assert shares[0] == 0
    assert 0 < shares[1] < shares[2] <= MOST_UNKNOWN
    assert shares[3:].tolist() == [1, 1]


def test_a_text_is_answered_alike_whatever_stands_beside_it() -> None:
    texts, targets = subjects(60)
    backbone = as_backbone(fit_tfidf(texts, targets, num_classes=3)[0])
    alone = torch.cat([read(backbone, [text]) for text in ASKED])
    torch.testing.assert_close(read(backbone, ASKED), alone)


def test_it_is_built_again_from_its_spec() -> None:
    texts, targets = subjects(60)
    backbone = as_backbone(fit_tfidf(texts, targets, num_classes=3)[0])
    spec = BackboneSpec.from_json(backbone.spec.to_json())
    assert not spec.is_pretrained
    assert spec.reference == f"none: TF-IDF, {backbone.contract.num_terms:,} terms"
    module = build_unset_backbone(spec)
    module.load_state_dict(backbone.module.state_dict())
    again = Backbone(spec, backbone.contract, module, layer_groups=())
    assert torch.equal(read(again, ASKED), read(backbone, ASKED))


def test_without_any_term_it_knows_nothing() -> None:
    nothing = WeighedTerms((), np.zeros(0, np.float32), torch.zeros(2, 0))
    backbone = terms_backbone({"words": nothing}, num_classes=2, num_texts=0)
    assert read(backbone, ["some words", ""]).tolist() == [[0, 0, 1], [0, 0, 1]]
