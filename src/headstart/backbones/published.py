"""What the name of a language model stands for: a row of the list, a repository, a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headstart.backbones.model_files import is_model_folder
from headstart.backbones.text_catalog import row_of_repository, text_catalog
from headstart.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Published:
    """What an architecture's name stands for.

    Attributes:
        architecture: The name itself.
        reference: Where its files are.
        licence: SPDX identifier; empty where the files tell.
        prefix: What every text begins with.
        sha256: File -> its sha256, where they are known.
    """

    architecture: str
    reference: str
    licence: str = ""
    prefix: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)


def published(name: str) -> Published:
    """What a name stands for.

    Args:
        name: Of text_models.toml, `ORG/REPO`, a folder, or a whole reference.

    Raises:
        ConfigError: There is no such model.
    """
    row = text_catalog().get(name)
    repository = name.removeprefix("hf://")
    is_folder = is_model_folder(Path(name).expanduser())
    if row is None and not is_folder:
        row = row_of_repository(repository.partition("@")[0])
        if row is not None and "@" in repository:  # another revision may have other bytes
            return Published(repository, f"hf://{repository}", row.licence, row.prefix)
    if row is not None:
        return Published(name, row.reference, row.licence, row.prefix, row.sha256)
    if is_folder or name.startswith("pypi://"):
        return Published(name, name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[^/@]+)?", repository):
        return Published(repository, f"hf://{repository}")
    if Path(name).expanduser().is_dir():
        raise ConfigError(
            f"The folder `{name}` is no language model: it has no config.json with a `model_type`. "
            "A folder is needed as transformers writes it with `save_pretrained`."
        )
    raise ConfigError(
        f"There is no language model `{name}`: it is no folder, and on a hub models are named "
        f"ORG/REPO. {did_you_mean(name, text_catalog())}"
    )
