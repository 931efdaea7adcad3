"""The verb `compare` over run folders: what is refused, what is told, and the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import headstart
from headstart import cli
from headstart.contracts import BackboneSpec, InputContract
from headstart.errors import ConfigError, RunError

CLASSES = ("ants", "bees")
Write = Callable[..., Path]


def ids(start: int, stop: int) -> list[str]:
    return [f"photos/{i:03}.png" for i in range(start, stop)]


@pytest.fixture
def write_run(tmp_path: Path) -> Write:
    """Writes a finished run: which test samples it has, and which of them it answers wrong."""

    def write(
        name: str,
        tested: Sequence[str],
        *,
        wrong: Sequence[int] = (),
        trained: Sequence[str] = (),
        classes: Sequence[str] = CLASSES,
        **changes: Any,
    ) -> Path:
        path = tmp_path / name
        path.mkdir(parents=True)
        number = {id_: int(Path(id_).stem) for id_ in tested}
        truth = [CLASSES[number[id_] % 2] for id_ in tested]
        said = [CLASSES[(number[id_] + (number[id_] in wrong)) % 2] for id_ in tested]
        p = np.where(np.array([[c == s for c in classes] for s in said]), 0.8, 0.2)
        groups: Mapping[str, str] = changes.get("groups", {})
        entries = {id_: {"split": "train", "group": id_} for id_ in trained}
        entries |= {id_: {"split": "test", "group": groups.get(id_, id_)} for id_ in tested}
        files = {
            "config": {
                **{key: {} for key in ("options", "fit", "environment")},
                "choices": [],
                "data": "photos",
                "created": "2026-03-04T10:20:30",
                "strategy": changes.get("strategy", "probe"),
                "model": {
                    "backbone": BackboneSpec("timm", "resnet18", 512).to_json(),
                    "head": {},
                    "format": {},
                    "classes": list(classes),
                    "is_multilabel": False,
                    "num_parameters": 1,
                },
            },
            "dataset": {
                "root": str(tmp_path),
                "classes": list(classes),
                "counts": {},
                "findings": [],
                "reason": "",
                "num_samples": len(entries),
                "fingerprint": changes.get("fingerprint", "f" * 64),
            },
            "split": {"rule": "drawn", "reason": "", "assignment": entries},
            "input": InputContract(("R",), 8, 8, (0.5,), (0.5,)).to_json(),
            "metrics": {
                "n": len(tested),
                "metrics": {},
                "per_class": {},
                "seconds": {"total": 9.1},
            },
        }
        for stem, values in files.items():
            (path / f"{stem}.json").write_text(json.dumps(values))
        (path / "log.jsonl").write_text("")
        (path / "model.safetensors").write_bytes(b"")
        table = {"id": list(tested), "truth": changes.get("truth", truth), "prediction": said}
        rows = pa.array(p.astype(np.float32).tolist(), pa.list_(pa.float32()))
        pq.write_table(pa.table({**table, "probabilities": rows}), path / "predictions.parquet")
        return path

    return write


def test_the_better_run_is_named_with_figures(write_run: Write) -> None:
    first = write_run("first", ids(0, 200), wrong=range(30), strategy="probe")
    second = write_run("second", ids(0, 200), wrong=range(4), strategy="full")
    compared = headstart.compare([first, second])
    (found,) = compared
    assert found.verdict.startswith("second is right more often than first: +13.0 points (95% +")
    assert (found.num_only_a, found.num_only_b) == (0, 26)
    assert [run.strategy for run in compared.runs] == ["probe", "full"]
    assert [run.seconds for run in compared.runs] == [9.1, 9.1]
    assert compared.runs[0].metrics["accuracy"].value == pytest.approx(0.85)
    assert {one.id for one in compared.disagreements[0]} == set(ids(4, 30))
    assert all(one.is_gained for one in compared.disagreements[0])
    assert compared.notes == ()


def test_several_runs_are_each_compared_with_the_first(write_run: Write) -> None:
    runs = [write_run(name, ids(0, 60), wrong=range(k)) for k, name in enumerate("abcd")]
    compared = headstart.compare(runs)
    assert [(one.name_a, one.name_b) for one in compared] == [("a", "b"), ("a", "c"), ("a", "d")]


def test_only_shared_samples_are_compared_and_that_is_said(write_run: Write) -> None:
    compared = headstart.compare(
        [write_run("a", ids(0, 60), wrong=range(5)), write_run("b", ids(10, 80))]
    )
    assert compared.n == 50
    assert compared.runs[0].metrics["accuracy"].value == 1.0
    assert compared.notes[0].startswith("Only the 50 samples that all were tested on")
    assert "`a` on 60, `b` on 70" in compared.notes[0]


def test_data_that_changed_in_between_is_told(write_run: Write) -> None:
    compared = headstart.compare(
        [write_run("a", ids(0, 20)), write_run("b", ids(0, 20), fingerprint="e" * 64)]
    )
    assert "data of `b` is not, byte for byte, that of `a`" in compared.notes[0]


def test_a_run_that_learned_from_the_others_test_is_refused(write_run: Write) -> None:
    first = write_run("a", ids(0, 20), trained=ids(20, 40))
    second = write_run("b", ids(15, 35), trained=ids(0, 15))
    with pytest.raises(
        RunError, match=r"`b` learned from 15 of the 20 test samples of `a`.*--seed"
    ):
        headstart.compare([first, second])


def test_other_classes_are_refused_by_name(write_run: Write) -> None:
    first = write_run("a", ids(0, 20))
    second = write_run("b", ids(0, 20), classes=("ants", "bees", "wasps"))
    with pytest.raises(RunError, match="different classes: only `b` has `wasps`"):
        headstart.compare([first, second])


def test_classes_in_another_order_are_the_same_classes(write_run: Write) -> None:
    first = write_run("a", ids(0, 40), wrong=[1, 2])
    second = write_run("b", ids(0, 40), wrong=[1, 2], classes=CLASSES[::-1])
    (found,) = headstart.compare([first, second])
    assert {one.value for one in found.metrics.values()} == {0.0}


def test_runs_without_a_shared_test_sample_are_refused(write_run: Write) -> None:
    with pytest.raises(RunError, match="no test sample in common"):
        headstart.compare([write_run("a", ids(0, 20)), write_run("b", ids(20, 40))])


def test_relabelled_samples_are_refused(write_run: Write) -> None:
    truth = ["bees"] + [CLASSES[i % 2] for i in range(1, 20)]
    runs = [write_run("a", ids(0, 20)), write_run("b", ids(0, 20), truth=truth)]
    with pytest.raises(RunError, match="1 of 20 shared test samples have other labels"):
        headstart.compare(runs)


def test_groups_of_the_split_widen_the_interval(write_run: Write) -> None:
    groups = {id_: f"patient {i // 10}" for i, id_ in enumerate(ids(0, 100))}
    alone = headstart.compare(
        [write_run("a", ids(0, 100), wrong=range(15)), write_run("b", ids(0, 100))]
    )
    grouped = headstart.compare(
        [
            write_run("ga", ids(0, 100), wrong=range(15), groups=groups),
            write_run("gb", ids(0, 100), groups=groups),
        ]
    )
    assert "100 samples come in 10 groups" in grouped.notes[0]
    widths = [c.comparisons[0].main.high - c.comparisons[0].main.low for c in (alone, grouped)]
    assert widths[1] > 1.5 * widths[0]


def test_one_run_or_the_same_run_twice_is_refused(write_run: Write) -> None:
    run = write_run("a", ids(0, 20))
    with pytest.raises(RunError, match="1 run was given"):
        headstart.compare([run])
    with pytest.raises(RunError, match="given twice"):
        headstart.compare([run, run.parent / "." / "a"])


def test_runs_of_one_name_are_told_apart(write_run: Write) -> None:
    runs = [write_run("x/photos-1", ids(0, 20)), write_run("y/photos-1", ids(0, 20))]
    assert [run.name for run in headstart.compare(runs).runs] == ["x/photos-1", "y/photos-1"]


def test_the_command_tells_the_verdict_first(
    write_run: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run("old", ids(0, 60), wrong=range(9)), write_run("new", ids(0, 60))]
    assert cli.run(["compare", *map(str, runs)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("new is right more often than old: +15.0 points (95% ")
    for word in ("Accuracy", "85.0%", "100%", "+15.0", "better", "timm:resnet18", "9.1"):
        assert word in out


def test_the_page_draws_every_run_and_escapes_names(write_run: Write, tmp_path: Path) -> None:
    runs = [write_run(n, ids(0, 60), wrong=range(k * 6)) for k, n in enumerate(["<b>", "x", "y"])]
    page = tmp_path / "page.html"
    assert headstart.compare(runs, output=page).page == page
    text = page.read_text(encoding="utf-8")
    assert "<b>less" not in text.replace(" ", "")
    plain = unescape(text)
    assert plain.count("<svg") == 5  # each run, all differences, two of one pair, seconds
    for words in (
        "2 runs against <b>",
        "<b> is right more often than y: +20.0 points",
        "Both are right",
        "Only <b> is right: 12 pictures",
        "The picture cannot be shown.",
        "http",
    ):
        assert (words in plain) == (words != "http")


def test_a_page_that_cannot_be_written_is_told(write_run: Write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    runs = [write_run("a", ids(0, 20)), write_run("b", ids(0, 20))]
    with pytest.raises(ConfigError, match=r"Cannot write .*page\.html"):
        headstart.compare(runs, output=tmp_path / "file" / "page.html")
