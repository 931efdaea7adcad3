"""Language models from transformers. The only file that imports it, and late: it takes seconds.

A trunk is built in one way, pretrained or not: the class that transformers has for its config,
without heads. Code of a repository is run only where the user says so (see `remote_code`), and no
pickle is read but with `weights_only`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headstart.backbones import remote_code, weights
from headstart.backbones.declared import declared_contract, declared_pooling
from headstart.backbones.layer_groups import group_by_blocks
from headstart.backbones.mapping import describe_mismatch
from headstart.backbones.model_files import (
    CONFIG,
    TOKENIZER,
    VOCABULARIES,
    ModelFiles,
    files_at_hand,
    find_files,
    find_local_files,
    read_code_file,
)
from headstart.backbones.published import published
from headstart.backbones.remote_code import RemoteCode, Trust
from headstart.backbones.text_catalog import text_catalog
from headstart.backbones.text_features import Place, TextFeatures, count_blocks, is_causal
from headstart.backbones.unset import UnsetWeights
from headstart.contracts import Backbone, BackboneSpec, ModelCard, TextContract
from headstart.errors import HeadstartError, MissingExtraError, WeightsError
from headstart.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

# Entries of a config that say how its heads are made, or where it once lay.
_NOT_OF_TRUNKS = ("id2label", "label2id", "_name_or_path", "problem_type")
# Layers behind the last states, which some weights bring and none of ours needs.
_HEADS = ("pooler", "pooler_activation")


def load(
    architecture: str,
    *,
    weights_reference: str | None,
    row: object = None,
    trust_remote_code: Trust = False,
    progress: Progress,
) -> Backbone[TextContract]:
    """A language model with its weights (see `headstart.backbones.load_text_backbone`).

    Args:
        architecture: A name of text_models.toml, `ORG/REPO`, a folder, or a whole reference.
        weights_reference: Other weights than the model's own, or `random`.
        row: Not used: named language models are in a list of their own.
        trust_remote_code: Whether code that the model brings is run, and agreed to from now on;
            with `as-agreed` only such as has been agreed to.
        progress: Told about downloads, guesses, and what of the weights is left out.

    Raises:
        ConfigError: There is no such model.
        MissingExtraError: transformers is not installed.
        WeightsError: The model cannot be had, needs code of its own, or its weights do not fit.
    """
    _require_transformers()
    model = published(architecture)
    if weights_reference == model.reference:
        weights_reference = None
    files = find_files(
        model.reference,
        sha256=model.sha256,
        with_weights=weights_reference is None,
        progress=progress,
    )
    code = _trusted_code(files, trust_remote_code, progress=progress)
    config = _config_of(files.json_of(CONFIG), model.reference, code)
    if code is None:
        _warn_of_code(files.json_of(CONFIG), model.reference, progress)
    if weights_reference == "random":
        trunk, sha256, licence = _make(config, code), "", "unknown"
    else:
        tensors, sha256 = _tensors(files, weights_reference, progress)
        licence = "unknown" if weights_reference else model.licence or files.licence or "unknown"
        reference = weights_reference or model.reference
        trunk = _fitted(config, code, tensors, reference=reference, progress=progress)
    trunk = _without_head(trunk).eval()
    with _told_of(code):
        num_blocks, width = count_blocks(trunk, name=architecture)
        causal = is_causal(trunk)
    pooling = declared_pooling(files, causal=causal, progress=progress)
    arguments = {
        "config": _plain(config),
        "pooling": pooling,
        "num_blocks": num_blocks,
        "is_causal": causal,
        **({} if code is None else {"code": code.to_json()}),
    }
    module = _features(trunk, arguments).eval()
    return Backbone(
        spec=BackboneSpec(
            source="hf",
            architecture=model.architecture,
            num_features=width,
            arguments=arguments,
            weights=weights_reference or model.reference,
            weights_sha256=sha256,
            licence=licence,
        ),
        contract=declared_contract(
            files, trunk, tokenizer_text=_tokenizer_of(files), prefix=model.prefix
        ),
        module=module,
        layer_groups=group_by_blocks(module),
    )


def contract_at_hand(architecture: str) -> TextContract | None:
    """The contract of a model whose files are on this machine, else None. Asks nobody.

    Raises:
        ConfigError: There is no such model.
        MissingExtraError: transformers is not installed.
        WeightsError: It needs code of its own, or its tokenizer cannot be read.
    """
    model = published(architecture)
    files = files_at_hand(model.reference)
    if files is None:
        return None
    _require_transformers()
    with UnsetWeights():
        config = _config_of(files.json_of(CONFIG), model.reference, None)
        trunk = _without_head(_make(config, None))
    return declared_contract(files, trunk, tokenizer_text=_tokenizer_of(files), prefix=model.prefix)


def build(spec: BackboneSpec) -> nn.Module:
    """The module of a spec with random weights; asks no network.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: It needs code that nobody has agreed to on this machine, or that fails.
    """
    _require_transformers()
    told = spec.arguments.get("code")
    code = None if told is None else RemoteCode.from_json(told)
    config = _config_of(spec.arguments["config"], spec.reference, code)
    return _features(_without_head(_make(config, code)), spec.arguments)


def build_unset(spec: BackboneSpec) -> nn.Module:
    """The module of a spec for weights that are loaded right after; asks no network."""
    with UnsetWeights():
        return build(spec)


def search(query: str) -> list[ModelCard]:
    """Named language models that have every word of the query in their name or description."""
    words = query.lower().removeprefix("hf:").replace("*", "").split()
    return [
        ModelCard(
            name=row.name,
            num_parameters=row.num_parameters,
            input="text",
            licence=row.licence,
            domain="text",
            weights=row.reference,
            is_here=find_local_files(row.reference) is not None,
        )
        for row in text_catalog().values()
        if all(word in f"{row.name} {row.reference} {row.why} text".lower() for word in words)
    ]


def weights_of(architecture: str, progress: Progress) -> tuple[str, str]:
    """The (first) file of the weights after all of the model was fetched, and no sha256.

    Raises:
        ConfigError: There is no such model.
        WeightsError: It cannot be had.
    """
    model = published(architecture)
    files = find_files(model.reference, sha256=model.sha256, progress=progress)
    return str(files.weights[0]), ""


# --- modules ----------------------------------------------------------------------------------


def _require_transformers() -> None:
    try:
        import transformers  # noqa: F401 - whether it is there
    except ImportError:
        raise MissingExtraError("A language model", extra="text") from None


def _config_of(values: Mapping[str, Any], reference: str, code: RemoteCode | None) -> Any:
    """The config of a trunk in float32, made from config.json's values; asks no network."""
    from huggingface_hub.errors import StrictDataclassError

    if values.get("quantization_config"):
        raise WeightsError(
            f"The weights of `{reference}` are quantised, so that they can neither be trained nor "
            "cast. Choose the same model as it was before."
        )
    kind = _config_class(values, reference, code)
    is_own = code is not None and remote_code.CONFIG_CLASS in code.classes
    left_out = (*_NOT_OF_TRUNKS, "dtype", "torch_dtype", "model_type", remote_code.AUTO_MAP)
    try:
        with _told_of(code if is_own else None):
            config = kind(**{k: v for k, v in values.items() if k not in left_out})
    except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
        raise WeightsError(
            f"The config.json of `{reference}` does not make a `{values.get('model_type')}`: "
            f"{error}. Fetch it again."
        ) from None
    config.use_cache = False  # of no use to one pass, and costs memory
    return config


def _config_class(values: Mapping[str, Any], reference: str, code: RemoteCode | None) -> Any:
    """The model's own, if its code is trusted and has one, or that of transformers."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    own = None if code is None else remote_code.import_class(code, remote_code.CONFIG_CLASS)
    if own is not None:
        return own
    kind = str(values.get("model_type", ""))
    if kind in CONFIG_MAPPING:
        return CONFIG_MAPPING[kind]
    if remote_code.AUTO_MAP in values:
        raise WeightsError(
            f"`{reference}` needs code of its own ({remote_code.named_files(values)}), which is "
            "not run unless you say so: it could do on this machine whatever you may do. Choose a "
            "model whose architecture transformers has itself (`headstart models text`); the "
            "publisher may have one of the same weights, often with `-hf` in its name. Or, if you "
            f"trust the publisher: `headstart fit DATA --backbone {reference} "
            "--trust-remote-code` (in Python trust_remote_code=True); `rank` takes the same flag."
        )
    import transformers

    raise WeightsError(
        f"`{reference}` needs the architecture `{kind}`, which the installed transformers "
        f"{transformers.__version__} does not have; a newer one may."
    )


def _trusted_code(files: ModelFiles, trust: Trust, *, progress: Progress) -> RemoteCode | None:
    """The code that a model brings and that may run; None where it brings none, or none may."""
    values = files.json_of(CONFIG)
    if not trust or remote_code.AUTO_MAP not in values:
        return None

    def read(repository: str, name: str) -> str:
        return read_code_file(files, repository, name, progress=progress)

    code = remote_code.read_code(values, origin=files.reference, read=read)
    if trust == "as-agreed":
        remote_code.refuse_other_code(code)
    else:
        remote_code.agree(code)
    return code


def _warn_of_code(values: Mapping[str, Any], reference: str, progress: Progress) -> None:
    """That a model brings its own version of an architecture which transformers has, too."""
    if remote_code.AUTO_MAP in values:
        progress.warn(
            f"`{reference}` brings code of its own ({remote_code.named_files(values)}), which is "
            f"not run: it is read as what transformers knows as `{values.get('model_type')}`, and "
            "its features may not be those that its publisher measured. Look what a probe on it "
            "is worth, choose another (`headstart models text`), or, if you trust the publisher, "
            "let a fit run the code with --trust-remote-code."
        )


def _plain(config: Any) -> dict[str, Any]:
    """A config as JSON from which `_config_of` makes it again."""
    values = json.loads(config.to_json_string(use_diff=False))
    left_out = (*_NOT_OF_TRUNKS, remote_code.AUTO_MAP)
    return {key: value for key, value in values.items() if key not in left_out}


def _class_of(config: Any, code: RemoteCode | None, reference: str) -> Any:
    """The class without heads, the model's own if its code is trusted.

    Of transformers' encoder-decoders the encoder alone, if it has one.
    """
    if code is not None:
        return remote_code.import_class(code, remote_code.MODEL_CLASS)
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_TEXT_ENCODING_MAPPING,
        MODEL_MAPPING,
    )

    if config.is_encoder_decoder and type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING:
        return MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]
    if type(config) not in MODEL_MAPPING:
        raise WeightsError(
            f"`{reference}` is a `{config.model_type}`, of which transformers has no model without "
            "a head. Choose another (`headstart models text`)."
        )
    found = MODEL_MAPPING[type(config)]
    return found[0] if isinstance(found, tuple | list) else found


def _make(config: Any, code: RemoteCode | None) -> nn.Module:
    """A trunk with random weights. The config stays as it is: T5 would write into it."""
    kind = _class_of(config, code, config.model_type)
    with _quietly(), _told_of(code):
        model: nn.Module = kind(copy.deepcopy(config))
    return model.float()


@contextlib.contextmanager
def _told_of(
    code: RemoteCode | None, *, but_for: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Whatever a model's own code raises is told as its failure, but for some errors."""
    try:
        yield
    except Exception as error:
        if code is None or isinstance(error, (HeadstartError, *but_for)):
            raise
        raise WeightsError(remote_code.failed(code, error)) from error


def _fitted(
    config: Any,
    code: RemoteCode | None,
    tensors: dict[str, Tensor],
    *,
    reference: str,
    progress: Progress,
) -> nn.Module:
    """A trunk with its weights, all of them; what else the file holds is told and left out."""
    kind = _class_of(config, code, reference)
    of_shapes = (RuntimeError, ValueError, KeyError)
    try:
        with _quietly(), _told_of(code, but_for=of_shapes):
            model, report = kind.from_pretrained(
                None,
                config=config,
                state_dict=dict(tensors),
                dtype=torch.float32,
                output_loading_info=True,
            )
    except of_shapes as error:
        made = _make(config, code).state_dict()
        expected = {name: tuple(value.shape) for name, value in made.items()}
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        trouble = describe_mismatch(expected, found) or str(error)
        raise WeightsError(_does_not_fit(reference, config, trouble)) from None
    missing = [name for name in sorted(report["missing_keys"]) if not _is_of_head(name)]
    if missing:
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        trouble = describe_mismatch({name: expected[name] for name in missing}, {})
        raise WeightsError(_does_not_fit(reference, config, trouble))
    unused = sorted(report["unexpected_keys"])
    if unused:
        kinds = sorted({name.split(".")[0] for name in unused})
        progress.note(
            f"{len(unused)} tensors of `{reference}` are not of the part that reads a text, and "
            f"are left out: {', '.join(kinds[:6])}{', ...' if len(kinds) > 6 else ''}."
        )
    if code is None:
        return model  # type: ignore[no-any-return] # transformers says nothing of it
    return _with_buffers(model, _make(config, code), stored=tensors)


def _with_buffers(model: nn.Module, made: nn.Module, *, stored: Mapping[str, Tensor]) -> nn.Module:
    """A model as its code makes it, with the weights of one that transformers filled in.

    This builds without memory, and then leaves undefined what foreign code computes for itself and
    no file holds: the buffers.

    Args:
        model: Filled in.
        made: As its code made it.
        stored: What the file holds; names there may begin with that of a whole model.
    """
    buffers = {name for name, _ in model.named_buffers()}
    endings = {".".join(name.split(".")[i:]) for name in stored for i in range(name.count(".") + 1)}
    values = {
        name: value
        for name, value in model.state_dict().items()
        if name not in buffers or name in endings
    }
    made.load_state_dict(values, strict=False)
    return made


def _without_head(model: nn.Module) -> nn.Module:
    """The part that turns tokens into states: no decoder, and no layer behind the last states."""
    whole: Any = model
    if whole.config.is_encoder_decoder and hasattr(whole, "decoder"):
        whole = whole.get_encoder()
    for name in _HEADS:
        if getattr(whole, name, None) is not None:
            setattr(whole, name, None)
    trunk: nn.Module = whole
    return trunk


def _is_of_head(name: str) -> bool:
    return any(part in _HEADS for part in name.split("."))


def _features(trunk: nn.Module, arguments: Mapping[str, Any]) -> TextFeatures:
    """The module of a spec's arguments around a trunk."""
    config: Any = trunk.config
    num_blocks = arguments["num_blocks"]
    places: list[Place] = [(num_blocks, arguments["pooling"])]
    if "depths" in arguments:
        places = [(depth, how) for depth, how in arguments["depths"]["places"]]
    padding: Any = getattr(config, "pad_token_id", None)  # some know none: it is covered anyway
    known = isinstance(padding, int) and 0 <= padding < getattr(config, "vocab_size", 0)
    return TextFeatures(
        trunk,
        places,
        num_blocks=num_blocks,
        padding_id=padding if known else 0,
        is_causal=arguments["is_causal"],
    )


def _tensors(
    files: ModelFiles, reference: str | None, progress: Progress
) -> tuple[dict[str, Tensor], str]:
    """The tensors of the model's own files or of those the user chose, and their sha256."""
    if reference is not None:
        local = weights.resolve_weights(reference, progress=progress)
        return weights.read_tensors(local), local.sha256
    tensors: dict[str, Tensor] = {}
    for path in files.weights:
        tensors |= weights.read_tensors(weights.LocalWeights(path, "", files.reference))
    return tensors, files.sha256


def _does_not_fit(reference: str, config: Any, trouble: str) -> str:
    return (
        f"The weights `{reference}` do not fit their config.json (a `{config.model_type}`):\n"
        f"{trouble}\nFetch them again, or choose another model (`headstart models text`)."
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """transformers neither logs nor draws bars: what matters is told by `Progress`, or an error."""
    from transformers.utils import logging as its_logging

    its: Any = its_logging  # parts of it have no types
    level, has_bars = its.get_verbosity(), its.is_progress_bar_enabled()
    its.set_verbosity(logging.CRITICAL)
    its.disable_progress_bar()
    try:
        yield
    finally:
        its.set_verbosity(level)
        if has_bars:
            its.enable_progress_bar()


def _tokenizer_of(files: ModelFiles) -> str:
    """The text of tokenizer.json; made by transformers where there are only the older files."""
    if TOKENIZER in files.names:
        return (files.folder / TOKENIZER).read_text(encoding="utf-8")
    from transformers import AutoTokenizer

    try:
        # Without any, transformers would make a tokenizer that knows no word, and say nothing.
        if not set(VOCABULARIES) & set(files.names):
            raise FileNotFoundError("there is no vocabulary")
        with _quietly():
            slow = AutoTokenizer.from_pretrained(
                str(files.folder), local_files_only=True, trust_remote_code=False
            )
        return str(slow.backend_tokenizer.to_str())
    except (OSError, ValueError, ImportError, AttributeError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"`{files.reference}` has no tokenizer.json, and none can be made of the files that it "
            f"has ({reason}). Install what the message names (`pip install sentencepiece "
            "protobuf` for files of SentencePiece), or write it where transformers can load the "
            "tokenizer: `AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER)`."
        ) from None
