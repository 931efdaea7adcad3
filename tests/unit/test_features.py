from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from headstart import cache as cache_folders
from headstart.contracts import Batch
from headstart.features import CachedBatches, FeatureCache, extract
from headstart.progress import Progress


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Pictures:
    """Serves batches of numbers as pictures and counts what it was asked for."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def batches(self, ids: Sequence[str]) -> Iterator[Batch]:
        for start in range(0, len(ids), 4):
            part = tuple(ids[start : start + 4])
            self.read += part
            yield Batch(part, inputs=torch.tensor([[float(id_[1:])] for id_ in part]))


def run(ids: Sequence[str], pictures: Pictures, **options: object) -> dict[str, float]:
    found = extract(
        {id_: digest(id_) for id_ in ids},
        table=FeatureCache({"weights": "w"}),
        embed=lambda inputs: inputs * 10,
        batches=pictures.batches,
        progress=Progress(),
        **options,  # type: ignore[arg-type]
    )
    return {id_: float(row) for id_, row in found.features.items()}


def test_ten_pictures_added_to_a_hundred_cost_ten() -> None:
    first, second = Pictures(), Pictures()
    run([f"p{i}" for i in range(100)], first)
    found = run([f"p{i}" for i in range(110)], second)
    assert len(first.read) == 100
    assert sorted(second.read) == sorted(f"p{i}" for i in range(100, 110))
    assert found == {f"p{i}": 10.0 * i for i in range(110)}


def test_files_of_the_same_content_are_computed_once() -> None:
    pictures = Pictures()
    found = extract(
        {"p1": digest("same"), "p2": digest("same"), "p3": digest("other")},
        table=FeatureCache({"weights": "w"}),
        embed=lambda inputs: inputs,
        batches=pictures.batches,
        progress=Progress(),
    )
    assert sorted(pictures.read) == ["p1", "p3"]
    assert torch.equal(found.features["p1"], found.features["p2"])


def test_another_key_shares_nothing() -> None:
    FeatureCache({"weights": "a"}).add([digest("x")], torch.ones(1, 2))
    rows, missing = FeatureCache({"weights": "b"}).get([digest("x")])
    assert rows == {}
    assert missing == [digest("x")]


def test_a_stopped_pass_keeps_what_it_had_done() -> None:
    pictures = Pictures()
    ids = [f"p{i}" for i in range(20)]
    found = run(ids, pictures, should_stop=lambda: len(pictures.read) >= 8)
    assert len(found) == 8
    again = Pictures()
    assert len(run(ids, again)) == 20
    assert len(again.read) == 12


def test_a_pass_that_fails_keeps_what_it_had_done() -> None:
    class Failing(Pictures):
        def batches(self, ids: Sequence[str]) -> Iterator[Batch]:
            for number, batch in enumerate(super().batches(ids)):
                if number == 2:
                    raise RuntimeError("the disk went away")
                yield batch

    ids = [f"p{i}" for i in range(20)]
    with pytest.raises(RuntimeError, match="disk went away"):
        run(ids, Failing())
    again = Pictures()
    run(ids, again)
    assert len(again.read) == 12


def test_a_damaged_segment_is_computed_anew() -> None:
    run(["p1", "p2"], Pictures())
    (segment,) = FeatureCache({"weights": "w"}).folder.glob("*.safetensors")
    segment.write_bytes(b"\x00" * 40)
    again = Pictures()
    assert run(["p1", "p2"], again) == {"p1": 10.0, "p2": 20.0}
    assert again.read == ["p1", "p2"]


def test_two_processes_may_add_at_once() -> None:
    code = textwrap.dedent("""
        import hashlib, sys, torch
        from headstart.features import FeatureCache
        table = FeatureCache({"weights": "shared"})
        start = int(sys.argv[1])
        for i in range(start, start + 30):
            name = hashlib.sha256(f"p{i}".encode()).hexdigest()
            table.get([name])
            table.add([name], torch.full((1, 2), float(i)))
    """)
    processes = [subprocess.Popen([sys.executable, "-c", code, start]) for start in ("0", "15")]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    rows, missing = FeatureCache({"weights": "shared"}).get([digest(f"p{i}") for i in range(45)])
    assert missing == []
    assert all(float(rows[digest(f"p{i}")][0]) == i for i in range(45))


def test_the_cache_stays_within_its_limit_and_forgets_the_oldest_first() -> None:
    old, new = FeatureCache({"w": "old"}), FeatureCache({"w": "new"})
    old.add([digest("x")], torch.ones(1, 1000))
    new.add([digest("x")], torch.ones(1, 1000))
    (path,) = old.folder.glob("*.safetensors")
    import os

    os.utime(path, (1, 1))
    cache_folders.set_limit(5000)
    assert old.get([digest("x")])[1] == [digest("x")]
    assert new.get([digest("x")])[1] == []
    assert sum(use.num_bytes for use in cache_folders.usage()) <= 5000


def test_cached_batches_depend_on_seed_and_epoch_alone() -> None:
    views = torch.arange(2 * 7 * 1).float().view(2, 7, 1)
    ids = [f"p{i}" for i in range(7)]
    batches = CachedBatches(ids, views=views, targets=torch.arange(7), batch_size=3, seed=5)
    whole = list(batches.batches(2))
    assert [len(batch) for batch in whole] == [3, 3, 1]
    resumed = list(batches.batches(2, start=1))
    for expected, found in zip(whole[1:], resumed, strict=True):
        assert expected.ids == found.ids
        assert expected.features is not None
        assert found.features is not None
        assert torch.equal(expected.features, found.features)
    assert [b.ids for b in whole] != [b.ids for b in batches.batches(3)]
    assert sorted(i for batch in whole for i in batch.ids) == ids


def test_a_view_of_a_picture_does_not_depend_on_what_was_in_the_cache(tmp_path: Path) -> None:
    from headstart.contracts import Sample
    from headstart.data.loader import TrainLoader

    def noise(sample: Sample) -> torch.Tensor:
        return torch.rand(1, 2, 2)

    def views(names: str) -> dict[str, torch.Tensor]:
        samples = [Sample(name, tmp_path / name) for name in names]
        loader = TrainLoader(
            samples,
            prepare=noise,
            targets=[0] * len(samples),
            batch_size=2,
            num_workers=0,
            seed=3,
        )
        found = {}
        for batch in loader.batches(1):
            assert batch.inputs is not None
            found.update(zip(batch.ids, batch.inputs, strict=True))
        return found

    whole, part = views("abcdef"), views("dfa")
    assert all(torch.equal(part[name], whole[name]) for name in "adf")
    assert not torch.equal(whole["a"], whole["b"])
