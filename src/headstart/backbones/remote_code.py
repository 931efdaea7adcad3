"""Code that a published model brings: read, agreed to, imported. Knows no transformers.

Such code can do whatever its user can, so it is imported only after somebody agreed to exactly
these files: the agreement goes by their sha256 and is kept on this machine. A run holds the files
themselves, so that it neither changes nor vanishes with the repository.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from headstart import cache
from headstart.atomic import replacing
from headstart.errors import WeightsError

# Whether code may run: never; always, which is an agreement; or if the user agreed to it before.
Trust = bool | Literal["as-agreed"]

# The entry of config.json that names the classes.
AUTO_MAP = "auto_map"
# What is made of them: the shape of a model, and a model without a head.
CONFIG_CLASS, MODEL_CLASS = "AutoConfig", "AutoModel"
_FLAG = "--trust-remote-code"


@dataclass(frozen=True)
class RemoteCode:
    """The files of Python that a model cannot be built without.

    Attributes:
        origin: Where they come from, for messages: a folder, or `hf://ORG/REPO`.
        classes: `AutoModel` and perhaps `AutoConfig` -> `module.Class`.
        files: File name -> its text.
    """

    origin: str
    classes: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Of the classes and all files; not of where they come from."""
        content = json.dumps([dict(self.classes), dict(self.files)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"origin": self.origin, "classes": dict(self.classes), "files": dict(self.files)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RemoteCode:
        """From what `to_json` gives.

        Raises:
            WeightsError: It is not that, or a file's name leads elsewhere.
        """
        try:
            code = cls(values["origin"], dict(values["classes"]), dict(values["files"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"The model's own code cannot be read ({error}).") from None
        for name in code.files:
            _check_name(name, code.origin)
        return code

    def write(self) -> Path:
        """The folder of the cache in which the files lie, to be read by people and imported."""
        folder = cache.cache_folder("code") / self.sha256[:16]
        for name, text in {**self.files, "__init__.py": ""}.items():
            path = folder / name
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                with replacing(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
        return folder


def named_files(values: Mapping[str, Any]) -> str:
    """The files of Python that a config.json names, for messages."""
    named = values[AUTO_MAP]
    classes = named.values() if isinstance(named, Mapping) else [named]
    modules = {str(each).rpartition("--")[2].partition(".")[0] for each in classes}
    return ", ".join(f"{module}.py" for module in sorted(modules))


def read_code(
    values: Mapping[str, Any], *, origin: str, read: Callable[[str, str], str]
) -> RemoteCode:
    """The code that a config.json names, with all files that it imports of its own.

    Args:
        values: Of config.json.
        origin: Of the model, for messages.
        read: (repository, or empty for the model's own; file name) -> the file's text.

    Raises:
        WeightsError: It names no class without a head, or files of several repositories, or a file
            that is no Python.
    """
    named = values[AUTO_MAP]
    wanted = {
        kind: str(named[kind])
        for kind in (CONFIG_CLASS, MODEL_CLASS)
        if isinstance(named, Mapping) and isinstance(named.get(kind), str)
    }
    if MODEL_CLASS not in wanted:
        raise WeightsError(
            f"The code of `{origin}` ({named_files(values)}) has no model without a head (its "
            f"config.json names no {MODEL_CLASS}). Choose another (`headstart models text`)."
        )
    owners = {name.rpartition("--")[0] for name in wanted.values()}
    if len(owners) > 1:
        raise WeightsError(
            f"The code of `{origin}` comes from several repositories "
            f"({', '.join(sorted(owner or 'its own' for owner in owners))}), which is not "
            "supported. Download both into one folder, name the classes in its config.json "
            "without a repository, and give that folder as --backbone."
        )
    (owner,) = owners
    classes = {kind: name.rpartition("--")[2] for kind, name in wanted.items()}
    files: dict[str, str] = {}
    waiting = [f"{name.partition('.')[0]}.py" for name in classes.values()]
    while waiting:
        name = waiting.pop()
        if name in files:
            continue
        _check_name(name, origin)
        files[name] = read(owner, name)
        waiting += _imports_of(files[name], name, origin)
    return RemoteCode(f"hf://{owner}" if owner else origin, classes, dict(sorted(files.items())))


def _imports_of(text: str, name: str, origin: str) -> list[str]:
    """Files beside it that a file imports. It is parsed, not run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise WeightsError(f"`{name}` of `{origin}` is no Python ({error}).") from None
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            found += [f"{module.partition('.')[0]}.py" for module in modules]
    return found


def _check_name(name: str, origin: str) -> None:
    if not name.endswith(".py") or not name.removesuffix(".py").isidentifier():
        raise WeightsError(
            f"`{origin}` names `{name}` as a file of its code, which is no name of a module beside "
            "its config.json. Do not use this model."
        )


# --- agreement --------------------------------------------------------------------------------


def _agreements() -> Path:
    return cache.cache_root() / "trusted_code.json"


def agree(code: RemoteCode) -> None:
    """Remember on this machine that the user lets these files be run."""
    known = _agreed()
    if code.sha256 not in known:
        with replacing(_agreements()) as temporary:
            temporary.write_text(
                json.dumps({**known, code.sha256: code.origin}, indent=1) + "\n", encoding="utf-8"
            )


def is_agreed(code: RemoteCode) -> bool:
    """Whether the user has let exactly these files be run, on this machine."""
    return code.sha256 in _agreed()


def _agreed() -> dict[str, str]:
    try:
        found = json.loads(_agreements().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise WeightsError(f"`{_agreements()}` is damaged. Delete it, and agree anew with {_FLAG}.")
    return found


def refuse_other_code(code: RemoteCode) -> None:
    """Raise for code that a fit did not begin with, or that began on another machine.

    Raises:
        WeightsError: With where it can be read, and what to do.
    """
    if not is_agreed(code):
        raise WeightsError(
            f"The code of `{code.origin}` ({', '.join(code.files)}) is not what this fit began "
            "with: it has changed since, or the fit began on another machine. It was not run. "
            f"Read it in `{code.write()}`; if you trust it, fit anew with {_FLAG}."
        )


def require_agreement(code: RemoteCode) -> None:
    """Raise where the user has not agreed to these files.

    Raises:
        WeightsError: With where they can be read, and how to agree.
    """
    if not is_agreed(code):
        raise WeightsError(
            f"This model needs code of its own, from `{code.origin}`: {', '.join(code.files)}. "
            "Nobody has agreed on this machine that it may run, and it can do whatever you can. "
            f"Read it in `{code.write()}`; if you trust it, say so once: headstart predict RUN "
            f"NEW {_FLAG} (in Python: headstart.load(RUN, trust_remote_code=True))."
        )


# --- import -----------------------------------------------------------------------------------


def import_class(code: RemoteCode, kind: str) -> Any:
    """A class of agreed code; None where the code has none of its kind.

    Args:
        code: Which the user has agreed to.
        kind: `AutoConfig` or `AutoModel`.

    Raises:
        WeightsError: Nobody agreed to it, it needs a package that is not there, or it fails.
    """
    require_agreement(code)
    if kind not in code.classes:
        return None
    module_name, _, class_name = code.classes[kind].partition(".")
    package = _package(code)
    try:
        module = importlib.import_module(f"{package.__name__}.{module_name}")
        return getattr(module, class_name)
    except ImportError as error:
        raise WeightsError(
            f"The code of `{code.origin}` cannot be imported: {error}. If a package is missing, "
            "install it; if it asks of transformers what the installed one does not have, choose "
            "another model (`headstart models text`)."
        ) from error
    except Exception as error:  # whatever foreign code raises
        raise WeightsError(failed(code, error)) from error


def failed(code: RemoteCode, error: Exception) -> str:
    """What foreign code raised, as a message."""
    return (
        f"The code of `{code.origin}` fails: {type(error).__name__}: {error}. It may be made for "
        "another version of transformers; --debug shows where. Choose another model (`headstart "
        "models text`)."
    )


def _package(code: RemoteCode) -> ModuleType:
    """The folder of the code as a package, so that its files can import each other."""
    name = f"headstart_remote_code_{code.sha256[:16]}"
    if name not in sys.modules:
        folder = code.write()
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return sys.modules[name]
