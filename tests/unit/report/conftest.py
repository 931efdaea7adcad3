"""Run folders as a fit would write them, fabricated: no model is needed to draw a report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import fabricated_maps
import fabricated_run
from headstart.rundir import RunFolder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Builds a run folder: `make_run("ants", "bees", strategy="gradual")`."""

    def make(*classes: str, per: int = 40, **options: Any) -> RunFolder:
        test = options.pop("test", None) or fabricated_run.labelled(classes, per)
        return fabricated_run.fabricate(
            tmp_path / "photos-1", classes=classes, test=test, **options
        )

    return make


@pytest.fixture(scope="session")
def proven_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `proven_run` copies. Not to be written to."""
    path = tmp_path_factory.mktemp("proven") / "photos-1"
    fabricated_run.fabricate_proven(path, classes=("ants", "bees", "wasps"))
    return path


@pytest.fixture
def proven_run(proven_template: Path, tmp_path: Path) -> RunFolder:
    """A run with every proof a run can have; its pictures lie beside the template."""
    path = tmp_path / "photos-1"
    shutil.copytree(proven_template, path, ignore=shutil.ignore_patterns("photos"))
    return RunFolder(path)


@pytest.fixture(scope="session")
def maps_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_maps` copies. Not to be written to."""
    path = tmp_path_factory.mktemp("maps") / "fields-1"
    fabricated_maps.fabricate_maps(path)
    return path


@pytest.fixture
def make_maps(maps_template: Path, tmp_path: Path) -> Callable[..., RunFolder]:
    """Builds a segmentation run: `make_maps(metrics={"shown": []})` changes entries of a file."""

    def make(classes: Sequence[str] = (), **changes: dict[str, Any]) -> RunFolder:
        path = tmp_path / "fields-1"
        if classes:
            fabricated_maps.fabricate_maps(path, classes=classes)
        else:
            shutil.copytree(maps_template, path)
        folder = RunFolder(path)
        for name, entries in changes.items():
            file = path / f"{name}.json"
            folder.write_json(file, {**folder.read_json(file), **entries})
        return folder

    return make
