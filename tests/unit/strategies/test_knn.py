"""Nearest neighbours: votes as defined, k chosen, state kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import ConfigError, DataError
from headstart.strategies.knn import KNNHead, cross_validate_knn


def samples(n: int, *, num_classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % num_classes
    centres = torch.randn(num_classes, 8, generator=generator)
    return centres[targets] + 0.8 * torch.randn(n, 8, generator=generator), targets


def test_votes_agree_with_scikit_learn() -> None:
    features, targets = samples(80)
    queries, _ = samples(20, seed=1)
    head = KNNHead.of(features, targets, num_classes=3, k=7)

    def strength(distances: np.ndarray) -> np.ndarray:
        similarity = 1 - distances**2 / 2  # of vectors of length 1
        return np.exp((similarity - similarity[:, :1]) / 0.07)

    model = KNeighborsClassifier(7, weights=strength)
    model.fit(F.normalize(features).numpy(), targets.numpy())
    unit = F.normalize(queries).numpy()
    total = strength(model.kneighbors(unit)[0]).sum(axis=1, keepdims=True)
    expected = (model.predict_proba(unit) * total + 1 / 3) / (total + 1)
    np.testing.assert_allclose(head(queries).softmax(dim=1), expected, atol=1e-5)


def test_the_softmax_of_the_logits_is_the_vote() -> None:
    features, targets = samples(30)
    logits = KNNHead.of(features, targets, num_classes=3, k=5)(features)
    torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(30))


def test_the_nearest_neighbour_of_a_known_sample_is_itself() -> None:
    features, targets = samples(30)
    head = KNNHead.of(features, targets, num_classes=3, k=1)
    assert torch.equal(head(3.0 * features).argmax(dim=1), targets)


def test_cross_validation_agrees_with_heads_that_leave_a_fold_out() -> None:
    features, targets = samples(60)
    folds = torch.arange(60) // 3 % 4
    found = cross_validate_knn(features, targets, folds, num_classes=3, ks=[5, 1, 15])
    assert found.ks == (1, 5, 15)
    for i, k in enumerate(found.ks):
        logits = torch.empty(60, 3)
        for fold in range(4):
            seen = folds != fold
            head = KNNHead.of(features[seen], targets[seen], num_classes=3, k=k)
            logits[~seen] = head(features[~seen])
        assert found.log_loss[i] == pytest.approx(float(F.cross_entropy(logits, targets)), abs=1e-5)
        assert found.accuracy[i] == pytest.approx(
            float((logits.argmax(1) == targets).float().mean())
        )
        if k == found.k:
            torch.testing.assert_close(found.out_of_fold_logits, logits)
    assert found.log_loss[found.ks.index(found.k)] == min(found.log_loss)
    assert found.head.k == found.k


def test_a_search_in_chunks_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = samples(40)
    folds = torch.arange(40) // 3 % 4
    whole = cross_validate_knn(features, targets, folds, num_classes=3)
    monkeypatch.setattr("headstart.strategies.knn._CHUNK_ELEMENTS", 100)
    parts = cross_validate_knn(features, targets, folds, num_classes=3)
    assert parts.log_loss == pytest.approx(whole.log_loss, abs=1e-6)


def test_several_labels_are_voted_on_one_by_one() -> None:
    features, targets = samples(60)
    marks = torch.stack([targets == 0, targets != 1], dim=1).float()
    found = cross_validate_knn(features, marks, torch.arange(60) // 3 % 5, num_classes=2)
    share = found.head(features).sigmoid()
    assert ((share >= 0.5) == (marks >= 0.5)).float().mean() > 0.8
    only = KNNHead.of(features, marks, num_classes=2, k=1)(features).sigmoid()
    torch.testing.assert_close(only, 0.25 + 0.5 * marks)  # one vote and half of one for each side


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_the_saved_state_predicts_alike(is_multilabel: bool) -> None:
    features, targets = samples(20)
    labels = F.one_hot(targets, 3).float() if is_multilabel else targets
    head = KNNHead.of(features, labels, num_classes=3, k=4)
    again = KNNHead(torch.zeros(20, 8), torch.zeros(20, 3), k=4)
    again.load_state_dict(head.state_dict())
    torch.testing.assert_close(again(features), head(features), atol=0.0, rtol=0.0)


def test_it_holds_no_parameters_to_train() -> None:
    assert not list(KNNHead.of(*samples(6), num_classes=3, k=1).parameters())


def test_two_samples_are_enough() -> None:
    features, targets = torch.eye(2), torch.tensor([0, 1])
    found = cross_validate_knn(features, targets, torch.tensor([0, 1]), num_classes=2)
    assert found.k == 1
    assert found.head(features).argmax(dim=1).tolist() == [0, 1]


def test_more_neighbours_than_samples_are_all_of_them() -> None:
    features, targets = samples(9)
    everyone = KNNHead.of(features, targets, num_classes=3, k=9)
    torch.testing.assert_close(
        KNNHead.of(features, targets, num_classes=3, k=100)(features), everyone(features)
    )


def test_a_sample_without_features_does_not_break_the_vote() -> None:
    features, targets = samples(9)
    features[0] = 0.0
    assert KNNHead.of(features, targets, num_classes=3, k=3)(features).isfinite().all()


def test_what_cannot_work_is_refused() -> None:
    features, targets = samples(9)
    with pytest.raises(ConfigError, match="k must be at least 1"):
        KNNHead.of(features, targets, num_classes=3, k=0)
    features[1] = torch.nan
    with pytest.raises(DataError, match="rows 1"):
        KNNHead.of(features, targets, num_classes=3, k=1)
