from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from headstart.errors import RunError
from headstart.rundir import RunFolder


def a_run(path: Path, *names: str) -> RunFolder:
    folder = RunFolder.create("x", output=path)
    for name in names:
        (path / name).write_text("{}")
    return folder


def test_runs_are_numbered_from_the_first_free_one(tmp_path: Path) -> None:
    (tmp_path / "photos-2").mkdir()
    found = [RunFolder.create("photos", output=None, parent=tmp_path).path.name for _ in range(3)]
    assert found == ["photos-1", "photos-3", "photos-4"]


def test_an_empty_folder_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert RunFolder.create("x", output=tmp_path / "mine").log.read_text() == ""


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("")
    with pytest.raises(RunError, match="is not empty, and a run never overwrites another"):
        RunFolder.create("x", output=tmp_path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "The disk is full: free some space"),
        (errno.EROFS, "It is read-only"),
        (errno.EACCES, "You may not write there"),
        (errno.EIO, "Give --output a folder that can be written"),
    ],
)
def test_what_cannot_be_written_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    folder = a_run(tmp_path / "run")
    folder.write_json(folder.metrics, {"n": 1})

    def fails(self: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(RunError, match=remedy):
        folder.write_json(folder.metrics, {"n": 2})
    monkeypatch.undo()
    assert folder.read_json(folder.metrics) == {"n": 1}
    assert sorted(path.name for path in folder.path.iterdir()) == ["log.jsonl", "metrics.json"]


def test_a_run_is_finished_once_it_has_weights_and_metrics(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "config.json", "model.safetensors")
    with pytest.raises(RunError, match=r"not finished\. Go on with: headstart fit --resume"):
        RunFolder.open(folder.path)
    assert RunFolder.open_unfinished(folder.path).path == folder.path
    folder.write_json(folder.metrics, {})
    assert RunFolder.open(folder.path).path == folder.path


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is damaged"), ("[1]", "does not hold a JSON object"), (None, "is missing")],
)
def test_a_file_that_cannot_be_read_is_said(
    tmp_path: Path, content: str | None, message: str
) -> None:
    folder = a_run(tmp_path / "run")
    if content is not None:
        folder.metrics.write_text(content)
    with pytest.raises(RunError, match=message):
        folder.read_json(folder.metrics)


def test_names_in_any_script_survive(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "Lauf 日本")
    folder.write_json(folder.split, {"süß/犬.png": {"path": Path("a b")}})
    assert folder.read_json(folder.split) == {"süß/犬.png": {"path": "a b"}}
    assert "süß/犬.png" in folder.split.read_text(encoding="utf-8")


def test_the_checkpoint_comes_and_goes(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    assert not folder.has_checkpoint
    folder.remove_checkpoint()
    folder.checkpoint.mkdir()
    folder.checkpoint_tensors.write_text("")
    assert folder.has_checkpoint
    folder.remove_checkpoint()
    assert not folder.checkpoint.exists()


def test_a_rehearsal_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    with folder.rehearsal() as trial:
        trial.write_json(trial.metrics, {"n": 1})
        assert trial.path.parent == folder.path
    assert [path.name for path in folder.path.iterdir()] == ["log.jsonl"]


def test_leftovers_of_a_killed_fit_are_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", ".gitignore", ".metrics.json.x8s", "notes.txt")
    (folder.path / ".rehearsal-a8").mkdir()
    (folder.path / ".rehearsal-a8" / "x").write_text(json.dumps(1))
    folder.remove_leftovers()
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"log.jsonl", ".gitignore", "notes.txt"}
