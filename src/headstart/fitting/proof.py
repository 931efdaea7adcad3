"""What a run proves about itself, as it is kept: plain data, and what tells strangers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headstart.contracts import Finding, Strangeness
from headstart.trust.letters import Letters

# Before contents in suspects.csv, so that no spreadsheet takes one for a number and rounds it.
CONTENT = "sha256:"


@dataclass(frozen=True)
class SuspectRow:
    """A line of suspects.csv.

    Attributes:
        id: Of the sample.
        given: Its labels.
        likely: Those that it should perhaps have.
        score: How suspicious they are.
        content: By what the sample is known again; see `Checkup.contents`.
    """

    id: str
    given: str
    likely: str
    score: float
    content: str


@dataclass
class Proof:
    """What was found, as the run keeps it.

    Attributes:
        metrics: Further keys of metrics.json.
        suspects: The most suspicious first.
        strangers: Tells samples unlike those of the fit.
        letters: Of texts, which letters followed which in training.
        findings: Alarms.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    suspects: list[SuspectRow] = field(default_factory=list)
    strangers: Strangeness | None = None
    letters: Letters | None = None
    findings: list[Finding] = field(default_factory=list)
