from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.contracts import Dataset, Sample, Split
from headstart.data.leaks import LeakedSample, leak_findings, leaked, near_duplicate_findings
from headstart.data.near_duplicates import NearDuplicates, NearPair
from headstart.data.splits import split_dataset


def sample(name: str, split: Split | None, *, label: str = "a", group: str | None = None) -> Sample:
    return Sample(name, Path(), (label,), split, group)


def given(*extra: Sample) -> Dataset:
    """Ready-made splits with samples of two classes in each, and some more."""
    samples = [
        sample(f"{split} {label} {i}", split, label=label)
        for split in ("train", "validation", "test")
        for label in ("a", "b")
        for i in range(3)
    ]
    return Dataset(Path("photos"), "", "", "", (*samples, *extra), ("a", "b"))


def leaks_of(
    dataset: Dataset, content: dict[str, str] | None = None, near: NearDuplicates | None = None
) -> tuple[LeakedSample, ...]:
    group_of = near.group_of if near else None
    plan = split_dataset(dataset, seed=0, same_content=content, near_duplicates=group_of)
    return leaked(plan, dataset, same_content=content or {}, near=near)


def near_duplicates(*pairs: tuple[str, str, float]) -> NearDuplicates:
    members = sorted({name for pair in pairs for name in pair[:2]})
    return NearDuplicates(tuple(NearPair(*p) for p in pairs), dict.fromkeys(members, members[0]))


def test_sound_splits_have_no_leak() -> None:
    assert leaks_of(given()) == ()
    inside = near_duplicates(("test a 0", "test a 1", 0.99))
    assert leaks_of(given(), near=inside) == ()


def test_a_copied_text_is_no_copied_file() -> None:
    dataset = replace(given(), task="text-classification")
    content = {s.id: s.id for s in dataset} | {"test a 0": "same", "train a 0": "same"}
    assert [leak.why for leak in leaks_of(dataset, content)] == ["same text"]


def test_each_leak_is_listed_with_its_partner_and_the_strongest_reason() -> None:
    dataset = given(
        sample("train p", "train", group="patient 3"),
        sample("test p", "test", group="patient 3"),
        sample("test q", "test", group="patient 4"),
    )
    content = {s.id: s.id for s in dataset} | {"test a 0": "same", "train a 0": "same"}
    near = near_duplicates(("test a 0", "train a 2", 0.99), ("test b 1", "train b 1", 0.956))
    assert leaks_of(dataset, content, near) == (
        LeakedSample("test a 0", "same-file", "train a 0", "train", "same file"),
        LeakedSample("test b 1", "near-duplicate", "train b 1", "train", "near-duplicate 0.96"),
        LeakedSample("test p", "group", "train p", "train", "group patient 3"),
    )


def test_a_copy_of_a_near_duplicate_is_a_near_duplicate() -> None:
    dataset = given()
    content = {s.id: s.id for s in dataset} | {"test a 2": "one", "test a 1": "one"}
    content |= {"train b 0": "two", "train b 1": "two"}
    near = replace(
        near_duplicates(("test a 1", "train b 0", 0.97)),
        group_of=dict.fromkeys(["test a 1", "test a 2", "train b 0", "train b 1"], "test a 1"),
    )
    found = leaks_of(dataset, content, near)
    assert [(leak.id, leak.partner, leak.kind) for leak in found] == [
        ("test a 1", "train b 0", "near-duplicate"),
        ("test a 2", "train b 0", "near-duplicate"),
    ]


def test_train_is_named_before_validation_and_chains_are_leaks_too() -> None:
    near = near_duplicates(
        ("test a 0", "validation a 0", 0.99),
        ("test a 0", "train a 1", 0.95),
        ("test a 0", "test a 2", 0.94),
    )
    found = leaks_of(given(), near=near)
    assert found[0] == LeakedSample(
        "test a 0", "near-duplicate", "train a 1", "train", "near-duplicate 0.95"
    )
    assert (found[1].id, found[1].kind, found[1].partner_split) == ("test a 2", "group", "train")
    assert "chain" in found[1].why


def test_a_near_duplicate_in_validation_is_a_leak() -> None:
    near = near_duplicates(("test b 0", "validation b 2", 0.98))
    (leak,) = leaks_of(given(), near=near)
    assert (leak.partner, leak.partner_split) == ("validation b 2", "validation")


def test_splits_that_headstart_draws_never_leak() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        samples = tuple(
            Sample(f"{i:03}", Path(), ("ab"[i % 2],), None, f"g{rng.integers(60)}")
            for i in range(100)
        )
        dataset = Dataset(Path("photos"), "", "", "", samples, ("a", "b"))
        drawn = rng.integers(100, size=(8, 2)).tolist()
        pairs = [(f"{i:03}", f"{j:03}", 0.99) for i, j in drawn]
        near = NearDuplicates(
            tuple(NearPair(*pair) for pair in pairs),
            {name: str(k) for k, pair in enumerate(pairs) for name in pair[:2]},
        )
        content = {s.id: str(rng.integers(500)) for s in samples}
        plan = split_dataset(
            dataset, seed=seed, same_content=content, near_duplicates=near.group_of
        )
        assert leaked(plan, dataset, same_content=content, near=near) == ()


def test_findings_say_what_leaks_and_how_to_mend_it() -> None:
    leaks = (
        LeakedSample("t1", "near-duplicate", "r1", "train", "near-duplicate 0.97"),
        LeakedSample("t2", "near-duplicate", "r1", "train", "near-duplicate 0.96"),
        LeakedSample("t3", "group", "r3", "validation", "group patient 3"),
        LeakedSample("t4", "same-file", "r4", "train", "same file"),
    )
    near, grouped = leak_findings(leaks)
    assert (near.kind, near.severity, near.ids) == (
        *("leaked-near-duplicate", "warning"),
        ("t1", "r1", "t2"),
    )
    assert near.message.startswith("2 pictures of the test with a near-duplicate in train")
    assert "to have Headstart split" in near.remedy
    assert (grouped.kind, grouped.ids) == ("leaked-group", ("t3", "r3"))
    assert "(group patient 3)" in grouped.message
    assert list(leak_findings(())) == []


def test_near_duplicates_of_other_labels_are_a_finding_of_their_own() -> None:
    near = near_duplicates(("test a 0", "test a 1", 0.99), ("test a 0", "test b 0", 0.98))
    found = {f.kind: f for f in near_duplicate_findings(given(), near)}
    assert found["near-duplicate"].ids == ("test a 0", "test a 1", "test b 0")
    assert "3 pictures in 1 group" in found["near-duplicate"].message
    assert found["conflicting-near-duplicates"].ids == ("test a 0", "test b 0")
    assert list(near_duplicate_findings(given(), NearDuplicates())) == []
