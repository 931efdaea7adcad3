"""TF-IDF with logistic regression: the numbers and the choices."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from headstart.data.term_ids import plain_words, terms_of
from headstart.errors import ConfigError, DataError, MissingExtraError
from headstart.strategies import terms as terms_module
from headstart.strategies.terms import answer_with, count_terms, learn_terms
from headstart.strategies.tfidf import TfidfModel, fit_tfidf

SUBJECTS = {
    0: ["striker", "goal", "match", "referee", "penalty", "league"],
    1: ["parliament", "vote", "minister", "election", "senate", "law"],
    2: ["oven", "butter", "flour", "sugar", "recipe", "dough"],
}
FILLER = ["the", "a", "of", "and", "in", "some", "with", "about", "today", "one"]


def made_up(num_texts: int, *, seed: int = 0) -> tuple[list[str], torch.Tensor]:
    """Texts of three subjects, each with a word or two of its own among filler."""
    rng = np.random.default_rng(seed)
    targets = np.arange(num_texts) % 3
    texts = []
    for target in targets.tolist():
        own = rng.choice(SUBJECTS[target], rng.integers(1, 3))
        texts.append(" ".join(rng.permutation([*own, *rng.choice(FILLER, 6)])))
    return texts, torch.from_numpy(targets)


@pytest.fixture(scope="module")
def fitted() -> tuple[TfidfModel, list[str], torch.Tensor]:
    texts, targets = made_up(150)
    return fit_tfidf(texts, targets, num_classes=3)[0], texts, targets


def test_weights_are_those_of_scikit_learn() -> None:
    vectorizers = pytest.importorskip("sklearn.feature_extraction.text")
    texts, _ = made_up(40)
    texts += ["", "today today TODAY"]
    terms, rows = learn_terms(count_terms(texts, "words", seed=0))
    theirs = vectorizers.TfidfVectorizer(
        analyzer=lambda text: terms_of(plain_words(text), "words"), sublinear_tf=True
    )
    golden = theirs.fit_transform(texts)
    assert list(terms.names) == theirs.get_feature_names_out().tolist()
    np.testing.assert_allclose(rows.toarray(), golden.toarray(), atol=1e-6)
    new = ["a goal of butter", "never seen"]
    np.testing.assert_allclose(
        terms.read(new).toarray(), theirs.transform(new).toarray(), atol=1e-6
    )


def test_the_solution_is_that_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    texts, targets = made_up(200, seed=1)
    model, found = fit_tfidf(texts, targets, num_classes=3)
    rows = np.hstack([terms.read(texts).toarray() for terms in model.terms])
    theirs = linear.LogisticRegression(C=found.facts["C"], tol=1e-8, max_iter=5000)
    theirs.fit(rows, targets.numpy())
    ours = model.logits(texts).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(rows), atol=2e-3)


def test_it_learns_and_tells_what_it_chose(
    fitted: tuple[TfidfModel, list[str], torch.Tensor],
) -> None:
    _, texts, targets = fitted
    model, found = fit_tfidf(texts, targets, num_classes=3)
    new, truth = made_up(90, seed=7)
    assert (model.logits(new).argmax(dim=1) == truth).float().mean() > 0.9
    assert found.out_of_fold is not None
    assert found.out_of_fold.shape == (150, 3)
    assert (found.out_of_fold.argmax(dim=1) == targets).float().mean() > 0.9
    assert found.facts["num_folds"] == 5
    assert found.facts["num_folds_looked_at"] == 5
    assert found.facts["terms"]["words"] == len(model.terms[0].names)
    assert found.facts["setting"] in [row["setting"] for row in found.facts["cross_validation"]]
    assert found.facts["setting"].endswith(f"C = {found.facts['C']:g}")
    json.dumps(found.facts)


def test_the_same_seed_gives_the_same_bits() -> None:
    texts, targets = made_up(60)
    (a, found_a), (b, found_b) = (
        fit_tfidf(texts, targets, num_classes=3, seed=3) for _ in range(2)
    )
    assert torch.equal(a.weight, b.weight)
    assert found_a.out_of_fold is not None
    assert found_b.out_of_fold is not None
    assert torch.equal(found_a.out_of_fold, found_b.out_of_fold)


def test_copies_in_one_group_are_never_answered_by_a_fit_that_saw_one() -> None:
    """Labels are noise, so that only a copy could tell a text's label."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{w}" for w in rng.integers(0, 10**6, 8)) for _ in range(60)]
    targets = torch.from_numpy(rng.permutation(np.arange(60) % 2))
    groups = np.concatenate([np.arange(60), np.arange(60)])
    twice = torch.cat([targets, targets])
    _, apart = fit_tfidf(texts * 2, twice, num_classes=2, groups=groups)
    _, mixed = fit_tfidf(texts * 2, twice, num_classes=2)
    assert apart.out_of_fold is not None
    assert mixed.out_of_fold is not None
    assert (apart.out_of_fold.argmax(dim=1) == twice).float().mean() < 0.7
    assert (mixed.out_of_fold.argmax(dim=1) == twice).float().mean() > 0.8


def test_the_vocabulary_of_a_fold_is_that_of_the_texts_it_may_see() -> None:
    counts = count_terms(["red fox", "red hen", "blue hen"], "words", seed=0)
    terms, _ = learn_terms(counts.of(np.array([0, 1])))
    assert "blue" not in terms.names
    asked = answer_with(terms, counts.of(np.array([2])))
    np.testing.assert_allclose(asked.toarray(), terms.read(["blue hen"]).toarray())


def test_several_labels_are_decided_one_by_one() -> None:
    texts, targets = made_up(150)
    both = [f"{a} {b}" for a, b in zip(texts, texts[1:] + texts[:1], strict=True)]
    marks = torch.zeros(150, 3)
    marks[torch.arange(150), targets] = 1
    marks[torch.arange(150), targets.roll(-1)] = 1
    model, found = fit_tfidf(both, marks, num_classes=3)
    assert ((model.logits(both) >= 0) == (marks > 0.5)).float().mean() > 0.95
    assert found.out_of_fold is not None
    assert found.out_of_fold.shape == (150, 3)


def test_a_weighted_class_is_answered_more_often() -> None:
    rng = np.random.default_rng(0)
    texts = [f"word {w}" for w in rng.choice(["x", "y"], 200)]
    targets = torch.from_numpy((np.arange(200) % 10 == 0).astype(np.int64))
    plain, _ = fit_tfidf(texts, targets, num_classes=2)
    weighted, _ = fit_tfidf(texts, targets, num_classes=2, class_weights=torch.tensor([1.0, 30.0]))
    assert (plain.logits(texts).argmax(dim=1) == 0).all()
    assert (weighted.logits(texts).argmax(dim=1) == 1).any()


def test_too_few_texts_are_fitted_without_cross_validation() -> None:
    model, found = fit_tfidf(["yes", "no"], torch.tensor([1, 0]), num_classes=2)
    assert found.out_of_fold is None
    assert found.facts["num_folds"] == 0
    assert model.logits(["no", "yes"]).argmax(dim=1).tolist() == [0, 1]


@pytest.mark.parametrize("text", ["", "   ", "\x00", "never seen", "😀" * 3])
def test_a_text_without_known_words_gets_the_answer_of_the_bias(
    text: str, fitted: tuple[TfidfModel, list[str], torch.Tensor]
) -> None:
    model = fitted[0]
    known = TfidfModel(model.terms[:1], model.weight[:, : len(model.terms[0].names)], model.bias)
    assert torch.allclose(known.logits([text])[0], model.bias)


def test_texts_that_are_all_empty_are_answered_by_their_shares() -> None:
    targets = torch.tensor([0, 0, 0, 1] * 10)
    model, found = fit_tfidf([""] * 40, targets, num_classes=2)
    assert model.logits([""]).softmax(dim=1)[0].tolist() == pytest.approx([0.75, 0.25], abs=0.01)
    assert found.out_of_fold is not None


def test_a_class_with_one_text_and_one_without_any_do_no_harm() -> None:
    texts, targets = made_up(60)
    targets[0] = 3
    model, found = fit_tfidf(texts, targets, num_classes=5)
    assert model.logits(texts).isfinite().all()
    assert found.out_of_fold is not None
    assert found.out_of_fold.isfinite().all()
    assert not (model.logits(texts).argmax(dim=1) == 4).any()


def test_scripts_without_spaces_are_learnt_too() -> None:
    texts = [
        "我喜欢这部电影",
        "这部电影很好看",
        "好看的电影",
        "我讨厌这部电影",
        "这部电影很难看",
        "难看的电影",
    ]
    targets = torch.tensor([1, 1, 1, 0, 0, 0])
    model, _ = fit_tfidf(texts * 4, targets.repeat(4), num_classes=2)
    assert model.logits(["很好看", "很难看"]).argmax(dim=1).tolist() == [1, 0]


def test_pieces_of_words_tell_words_that_were_never_seen() -> None:
    texts = [f"{stem}{end}" for stem in ("un", "re") for end in map(str, range(100, 160))]
    targets = torch.tensor([0] * 60 + [1] * 60)
    model, _ = fit_tfidf(texts, targets, num_classes=2)
    assert [terms.kind for terms in model.terms] == ["words", "pieces"]
    assert model.logits(["un999", "re999"]).argmax(dim=1).tolist() == [0, 1]


def test_the_vocabulary_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms_module, "MOST_TERMS", 5)
    texts = [f"often seldom{i}" for i in range(20)]
    counts = count_terms(texts, "words", seed=0)
    assert len(counts.names) == 5
    assert "often" in counts.names
    monkeypatch.setattr(terms_module, "_MOST_READ", 10)
    again = count_terms(texts, "words", seed=0)
    assert again.rows.shape == (20, 5)
    assert again.rows[:, again.names.index("often")].sum() == 20


def test_mistakes_are_told() -> None:
    with pytest.raises(DataError, match="1 texts and 2 targets"):
        fit_tfidf(["a"], torch.tensor([0, 1]), num_classes=2)
    with pytest.raises(DataError, match="0 texts"):
        fit_tfidf([], torch.zeros(0, dtype=torch.int64), num_classes=2)
    with pytest.raises(ConfigError, match="Class weights"):
        fit_tfidf(["a", "b"], torch.tensor([0, 1]), num_classes=2, class_weights=torch.zeros(2))


def test_the_extra_is_named_where_scipy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(MissingExtraError, match=r"headstart\[text\]"):
        count_terms(["a"], "words", seed=0)


def test_no_texts_have_no_answers(fitted: tuple[TfidfModel, list[str], torch.Tensor]) -> None:
    assert fitted[0].logits([]).shape == (0, 3)
