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
        "I see a fee of {sum} that nobody told me about.",
        "Is it possible to pay for {thing} in instalments?",
        "The price in the statement is not the one that I agreed to.",
        "You still owe me a refund of {sum}.",
        "I got a reminder although the transfer went out on {day}.",
        "Do you accept credit cards from abroad?",
        "What is the tax in the {sum} that you asked for?",
        "{Thing} was cheaper when I bought it, correct the sum please.",
        "Please debit another bank from now on.",
        "The voucher over {sum} was not taken into account.",
        "I need the costs split for our bookkeeping.",
    ),
    "delivery": (
        "{Thing} has still not arrived.",
        "The courier left {thing} in the rain.",
        "Where is {thing}? The tracking has not moved since {day}.",
        "The parcel came on {day}, and the box was empty.",
        "Can you bring {thing} on {day} instead?",
        "My neighbour has received {thing} that I am waiting for.",
        "It was promised for {day} and nobody rang.",
        "How many days does shipping to Norway take?",
        "The van drove past my house without stopping.",
        "Do you ship {thing} to islands, too?",
        "I moved house, please send {thing} to the new street.",
        "Nobody knows at the post office where the package is.",
        "Will {thing} get here before the holidays?",
        "Half of the parts were not in the carton.",
        "The driver threw {thing} over the fence.",
        "I am waiting at home since {day}, and no lorry in sight.",
        "Please leave {thing} with the caretaker when you come.",
        "Your message says handed over, but there is nothing at my door.",
    ),
    "return": (
        "I would like to send {thing} back.",
        "{Thing} does not fit and I want another size.",
        "How long may I keep {thing} before I give it back?",
        "{Thing} broke on {day}, please exchange it.",
        "Which label do I stick on it so that it goes back to you?",
        "I do not like the colour of {thing}; take it back, please.",
        "The shop would not accept {thing} that I brought back.",
        "I changed my mind about {thing}.",
        "{Thing} is not what the picture showed, I do not want to keep it.",
        "May I swap {thing} for a smaller one?",
        "There is a scratch on {thing}, so I want a new one.",
        "Do I need the original wrapping if I do not keep {thing}?",
        "I have worn it once and a seam came open; will you replace it?",
        "We got two by mistake and want to give one of them back.",
        "Under the guarantee I ask you to repair or replace {thing}.",
        "It wobbles, it squeaks, and I am not going to keep it.",
        "My wife already has {thing}, can this one go back?",
        "I cancel my purchase within the fourteen days.",
    ),
    "account": (
        "I cannot log in since {day}.",
        "Please delete my profile and all my data.",
        "The link to reset my password does not work.",
        "How do I change the e-mail address of my profile?",
        "Somebody else seems to use my user name.",
        "I registered on {day} and never got the code.",
        "Stop sending me your newsletter, please.",
        "Your app says that my credentials are unknown.",
        "I forgot the answer to my security question.",
        "Can two people share one login?",
        "The site throws me out after every click.",
        "My surname changed, please correct it in my settings.",
        "Was my data part of the leak that the papers write about?",
        "I do not receive the text message with the PIN.",
        "The page says that I am blocked after too many attempts.",
        "How do I turn on two-step sign-in?",
        "There are two of me in your system, please merge them.",
        "Take my phone number out of your records.",
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
# Sentences that say nothing of the matter.
_ASIDES = (
    "I have been a customer for {count} years.",
    "This is the second time I write.",
    "I know that you are busy these days.",
    "I tried to ring you on {day}.",
    "My number is {number}.",
    "",
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
