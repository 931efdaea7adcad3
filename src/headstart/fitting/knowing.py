"""What training looked like, so that a stranger is known when it comes. Wiring of `trust`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.contracts import Sample, Strangeness
from headstart.fitting.learning import NUM_NEIGHBOURS, samples_for_table
from headstart.fitting.looking import Look
from headstart.trust.letters import Letters, LettersAlone
from headstart.trust.strangers import Neighbourhood

# Held-out samples from which on they set the threshold of strangers: a 99% quantile of fewer is
# their largest score.
_LEAST_HELD_OUT = 100
# Where the training samples' own scores cannot set it, so many do: beyond the largest of 20 lies,
# by chance, one in 21 others.
_LEAST_UNLEARNT = 20


@dataclass(frozen=True, eq=False)
class Known:
    """What a stranger is told by.

    Attributes:
        near: By features, or by letters alone; None where nothing can tell.
        letters: Of texts; None where they have none.
    """

    near: Strangeness | None = None
    letters: Letters | None = None


def know_strangers(look: Look) -> Known:
    """What tells strangers from samples like those that were learnt from."""
    attempt = look.attempt
    if attempt.is_frozen and not look.cached:
        return Known()
    familiar = _familiar(look)
    is_of_texts = attempt.task.unit == "text"
    neighbourhood = learnt_neighbourhood(look)
    if neighbourhood is None:
        return Known()
    near: Strangeness | None = _judged(look, neighbourhood)
    letters = _letters(look, familiar) if is_of_texts else None
    if near is None and letters is not None:
        near = LettersAlone(letters.threshold)
    return Known(near, letters)


def learnt_neighbourhood(look: Look) -> Neighbourhood | None:
    """Of what was learnt from, at most some of it where the backbone has to look anew.

    None where all of it is one group.
    """
    familiar = _familiar(look)
    if not look.attempt.is_frozen:
        familiar = familiar[:: math.ceil(len(familiar) / NUM_NEIGHBOURS)]
    groups = torch.from_numpy(look.groups_of(familiar))
    if len(torch.unique(groups)) < 2:
        return None
    return Neighbourhood.of(look.features_of(familiar), groups=groups)


def _familiar(look: Look) -> list[Sample]:
    """What the model learnt from, less what its thresholds may be set by."""
    if look.knows_validation:
        return samples_for_table(look.attempt)
    return look.attempt.where.data.samples("train")


def _judged(look: Look, near: Neighbourhood) -> Neighbourhood | None:
    """With its threshold; None where nothing tells how far familiar texts may lie.

    A backbone that learns draws what it learns from together, class by class, and others less so,
    so that by the distances between those hardly any other is familiar: after contrastive tuning 65
    and 79% of the test of TREC were strangers with 8 texts a class, and 16 and 28% with 32 (two
    draws of bench/few_shot.py). By texts that refits had not seen, and letters, 1 and 2% are, and
    0.2 and 0%. Samples that only chose among weights serve as well.
    """
    attempt = look.attempt
    num_held_out = len(attempt.where.data.samples("validation"))
    is_unlearnt = num_held_out > 0 and not look.knows_validation
    if not attempt.is_frozen:
        of_refits = attempt.held_out_distances
        scores: list[Tensor] = [] if of_refits is None else [of_refits]
        if is_unlearnt:
            scores.append(near.scores(look.validation))
        if sum(map(len, scores)) >= _LEAST_UNLEARNT:
            return near.judged_by(torch.cat(scores))
        return None if attempt.task.unit == "text" else near  # pictures have no letters
    if is_unlearnt and num_held_out >= _LEAST_HELD_OUT:
        return near.calibrated(look.validation)
    return near


def _letters(look: Look, familiar: list[Sample]) -> Letters | None:
    """None where the texts have none."""
    texts = [sample.text or "" for sample in familiar]
    found = Letters.of(texts, groups=look.groups_of(familiar))
    return None if math.isinf(found.threshold) else found
