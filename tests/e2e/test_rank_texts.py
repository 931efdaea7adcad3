"""`headstart rank` on texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.progress import Event, Progress

pytest.importorskip("transformers", reason="needs the extra `text`")

from tiny_language_models import write_model


class Reading:
    """Counts the texts that go through a backbone."""

    num = 0

    def handle(self, event: Event) -> None:
        if event.kind == "end" and event.message == "reading texts":
            self.num += event.values["done"]


def test_long_texts_are_read_in_a_race_as_in_a_fit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = (["good", "fine", "stirring"], ["horror", "soap", "beast"])
    texts = [[*rng.choice(words[i % 2], 40), *rng.integers(0, 10**6, 20)] for i in range(40)]
    lines = [f"{' '.join(map(str, text))},{'ab'[i % 2]}" for i, text in enumerate(texts)]
    table = tmp_path / "mails.csv"
    table.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    bert = str(write_model("bert", tmp_path / "bert"))
    race, fit = Reading(), Reading()
    hs.rank(table, backbones=[bert], progress=Progress([race]))
    run = hs.fit(
        table,
        backbone=bert,
        strategy="probe",
        output=tmp_path / "run",
        progress=Progress([fit]),
    )
    assert run.load().contract.long == "windows"
    assert race.num + fit.num == 40  # the fit reads what the race left out: the test
