"""Headstart: transfer learning from a folder of labelled data to a model you can trust.

Example:
    >>> import headstart as hs
    >>> run = hs.fit("photos/", strategy="probe")     # doctest: +SKIP
    >>> print(run.metrics["accuracy"])                # doctest: +SKIP
    0.948 (95% 0.90-0.98, n=153)
    >>> model = hs.load(run.path)                     # doctest: +SKIP
    >>> model.predict(["new/a.jpg"]).labels           # doctest: +SKIP
    ['bees']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from headstart.api import (
        Run,
        compare,
        evaluate,
        fit,
        inspect,
        load,
        models,
        predict,
        predict_parts,
        pull,
        rank,
        resume,
    )
    from headstart.api_masks import fetch_scenes, map_pictures
    from headstart.config import FitOptions
    from headstart.contracts import Evaluation, Measure, Prediction
    from headstart.data import open_dataset
    from headstart.errors import HeadstartError
    from headstart.map_options import MapOptions
    from headstart.progress import ConsoleSink, Progress

# Looked up on first use, so that `import headstart` imports nothing heavy.
_HOMES = {
    **dict.fromkeys(
        [
            *("Run", "compare", "evaluate", "fit", "inspect", "load", "models", "predict"),
            *("predict_parts", "pull", "rank", "resume"),
        ],
        "headstart.api",
    ),
    **dict.fromkeys(["fetch_scenes", "map_pictures"], "headstart.api_masks"),
    "FitOptions": "headstart.config",
    "MapOptions": "headstart.map_options",
    **dict.fromkeys(["Evaluation", "Measure", "Prediction"], "headstart.contracts"),
    "open_dataset": "headstart.data",
    "HeadstartError": "headstart.errors",
    **dict.fromkeys(["ConsoleSink", "Progress"], "headstart.progress"),
}

__all__ = [
    "ConsoleSink",
    "Evaluation",
    "FitOptions",
    "HeadstartError",
    "MapOptions",
    "Measure",
    "Prediction",
    "Progress",
    "Run",
    "compare",
    "evaluate",
    "fetch_scenes",
    "fit",
    "inspect",
    "load",
    "map_pictures",
    "models",
    "open_dataset",
    "predict",
    "predict_parts",
    "pull",
    "rank",
    "resume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `headstart` has no `{name}`")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
