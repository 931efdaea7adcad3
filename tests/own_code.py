"""A tiny language model that needs code of its own: a folder with files of Python beside it."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_language_models import write_model

CODE = {
    "configuration_own.py": """
from transformers import BertConfig


class OwnConfig(BertConfig):
    model_type = "own"

    def __init__(self, loudness=1.0, **values):
        super().__init__(**values)
        self.loudness = loudness
""",
    "modeling_own.py": """
import torch
from transformers import BertModel

from . import sounds_own
from .configuration_own import OwnConfig


class OwnModel(BertModel):
    config_class = OwnConfig

    def __init__(self, config, **values):
        super().__init__(config, **values)
        # Computed, and in no file: as models do for the angles of their positions.
        self.register_buffer("volume", torch.tensor([config.loudness]), persistent=False)

    def forward(self, **inputs):
        found = super().forward(**inputs)
        found.last_hidden_state = sounds_own.louder(found.last_hidden_state, self.volume)
        return found
""",
    "sounds_own.py": """
def louder(states, loudness):
    return states * loudness
""",
}
_AUTO_MAP = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}


def write_own(folder: Path, *, loudness: float = 3.0, repository: str = "") -> Path:
    """The model; of the code's classes it is said that they lie in a repository, if one is given.

    Its features are those of the BERT of `write_model`, times the loudness.
    """
    write_model("bert", folder)
    path = folder / "config.json"
    before = f"{repository}--" if repository else ""
    named = {kind: before + name for kind, name in _AUTO_MAP.items()}
    values = json.loads(path.read_text(encoding="utf-8"))
    values |= {"model_type": "own", "loudness": loudness, "auto_map": named}
    path.write_text(json.dumps(values), encoding="utf-8")
    if not repository:
        for name, text in CODE.items():
            (folder / name).write_text(text, encoding="utf-8")
    return folder
