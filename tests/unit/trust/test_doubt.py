"""How unsure an answer is, pixel by pixel, and how pixels are counted by it."""

from __future__ import annotations

import pytest
import torch

from headstart.trust.doubt import NUM_DOUBT_BINS, count_doubt, doubt_of


def test_a_toss_up_is_one_and_a_certainty_zero() -> None:
    logits = torch.tensor([[0.0, 0.0, -50.0], [50.0, 0.0, -50.0]]).reshape(2, 3, 1, 1)
    assert doubt_of(logits).flatten().tolist() == pytest.approx([1.0, 0.0])


def test_a_margin_is_what_is_taken_off_one() -> None:
    shares = torch.tensor([0.6, 0.3, 0.1])
    assert float(doubt_of(shares.log().reshape(1, 3, 1, 1))) == pytest.approx(0.7)


def test_pixels_are_counted_by_doubt_and_by_being_wrong() -> None:
    doubt = torch.tensor([[0.0, 0.0], [1.0, 0.5]])
    is_wrong = torch.tensor([[False, False], [True, True]])
    is_known = torch.tensor([[True, True], [True, False]])
    counts = count_doubt(doubt, is_wrong, is_known)
    assert counts.shape == (NUM_DOUBT_BINS, 2)
    assert counts.sum() == 3
    assert counts[0].tolist() == [2, 0]
    assert counts[-1].tolist() == [0, 1]
