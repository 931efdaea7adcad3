"""How the threads of OpenMP wait for work. Knows no torch, which reads it once, when imported."""

from __future__ import annotations

from collections.abc import MutableMapping

# Turns of a waiting thread before it sleeps, some 50 microseconds. Measured on two cores, over
# sleeping at once: steps of MiniLM on short texts 1.25 times as many (1.12 with 500 turns, 1.35
# with 3,000), a pass over 398 photos 1.15 times as fast; beside a process that keeps one core busy
# 0.9 (0.93, 0.67). The library's own default of 300,000 gave 1.2 alone, and 0.1 beside another fit:
# with anything else running that pass took 19 to 29 s in place of 3.
_TURNS = "1000"


def wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Let waiting threads sleep soon, unless the user has said how they wait.

    Args:
        environment: Of the process, before it imports torch, or of one that is to be started.

    Source: GNU libgomp's manual on GOMP_SPINCOUNT, which goes before OMP_WAIT_POLICY; other
    libraries (macOS, Windows) go by the latter alone.

    Example:
        >>> environment = {"HOME": "/home/me"}
        >>> wait_briefly(environment)
        >>> environment["OMP_WAIT_POLICY"]
        'PASSIVE'
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        environment.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT=_TURNS)
