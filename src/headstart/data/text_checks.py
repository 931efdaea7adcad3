"""Finds what is wrong with texts and their labels, all at once.

The counterpart of `checks.check_dataset` for samples that were read with the data set itself. Knows
nothing of tokens or models.
"""

from __future__ import annotations

import hashlib

from headstart.contracts import Dataset
from headstart.data.checks import Checkup, checkup_of_texts
from headstart.data.file_facts import FileFacts
from headstart.progress import Progress

_STEP = 4096  # texts between two looks at the clock


def check_texts(dataset: Dataset, *, progress: Progress) -> Checkup:
    """Look for every kind of trouble at once.

    Errors, which make a fit impossible: texts that are empty, no samples, a single class. All else
    is a warning: equal texts (also under different labels, and in more than one of the splits that
    the data bring), texts that are numbers, tiny classes.

    Args:
        dataset: As read.
        progress: Is told about every text.

    Returns:
        Its facts have the sha256 of each text, and its length in bytes of UTF-8.
    """
    facts: dict[str, FileFacts] = {}
    samples = dataset.samples
    with progress.bar("checking texts", total=len(samples), unit="texts") as advance:
        for start in range(0, len(samples), _STEP):
            part = samples[start : start + _STEP]
            for sample in part:
                data = (sample.text or "").strip().encode()
                digest = hashlib.sha256(data).hexdigest() if data else ""
                facts[sample.id] = FileFacts(digest, len(data))
            advance(len(part))
    return checkup_of_texts(dataset, facts)
