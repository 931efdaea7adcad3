"""The shell by itself: exit codes and where things go. Whole commands are in tests/e2e."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headstart import cli
from headstart.errors import DataError, InterruptedFit


def test_a_mendable_error_is_its_message_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DataError("`a [b].png` is wrong. " + "Mend it. " * 30)

    monkeypatch.setattr("headstart.api.report", refuse)
    assert cli.run(["report", "x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Error: `a [b].png` is wrong. " + ("Mend it. " * 30) + "\n"


def test_an_interrupted_fit_exits_with_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise InterruptedFit("Stopped. Go on with: headstart fit --resume x")

    monkeypatch.setattr("headstart.api.fit", stop)
    assert cli.run(["fit", "x"]) == 130
    assert capsys.readouterr().err == "Error: Stopped. Go on with: headstart fit --resume x\n"


def test_debug_may_stand_anywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DataError("No.")

    monkeypatch.setattr("headstart.api.report", refuse)
    for arguments in (["--debug", "report", "x"], ["report", "x", "--debug"]):
        assert cli.run(arguments) == 2
        assert "Traceback" in capsys.readouterr().err


def test_the_cache_is_shown_limited_and_emptied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "x").write_bytes(bytes(3 * 10**6))
    assert cli.run(["cache"]) == 0
    assert "3.0 MB" in capsys.readouterr().out
    assert cli.run(["cache", "limit", "5GB"]) == 0
    assert "of at most 5.0 GB" in capsys.readouterr().out
    assert cli.run(["cache", "clear", "weights"]) == 0
    assert "0.00 GB of" in capsys.readouterr().out


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models", "lite0"]) == 0
    assert "efficientnet-lite0" in capsys.readouterr().out


def test_the_installed_command_and_the_module_are_one() -> None:
    installed = Path(sys.executable).with_name("headstart")
    if not installed.is_file():
        pytest.skip("headstart is not installed as a command beside this Python")
    words = [[str(installed)], [sys.executable, "-m", "headstart"]]
    found = [
        subprocess.run([*w, "report", "nowhere"], capture_output=True, text=True, check=False)
        for w in words
    ]
    assert [done.returncode for done in found] == [2, 2]
    assert found[0].stderr == found[1].stderr
    assert found[0].stderr.startswith("Error: There is no run folder `nowhere`.")
