"""A run as a STAC item of the machine-learning model extension (mlm), so that catalogues find it.

Reads the run folder alone, and needs no package of the extra `geo`.

Source: STAC machine-learning model extension, version 1.4.0
(https://stac-extensions.github.io/mlm/v1.4.0/schema.json).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.rundir import RunFolder

_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
# The extension's own words for our tasks; it describes models of images alone.
_TASKS = {
    "image-classification": ["classification", "scene-classification"],
    "semantic-segmentation": ["segmentation", "semantic-segmentation"],
    "object-detection": ["detection", "object-detection"],
    "instance-segmentation": ["segmentation", "instance-segmentation"],
}
_COMMON_NAMES = {"R": "red", "G": "green", "B": "blue"}
_RESIZE = {
    ("crop", "bilinear"): "crop",
    ("crop", "bicubic"): "crop",
    ("squash", "bilinear"): "interpolation-linear",
    ("squash", "bicubic"): "interpolation-cubic",
}
# Semantic versioning, as the extension wants it of a framework.
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_SPDX = re.compile(r"[A-Za-z0-9.+-]+")


def describe_run(run: Path | str, *, beside: Path | None = None) -> dict[str, Any]:
    """A finished run as a STAC item.

    Args:
        run: The run folder.
        beside: The folder that the item is going to lie in, for relative addresses of the files;
            None is the run folder itself.

    Returns:
        The item as JSON values. Its metrics, which the extension has no word for, are under
        `headstart:metrics`.

    Raises:
        RunError: There is no finished run, or its task is none that the extension knows.
    """
    folder = RunFolder.open(Path(run))
    config, metrics = folder.read_json(folder.config), folder.read_json(folder.metrics)
    contract = folder.read_json(folder.input)
    task = str(config["task"])
    if task not in _TASKS:
        raise RunError(
            f"`{run}` is of the task {task}, and the mlm extension of STAC has no word for it; it "
            f"knows models of images: {', '.join(_TASKS)}."
        )
    model = config["model"]
    backbone = model["backbone"]
    name = _plain_name(folder.path.resolve().name)
    is_pretrained = backbone["weights"] != "random" and config["strategy"] != "scratch"
    properties = {
        "datetime": _utc(str(config["created"])),
        "title": f"{folder.path.resolve().name}: {task}",
        "description": f"{config['strategy']} of {backbone['architecture']}, fitted with Headstart "
        f"{config['headstart_version']} to {len(model['classes'])} classes.",
        "license": _licence(str(backbone["licence"])),
        "mlm:name": name,
        "mlm:architecture": _architecture(model),
        "mlm:tasks": _TASKS[task],
        "mlm:framework": "PyTorch",
        "mlm:total_parameters": model["num_parameters"],
        "mlm:pretrained": is_pretrained,
        "mlm:pretrained_source": str(backbone["weights"]) if is_pretrained else None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(contract)],
        "mlm:output": [_output(task, model)],
        "mlm:hyperparameters": _hyperparameters(config),
        "headstart:version": config["headstart_version"],
        "headstart:metrics": metrics["metrics"],
        "headstart:num_test_samples": metrics["n"],
    }
    version = str(config.get("environment", {}).get("torch", ""))
    if _VERSION.fullmatch(version):
        properties["mlm:framework_version"] = version
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _FILE, _EO],
        "id": name,
        # A run does not know where on Earth its model holds; STAC then wants neither place nor box.
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": _assets(folder, (beside or folder.path).resolve(), contract["bands"]),
    }


def _input(contract: Mapping[str, Any]) -> dict[str, Any]:
    """What goes in; the scaling is given for values as they are stored."""
    scale = float(contract["scale"])
    shape = [-1, len(contract["bands"]), contract["height"], contract["width"]]
    return {
        "name": "picture",
        "description": f"Values as stored, 0 to {scale:g}. The scaling is a part of the model.",
        "bands": list(contract["bands"]),
        "input": {
            "shape": shape,
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean * scale, "stddev": std * scale}
            for mean, std in zip(contract["mean"], contract["std"], strict=True)
        ],
        "resize_type": _RESIZE.get(
            (str(contract.get("resize")), str(contract.get("interpolation")))
        ),
        "pre_processing_function": None,
    }


def _output(task: str, model: Mapping[str, Any]) -> dict[str, Any]:
    classes = list(model["classes"])
    is_dense = task == "semantic-segmentation"
    kind = "one that may be set with others" if model["is_multilabel"] else "one of all"
    return {
        "name": "mask" if is_dense else "classes",
        "description": f"The score of each class, {kind}"
        + (", for each pixel." if is_dense else "."),
        "tasks": _TASKS[task],
        "result": {
            "shape": [-1, len(classes), *((-1, -1) if is_dense else ())],
            "dim_order": ["batch", "class", *(("height", "width") if is_dense else ())],
            "data_type": "float32",
        },
        "classification:classes": [
            {
                "value": value,
                "name": re.sub(r"[^0-9A-Za-z_-]+", "_", str(label)).strip("_") or f"class_{value}",
                "title": str(label),
                "description": str(label),
            }
            for value, label in enumerate(classes)
        ],
        "post_processing_function": None,
    }


def _hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The strategy, and the options that were set to a plain value."""
    plain = {
        name: value
        for name, value in config["options"].items()
        if isinstance(value, str | int | float) and name not in ("output", "debug")
    }
    return {**plain, "strategy": config["strategy"]}


def _assets(folder: RunFolder, beside: Path, bands: Sequence[str]) -> dict[str, Any]:
    """The files of the run, the weights with their bands, size and checksum.

    The bands stand there twice: as STAC 1.1 has them, and as `eo:bands`, where the schema of the
    extension looks for what `mlm:input` names.
    """
    weights = folder.weights
    assets: dict[str, Any] = {
        "model": {
            "href": _href(weights, beside),
            "type": "application/octet-stream; framework=pytorch",
            "title": "Weights",
            "roles": ["mlm:model", "mlm:weights", "data"],
            "bands": [{"name": name} for name in bands],
            "eo:bands": [_band(name) for name in bands],
            "mlm:artifact_type": "safetensors.torch.save_file",
            "file:size": weights.stat().st_size,
            "file:checksum": _multihash(weights),
        }
    }
    others = [
        ("config", folder.config, "application/json", "metadata", "How it was fitted"),
        ("input", folder.input, "application/json", "metadata", "What the weights expect"),
        ("metrics", folder.metrics, "application/json", "metadata", "What was measured"),
        ("card", folder.card, "text/markdown", "documentation", "Model card"),
        ("report", folder.report, "text/html", "documentation", "Report"),
    ]
    for key, path, kind, role, title in others:
        if path.is_file():
            assets[key] = {
                "href": _href(path, beside),
                "type": kind,
                "title": title,
                "roles": [role],
                "file:size": path.stat().st_size,
            }
    return assets


def _architecture(model: Mapping[str, Any]) -> str:
    head = model.get("head")
    kind = head.get("kind") if isinstance(head, dict) else None
    return str(model["backbone"]["architecture"]) + (f" with {kind} head" if kind else "")


def _band(name: str) -> dict[str, str]:
    common = _COMMON_NAMES.get(name)
    return {"name": name, **({"common_name": common} if common else {})}


def _plain_name(text: str) -> str:
    """A name as the extension wants it: a letter, then letters, digits, `_`, `.`, `-`."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("_.-")
    return name if re.fullmatch(r"[A-Za-z].+", name) else f"run-{name or 'headstart'}"


def _licence(text: str) -> str:
    """An SPDX identifier, or STAC's word for anything else."""
    return text if _SPDX.fullmatch(text) and text.lower() != "unknown" else "other"


def _utc(text: str) -> str:
    """A moment as STAC writes it; runs write theirs in UTC."""
    moment = text.replace("+00:00", "Z")
    return moment if moment.endswith("Z") or "+" in moment else moment + "Z"


def _multihash(path: Path) -> str:
    """The sha256 of a file as the file extension has it: 0x12 for sha2-256, 0x20 for 32 bytes.

    Source: multihash (https://multiformats.io/multihash/), table of codes.
    """
    with path.open("rb") as file:
        return "1220" + hashlib.file_digest(file, "sha256").hexdigest()


def _href(path: Path, beside: Path) -> str:
    relative = os.path.relpath(path.resolve(), beside).replace(os.sep, "/")
    return relative if relative.startswith("../") else f"./{relative}"
