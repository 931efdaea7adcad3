"""What a run proves about itself, as it is kept: plain data, and what tells strangers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headstart.contracts import Finding, Strangeness


@dataclass(frozen=True)
class SuspectRow:
    """A line of suspects.csv."""

    id: str
    given: str
    likely: str
    score: float


@dataclass
class Proof:
    """What was found, as the run keeps it.

    Attributes:
        metrics: Further keys of metrics.json.
        suspects: The most suspicious first.
        strangers: Tells samples unlike those of the fit.
        findings: Alarms.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    suspects: list[SuspectRow] = field(default_factory=list)
    strangers: Strangeness | None = None
    findings: list[Finding] = field(default_factory=list)
