"""Which words carried a model's answers, for a few chosen test texts. Only wiring."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.contracts import Prediction, Sample
from headstart.fitting.explaining import explain_chosen
from headstart.predictor import Predictor
from headstart.report.word_tint import kept_of
from headstart.trust.words import MOST_ASKED, word_weights

# Texts that are not reached by then are left out. The model is asked about a text as often as the
# rest of the time holds, and not at all if that is less often than it takes to tell its parts.
_MOST_SECONDS = 4.0
_LEAST_ASKED = 8


def explain_texts(
    predictor: Predictor, prediction: Prediction, samples: Sequence[Sample]
) -> list[dict[str, Any]]:
    """The part `explanations` of metrics.json, as many as the time holds.

    Args:
        predictor: Of the model.
        prediction: Of it for the samples.
        samples: With their labels, in the order of the prediction.
    """

    until = time.monotonic() + _MOST_SECONDS

    def tell(sample: Sample, index: int) -> dict[str, Any] | None:
        began = time.monotonic()
        logits_of(predictor, [sample.text or ""])
        each_s = time.monotonic() - began
        most_asked = min(MOST_ASKED, int((until - time.monotonic()) / max(each_s, 1e-6)))
        if most_asked < _LEAST_ASKED:
            return None
        [weights] = word_weights(
            [sample.text or ""],
            [index],
            lambda texts: logits_of(predictor, texts),
            is_multilabel=prediction.is_multilabel,
            most_asked=most_asked,
        )
        spans = [(each.start, each.end, each.weight) for each in weights]
        text, words = kept_of(sample.text or "", spans)
        rounded = [[start, end, round(weight, 4)] for start, end, weight in words]
        return {"text": text, "words": rounded}

    return explain_chosen(prediction, samples, tell=tell, most_s=_MOST_SECONDS)


def logits_of(predictor: Predictor, texts: Sequence[str]) -> Tensor:
    """(n, num_classes) float32, in the order of the texts."""
    samples = [Sample(str(i), Path(), text=text) for i, text in enumerate(texts)]
    return predictor.logits(torch.stack(list(predictor.features(samples).values())))
