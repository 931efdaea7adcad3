"""The probe of masks: a logistic regression on pixels of frozen maps, made a decoder. Wiring.

A run of it is a run like any other: the backbone's pyramid and a linear decoder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from headstart.contracts import Sample
from headstart.fitting.mask_attempt import MaskAttempt
from headstart.fitting.pixel_tables import fit_drawn_pixels, pixel_tables, table_of_pixels
from headstart.linear_decoder import LinearDecoder
from headstart.trust.pixels import prior_shift


def fit_mask_probe(attempt: MaskAttempt, samples: Sequence[Sample]) -> None:
    """Fit the decoder of the strategy `probe` to pixels of some chips.

    C is chosen by cross-validation over groups of chips. Of each chip as many pixels of each class
    are drawn; the answers go by the true shares all the same, unless classes are to be weighted.

    Args:
        attempt: Of the strategy `probe`; its model is changed, its facts are told.
        samples: What it learns from.

    Raises:
        DataError: A sample cannot be read, no pixel is labelled, or all are of one class.
    """
    started = time.monotonic()
    data, decoder = attempt.where.data, attempt.model.head
    assert isinstance(decoder, LinearDecoder)
    num_classes = len(attempt.classes)
    tables = pixel_tables(
        samples,
        attempt.new_twin(),
        task=attempt.task,
        contract=attempt.backbone.contract,
        num_classes=num_classes,
        seed=attempt.settings.seed,
        on_error=data.note_unreadable,
    )
    table = table_of_pixels(tables, data.split.groups, num_classes=num_classes)
    fit, found = fit_drawn_pixels(table, attempt.settings)
    bias = fit.bias
    if attempt.value("balance") != "weights":
        masks = data.checkup.masks
        pixels = torch.tensor([masks[id_].pixels for id_ in tables]).sum(dim=0)
        bias = bias + prior_shift(pixels, table.targets)
    decoder.load(fit.weight, bias)
    attempt.strategy.prepare(attempt.model)
    attempt.facts = {
        **found.facts,
        "num_samples": len(tables),
        "num_pixels": len(table.targets),
        "num_features": table.features.shape[1],
    }
    attempt.seconds = time.monotonic() - started
    attempt.renew_predictor()
