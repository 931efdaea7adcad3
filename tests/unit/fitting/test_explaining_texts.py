"""Which words carried an answer, within its time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.contracts import Prediction, Sample
from headstart.fitting import explaining_texts
from headstart.fitting.explaining_texts import explain_texts
from headstart.trust.words import MOST_ASKED

pytest.importorskip("regex", reason="needs the extra `text`")

TEXT = " ".join(f"word{i}" for i in range(200))


def explained(num_texts: int) -> list[dict[str, Any]]:
    samples = [Sample(str(i), Path(), ("a",), text=TEXT) for i in range(num_texts)]
    probabilities = np.tile(np.float32([0.9, 0.1]), (num_texts, 1))
    prediction = Prediction(tuple(s.id for s in samples), ("a", "b"), probabilities, unit="text")
    nobody: Any = None
    return explain_texts(nobody, prediction, samples)


@pytest.mark.parametrize(("each_s", "is_told"), [(0.0, True), (0.02, True), (0.2, False)])
def test_a_slow_model_is_asked_less_often(
    each_s: float, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def slowly(predictor: None, texts: Sequence[str]) -> Tensor:
        nonlocal asked
        asked += len(texts)
        time.sleep(each_s * len(texts))
        return torch.zeros(len(texts), 2)

    monkeypatch.setattr(explaining_texts, "logits_of", slowly)
    monkeypatch.setattr(explaining_texts, "_MOST_SECONDS", 1.0)
    assert bool(explained(1)) == is_told
    if each_s:
        assert asked <= 1 + 1.0 / each_s
    else:
        assert MOST_ASKED - 8 < asked <= MOST_ASKED + 1
