"""Language models of a few thousand random weights, one a family, written as transformers does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

SENTENCES = (
    "what films featured the character popeye doyle ?",
    "how did serfdom develop in and then leave russia ?",
    "a stirring , funny and finally transporting re imagining of beauty",
    "the beast and 1930s horror films",
    "apparently reassembled from the cutting room floor of any given daytime soap",
)
VOCABULARY = 160
_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 48,
}


def _bert() -> Any:
    from transformers import BertConfig

    return BertConfig(**_SMALL, pad_token_id=0)


def _roberta() -> Any:
    from transformers import RobertaConfig

    return RobertaConfig(**_SMALL, pad_token_id=1, type_vocab_size=1)


def _xlm_roberta() -> Any:
    from transformers import XLMRobertaConfig

    return XLMRobertaConfig(**_SMALL, pad_token_id=1, type_vocab_size=1)


def _distilbert() -> Any:
    from transformers import DistilBertConfig

    return DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=4, n_heads=2, hidden_dim=32,
        max_position_embeddings=48, pad_token_id=0,
    )  # fmt: skip


def _deberta() -> Any:
    from transformers import DebertaV2Config

    return DebertaV2Config(  # as v3 is
        **_SMALL, relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm",
        share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
        type_vocab_size=0, max_relative_positions=-1, pad_token_id=0,
    )  # fmt: skip


def _modernbert() -> Any:
    from transformers import ModernBertConfig

    return ModernBertConfig(
        **_SMALL, pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3,
        local_attention=8,
    )  # fmt: skip


def _gpt2() -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=4, n_head=2, n_positions=48,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip


def _llama() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**_SMALL, num_key_value_heads=1, bos_token_id=2, eos_token_id=3)


def _qwen3() -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(
        **_SMALL, num_key_value_heads=1, head_dim=8, bos_token_id=2, eos_token_id=3,
        dtype="bfloat16",
    )  # fmt: skip


def _t5() -> Any:
    from transformers import T5Config

    return T5Config(
        vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=32, num_layers=4, num_heads=2,
        feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=3, decoder_start_token_id=0,
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], Any]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _xlm_roberta,
    "distilbert": _distilbert,
    "deberta-v3": _deberta,
    "modernbert": _modernbert,
    "gpt2": _gpt2,
    "llama": _llama,
    "qwen3": _qwen3,
    "t5": _t5,
}
CAUSAL = ("gpt2", "llama", "qwen3")


def tiny_tokenizer(family: str) -> Any:
    """A tokenizer trained on the sentences, adding what those of the family add."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    template = {"gpt2": "", "t5": "$A [SEP]", "llama": "[CLS] $A", "qwen3": ""}.get(
        family, "[CLS] $A [SEP]"
    )
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return tokenizer


def tiny_model(family: str) -> Any:
    """The model with its head, as most are published; of random weights, the same each time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    kind: Any = AutoModelForMaskedLM
    if family in CAUSAL:
        kind = AutoModelForCausalLM
    elif family == "t5":
        kind = AutoModelForSeq2SeqLM
    torch.manual_seed(0)
    model = kind.from_config(FAMILIES[family]()).float().eval()
    for name, parameter in model.named_parameters():  # norms and biases too, so that all matter
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name.lower() else 0.0, 0.2)
    return model


def write_model(family: str, folder: Path) -> Path:
    """A folder as `save_pretrained` makes it: config, weights, tokenizer."""
    tiny_model(family).save_pretrained(folder)
    tiny_tokenizer(family).save(str(folder / "tokenizer.json"))
    return folder
