"""Commands that pages and messages tell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Options by which samples are read and split: with the same ones, the test set is the same.
_READING = (
    *("image_column", "text_column", "label_column", "group", "on_bad", "seed"),
    *("ignore_value", "outside", "bands", "units"),
)
# Options beside these that say what words alone learn.
_OF_WORDS = ("balance", "drop_suspects")


def fit_command(data: str | Path, given: Mapping[str, Any], *more: str) -> str:
    """A fit as it is typed.

    Args:
        data: A folder or a table.
        given: Options by the names that `config.FitOptions` has; those that are None are left out.
        more: Words that come after.
    """
    words = ["headstart", "fit", str(data)]
    for name, value in given.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list | tuple):
            words += [f"--{flag}", ",".join(map(str, value))]
        elif value is not None:
            words += [f"--{flag}", str(value)]
    return shlex.join([*words, *more])


def reading_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some options with which another fit has the same samples in the same splits."""
    return {name: given[name] for name in _READING if name in given}


def words_command(data: str | Path, given: Mapping[str, Any]) -> str:
    """A fit of the words alone to the same samples; see `fit_command`."""
    kept = {name: given[name] for name in _OF_WORDS if name in given}
    return fit_command(data, {**reading_options(given), **kept}, "--strategy", "tfidf")
