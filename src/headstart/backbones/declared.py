"""What the files of a language model declare of its input and of its pooling: the contract.

Knows the trunk as a module; nothing is imported of the library that made it.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from headstart.backbones.model_files import ModelFiles
from headstart.backbones.text_features import Pooling
from headstart.contracts import TextContract
from headstart.data.tokenising import Tokeniser, read_tokenizer
from headstart.errors import WeightsError
from headstart.progress import Progress

# Of a model that sets no bound itself, such as T5 with its relative positions: what T5 was
# trained on (Raffel et al. 2020, arXiv:1910.10683, section 3.1.2).
_UNBOUNDED_WINDOW = 512
# Decoders state windows of 32,768 tokens and more, which no task of classification has needed and
# whose attention fills the memory; 8,192 is what the longest encoders read (ModernBERT).
_LONGEST_WINDOW = 8192
# As sentence-transformers writes it: flags before version 5.4, one word since.
_POOLING_KEYS: dict[str, Pooling] = {
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}


def declared_contract(
    files: ModelFiles, trunk: nn.Module, *, tokenizer_text: str, prefix: str
) -> TextContract:
    """The contract of a model.

    Args:
        files: Of the model.
        trunk: Of it, with whatever weights.
        tokenizer_text: Its tokenizer, as tokenizer.json has it.
        prefix: What every text begins with.

    Raises:
        MissingExtraError: tokenizers is not installed.
        WeightsError: The tokenizer cannot be read, or is of another model.
    """
    tokenizer = read_tokenizer(tokenizer_text)
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    known: int = trunk.get_input_embeddings().num_embeddings  # type: ignore[operator]
    if largest >= known:
        raise WeightsError(
            f"The tokenizer of `{files.reference}` has tokens up to number {largest}, its weights "
            f"know {known}: they do not belong together. Fetch both from one place."
        )
    contract = TextContract(tokenizer.to_str(), _window_of(files, trunk), prefix=prefix)
    Tokeniser(contract)  # raises where it cannot be used
    return contract


def _window_of(files: ModelFiles, trunk: nn.Module) -> int:
    """The longest input in tokens: what positions there are, or less if the files say so."""
    config: Any = trunk.config
    bounds = [getattr(config, "max_position_embeddings", None)]
    # Positions that begin behind the padding's own, as in RoBERTa.
    bounds += [
        layer.num_embeddings - layer.padding_idx - 1
        for name, layer in trunk.named_modules()
        if name.endswith("position_embeddings")
        and isinstance(layer, nn.Embedding)
        and layer.padding_idx is not None
    ]
    bounds.append(files.json_of("tokenizer_config.json").get("model_max_length"))
    bounds.append(files.json_of("sentence_bert_config.json").get("max_seq_length"))
    known = [int(b) for b in bounds if isinstance(b, int | float) and 0 < b < 1e9]
    return min([*known, _LONGEST_WINDOW] if known else [_UNBOUNDED_WINDOW])


def declared_pooling(files: ModelFiles, *, causal: bool, progress: Progress) -> Pooling:
    """As the weights were trained, where their files tell; else what suits the attention.

    Source: Reimers and Gurevych 2019, "Sentence-BERT" (arXiv:1908.10084), table 1, for the mean:
    states of BERT as it comes are better averaged than taken from the first token. In a causal
    transformer the last token alone has seen all others.
    """
    declared = files.json_of("1_Pooling/config.json")
    chosen = [key for key, value in declared.items() if key.startswith("pooling_mode") and value]
    if isinstance(declared.get("pooling_mode"), str):
        chosen = [declared["pooling_mode"]]
    if len(chosen) == 1 and chosen[0] in _POOLING_KEYS:
        pooling = _POOLING_KEYS[chosen[0]]
        progress.choice("pooling", pooling, "as its 1_Pooling/config.json says")
        return pooling
    pooling = "last" if causal else "mean"
    reason = "no token sees those behind it" if causal else "each token sees all others"
    if chosen:
        reason += f"; its own `{' and '.join(chosen)}` is not there"
    progress.choice("pooling", pooling, reason)
    return pooling
