"""What a run has learnt from, by its files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.progress import Event, Progress
from headstart.rundir import RunFolder
from headstart.unseen import learnt_contents


class Told:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def handle(self, event: Event) -> None:
        self.messages.append(event.message)


def run_of(path: Path, *, strategy: str, has_contents: bool = True) -> RunFolder:
    folder = RunFolder(path)
    splits = {"a": "train", "b": "train", "c": "validation", "d": "test"}
    assignment = {
        id_: {"split": split, "group": id_, **({"content": f"of {id_}"} if has_contents else {})}
        for id_, split in splits.items()
    }
    folder.write_json(folder.split, {"assignment": assignment})
    folder.write_json(folder.dataset, {"left_out": ["b"]})
    folder.write_json(folder.config, {"strategy": strategy})
    return folder


@pytest.mark.parametrize(("strategy", "learnt"), [("full", {"of a", "of c"}), ("as-is", {"of c"})])
def test_neither_the_test_nor_what_was_left_out_was_learnt_from(
    strategy: str, learnt: set[str], tmp_path: Path
) -> None:
    told = Told()
    found = learnt_contents(run_of(tmp_path, strategy=strategy), progress=Progress([told]))
    assert found == learnt
    assert told.messages == []


def test_an_earlier_version_is_told(tmp_path: Path) -> None:
    told = Told()
    folder = run_of(tmp_path, strategy="full", has_contents=False)
    assert learnt_contents(folder, progress=Progress([told])) == frozenset()
    [message] = told.messages
    assert "does not tell what its samples hold" in message
