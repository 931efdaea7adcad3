"""Where each `auto` of a fit of texts is settled, once, with its reason; see `settle`."""

from __future__ import annotations

import math
from typing import Any

from headstart.config import FitOptions
from headstart.fitting.settle import GRADIENT_STRATEGIES, MONITOR, Choice, DataSize, balance_for

# How many texts a training should look at in all, and the bounds of epochs. On TREC (5,452 short
# questions) full reached 0.942 in one epoch, 0.962 in two, and no more than 0.964 in four.
_TEXTS = {
    "head": (20_000, 10, 60),
    "gradual": (20_000, 5, 15),  # of the head alone, and with each of four stages
    "full": (20_000, 3, 10),
    "lora": (20_000, 3, 10),
    "scratch": (40_000, 10, 60),
}
# Rates of AdamW. Of 2e-5 and 1e-4, the lower is what BERT was tuned with (Devlin et al. 2019,
# section A.3), and the higher what smaller encoders bear: TREC above.
_LEARNING_RATES = {
    "head": (3e-3, "a new linear head on pooled features learns fast and cannot spoil them"),
    "gradual": (1e-4, "the head's rate; each group of layers below learns slower"),
    "full": (1e-4, "the head starts from the probe, so that little is left to move"),
    "lora": (5e-4, "low-rank changes start at nothing, and bear higher rates than weights"),
    "contrastive": (3e-4, "few steps are to go as far as many small ones"),
    "scratch": (3e-4, "random weights have far to go"),
}
# Of Howard and Ruder 2018 (ULMFiT, section 3.2) 1/2.6 suits three layers; of transformers with
# many, 0.9 is what Clark et al. 2020 (ELECTRA, table 7) and most after them take at the least.
_LAYER_DECAY = 0.9
# Where classes are unequal, their loss is weighed by the root of what would make them count alike.
# On TREC (largest class 14 times the smallest) no weights, roots and full ones gave a probe macro
# F1 of 0.935, 0.920, 0.904 on the test, and 0.829, 0.846, 0.845 learnt from 600 questions; words
# alone 0.886, 0.876, 0.744, and full weights cost them 0.11 of accuracy.
_BATCH_SIZE, _GPU_BATCH_SIZE = 32, 64
# Contrastive tuning. Each of 12 batches of 24 has all pairs of 24 texts, 3,312 in all: with 8 texts
# a class it brought MiniLM from 0.52 to 0.82 on TREC (two draws), as 10 batches of 48 did (0.81) at
# more cost. With 32 a class TREC gained from more (0.89, and 0.92 after 32 batches, four passes),
# while SST-2 had no use for them (0.77 after 12, 0.75 after 32; two draws). Rates of 2e-4 and 3e-4
# did as well, 1e-4 less well (0.73 instead of 0.83 on one draw of TREC), and 5e-4 worse.
_PAIRS_BATCH_SIZE, _PAIRS_STEPS, _PAIRS_EPOCHS = 24, 12, 4
# Texts a class, on average, up to which these count as few.
FEW_A_CLASS = 64
# Of contrastive tuning, unless epochs were asked for.
MOST_STEPS = 100


def settle_texts(
    options: FitOptions, *, strategy: str, size: DataSize, device_type: str
) -> list[Choice]:
    """All other autos, in the order in which they are told.

    Args:
        options: As the user gave them.
        strategy: Its name.
        size: What there is to learn from.
        device_type: `cpu`, `cuda`, ...
    """
    choices: list[Choice] = []

    def settle(name: str, value: Any, reason: str) -> None:
        if getattr(options, name) is None:
            choices.append(Choice(name, value, reason))

    balance, why = balance_for(size.class_counts)
    settle("balance", "root-weights" if balance == "weights" else balance, why)
    settle("augment", "none", "no change of a text is sure to leave its meaning")
    settle("views", 0, "each text is seen as it is")
    if strategy not in GRADIENT_STRATEGIES:
        return choices
    if strategy == "contrastive":
        for name, value, reason in _for_pairs(size.num_train):
            settle(name, value, reason)
        return choices
    usual = _BATCH_SIZE if device_type == "cpu" else _GPU_BATCH_SIZE
    settle("batch_size", max(2, min(usual, size.num_train // 8)), "at least 8 steps an epoch")
    texts, least, most = _TEXTS[strategy]
    epochs = min(max(math.ceil(texts / max(size.num_train, 1)), least), most)
    seen = f"{epochs * size.num_train:,}"
    settle("epochs", epochs, f"{strategy} on {size.num_train} training texts: {seen} are read")
    settle("lr", *_LEARNING_RATES[strategy])
    settle("monitor", *MONITOR)
    if strategy in ("full", "gradual"):
        why = "each block learns a little slower than the one above it"
        settle("layer_decay", _LAYER_DECAY, why)
    settle("warmup", 0.1, "transformers are easily thrown off by their first steps")
    if options.schedule in ("plateau", "constant"):
        settle("patience", 6, f"the schedule {options.schedule} has no end of its own")
    settle("workers", 0, "texts are in memory, and tokenised in no time")
    return choices


def _for_pairs(num_train: int) -> list[tuple[str, Any, str]]:
    """Name, value and reason of each."""
    batch_size = max(4, min(_PAIRS_BATCH_SIZE, num_train))
    epochs = max(math.ceil(_PAIRS_STEPS * batch_size / max(num_train, 1)), _PAIRS_EPOCHS)
    return [
        ("batch_size", batch_size, "all pairs of a batch are learnt from"),
        ("epochs", epochs, f"of {num_train:,} training texts, in at most {MOST_STEPS} steps"),
        ("lr", *_LEARNING_RATES["contrastive"]),
        ("layer_decay", _LAYER_DECAY, "each block learns a little slower than the one above it"),
        ("warmup", 0.1, "transformers are easily thrown off by their first steps"),
        ("workers", 0, "texts are in memory, and tokenised in no time"),
    ]
