"""What the backbone of a fitted attempt sees in samples, and which of them belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.contracts import Sample
from headstart.data.numbering import numbered
from headstart.fitting.label_attempt import LabelAttempt


class Look:
    """Features of samples by the backbone as it is now.

    Args:
        attempt: Fitted.
        features: Cached ones, sample id -> (num_features,), which a frozen backbone goes by.
    """

    def __init__(self, attempt: LabelAttempt, features: Mapping[str, Tensor]) -> None:
        self.attempt = attempt
        self.cached = features

    @property
    def knows_validation(self) -> bool:
        """Whether a backbone that learns has learnt from these samples."""
        return self.attempt.learns_from_all and not self.attempt.is_frozen

    @cached_property
    def validation(self) -> Tensor:
        """(n, num_features) of the validation samples."""
        return self.features_of(self.attempt.where.data.samples("validation"))

    def features_of(self, samples: Sequence[Sample]) -> Tensor:
        """(n, num_features); what cannot be read raises."""
        if self.attempt.is_frozen:
            return torch.stack([self.cached[sample.id] for sample in samples])
        return torch.stack(list(self.attempt.predictor.features(samples).values()))

    def groups_of(self, samples: Sequence[Sample]) -> NDArray[np.int64]:
        """(n,) a number for each group of the split."""
        groups = self.attempt.where.data.split.groups
        return numbered([groups[sample.id] for sample in samples])
