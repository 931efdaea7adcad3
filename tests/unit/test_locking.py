from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.errors import ConfigError
from headstart.locking import lock_path, locked

HOLDER = """
import sys, time
from pathlib import Path
from headstart.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of `out.tif` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out.tif")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_holds_the_lock(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with (
        pytest.raises(ConfigError, match=rf"out\.tif` is being written by process {holder.pid} on"),
        locked(tmp_path / "out.tif"),
    ):
        pass
    with locked(tmp_path / "other.tif"):
        pass
    holder.communicate("\n")
    with locked(tmp_path / "out.tif"):
        assert str(os.getpid()) in lock_path(tmp_path / "out.tif").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_lock_of_a_killed_process_is_taken_over(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert lock_path(tmp_path / "out.tif").exists()
    with locked(tmp_path / "out.tif"):
        pass


def test_a_lock_leaves_nothing_behind_and_goes_with_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path / "new" / "out.tif"):
            raise KeyError
    assert list((tmp_path / "new").iterdir()) == []


def test_two_threads_do_not_hold_one_lock(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "out.tif"),
        pytest.raises(ConfigError, match=f"process {os.getpid()}"),
        locked(tmp_path / "out.tif"),
    ):
        pass


def test_a_folder_that_takes_no_lock_is_told_as_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="cannot be written"), locked(tmp_path / "maps" / "a.tif"):
        pass
