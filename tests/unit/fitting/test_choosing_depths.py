"""What a probe of texts sees of them is chosen by texts it has not learnt from."""

from __future__ import annotations

import torch

from headstart.fitting.choosing_depths import _candidates, _columns, _mean_and_error, _told

GIVEN = [(3, "cls"), (3, "mean"), (6, "cls"), (6, "mean")]


def test_the_averages_of_tokens_are_the_usual_choice() -> None:
    usual, *others = _candidates(GIVEN)
    assert usual == ((3, "mean"), (6, "mean"))
    assert others == [((3, "cls"), (6, "cls"), (6, "mean")), ((6, "mean"),)]


def test_of_weights_made_for_the_first_token_the_last_layer_stays_as_it_is() -> None:
    given = [(3, "mean"), (3, "cls"), (6, "mean"), (6, "cls")]
    usual, *_ = _candidates(given)
    assert usual == ((3, "mean"), (6, "mean"), (6, "cls"))


def test_features_are_found_where_their_places_are() -> None:
    columns = _columns(GIVEN, ((3, "mean"), (6, "mean")), width=8)
    assert columns.tolist() == [2, 3, 6, 7]


def test_texts_of_one_group_are_one_piece_of_evidence() -> None:
    values = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 0.0, 0.0])
    alone = _mean_and_error(values, torch.arange(8))
    grouped = _mean_and_error(values, torch.tensor([0, 0, 0, 1, 1, 1, 2, 3]))
    assert alone[0] == grouped[0] == 0
    assert grouped[1] > 1.5 * alone[1]


def test_places_are_told_by_pooling() -> None:
    assert _told([(3, "mean"), (6, "mean"), (6, "cls")]) == "mean of blocks 3, 6; cls of blocks 6"
