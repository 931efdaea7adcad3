"""A run's model, loaded from its folder alone: no pretrained weights, no network, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from headstart.backbones import build_unset_backbone, load_backbone, takes_texts
from headstart.backbones.pretrained_decoder import brings_decoder
from headstart.backbones.pyramid import as_pyramid
from headstart.backbones.remote_code import RemoteCode, agree
from headstart.compute import (
    choose_device,
    choose_format,
    has_arithmetic,
    module_fingerprint,
)
from headstart.contracts import (
    Backbone,
    BackboneSpec,
    ComputeFormat,
    InputContract,
    Legend,
    Strangeness,
    TermsContract,
    TextContract,
)
from headstart.decoders import build_decoder
from headstart.errors import ConfigError, RunError
from headstart.fitted import FittedModel, FittedSegmenter
from headstart.mask_predictor import MaskPredictor
from headstart.predictor import EmbedOnly, Predictor, example_input, speed_name
from headstart.progress import Progress
from headstart.protocols import Task
from headstart.rundir import RunFolder
from headstart.strategies.heads import build_head
from headstart.tasks import make_label_task, make_mask_task
from headstart.trust.letters import Letters, LettersAlone
from headstart.trust.strangers import Neighbourhood
from headstart.trust.unknown_words import UnknownWords

# Of config.json.
_NEEDED = ("task", "options", "model")


def load_model(
    folder: RunFolder, *, device: str = "auto", is_as_fitted: bool = False
) -> FittedModel:
    """The model of a run.

    Args:
        folder: Of a finished run.
        device: Where to compute.
        is_as_fitted: Compute in the format of the fit, whatever is quick here.

    Raises:
        RunError: A file is missing or damaged, or does not fit the others.
    """
    config = folder.read_json(folder.config, needs=_NEEDED)
    is_multilabel = config["model"]["is_multilabel"]
    task = make_label_task(config["task"], is_multilabel=is_multilabel)
    parts = _load_parts(folder, task, device=device, is_as_fitted=is_as_fitted)
    strangers, letters = _load_strangers(folder, parts["device"], contract=parts["contract"])
    # As they are called in the table: options part a name at its commas.
    columns = tuple(config["model"].get("text_columns", ()))
    is_named = config["options"].get("text_column") is not None
    return FittedModel(
        Predictor(task=task, **parts, strangers=strangers, letters=letters),
        text_columns=columns if is_named else None,
        usual_text_columns=columns,
    )


def load_segmenter(
    folder: RunFolder, *, device: str = "auto", is_as_fitted: bool = False
) -> FittedSegmenter:
    """The model of a run of semantic segmentation; see `load_model`.

    Raises:
        RunError: A file is missing or damaged, or does not fit the others.
    """
    config = folder.read_json(folder.config, needs=_NEEDED)
    legend = Legend.from_json(config["model"]["legend"])
    task = make_mask_task(config["task"], legend)
    parts = _load_parts(folder, task, device=device, is_as_fitted=is_as_fitted)
    predictor = MaskPredictor(task=task, **parts)
    key = f"{module_fingerprint(predictor.model)} {predictor.compute_format}"
    return FittedSegmenter(predictor, legend, key, knows_wide=_has_seen_wide(folder))


def _has_seen_wide(folder: RunFolder) -> bool:
    """Whether the checks of a fit found photos of 16 bits; not where nothing of them is kept."""
    if not folder.dataset.is_file():
        return False
    findings = folder.read_json(folder.dataset).get("findings", ())
    return any(finding["kind"] == "sixteen-bit" for finding in findings)


def agree_to_code(folder: RunFolder) -> None:
    """Remember that the user lets the code be run that the model of a run brings, if it does.

    Raises:
        WeightsError: What the run holds of the code is damaged.
    """
    backbone = folder.read_json(folder.config)["model"]["backbone"]
    if "code" in backbone["arguments"]:
        agree(RemoteCode.from_json(backbone["arguments"]["code"]))


def _load_parts(
    folder: RunFolder, task: Task, *, device: str, is_as_fitted: bool
) -> dict[str, Any]:
    """What a predictor is made of besides its task.

    It computes in the format of the fit, or in the fastest there is on another kind of device or
    a processor without its arithmetic.
    """
    config = folder.read_json(folder.config, needs=_NEEDED)
    described = config["model"]
    spec = BackboneSpec.from_json(described["backbone"])
    contract = _load_contract(folder, task)
    if isinstance(contract, TermsContract) and spec.arguments["sizes"] != [
        *contract.sizes.values()
    ]:
        raise RunError(
            f"`{folder.input}` has {contract.described}, but the model in config.json goes by "
            f"{sum(spec.arguments['sizes']):,}: the two are not of one run. Fit again."
        )
    module = build_unset_backbone(spec)
    head = (build_decoder if task.is_dense else build_head)(described["head"])
    model = task.build(Backbone(spec, contract, module, layer_groups=()), head)
    _load_weights(model, folder.weights)
    target = choose_device(device)
    compute_format = ComputeFormat(**described["format"])
    is_at_home = target.type == described["device"] and has_arithmetic(compute_format, target)
    if not is_at_home and not is_as_fitted:
        model.to(target)
        asked = config["options"].get("precision")
        is_exact = isinstance(contract, TermsContract) or asked == "float32"
        compute_format = choose_format(
            model if task.is_dense else EmbedOnly(model),
            example_input(contract, target),
            mode="inference",
            precision="float32" if is_exact else "auto",
            name=speed_name(model, spec.reference, is_dense=task.is_dense),
        ).compute_format
    return {
        "model": model.to(target),
        "contract": contract,
        "classes": tuple(described["classes"]),
        "device": target,
        "compute_format": compute_format,
    }


def _load_contract(folder: RunFolder, task: Task) -> InputContract | TextContract | TermsContract:
    values = folder.read_json(folder.input)
    if task.unit == "picture":
        return InputContract.from_json(values)
    is_of_terms = "vocabulary" in values
    path = folder.terms if is_of_terms else folder.tokenizer
    try:
        text = path.read_text(encoding="utf-8")
        if is_of_terms:
            return TermsContract.from_json(values, vocabulary=text)
        return TextContract.from_json(values, tokenizer=text)
    except FileNotFoundError:
        raise RunError(f"`{path}` is missing from the run. Fit again.") from None
    except (ValueError, OSError) as error:
        raise RunError(f"`{path}` is damaged ({error}). Fit again.") from None


def load_pretrained(reference: str, *, device: str, progress: Progress) -> FittedModel:
    """A pretrained classifier as it comes, in its own classes, without any fit.

    Raises:
        ConfigError: It brings no classifier.
    """
    if takes_texts(reference):
        raise ConfigError(
            f"`{reference}` reads texts and brings no classes, so it cannot answer without a fit. "
            f"Fit it to your labels: headstart fit DATA --backbone {reference} (with --strategy "
            "as-is it goes by the names of your classes alone)."
        )
    backbone = load_backbone(reference, progress=progress)
    if brings_decoder(backbone):
        raise ConfigError(
            f"`{reference}` answers with masks. Write them to a folder: headstart predict "
            f"{reference} PICTURES --output MASKS/ (in Python: headstart.map_pictures)."
        )
    if backbone.pretrained_head is None:
        raise ConfigError(
            f"`{reference}` brings no classifier of its own, so it cannot predict without a fit. "
            "Fit it to your labels first: headstart fit DATA --backbone " + reference
        )
    task = make_label_task("image-classification", is_multilabel=False)
    target = choose_device(device)
    model = task.build(backbone, backbone.pretrained_head).to(target)
    measured = choose_format(
        EmbedOnly(model),
        example_input(backbone.contract, target),
        mode="inference",
        name=backbone.spec.reference,
    )
    compute_format = measured.compute_format
    progress.choice("format", compute_format, measured.reason)
    predictor = Predictor(
        model,
        task,
        contract=backbone.contract,
        classes=backbone.pretrained_classes,
        device=target,
        compute_format=compute_format,
    )
    return FittedModel(predictor)


def load_pretrained_segmenter(
    reference: str, *, device: str, progress: Progress
) -> FittedSegmenter:
    """A pretrained segmentation model as it comes, in its own classes, without any fit.

    It computes in float32, to answer as published: in bfloat16 the cloud models decided up to 2.6%
    of the pixels of made-up pictures otherwise (bench/csmask.py).

    Raises:
        ConfigError: It brings no decoder.
    """
    backbone = load_backbone(reference, progress=progress)
    if not brings_decoder(backbone):
        raise ConfigError(
            f"`{reference}` brings no decoder, so it cannot draw masks without a fit. Fit it to "
            f"your masks first: headstart fit DATA --backbone {reference}"
        )
    backbone = as_pyramid(backbone)
    assert backbone.pretrained_head is not None
    names = tuple(name.partition(",")[0] for name in backbone.pretrained_classes)
    legend = Legend(names, values=tuple((index,) for index in range(len(names))))
    task = make_mask_task("semantic-segmentation", legend)
    target = choose_device(device)
    model = task.build(backbone, backbone.pretrained_head).to(target).requires_grad_(False)
    measured = choose_format(
        model,
        example_input(backbone.contract, target),
        mode="inference",
        precision="float32",
        name=speed_name(model, backbone.spec.reference, is_dense=True),
    )
    progress.choice("format", measured.compute_format, measured.reason)
    predictor = MaskPredictor(
        model,
        task,
        contract=backbone.contract,
        classes=names,
        device=target,
        compute_format=measured.compute_format,
    )
    key = f"{module_fingerprint(model)} {measured.compute_format}"
    return FittedSegmenter(predictor, legend, key)


def _load_strangers(
    folder: RunFolder,
    device: torch.device,
    *,
    contract: InputContract | TextContract | TermsContract,
) -> tuple[Strangeness | None, Letters | None]:
    """None for a run without them: one that was fitted on nothing, or by an earlier version."""
    path = folder.strangers
    if not path.is_file():
        return None, None
    try:
        state = load_file(path)
        if isinstance(contract, TermsContract):
            return UnknownWords.from_state(state), None
        letters = Letters.from_state(state)
        if letters is not None and "reference" not in state:
            return LettersAlone(letters.threshold), letters
        return Neighbourhood.from_state(state).to(device), letters
    except (SafetensorError, OSError) as error:
        raise RunError(f"`{path}` is damaged ({error}). Fit again.") from None


def _load_weights(model: nn.Module, path: Path) -> None:
    try:
        tensors: dict[str, Any] = load_file(path)
    except FileNotFoundError:
        raise RunError(f"`{path}` is missing from the run. Fit again.") from None
    except (SafetensorError, OSError) as error:
        raise RunError(f"`{path}` is damaged ({error}). Fit again.") from None
    own = model.state_dict()
    wrong = sorted(own.keys() ^ tensors.keys()) + sorted(
        name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape
    )
    if wrong:
        raise RunError(
            f"`{path}` does not fit the model in config.json: {len(wrong)} tensors are missing, "
            f"unknown or of another shape, such as `{wrong[0]}`. Fit again."
        )
    model.load_state_dict(tensors)
    model.requires_grad_(False)
    torch.nn.Module.eval(model)
