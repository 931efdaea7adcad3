"""Backbones from timm. The only file that imports timm, which takes seconds: import this late.

A backbone is built in one way, pretrained or not: the architecture with the classifier of its
weights, which is then taken off. So `build` makes a module that the saved weights of `load` fit.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset
from timm.models import PretrainedCfg
from torch import nn

from headstart.backbones import hub, weights
from headstart.backbones.class_names import name_classes
from headstart.backbones.depths import DepthFeatures
from headstart.backbones.hub_config import read_hub_config
from headstart.backbones.layer_groups import Groups, check_groups, group_by_children
from headstart.backbones.mapping import fit_weights
from headstart.backbones.one_vector import answers_alike, as_head, run_once
from headstart.backbones.pretrained_decoder import with_decoder
from headstart.backbones.pyramid import Pyramid
from headstart.backbones.recipes import (
    Recipe,
    contract_of,
    shaping_of,
    structure_of,
    structure_of_row,
)
from headstart.backbones.remote_code import Trust
from headstart.backbones.smp_names import split_unet
from headstart.backbones.trunks import shape_trunk
from headstart.backbones.unset import UnsetWeights
from headstart.contracts import Backbone, BackboneSpec, ModelCard
from headstart.errors import ConfigError, WeightsError, did_you_mean
from headstart.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.backbones.catalog import CatalogRow

# Their `num_classes` is the width of a projection into a space shared with text: no classes.
_EMBEDDERS = ("clip", "vit_pe_core")
# Branches that timm builds only for training, though some published files have them.
_TRAINING_ONLY = ("AuxLogits.",)


def load(
    architecture: str,
    *,
    weights_reference: str | None,
    row: CatalogRow | None,
    trust_remote_code: Trust = False,
    progress: Progress,
) -> Backbone:
    """A backbone with its weights (see `headstart.backbones.load_backbone`).

    Args:
        architecture: timm's name with or without tag, or `hf://ORG/REPO` of a timm repository.
        weights_reference: Other weights than the recipe's own, or `random`.
        row: The catalogue row that the architecture comes from.
        trust_remote_code: Not used: timm's models bring no code.
        progress: Told about downloads and guesses.

    Raises:
        ConfigError: timm has no such architecture.
        WeightsError: The weights cannot be had, or do not fit.
    """
    recipe = _recipe(architecture, row, progress)
    if weights_reference == "random":
        return _untrained(recipe)
    if weights_reference is not None and weights_reference != recipe.weights:
        recipe = _with_other_weights(recipe, weights_reference, progress)
    if not recipe.weights:
        raise WeightsError(
            f"timm publishes no weights for `{recipe.architecture}` on the hub. Give a file with "
            "--weights FILE, start from --weights random, or choose another model "
            "(`headstart models QUERY`)."
        )
    local = weights.resolve_weights(recipe.weights, sha256=recipe.sha256 or None, progress=progress)
    tensors = _without_training_branches(weights.read_tensors(local), progress)
    of_decoder: dict[str, Tensor] = {}
    if recipe.is_smp_unet:
        tensors, of_decoder = split_unet(tensors, _stage_sizes(recipe), reference=recipe.weights)
    model, arguments = _fitted(recipe, tensors, local)
    backbone = _pretrained(
        recipe, model, arguments=arguments, sha256=local.sha256, progress=progress
    )
    if row is None or not of_decoder:
        return backbone
    return with_decoder(backbone, row, of_decoder)


def build(spec: BackboneSpec) -> nn.Module:
    """The module of a spec with random weights; asks no network."""
    module = _without_classifier(_create(spec.architecture, spec.arguments), spec.arguments)
    depths, pyramid = spec.arguments.get("depths"), spec.arguments.get("pyramid")
    if depths is not None:
        return DepthFeatures(module, depths["places"])
    if pyramid is not None:
        return Pyramid(module, pyramid["places"], pyramid["unused"])
    return module


def build_unset(spec: BackboneSpec) -> nn.Module:
    """The module of a spec for weights that are loaded right after; asks no network."""
    with UnsetWeights():
        return build(spec)


def search(query: str) -> list[ModelCard]:
    """timm's pretrained models whose name has every word of the query, or matches its `*`."""
    words = query.lower().removeprefix("timm:").split()
    names = timm.list_pretrained()
    for word in words:
        pattern = word if "*" in word else f"*{word}*"
        names = [name for name in names if fnmatch.fnmatch(name.lower(), pattern)]
    return [_card(name) for name in names]


def weights_of(architecture: str, progress: Progress) -> tuple[str, str]:
    """Reference and sha256 (or empty) of an architecture's own weights.

    Raises:
        ConfigError: timm has no such architecture.
        WeightsError: A hub repository is none of timm's.
    """
    recipe = _recipe(architecture, None, progress)
    return recipe.weights, recipe.sha256


# --- recipes ----------------------------------------------------------------------------------


def _recipe(architecture: str, row: CatalogRow | None, progress: Progress) -> Recipe:
    if row is not None:
        return _from_row(row)
    if architecture.startswith("hf://"):
        return _from_hub(architecture, progress)
    return _from_registry(architecture)


def _from_row(row: CatalogRow) -> Recipe:
    if not timm.is_model(row.architecture):
        raise ConfigError(f"[{row.name}] `architecture` is `{row.architecture}`, unknown to timm.")
    cfg = replace(_default_cfg(row.architecture), num_classes=1000 if row.classes else 0)
    return Recipe(
        architecture=row.architecture,
        cfg=cfg,
        contract=row.contract,
        weights=row.reference,
        sha256=row.sha256,
        licence=row.licence,
        domain=row.domain,
        is_by_order=row.mapping == "order",
        is_smp_unet=row.mapping == "smp-unet",
        structure=structure_of_row(row),
    )


def _from_registry(name: str) -> Recipe:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ConfigError(
            f"timm has no architecture `{architecture}`. "
            f"{_suggest(architecture, timm.list_models())}"
        )
    if tag and name not in timm.models.get_arch_pretrained_cfgs(architecture):
        tags = list(timm.models.get_arch_pretrained_cfgs(architecture))
        raise ConfigError(
            f"timm has no weights `{tag}` for `{architecture}`. "
            + (did_you_mean(name, tags) if tags else "It has none at all.")
        )
    cfg = timm.models.get_pretrained_cfg(name) or PretrainedCfg(architecture=architecture)
    full_name = f"{architecture}.{cfg.tag}" if cfg.tag else architecture
    return Recipe(
        architecture=full_name,
        cfg=cfg,
        contract=contract_of(cfg, full_name),
        weights=_hub_reference(cfg),
        licence=cfg.license or "unknown",
        structure=structure_of({}),
    )


def _from_hub(reference: str, progress: Progress) -> Recipe:
    """What the config.json of a timm repository says."""
    file = hub.parse_hub_file(reference)
    path = hub.download(replace(file, path="config.json"), progress=progress)
    config = read_hub_config(path, reference)
    if not timm.is_model(config.architecture):
        raise WeightsError(
            f"`{reference}` needs the architecture `{config.architecture}`, which the installed "
            f"timm {timm.__version__} does not have; a newer timm may."
        )
    known = {f.name for f in dataclasses.fields(PretrainedCfg)}
    cfg = PretrainedCfg(**{k: v for k, v in config.values.items() if k in known})
    cfg = replace(cfg, architecture=config.architecture, input_size=tuple(cfg.input_size))
    own = hub.HubFile(file.repository, file.path, file.revision)
    return Recipe(
        architecture=config.architecture,
        cfg=cfg,
        contract=contract_of(cfg, reference),
        weights=str(own),
        licence=cfg.license or "unknown",
        structure={**structure_of(config.model_args), "pretrained_cfg": shaping_of(cfg)},
    )


def _with_other_weights(recipe: Recipe, reference: str, progress: Progress) -> Recipe:
    """The recipe for weights that the user chose; a timm repository also says what they expect."""
    bare = reference.partition("#")[0]
    if bare.startswith("hf://") and not hub.parse_hub_file(bare).path:
        try:
            declared = _from_hub(bare, progress)
        except hub.NoSuchFileError:
            progress.warn(f"`{bare}` has no config.json, so nothing says what input it expects.")
        else:
            wanted = recipe.architecture.partition(".")[0]
            if declared.architecture.partition(".")[0] != wanted:
                raise WeightsError(
                    f"The weights `{reference}` are for the architecture "
                    f"`{declared.architecture}`, not for `{wanted}`. Give --backbone {bare} alone."
                )
            return replace(declared, weights=reference)
    contract = recipe.contract
    progress.note(
        f"`{reference}` does not say what input it expects; taken is that of "
        f"`{recipe.architecture}`: {contract.height} x {contract.width}, mean {contract.mean}, "
        f"std {contract.std}."
    )
    return replace(recipe, weights=reference, sha256="", licence="unknown", domain="unknown")


def _suggest(name: str, names: Sequence[str]) -> str:
    from headstart.backbones.catalog import catalog
    from headstart.errors import nearest

    close = nearest(name, [*catalog(), *names])
    if close:
        return "Did you mean " + " or ".join(f"`{c}`" for c in close) + "?"
    return "`headstart models QUERY` lists what there is."


def _default_cfg(architecture: str) -> PretrainedCfg:
    return timm.models.get_pretrained_cfg(architecture) or PretrainedCfg(architecture=architecture)


def _hub_reference(cfg: PretrainedCfg) -> str:
    if not cfg.hf_hub_id:
        return ""
    return f"hf://{cfg.hf_hub_id}" + (f"/{cfg.hf_hub_filename}" if cfg.hf_hub_filename else "")


# --- modules ----------------------------------------------------------------------------------


def _create(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The architecture with the classifier that its weights have, randomly initialised."""
    options = dict(arguments.get("model_args", {}))
    if arguments.get("is_trunk") and architecture.startswith("vgg"):
        options["mlp_ratio"] = 1 / 4096  # the layers that are taken off again need not be large
    model: nn.Module = timm.create_model(
        architecture,
        pretrained=False,
        pretrained_cfg=arguments.get("pretrained_cfg"),
        num_classes=arguments["num_classes"],
        **options,
    )
    shape_trunk(model, arguments)
    return model


def _without_classifier(model: nn.Module, arguments: Mapping[str, Any]) -> nn.Module:
    if arguments["num_classes"]:
        model.reset_classifier(0)  # type: ignore[operator] # every timm model has it
    return model


def _stage_sizes(recipe: Recipe) -> list[int]:
    """How many blocks each stage of an EfficientNet has."""
    with UnsetWeights():
        model: Any = _create(recipe.architecture, {"num_classes": 0})
    return [len(stage) for stage in model.blocks]


def _fitted(
    recipe: Recipe, tensors: dict[str, Tensor], local: weights.LocalWeights
) -> tuple[nn.Module, dict[str, Any]]:
    """The whole model with its weights, and the arguments it was made from.

    A classifier of another size than the architecture's own, or none at all, is taken as the
    weights have it. What does not fit under timm's names is given to timm's own converter, which
    knows the names that the models' authors used.
    """
    counts = [_count_classes(recipe, tensors)]
    counts += [0] if counts[0] and not _has_classifier(recipe, tensors) else []
    failure: WeightsError | None = None
    for num_classes in counts:
        arguments = {"num_classes": num_classes, **recipe.structure}
        with UnsetWeights():
            model = _create(recipe.architecture, arguments)
        try:
            fit_weights(
                model,
                tensors,
                reference=recipe.weights,
                architecture=recipe.architecture,
                order=local.order if recipe.is_by_order else (),
            )
        except WeightsError as error:
            failure = failure or error
            continue
        return model, arguments
    arguments = {"num_classes": recipe.cfg.num_classes, **recipe.structure}
    converted = _converted_by_timm(recipe, tensors, arguments)
    if converted is not None:
        return converted, arguments
    raise failure or WeightsError(f"`{recipe.weights}` fits nothing.")


def _converted_by_timm(
    recipe: Recipe, tensors: dict[str, Tensor], arguments: Mapping[str, Any]
) -> nn.Module | None:
    """The model if timm's converter for this architecture makes all tensors fit, else None."""
    if recipe.is_by_order or recipe.structure:
        return None
    try:
        model: nn.Module = timm.create_model(
            recipe.architecture,
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": tensors},
            num_classes=arguments["num_classes"],
        )
    except (RuntimeError, KeyError, AttributeError, IndexError, ValueError, TypeError):
        return None  # the caller then tells which tensors do not fit
    return model


def _classifier_names(recipe: Recipe) -> tuple[str, ...]:
    names = recipe.cfg.classifier or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _has_classifier(recipe: Recipe, tensors: Mapping[str, Tensor]) -> bool:
    return any(f"{name}.weight" in tensors for name in _classifier_names(recipe))


def _count_classes(recipe: Recipe, tensors: Mapping[str, Tensor]) -> int:
    for name in _classifier_names(recipe):
        if f"{name}.weight" in tensors:
            return int(tensors[f"{name}.weight"].shape[0])
    return int(recipe.cfg.num_classes)


def _without_training_branches(tensors: dict[str, Tensor], progress: Progress) -> dict[str, Tensor]:
    dropped = [name for name in tensors if name.startswith(_TRAINING_ONLY)]
    if dropped:
        progress.note(f"{len(dropped)} tensors of a branch used only in training are left out.")
    return {name: value for name, value in tensors.items() if name not in dropped}


# --- backbones --------------------------------------------------------------------------------


def _untrained(recipe: Recipe) -> Backbone:
    arguments = {"num_classes": int(recipe.cfg.num_classes), **recipe.structure}
    module = _without_classifier(_create(recipe.architecture, arguments), arguments).eval()
    num_features = run_once(module, recipe.contract, name=recipe.architecture).shape[1]
    return Backbone(
        spec=BackboneSpec("timm", recipe.architecture, num_features, arguments),
        contract=recipe.contract,
        module=module,
        layer_groups=_group_layers(module),
    )


def _pretrained(
    recipe: Recipe,
    model: nn.Module,
    *,
    arguments: dict[str, Any],
    sha256: str,
    progress: Progress,
) -> Backbone:
    """Take the classifier off, and see that features and classifier give the model's own answer."""
    model.eval()
    classifier, logits = None, None
    if arguments["num_classes"] and not _is_embedder(recipe):
        classifier = as_head(model.get_classifier())  # type: ignore[operator] # all have it
        logits = run_once(model, recipe.contract, name=recipe.architecture)
    module = _without_classifier(model, arguments)
    features = run_once(module, recipe.contract, name=recipe.architecture)
    if logits is not None and not answers_alike(classifier, features, logits):
        progress.note(
            f"The classifier of `{recipe.architecture}` is more than a layer on its features, so "
            "only the features are used; `as-is` is not possible with it."
        )
        classifier = None
    return Backbone(
        spec=BackboneSpec(
            source="timm",
            architecture=recipe.architecture,
            num_features=features.shape[1],
            arguments=arguments,
            weights=recipe.weights,
            weights_sha256=sha256,
            licence=recipe.licence,
            domain=recipe.domain,
        ),
        contract=recipe.contract,
        module=module,
        layer_groups=_group_layers(module),
        pretrained_head=classifier,
        pretrained_classes=() if classifier is None else _class_names(arguments, recipe.cfg),
    )


def _is_embedder(recipe: Recipe) -> bool:
    return not _imagenet_subset(recipe.cfg.num_classes) and any(
        word in recipe.architecture for word in _EMBEDDERS
    )


def _imagenet_subset(num_classes: int) -> str | None:
    subset: str | None = infer_imagenet_subset({"num_classes": num_classes})
    return subset


def _class_names(arguments: Mapping[str, Any], cfg: PretrainedCfg) -> tuple[str, ...]:
    """By the labels that the weights bring, else by the ImageNet subset of that many classes."""
    num_classes = arguments["num_classes"]
    subset = _imagenet_subset(num_classes)
    if cfg.label_names or subset is None:
        return name_classes(num_classes, cfg.label_names, cfg.label_descriptions)
    info = ImageNetInfo(subset)
    return name_classes(num_classes, info.label_names(), info.label_descriptions(as_dict=True))


def _group_layers(module: nn.Module) -> Groups:
    """By what timm knows of the architecture: its stages or blocks, the stem first."""
    if not hasattr(module, "group_matcher"):
        return group_by_children(module)
    try:
        matcher = module.group_matcher(coarse=True)  # type: ignore[operator] # a method
    except AssertionError:  # how some architectures say that they know single layers only
        matcher = module.group_matcher()  # type: ignore[operator] # a method
    groups: dict[int, list[str]] = timm.models.group_parameters(module, matcher)
    if len(groups) < 2:  # an architecture without stages to its name
        return group_by_children(module)
    return check_groups([groups[i] for i in sorted(groups)], module)


def _card(name: str) -> ModelCard:
    cfg = timm.models.get_pretrained_cfg(name)
    reference = _hub_reference(cfg)
    return ModelCard(
        name=f"timm:{name}",
        num_parameters=0,
        input=" x ".join(map(str, cfg.input_size)),
        licence=cfg.license or "unknown",
        domain="general",
        weights=reference,
        is_here=bool(reference) and weights.find_local(reference) is not None,
    )
