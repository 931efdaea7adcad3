"""The config.json of a model repository, as timm writes it. Knows no timm and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import WeightsError


@dataclass(frozen=True)
class HubConfig:
    """What a repository says of its weights.

    Attributes:
        architecture: timm's name, without tag.
        values: Of timm's `PretrainedCfg`: input, classes, licence; keys of newer versions too.
        model_args: What the architecture needs besides its name.
    """

    architecture: str
    values: Mapping[str, Any]
    model_args: Mapping[str, Any]


def read_hub_config(path: Path, reference: str) -> HubConfig:
    """Read a config.json, of today's nested form or of the older flat one.

    Raises:
        WeightsError: It is no JSON, or of no timm model.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"The config.json of `{reference}` cannot be read: {error}. Fetch it again."
        ) from None
    architecture = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(architecture, str):
        raise WeightsError(
            f"`{reference}` is no repository of a timm model: its config.json names no "
            "`architecture`. Choose one whose page says timm, or give `timm:NAME` as the backbone "
            "and a file of the repository with --weights."
        )
    nested = config.get("pretrained_cfg", config)
    top = {
        k: config[k] for k in ("num_classes", "label_names", "label_descriptions") if k in config
    }
    labels = {"label_names": config["labels"]} if "labels" in config else {}
    model_args = {k: v for k, v in config.get("model_args", {}).items() if k != "num_classes"}
    return HubConfig(architecture, {**nested, **labels, **top}, model_args)
