"""The command as a process: it ends at once, and loses nothing by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )


COMMAND = "from headstart.__main__ import main; main()"


def test_what_was_said_is_all_written_and_the_code_is_the_commands(tmp_path: Path) -> None:
    said = run(COMMAND, "--version")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.strip()
    wrong = run(COMMAND, "inspect", str(tmp_path / "none"))
    assert wrong.returncode == 2
    assert "none" in wrong.stderr


def test_what_was_registered_for_the_end_is_run() -> None:
    said = run(
        "import headstart.cli as cli, atexit\n"
        "from headstart.__main__ import main\n"
        "whole = cli.main\n"
        "def with_more():\n"
        "    atexit.register(print, 'the end')\n"
        "    whole()\n"
        "cli.main = with_more\n"
        "main()",
        "--version",
    )
    assert said.returncode == 0
    assert said.stdout.endswith("the end\n")


def test_a_defect_is_told_and_ends_with_1() -> None:
    said = run(
        "import headstart.cli as cli\n"
        "from headstart.__main__ import main\n"
        "def fail(): raise RuntimeError('a defect')\n"
        "cli.main = fail\n"
        "main()"
    )
    assert said.returncode == 1
    assert "RuntimeError: a defect" in said.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_answer_that_cannot_be_written_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        said = subprocess.run(
            [sys.executable, "-c", COMMAND, "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert said.returncode == 2
    assert "Cannot write to standard output: the disk is full" in said.stderr


@pytest.mark.parametrize("code", ["sys.stdout.write('a row\\n' * 99_999)", "print('a row')"])
def test_a_reader_that_has_seen_enough_is_no_defect(code: str) -> None:
    command = (
        "import sys\n"
        "import headstart.cli as cli\n"
        "from headstart.__main__ import main\n"
        f"cli.app = lambda *arguments, **options: {code}\n"
        "main()"
    )
    reads, writes = os.pipe()
    os.close(reads)
    said = subprocess.run(
        [sys.executable, "-c", command],
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    os.close(writes)
    assert (said.returncode, said.stderr) == (141, "")
