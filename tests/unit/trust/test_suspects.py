from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.data.folds import folds
from headstart.errors import DataError
from headstart.strategies.logistic import cross_validate_logistic
from headstart.trust.suspects import Suspect, find_suspects

WIDTH = 16


def make_samples(n: int, *, num_classes: int, distance: float, seed: int = 0):
    """Features (n, WIDTH) and right labels (n,) of classes that lie so far apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % num_classes
    centres = np.eye(WIDTH)[:num_classes] * distance
    return centres[labels] + rng.normal(size=(n, WIDTH)), labels


def unseen(features: np.ndarray, labels: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Out-of-fold probabilities of a logistic regression."""
    held_out = folds(labels, np.arange(len(labels)), num_folds=5, seed=0)
    found = cross_validate_logistic(
        torch.from_numpy(features),
        torch.from_numpy(labels),
        torch.from_numpy(held_out),
        num_classes=num_classes,
    )
    logits = found.out_of_fold_logits
    return (logits.sigmoid() if labels.ndim == 2 else logits.softmax(dim=1)).numpy()


def flip(labels: np.ndarray, *, num_classes: int, share: float, seed: int = 1):
    rng = np.random.default_rng(seed)
    flipped = rng.choice(len(labels), round(share * len(labels)), replace=False)
    wrong = labels.copy()
    wrong[flipped] = (wrong[flipped] + rng.integers(1, num_classes, len(flipped))) % num_classes
    return wrong, flipped


@pytest.mark.parametrize("num_classes", [2, 5])
def test_planted_errors_are_named_with_their_right_class(num_classes: int) -> None:
    features, right = make_samples(400, num_classes=num_classes, distance=7.0)
    labels, flipped = flip(right, num_classes=num_classes, share=0.05)
    suspects = find_suspects(
        unseen(features, labels, num_classes=num_classes),
        labels,
        features=torch.from_numpy(features),
    )
    named = {suspect.index: suspect for suspect in suspects.found}
    assert len(named.keys() & set(flipped.tolist())) >= 0.7 * len(flipped)
    assert len(named.keys() & set(flipped.tolist())) >= 0.9 * len(named)
    assert 0.5 * len(flipped) <= suspects.num_expected <= 1.5 * len(flipped)
    for index in named.keys() & set(flipped.tolist()):
        assert named[index].given == (labels[index],)
        assert named[index].likely == (right[index],)


def test_the_most_suspicious_come_first() -> None:
    features, right = make_samples(300, num_classes=2, distance=4.0)
    labels, flipped = flip(right, num_classes=2, share=0.1)
    suspects = find_suspects(unseen(features, labels, num_classes=2), labels)
    scores = [suspect.score for suspect in suspects.found]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) > 5
    assert {s.index for s in suspects.found[:5]} <= set(flipped.tolist())
    assert scores == [round(float(suspects.scores[s.index]), 6) for s in suspects.found]


def test_the_neighbours_find_more_than_the_classifier_alone() -> None:
    # Classes on two circles: neighbours tell them apart, a line does so only in part.
    rng = np.random.default_rng(0)
    right = np.arange(600) % 2
    angle = rng.uniform(0, 2 * np.pi, 600)
    circle = np.column_stack([np.cos(3 * angle), np.sin(3 * angle)]) * (2 * right - 1)[:, None]
    features = np.column_stack([np.cos(angle), np.sin(angle), circle, 0.2 * (2 * right - 1)])
    features += 0.15 * rng.normal(size=features.shape)
    labels, flipped = flip(right, num_classes=2, share=0.05)
    shares = unseen(features, labels, num_classes=2)
    alone = find_suspects(shares, labels).scores
    both = find_suspects(shares, labels, features=torch.from_numpy(features)).scores

    def found(scores: np.ndarray) -> int:
        return len(np.intersect1d(np.argsort(-scores)[: len(flipped)], flipped))

    assert found(both) > found(alone)


def test_clean_labels_raise_no_flood() -> None:
    features, labels = make_samples(400, num_classes=4, distance=4.0)
    shares = unseen(features, labels, num_classes=4)
    suspects = find_suspects(shares, labels, features=torch.from_numpy(features))
    assert (shares.argmax(axis=1) != labels).sum() >= 4  # the classes do overlap
    assert len(suspects.found) <= 4
    assert suspects.num_expected <= 0.05 * len(labels)


def test_labels_that_nothing_can_be_learned_from_are_not_accused() -> None:
    features, right = make_samples(300, num_classes=2, distance=5.0)
    labels = np.random.default_rng(3).permutation(right)
    suspects = find_suspects(
        unseen(features, labels, num_classes=2), labels, features=torch.from_numpy(features)
    )
    assert suspects.found == ()
    assert suspects.num_expected == 0.0
    assert "too little better" in suspects.note
    assert len(suspects.scores) == 300


def test_a_class_without_samples_is_never_likely() -> None:
    features, labels = make_samples(100, num_classes=2, distance=5.0)
    shares = np.column_stack([unseen(features, labels, num_classes=2) * 0.4, np.full(100, 0.6)])
    suspects = find_suspects(shares, labels)
    assert all(suspect.likely != (2,) for suspect in suspects.found)


def test_multi_label_errors_are_named_with_the_labels_that_are_likely() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((400, 3)) < 0.4).astype(np.int64)
    features = right @ np.eye(3, WIDTH) * 6 + rng.normal(size=(400, WIDTH))
    labels = right.copy()
    flipped = rng.choice(400, 20, replace=False)
    columns = rng.integers(0, 3, 20)
    labels[flipped, columns] ^= 1
    shares = unseen(features, labels, num_classes=3)
    suspects = find_suspects(shares, labels, features=torch.from_numpy(features))
    named = {suspect.index: suspect for suspect in suspects.found}
    hits = named.keys() & set(flipped.tolist())
    assert len(hits) >= 15
    assert len(hits) >= 0.9 * len(named)
    for index in hits:
        assert named[index].given == tuple(np.flatnonzero(labels[index]).tolist())
        assert named[index].likely == tuple(np.flatnonzero(right[index]).tolist())
    assert 10 <= suspects.num_expected <= 40


def test_copies_with_one_wrong_label_do_not_vouch_for_each_other() -> None:
    features, right = make_samples(200, num_classes=2, distance=5.0)
    copies = np.repeat(features[:1], 12, axis=0)
    features = np.concatenate([features, copies])
    labels = np.concatenate([right, np.ones(12, np.int64)])  # the first sample is of class 0
    groups = np.concatenate([np.arange(200), np.zeros(12, np.int64)])
    shares = np.full((212, 2), 0.1)
    shares[np.arange(200), right] = 0.9
    shares[200:] = [0.9, 0.1]
    together = find_suspects(shares, labels, features=torch.from_numpy(features))
    apart = find_suspects(shares, labels, features=torch.from_numpy(features), groups=groups)
    assert not {s.index for s in together.found} & set(range(200, 212))
    assert {s.index for s in apart.found} >= set(range(200, 212))


def test_many_samples_are_compared_with_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.trust.suspects._MAX_REFERENCE", 50)
    monkeypatch.setattr("headstart.trust.suspects._CHUNK_ELEMENTS", 1000)
    features, right = make_samples(400, num_classes=2, distance=6.0)
    labels, flipped = flip(right, num_classes=2, share=0.05)
    shares = unseen(features, labels, num_classes=2)
    suspects = find_suspects(shares, labels, features=torch.from_numpy(features))
    named = {suspect.index for suspect in suspects.found}
    assert len(named & set(flipped.tolist())) >= 0.8 * len(flipped)


def test_few_samples_have_few_neighbours() -> None:
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    suspects = find_suspects(shares, np.array([0, 1, 1]), features=torch.eye(3))
    assert suspects.found == ()


def test_the_score_says_how_unlikely_the_label_is() -> None:
    likely = np.array([[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 5)
    suspects = find_suspects(likely, np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]))
    assert suspects.found == (Suspect(4, (0,), (1,), 0.9),)
    assert suspects.scores.round(3).tolist() == [0.1] * 4 + [0.9] + [0.1] * 4


@pytest.mark.parametrize(
    ("shares", "labels", "told"),
    [
        (np.full((3, 2), 0.5), np.zeros(2, int), "do not go together"),
        (np.full((3, 2), 0.5), np.zeros((3, 3), int), "do not go together"),
        (np.full((2, 2), np.nan), np.zeros(2, int), "between 0 and 1"),
        (np.full((2, 2), 3.0), np.zeros(2, int), "softmax"),
        (np.full((2, 2), 0.5), np.array([0, 2]), "2 classes"),
    ],
)
def test_what_does_not_go_together_is_refused(shares, labels, told: str) -> None:
    with pytest.raises(DataError, match=told):
        find_suspects(shares, labels)


def test_features_of_other_samples_are_refused() -> None:
    with pytest.raises(DataError, match="4 features and 3 labels"):
        find_suspects(np.full((3, 2), 0.5), np.array([0, 1, 1]), features=torch.ones(4, 2))
