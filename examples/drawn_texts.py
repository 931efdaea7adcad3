"""Short e-mails made up for the example notebooks, so that they run anywhere and download nothing.

A table of what customers of a shop might write: about their bill, a delivery, a return, or their
account. Set EXAMPLE_TEXTS to a table of your own with the columns text and label, and the notebooks
use that instead.
"""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# What a mail is about. Each is said in one sentence of its kind.
MATTERS = {
    "bill": (
        "I was charged twice for {thing}.",
        "The invoice for {thing} shows the wrong amount.",
        "Could you send me a receipt for {thing}?",
        "The discount is missing from what I paid for {thing}.",
        "Why did you take {sum} from my card?",
        "My bank says that your payment request of {sum} is not valid.",
        "Please tell me when the {sum} for {thing} will be booked.",
    ),
    "delivery": (
        "{Thing} has still not arrived.",
        "The courier left {thing} in the rain.",
        "Where is {thing}? The tracking has not moved since {day}.",
        "The parcel came on {day}, and the box was empty.",
        "Can you bring {thing} on {day} instead?",
        "My neighbour has received {thing} that I am waiting for.",
        "It was promised for {day} and nobody rang.",
    ),
    "return": (
        "I would like to send {thing} back.",
        "{Thing} does not fit and I want another size.",
        "How long may I keep {thing} before I give it back?",
        "{Thing} broke on {day}, please exchange it.",
        "Which label do I stick on the parcel to you?",
        "I do not like the colour of {thing}; take it back, please.",
        "The shop would not accept {thing} that I brought back.",
    ),
    "account": (
        "I cannot log in since {day}.",
        "Please delete my profile and all my data.",
        "The link to reset my password does not work.",
        "How do I change the e-mail address of my profile?",
        "Somebody else seems to use my user name.",
        "I registered on {day} and never got the code.",
        "Stop sending me your newsletter, please.",
    ),
}
_THINGS = (
    "the lamp",
    "the blue jacket",
    "the coffee machine",
    "my order",
    "the kettle",
    "the bike",
)
_THINGS += ("the desk", "the running shoes", "the phone case", "the tent", "the second chair")
_DAYS = ("Monday", "Tuesday", "Thursday", "Saturday", "last week", "the 3rd", "yesterday")
_SUMS = ("19.90", "240 euros", "59.99", "12 pounds", "1,050 dollars")
_GREETINGS = ("Hello,", "Hi there,", "Dear team,", "Good morning!", "", "To whom it may concern:")
_ENDS = (
    "Thank you.",
    "Kind regards",
    "I hope to hear from you soon.",
    "Best, {name}",
    "",
    "Thanks!",
)
_NAMES = ("Amara", "Jonas", "Mei", "Olu", "Carla", "Priya", "Tom", "Yusuf")
# Sentences that say nothing, and some that mention another matter in passing.
_ASIDES = (
    "I have been a customer for {count} years.",
    "This is the second time I write.",
    "I know that you are busy these days.",
    "I paid at once, so this is not about the bill.",
    "The delivery itself was quick.",
    "I can log in, that is not the trouble.",
    "I do not want to return anything.",
    "My number is {number}.",
    "",
    "",
)
# One mail in so many is filed under a wrong label, as happens where people do it by hand.
_WRONG_ONE_IN = 40


def mail(about: str, rng: np.random.Generator) -> str:
    """One e-mail about one of MATTERS, in one line."""

    def one(of: tuple[str, ...]) -> str:
        return of[rng.integers(len(of))]

    said = " ".join([one(_GREETINGS), one(_ASIDES), one(MATTERS[about]), one(_ASIDES), one(_ENDS)])
    thing = one(_THINGS)
    filled = said.format(
        thing=thing,
        Thing=thing[0].upper() + thing[1:],
        day=one(_DAYS),
        sum=one(_SUMS),
        name=one(_NAMES),
        count=rng.integers(2, 20),
        number=rng.integers(10_000, 99_999),
    )
    return " ".join(filled.split())


def mails(*, count: int, folder: Path | None = None) -> Path:
    """A table of `count` e-mails of each matter; or your own table, EXAMPLE_TEXTS."""
    own = os.environ.get("EXAMPLE_TEXTS")
    if own:
        return Path(own).expanduser().resolve()
    root = folder or Path(tempfile.mkdtemp())
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count * len(MATTERS)):
        about = list(MATTERS)[i % len(MATTERS)]
        is_wrong = rng.random() < 1 / _WRONG_ONE_IN
        rows.append((mail(about, rng), str(rng.choice(list(MATTERS))) if is_wrong else about))
    with (root / "mails.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return root / "mails.csv"


def untrained_model(folder: Path, *, words: Path) -> Path:
    """A folder with a small BERT that has learnt nothing, and a tokenizer made for a table.

    It stands in where no pretrained model can be had: everything runs with it, and nothing is good.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel

    tokenizer: Any = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=800, special_tokens=special, show_progress=False)
    tokenizer.train([str(words)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
