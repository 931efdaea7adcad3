from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from headstart.data import seeding
from headstart.data.class_batches import ClassBatches
from headstart.errors import ConfigError, DataError

SIZES = (9, 4, 1, 6)  # samples a class


def batches_of(
    sizes: Sequence[int], *, batch_size: int = 8, num_batches: int = 20, seed: int = 0
) -> ClassBatches:
    owners = [number for number, size in enumerate(sizes) for _ in range(size)]

    def read(places: Sequence[int]) -> tuple[Tensor, Tensor]:
        return torch.tensor(places), torch.tensor([owners[i] for i in places])

    return ClassBatches(
        [f"text {i}" for i in range(len(owners))],
        classes=[[i for i, o in enumerate(owners) if o == k] for k in range(len(sizes))],
        read=read,
        batch_size=batch_size,
        num_batches=num_batches,
        seed=seed,
    )


def test_a_batch_holds_several_classes_and_of_most_of_them_several_samples() -> None:
    for batch in batches_of(SIZES).batches(0):
        assert batch.targets is not None
        counts = Counter(batch.targets.tolist())
        assert len(counts) == 4
        assert counts.pop(2) == 1  # it has no other
        assert set(counts.values()) == {2}
        assert len(set(batch.ids)) == len(batch)


def test_all_samples_of_a_class_come_before_any_comes_again() -> None:
    plan = batches_of((9, 4), batch_size=6).plan(0)
    assert all(len(places) == len(set(places)) for places in plan)
    seen = Counter(i for places in plan for i in places)
    of_class = [[seen[i] for i in range(9)], [seen[i] for i in range(9, 13)]]
    assert all(max(counts) - min(counts) <= 1 for counts in of_class)


def test_many_classes_take_turns_with_two_samples_each() -> None:
    plan = batches_of([3] * 50, batch_size=10, num_batches=10).plan(0)
    classes = [Counter(i // 3 for i in places) for places in plan]
    assert all(set(counts.values()) == {2} and len(counts) == 5 for counts in classes)
    assert {k for counts in classes for k in counts} == set(range(50))


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    assert batches_of(SIZES).plan(3) == batches_of(SIZES).plan(3)
    assert batches_of(SIZES).plan(3) != batches_of(SIZES).plan(4)
    assert batches_of(SIZES).plan(3) != batches_of(SIZES, seed=1).plan(3)


def test_what_was_seen_before_an_interruption_is_left_out() -> None:
    whole, rest = (list(batches_of(SIZES).batches(1, start=start)) for start in (0, 7))
    assert [batch.ids for batch in whole[7:]] == [batch.ids for batch in rest]


def test_a_sample_of_two_classes_is_in_a_batch_once() -> None:
    batches = ClassBatches(
        list("abcd"),
        classes=[[0, 1, 2], [1, 2, 3]],
        read=lambda places: (torch.tensor(places), torch.tensor(places)),
        batch_size=6,
        num_batches=3,
        seed=0,
    )
    assert all(sorted(places) == [0, 1, 2, 3] for places in batches.plan(0))


def test_too_small_a_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 4"):
        batches_of(SIZES, batch_size=3)


@pytest.mark.parametrize("sizes", [(2, 1), (1, 1)])
def test_of_too_few_samples_no_larger_batch_is_asked_for(sizes: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="are too few for pairs") as caught:
        batches_of(sizes, batch_size=sum(sizes))
    assert "--batch-size" not in str(caught.value)


@pytest.mark.parametrize("sizes", [(5,), (1, 1, 1, 1), (4, 0)])
def test_what_has_no_pairs_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="--strategy probe"):
        batches_of(sizes)


def test_no_two_uses_of_a_seed_draw_the_same_numbers() -> None:
    streams = [value for name, value in vars(seeding).items() if name.endswith("_STREAM")]
    assert len(streams) == len(set(streams)) == 5
