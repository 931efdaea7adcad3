"""Samples that are nearly the same, whatever they are: pictures or texts."""

from __future__ import annotations

from headstart.contracts import Dataset
from headstart.data.checks import Checkup
from headstart.data.near_duplicates import find_near_duplicates
from headstart.data.near_pairs import NearDuplicates
from headstart.data.sample_findings import noun_of
from headstart.data.text_near_duplicates import find_near_texts


def find_near_samples(dataset: Dataset, checkup: Checkup) -> NearDuplicates:
    """The groups of near-duplicates among some samples.

    Args:
        dataset: Of pictures or texts.
        checkup: That knows them; of pictures with what near-duplicates are searched by
            (`check_dataset(..., hashed=True)`).
    """
    if noun_of(dataset) == "text":
        return find_near_texts({sample.id: sample.text or "" for sample in dataset})
    known = checkup.facts
    return find_near_duplicates({s.id: known[s.id] for s in dataset if s.id in known})
