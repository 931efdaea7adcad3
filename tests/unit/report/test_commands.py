"""A told command reads the data as the one before it did."""

from __future__ import annotations

import shlex
from pathlib import Path

from headstart.config import make_options
from headstart.rank_options import make_rank_options
from headstart.report.commands import fit_command, reading_options, words_command


def test_words_alone_are_fitted_to_the_same_samples_and_labels() -> None:
    options = make_options(
        {
            "budget": "10m",
            "backbone": "minilm",
            "text_column": "body",
            "balance": "weights",
            "drop_suspects": "runs/a/suspects.csv",
        }
    )
    given = options.model_dump(include=options.model_fields_set)
    assert words_command(Path("mails.csv"), given) == (
        "headstart fit mails.csv --text-column body --balance weights "
        "--drop-suspects runs/a/suspects.csv --strategy tfidf"
    )


def test_columns_groups_and_the_seed_of_the_split_are_repeated() -> None:
    options = make_rank_options(
        {
            "text_column": ["subject", "the body"],
            "label_column": "desk",
            "group": "sender",
            "on_bad": "skip",
            "seed": 7,
        }
    )
    given = reading_options(options.model_dump(include=options.model_fields_set))
    assert fit_command("my mails.csv", given) == (
        "headstart fit 'my mails.csv' --text-column 'subject,the body' --label-column desk "
        "--group sender --on-bad skip --seed 7"
    )


def test_switches_are_typed_as_the_command_line_takes_them() -> None:
    given = {"find_lr": False, "refit": True, "bands": None}
    words = shlex.split(fit_command("photos", given))
    assert words == ["headstart", "fit", "photos", "--no-find-lr", "--refit"]
