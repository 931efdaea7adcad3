from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.contracts import Dataset, Sample, Split
from headstart.data.folds import folds
from headstart.data.splits import class_counts, random_twin, split_dataset
from headstart.errors import DataError


def make(counts: dict[str, int], split: Split | None = None) -> list[Sample]:
    return [
        Sample(f"{split or ''}{name}/{i:04}.jpg", Path(), (name,), split)
        for name, number in counts.items()
        for i in range(number)
    ]


def dataset(samples: list[Sample], *, is_multilabel: bool = False) -> Dataset:
    classes = tuple(sorted({label for s in samples for label in s.labels}))
    return Dataset(Path("photos"), "", "", "", tuple(samples), classes, is_multilabel)


def two_of_each(samples: list[Sample]) -> list[Sample]:
    return samples + [replace(s, id=f"second {s.id}", group=None) for s in samples]


def random_groups(seed: int, *, is_multilabel: bool = False) -> Dataset:
    """60 to 200 samples of 2 to 5 classes, in named groups of all sizes."""
    rng = np.random.default_rng(seed)
    number, num_classes = int(rng.integers(60, 200)), int(rng.integers(2, 6))
    owners = rng.integers(0, int(rng.integers(8, number)), size=number)
    samples = []
    for i, owner in enumerate(owners.tolist()):
        labels = {
            f"class {c}" for c in rng.integers(0, num_classes, size=2 if is_multilabel else 1)
        }
        group = f"patient {owner}" if owner % 3 else None
        samples.append(Sample(f"{i:04}.jpg", Path(), tuple(sorted(labels)), None, group))
    return dataset(samples, is_multilabel=is_multilabel)


def test_splits_are_a_fifth_and_a_fifth_of_the_rest_of_each_class() -> None:
    data = dataset(make({"cat": 100, "dog": 50}))
    plan = split_dataset(data, seed=0)
    assert plan.rule == "drawn"
    assert class_counts(data, plan.assignment) == {
        "train": {"cat": 64, "dog": 32},
        "validation": {"cat": 16, "dog": 8},
        "test": {"cat": 20, "dog": 10},
    }
    assert plan.notes == ()
    assert sorted(plan.ids("train") + plan.ids("validation") + plan.ids("test")) == sorted(
        s.id for s in data
    )


def test_the_seed_decides_and_the_order_does_not() -> None:
    samples = make({"cat": 40, "dog": 30})
    shuffled = samples.copy()
    random.Random(1).shuffle(shuffled)
    plan = split_dataset(dataset(samples), seed=3)
    assert dict(plan.assignment) == dict(split_dataset(dataset(shuffled), seed=3).assignment)
    assert dict(plan.assignment) != dict(split_dataset(dataset(samples), seed=4).assignment)


def test_three_given_splits_are_kept() -> None:
    samples = make({"a": 2, "b": 2}, "train") + make({"a": 1, "b": 1}, "validation")
    samples += make({"a": 1, "b": 1}, "test")
    plan = split_dataset(dataset(samples), seed=0)
    assert plan.rule == "as-given"
    assert all(plan.assignment[s.id] == s.split for s in samples)


@pytest.mark.parametrize("other", ["validation", "test"])
def test_one_split_beside_train_is_the_sealed_test(other: Split) -> None:
    given = make({"a": 5, "b": 5}, other)
    data = dataset(make({"a": 20, "b": 20}, "train") + given)
    plan = split_dataset(data, seed=0)
    assert plan.rule == "given-test"
    assert f"{other} is the sealed test" in plan.reason
    assert set(plan.ids("test")) == {s.id for s in given}
    assert class_counts(data, plan.assignment)["validation"] == {"a": 4, "b": 4}


def test_train_alone_is_split_like_data_without_splits() -> None:
    plan = split_dataset(dataset(make({"a": 20, "b": 20}, "train")), seed=0)
    assert plan.rule == "drawn"
    assert len(plan.ids("test")) == 8


def test_splits_without_train_are_refused() -> None:
    with pytest.raises(DataError, match="has the split test, but no train"):
        split_dataset(dataset(make({"a": 5, "b": 5}, "test")), seed=0)
    with pytest.raises(DataError, match="no labelled sample"):
        split_dataset(dataset([]), seed=0)


def test_each_class_keeps_a_sample_in_train_and_gets_one_in_test_if_it_can() -> None:
    data = dataset(make({"one": 1, "two": 2, "three": 3, "many": 100}))
    for seed in range(5):
        plan = split_dataset(data, seed=seed)
        counts = class_counts(data, plan.assignment)
        of_class = {c: tuple(counts[s][c] for s in counts) for c in data.classes}
        assert of_class == {
            "one": (1, 0, 0),
            "two": (1, 0, 1),
            "three": (1, 1, 1),
            "many": (64, 16, 20),
        }
        assert any("cannot be measured: one." in note for note in plan.notes)


def test_groups_and_equal_contents_never_straddle() -> None:
    samples = make({"a": 60, "b": 60})
    samples = [replace(s, group=f"p{i % 15}") if i % 2 else s for i, s in enumerate(samples)]
    content = {s.id: str(i // 3) for i, s in enumerate(samples)}
    plan = split_dataset(dataset(samples), seed=0, same_content=content)
    splits: dict[str, set[str]] = {}
    for sample in samples:
        for key in (f"g{sample.group}" if sample.group else sample.id, content[sample.id]):
            splits.setdefault(key, set()).add(plan.assignment[sample.id])
        assert plan.groups[sample.id]
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_whatever_the_groups_none_straddles_and_the_order_is_all_the_same(
    is_multilabel: bool,
) -> None:
    for seed in range(25):
        data = random_groups(seed, is_multilabel=is_multilabel)
        rng = np.random.default_rng(seed)
        content = {s.id: str(rng.integers(100)) for s in data if rng.random() < 0.3}
        near = {s.id: str(rng.integers(20)) for s in data if rng.random() < 0.1}
        named = {s.id: s.group for s in data if s.group is not None}
        plan = split_dataset(data, seed=seed, same_content=content, near_duplicates=near)
        for keys in (named, content, near, plan.groups):
            splits: dict[str, set[str]] = {}
            for name, key in keys.items():
                splits.setdefault(key, set()).add(plan.assignment[name])
            assert all(len(found) == 1 for found in splits.values())
        order = rng.permutation(len(data))
        shuffled = replace(data, samples=tuple(data.samples[i] for i in order))
        again = split_dataset(shuffled, seed=seed, same_content=content, near_duplicates=near)
        assert dict(again.assignment) == dict(plan.assignment)
        assert dict(again.groups) == dict(plan.groups)


def test_samples_in_too_few_groups_are_refused_with_the_way_out() -> None:
    samples = [replace(s, group="only") for s in make({"a": 5, "b": 5})]
    with pytest.raises(DataError, match=r"10 samples .* in 1 group .*`only` with 10") as caught:
        split_dataset(dataset(samples), seed=0)
    assert "--group" in str(caught.value)
    by_class = [replace(s, group=s.label) for s in make({"a": 5, "b": 4})]
    with pytest.raises(DataError, match="Each class needs one group to learn from"):
        split_dataset(dataset(by_class), seed=0)


def test_two_groups_make_train_and_test_and_what_is_unmet_is_said() -> None:
    samples = [replace(s, group=f"site {i % 2}") for i, s in enumerate(make({"a": 40, "b": 40}))]
    plan = split_dataset(dataset(samples), seed=0)
    assert len(plan.ids("train")) == len(plan.ids("test")) == 40
    assert any("too few samples (or groups of them) for a validation" in n for n in plan.notes)
    assert any("it has 20 of a instead of about 8, 20 of b instead of" in n for n in plan.notes)


def test_the_random_twin_differs_by_groups_alone() -> None:
    for seed in range(5):
        data = random_groups(seed)
        plan = split_dataset(data, seed=seed)
        twin = random_twin(plan, data, seed=seed)
        assert twin is not None
        assert class_counts(data, twin.assignment) == class_counts(data, plan.assignment)
        assert list(twin.assignment) == list(plan.assignment)
        splits: dict[str | None, set[str]] = {}
        for sample in data:
            splits.setdefault(sample.group, set()).add(twin.assignment[sample.id])
        assert any(len(found) > 1 for found in splits.values())
        shuffled = replace(data, samples=data.samples[::-1])
        again = random_twin(plan, shuffled, seed=seed)
        assert again is not None
        assert dict(again.assignment) == dict(twin.assignment)


def test_without_groups_there_is_no_twin() -> None:
    data = dataset(make({"a": 20, "b": 20}))
    assert random_twin(split_dataset(data, seed=0), data, seed=0) is None


def test_no_group_straddles_a_fold() -> None:
    for seed in range(25):
        rng = np.random.default_rng(seed)
        targets = rng.integers(0, 4, size=150)
        groups = rng.integers(0, int(rng.integers(10, 150)), size=150)
        of_sample = folds(targets, groups, num_folds=5, seed=seed)
        assert all(len(set(of_sample[groups == g])) == 1 for g in set(groups.tolist()))
        assert set(of_sample) == set(range(5))


def test_a_group_keeps_its_name_and_a_lone_sample_is_its_own() -> None:
    samples = [Sample("b.jpg", Path(), ("x",), None, "p"), Sample("a.jpg", Path(), ("y",))]
    samples.append(Sample("c.jpg", Path(), ("x",)))
    groups = split_dataset(dataset(samples), seed=0).groups
    assert dict(groups) == {"b.jpg": "p", "a.jpg": "a.jpg", "c.jpg": "c.jpg"}
    shared = split_dataset(dataset(samples), seed=0, same_content={"a.jpg": "1", "b.jpg": "1"})
    assert dict(shared.groups) == {"b.jpg": "p", "a.jpg": "p", "c.jpg": "c.jpg"}
    near = {"a.jpg": "a.jpg", "c.jpg": "a.jpg"}
    chained = split_dataset(dataset(two_of_each(samples)), seed=0, near_duplicates=near).groups
    assert chained["a.jpg"] == chained["c.jpg"] != chained["b.jpg"]


def test_few_groups_are_shared_out_as_evenly_as_they_allow() -> None:
    samples = [replace(s, group=f"patient {i // 10}") for i, s in enumerate(make({"a": 100}))]
    samples += [replace(s, group=f"other {i // 10}") for i, s in enumerate(make({"b": 100}))]
    data = dataset(samples)
    plan = split_dataset(data, seed=1)
    counts = class_counts(data, plan.assignment)
    assert counts["test"] == {"a": 20, "b": 20}
    assert counts["validation"] == {"a": 20, "b": 20}


def test_a_group_that_is_all_of_a_class_stays_in_train() -> None:
    samples = make({"a": 20, "b": 20})
    samples = [replace(s, group="all") if s.label == "b" else s for s in samples]
    data = dataset(samples)
    plan = split_dataset(data, seed=0)
    assert class_counts(data, plan.assignment)["train"]["b"] == 20
    assert any("cannot be measured: b" in note for note in plan.notes)


def test_groups_that_straddle_given_splits_are_said_and_left() -> None:
    samples = [replace(s, group="p") for s in make({"a": 2, "b": 2}, "train")]
    samples += [replace(s, group="p") for s in make({"a": 2, "b": 2}, "test")]
    samples += make({"a": 2, "b": 2}, "validation")
    plan = split_dataset(dataset(samples), seed=0)
    assert plan.assignment["traina/0000.jpg"] == "train"
    assert any("tear 1 of the groups apart" in note for note in plan.notes)


def test_several_labels_are_stratified_each() -> None:
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c", "rare"])
    samples = [
        Sample(f"{i}", Path(), tuple(names[rng.random(4) < [0.5, 0.3, 0.2, 0.02]]))
        for i in range(500)
    ]
    data = dataset(samples, is_multilabel=True)
    plan = split_dataset(data, seed=0)
    counts = class_counts(data, plan.assignment)
    for name in data.classes:
        total = sum(of_split[name] for of_split in counts.values())
        assert abs(counts["test"][name] - 0.2 * total) <= max(2, 0.05 * total)
        assert counts["train"][name]
    assert len(plan.assignment) == 500


def test_samples_without_a_label_are_left_out() -> None:
    samples = [*make({"a": 5, "b": 5}), Sample("unlabelled", Path())]
    assert "unlabelled" not in split_dataset(dataset(samples), seed=0).assignment


def test_a_very_large_test_is_capped() -> None:
    plan = split_dataset(dataset(make({"a": 40_000, "b": 40_000})), seed=0)
    assert len(plan.ids("test")) == 10_000


def test_counts_without_an_assignment_go_by_the_given_splits() -> None:
    data = dataset(make({"a": 2}, "train") + make({"b": 1}, "test"))
    assert class_counts(data) == {"train": {"a": 2, "b": 0}, "test": {"a": 0, "b": 1}}
    assert class_counts(dataset(make({"a": 2}))) == {"all": {"a": 2}}


@pytest.mark.parametrize("num_folds", [2, 5])
def test_folds_spread_each_class_evenly(num_folds: int) -> None:
    targets = np.random.default_rng(0).integers(0, 7, 1003)
    found = folds(targets, np.arange(1003), num_folds=num_folds, seed=0)
    counts = np.array([np.bincount(targets[found == i], minlength=7) for i in range(num_folds)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 2


def test_folds_keep_groups_whole_and_even() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 120, 1000)
    targets = groups % 3
    found = folds(targets, groups, num_folds=5, seed=0)
    for group in range(120):
        assert len(set(found[groups == group])) <= 1
    counts = np.array([np.bincount(targets[found == i], minlength=3) for i in range(5)])
    assert (np.ptp(counts, axis=0) <= 5).all()


def test_folds_of_several_labels_are_even() -> None:
    targets = (np.random.default_rng(2).random((800, 6)) < 0.2).astype(np.float32)
    found = folds(targets, np.arange(800), num_folds=4, seed=0)
    counts = np.array([targets[found == i].sum(axis=0) for i in range(4)])
    assert np.ptp(counts, axis=0).max() <= 4
    assert np.ptp(np.bincount(found)) <= 25


def test_folds_depend_on_the_seed_alone() -> None:
    targets = np.arange(60) % 3
    first, again, other = (folds(targets, np.arange(60), num_folds=3, seed=s) for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_small_classes_go_to_different_folds() -> None:
    targets = np.array([0] * 20 + [1, 1, 1])
    found = folds(targets, np.arange(23), num_folds=4, seed=0)
    assert max(Counter(found[20:].tolist()).values()) == 1


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="2 groups of samples cannot be put into 3 folds"):
        folds(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), num_folds=3, seed=0)


def test_why_a_class_lacks_a_split_is_told_of_drawn_ones_alone() -> None:
    given = [*make({"a": 8, "c": 1}, "train"), *make({"a": 4, "b": 1}, "test")]
    notes = split_dataset(dataset(given), seed=0).notes
    assert "1 class has no train sample and cannot be learnt: b." in notes
    assert "1 class has no test sample and cannot be measured: c." in notes
    notes = split_dataset(dataset(make({"a": 12, "c": 1})), seed=0).notes
    reason = "(a single sample or group stays in train)"
    assert f"1 class has no test sample {reason} and cannot be measured: c." in notes
