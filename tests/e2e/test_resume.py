"""A fit that is killed, or stopped, and then taken up again ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECIPE = (
    *("--backbone", "timm:test_resnet.r160_in1k", "--weights", "random", "--strategy", "gradual"),
    *("--epochs", "8", "--batch-size", "4", "--workers", "1", "--ema", "0.9", "--dropout", "0.3"),
)
PATIENCE_S = 120.0

Command = Callable[..., Any]


def events(run: Path) -> list[dict[str, Any]]:
    """Those that are written in full."""
    log = run / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def num_epochs(run: Path) -> int:
    return sum(event["kind"] == "epoch" for event in events(run))


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until it holds; the process must not end before."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None:
            out, err = process.communicate()
            pytest.fail(f"it ended with {process.returncode} before: {out}{err}")
        if time.monotonic() > give_up:
            process.kill()
            pytest.fail("waited in vain")
        time.sleep(0.01)


def end(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, err


@pytest.fixture
def whole(
    request: pytest.FixtureRequest, headstart: Command, photos: Path, tmp_path: Path
) -> tuple[str, bytes]:
    """The schedule, and the weights of a fit that was never interrupted."""
    run = tmp_path / "whole"
    found = headstart("fit", photos, *RECIPE, "--schedule", request.param, "--output", run)
    assert found.code == 0, found.err
    return request.param, (run / "model.safetensors").read_bytes()


@pytest.mark.parametrize("whole", ["plateau"], indirect=True)
def test_a_fit_killed_again_and_again_ends_with_the_same_weights(
    headstart: Command, start: Command, photos: Path, tmp_path: Path, whole: tuple[str, bytes]
) -> None:
    schedule, expected = whole
    run = tmp_path / "run"
    process = start("fit", photos, *RECIPE, "--schedule", schedule, "--output", run)
    wait_until(lambda: any(run.glob(".rehearsal-*")) or num_epochs(run) > 0, process)
    end(process, signal.SIGKILL)  # in the rehearsal
    assert not (run / "metrics.json").exists()
    for num_before in (1, 3):
        process = start("fit", "--resume", run)
        wait_until(lambda n=num_before: num_epochs(run) >= n, process)
        end(process, signal.SIGKILL)
        assert (run / "checkpoint").is_dir()
    found = headstart("fit", "--resume", run)
    assert found.code == 0, found.err
    assert "Resumed in epoch" in found.err
    assert (run / "model.safetensors").read_bytes() == expected
    assert not (run / "checkpoint").exists()
    assert not list(run.glob(".*"))
    assert (run / "report.html").is_file()


@pytest.mark.parametrize("whole", ["one-cycle"], indirect=True)
def test_a_fit_that_is_stopped_says_how_to_go_on(
    headstart: Command, start: Command, photos: Path, tmp_path: Path, whole: tuple[str, bytes]
) -> None:
    run = tmp_path / "run"
    arguments: tuple[Any, ...] = ("fit", photos, *RECIPE, "--output", run)
    for number, num_before in ((signal.SIGTERM, 1), (signal.SIGINT, 3)):
        process = start(*arguments)
        wait_until(lambda n=num_before: num_epochs(run) >= n, process)
        code, err = end(process, number)
        assert code == 130, err
        assert err.splitlines()[-1] == f"Error: Stopped. Go on with: headstart fit --resume {run}"
        assert "Traceback" not in err
        arguments = ("fit", "--resume", run)
    assert headstart(*arguments).code == 0
    assert (run / "model.safetensors").read_bytes() == whole[1]


def test_a_feature_pass_that_is_stopped_keeps_what_it_read(
    headstart: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    from headstart.fitting.embedding import Embedder

    embed = Embedder.embed_widest

    def then_stop(embedder: Embedder, images: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return embed(embedder, images)

    run = tmp_path / "run"
    tiny = (*RECIPE[:4], "--precision", "float32")
    monkeypatch.setattr(Embedder, "embed_widest", then_stop)
    found = headstart("fit", photos, *tiny, "--output", run)
    assert found.code == 130
    assert f"headstart fit --resume {run}" in found.err
    monkeypatch.setattr(Embedder, "embed_widest", embed)
    found = headstart("fit", "--resume", run)
    assert found.code == 0, found.err
    assert "8 of 30 features were in the cache" in found.err


def test_a_rate_that_was_found_is_kept_over_a_stop(
    headstart: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.engine.loop import Training

    whole, run = tmp_path / "whole", tmp_path / "run"
    recipe = (*RECIPE[:4], "--strategy", "head", "--views", "1", "--epochs", "3", "--find-lr")
    recipe += ("--workers", "0")
    assert headstart("fit", photos, *recipe, "--output", whole).code == 0
    finish = Training._finish_epoch

    def then_stop(training: Training) -> bool:
        training.where.stop.is_set = True
        return finish(training)

    monkeypatch.setattr(Training, "_finish_epoch", then_stop)
    assert headstart("fit", photos, *recipe, "--output", run).code == 130
    monkeypatch.setattr(Training, "_finish_epoch", finish)
    assert headstart("fit", "--resume", run).code == 0
    assert sum(event["kind"] == "lr_finder" for event in events(run)) == 1
    weights = [(path / "model.safetensors").read_bytes() for path in (whole, run)]
    assert weights[0] == weights[1]


# --- what cannot be resumed -------------------------------------------------------------------


def test_a_finished_run_cannot_be_resumed(headstart: Command, fitted: Path) -> None:
    found = headstart("fit", "--resume", fitted)
    assert found.code == 2
    assert f"`{fitted}` is finished; there is nothing to resume." in found.err


def test_a_folder_that_is_no_run_cannot_be_resumed(
    headstart: Command, photos: Path, tmp_path: Path
) -> None:
    assert "is no run folder" in headstart("fit", "--resume", photos).err
    found = headstart("fit", "--resume", tmp_path / "nowhere")
    assert found.code == 2
    assert "There is no run folder" in found.err


def test_changed_data_is_not_taken_up(
    headstart: Command, photos: Path, fitted: Path, tmp_path: Path
) -> None:
    import shutil

    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(fitted, run)
    shutil.copytree(photos, data)
    (data / "cat" / "cat_00.png").unlink()
    (run / "metrics.json").unlink()
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "data": str(data)}))
    found = headstart("fit", "--resume", run)
    assert found.code == 2
    assert "is not what it was" in found.err


def test_resume_takes_no_other_options(headstart: Command, fitted: Path) -> None:
    found = headstart("fit", "--resume", fitted, "--epochs", "3")
    assert found.code == 2
    assert "--resume takes data and options from the run itself" in found.err
