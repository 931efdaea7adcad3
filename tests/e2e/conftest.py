"""The command line as a user has it, on tiny pictures and tiny models of random weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = ("--backbone", "timm:test_resnet.r160_in1k", "--weights", "random")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def headstart(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`headstart("fit", folder, ...)` in this process; what is no error of the user's is raised."""
    from headstart.cli import run

    def command(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return command


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """`start("fit", folder, ...)` as a process of its own, which can be killed."""

    def command(*arguments: str | Path) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "headstart", *map(str, arguments)]
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )

    return command


def draw(folder: Path, names: list[str], *, seed: int) -> None:
    """Pictures of one class: noise in a colour of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        rng = np.random.default_rng([seed, i])
        pixels = rng.integers(0, 150, (40, 48, 3)) + 100 * (np.arange(3) == seed % 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 15 pictures. Not to be written to."""
    root = tmp_path_factory.mktemp("data") / "photos"
    for seed, label in enumerate(("cat", "dog")):
        draw(root / label, [f"{label}_{i:02}.png" for i in range(15)], seed=seed)
    return root


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """15 pictures of each class that `fitted` has not seen."""
    for seed, label in enumerate(("cat", "dog")):
        names = [f"{label}_{i:02}.png" for i in range(15)]
        draw(tmp_path / "others" / label, names, seed=seed + 30)
    return tmp_path / "others"


@pytest.fixture(scope="session")
def fitted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `photos`, by the probe. Not to be written to."""
    from headstart.cli import run

    path = tmp_path_factory.mktemp("runs") / "fitted"
    assert run(["fit", str(photos), *TINY, "--output", str(path), "--quiet"]) == 0
    return path


@pytest.fixture
def stopping_after_an_epoch() -> Callable[[], AbstractContextManager[None]]:
    """`with stopping_after_an_epoch():` a fit is asked to stop when its first epoch ends."""
    from headstart.engine.loop import Training
    from headstart.errors import InterruptedFit

    @contextmanager
    def stopping() -> Iterator[None]:
        finish = Training._finish_epoch

        def then_stop(training: Training) -> bool:
            training.where.stop.is_set = True
            return finish(training)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Training, "_finish_epoch", then_stop)
            with pytest.raises(InterruptedFit):
                yield

    return stopping
