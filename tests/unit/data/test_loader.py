"""Batches: in order, bounded and complete for evaluation; repeatable to the bit for training."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.contracts import Batch, Sample
from headstart.data.images import PictureError
from headstart.data.loader import TrainLoader, epoch_order, seeded_for
from headstart.data.reading_ahead import eval_batches
from headstart.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings(
    # A machine with one core: that two workers are too many for it does not matter here.
    "ignore:This DataLoader will create:UserWarning"
)


def make_samples(count: int) -> list[Sample]:
    return [Sample(f"{i:03}", Path(f"{i:03}.png")) for i in range(count)]


@dataclass(frozen=True)
class Randomly:
    """Stands for load and augment: the sample's number, and a draw of each global generator."""

    broken: tuple[str, ...] = ()
    error: type[Exception] = DataError

    def __call__(self, sample: Sample) -> Tensor:
        if sample.id in self.broken:
            error = self.error(f"`{sample.path}` cannot be read.")
            error.kind = "truncated"  # type: ignore[attr-defined]
            raise error
        draws = [float(sample.id), random.random(), np.random.rand(), torch.rand(()).item()]
        return torch.tensor(draws, dtype=torch.float64).view(1, 2, 2)


def plainly(sample: Sample) -> Tensor:
    return torch.full((3, 2, 2), int(sample.id), dtype=torch.uint8)


def reader_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("headstart-read")]


# --- evaluation -------------------------------------------------------------------------------


@pytest.mark.parametrize("num_threads", [1, 3])
def test_eval_batches_keep_the_order_and_are_full_but_the_last(num_threads: int) -> None:
    batches = list(
        eval_batches(
            make_samples(23),
            prepare=plainly,
            target=lambda sample: int(sample.id) % 5,
            batch_size=4,
            num_threads=num_threads,
        )
    )
    assert [len(b) for b in batches] == [4] * 5 + [3]
    ids = [id for batch in batches for id in batch.ids]
    assert ids == [s.id for s in make_samples(23)]
    inputs = torch.cat([b.inputs for b in batches if b.inputs is not None])
    targets = torch.cat([b.targets for b in batches if b.targets is not None])
    assert inputs[:, 0, 0, 0].tolist() == list(range(23))
    assert targets.tolist() == [i % 5 for i in range(23)]
    assert targets.dtype == torch.int64
    assert not reader_threads()


def test_vectors_become_float_targets_and_none_stays_none() -> None:
    def first(target: object) -> Batch:
        return next(
            eval_batches(
                make_samples(2),
                prepare=plainly,
                target=target,  # type: ignore[arg-type]
                batch_size=2,
                num_threads=1,
            )
        )

    with_vectors = first(lambda sample: [0.0, 1.0, 1.0]).targets
    assert with_vectors is not None
    assert with_vectors.dtype == torch.float32
    assert with_vectors.shape == (2, 3)
    assert first(None).targets is None


def test_no_samples_give_no_batches() -> None:
    batches = eval_batches([], prepare=plainly, target=None, batch_size=4, num_threads=2)
    assert list(batches) == []


def test_unreadable_samples_are_told_in_order_and_batches_refilled() -> None:
    told: list[tuple[str, str]] = []
    batches = list(
        eval_batches(
            make_samples(12),
            prepare=Randomly(broken=("001", "002", "011")),
            target=None,
            batch_size=4,
            num_threads=2,
            on_error=lambda sample, error: told.append((sample.id, str(error))),
        )
    )
    assert [id for id, _ in told] == ["001", "002", "011"]
    assert told[0][1] == "`001.png` cannot be read."
    assert [len(b) for b in batches] == [4, 4, 1]
    assert batches[0].ids == ("000", "003", "004", "005")


def test_an_unreadable_sample_is_raised_after_the_batches_before_it() -> None:
    batches = eval_batches(
        make_samples(12),
        prepare=Randomly(broken=("006",)),
        target=None,
        batch_size=4,
        num_threads=2,
    )
    assert next(batches).ids == ("000", "001", "002", "003")
    with pytest.raises(DataError, match=r"006\.png"):
        next(batches)
    assert not reader_threads()


def test_a_consumer_that_stops_early_leaves_no_threads() -> None:
    batches = eval_batches(
        make_samples(100), prepare=plainly, target=None, batch_size=4, num_threads=3
    )
    next(batches)
    assert reader_threads()
    assert isinstance(batches, Iterator)
    batches.close()  # type: ignore[attr-defined]
    assert not reader_threads()


def test_no_more_than_some_four_batches_are_read_ahead() -> None:
    begun: list[str] = []

    def counting(sample: Sample) -> Tensor:
        begun.append(sample.id)
        return plainly(sample)

    batches = eval_batches(
        make_samples(400), prepare=counting, target=None, batch_size=4, num_threads=2
    )
    for number, _ in zip(range(1, 6), batches, strict=False):
        deadline = time.monotonic() + 5
        while len(begun) < 4 * number + 16 and time.monotonic() < deadline:
            time.sleep(0.001)  # let the threads read as far as they may
        assert len(begun) == 4 * number + 16
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("batch_size", "num_threads"), [(0, 1), (1, 0)])
def test_impossible_numbers_are_refused_at_once(batch_size: int, num_threads: int) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        eval_batches(
            [], prepare=plainly, target=None, batch_size=batch_size, num_threads=num_threads
        )


# --- order and seeds --------------------------------------------------------------------------


def test_an_epochs_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    order = epoch_order(50, seed=3, epoch=2)
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() == epoch_order(50, seed=3, epoch=2).tolist()
    assert order.tolist() != epoch_order(50, seed=3, epoch=3).tolist()
    assert order.tolist() != epoch_order(50, seed=4, epoch=2).tolist()


def test_weights_balance_unequal_classes() -> None:
    targets = np.array([0] * 900 + [1] * 100)
    weights = (1 / np.bincount(targets)[targets]).tolist()
    order = epoch_order(1000, seed=0, epoch=0, weights=weights)
    assert order.shape == (1000,)
    share = targets[order].mean()
    assert 0.45 < share < 0.55  # standard deviation 0.016
    assert order.tolist() == epoch_order(1000, seed=0, epoch=0, weights=weights).tolist()


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="sampling weights"):
        epoch_order(2, seed=0, epoch=0, weights=weights)


def global_draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_global_generators_are_seeded_inside_and_restored_outside() -> None:
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = [global_draws(), global_draws()]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    found = [global_draws()]
    inside = []
    for arguments in ((0, 0), (0, 1), (1, 0), (0, 0)):
        with seeded_for(7, epoch=arguments[0], index=arguments[1]):
            inside.append(global_draws())
    with contextlib.suppress(DataError), seeded_for(7, epoch=0, index=0, repeat=1):
        inside.append(global_draws())
        raise DataError("unreadable")
    found.append(global_draws())
    assert found == expected
    assert inside[0] == inside[3]
    assert len({draw for draws in inside for draw in draws}) == 4 * 3


# --- training ---------------------------------------------------------------------------------


def make_loader(num_workers: int, *, count: int = 21, batch_size: int = 4) -> TrainLoader:
    return TrainLoader(
        make_samples(count),
        prepare=Randomly(),
        targets=[i % 3 for i in range(count)],
        batch_size=batch_size,
        num_workers=num_workers,
        seed=11,
    )


def assert_equal_batches(left: list[Batch], right: list[Batch]) -> None:
    assert [b.ids for b in left] == [b.ids for b in right]
    for a, b in zip(left, right, strict=True):
        assert a.inputs is not None
        assert b.inputs is not None
        assert a.targets is not None
        assert b.targets is not None
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)


def test_no_and_two_workers_give_the_same_and_leave_global_generators_alone() -> None:
    runs = []
    for num_workers in (0, 2):
        loader = make_loader(num_workers)
        torch.manual_seed(0)
        batches = []
        for epoch in (0, 1):
            batches += list(loader.batches(epoch))
        runs.append((batches, global_draws()[2]))
        loader.close()
    assert_equal_batches(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resume_within_an_epoch_goes_on_with_the_same_batches(num_workers: int) -> None:
    loader = make_loader(num_workers)
    whole = list(loader.batches(3))
    interrupted = loader.batches(3)
    first = [next(interrupted), next(interrupted)]
    rest = list(loader.batches(3, start=2))  # also: ends the iterator before
    assert_equal_batches(whole, first + rest)
    assert list(interrupted) == []
    assert list(loader.batches(3, start=len(loader))) == []
    loader.close()
    with pytest.raises(ConfigError, match="an epoch has"):
        loader.batches(3, start=len(loader) + 1)


def test_ids_inputs_and_targets_belong_together_and_epochs_differ() -> None:
    loader = make_loader(0)
    orders = []
    for epoch in (0, 1):
        seen = []
        for batch in loader.batches(epoch):
            assert batch.inputs is not None
            assert batch.targets is not None
            numbers = [int(id) for id in batch.ids]
            assert batch.inputs[:, 0, 0, 0].tolist() == numbers
            assert batch.targets.tolist() == [n % 3 for n in numbers]
            seen += numbers
        assert sorted(seen) == list(range(21))
        orders.append(seen)
    assert orders[0] != orders[1]


def test_batch_size_does_not_change_a_samples_augmentation() -> None:
    def rows(batch_size: int) -> dict[str, list[float]]:
        found = {}
        for batch in make_loader(0, batch_size=batch_size).batches(0):
            assert batch.inputs is not None
            found.update(zip(batch.ids, batch.inputs.flatten(1).tolist(), strict=True))
        return found

    assert rows(3) == rows(7)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (8, 4, [4, 4]),
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),  # a batch of one would break batch norm
        (3, 4, [3]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_single_left_over_sample_joins_the_batch_before(
    count: int, batch_size: int, sizes: list[int]
) -> None:
    loader = make_loader(0, count=count, batch_size=batch_size)
    assert [len(b) for b in loader.batches(0)] == sizes
    assert len(loader) == len(sizes)


def test_a_sample_drawn_again_in_an_epoch_is_augmented_anew() -> None:
    loader = TrainLoader(
        make_samples(2),
        prepare=Randomly(),
        targets=[0, 1],
        batch_size=2,
        num_workers=0,
        seed=0,
        sample_weights=[1.0, 0.0],
    )
    (batch,) = loader.batches(0)
    assert batch.ids == ("000", "000")
    assert batch.inputs is not None
    assert not torch.equal(batch.inputs[0], batch.inputs[1])


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("error", [DataError, ConfigError, PictureError])
def test_an_error_of_a_worker_arrives_as_itself_with_its_message(
    num_workers: int, error: type[Exception]
) -> None:
    loader = TrainLoader(
        make_samples(8),
        prepare=Randomly(broken=("005",), error=error),
        targets=[0] * 8,
        batch_size=2,
        num_workers=num_workers,
        seed=0,
    )
    before = set(multiprocessing.active_children())
    with pytest.raises(error) as caught:
        list(loader.batches(0))
    assert type(caught.value) is error
    assert str(caught.value) == "`005.png` cannot be read."
    assert caught.value.kind == "truncated"  # type: ignore[attr-defined]
    assert set(multiprocessing.active_children()) <= before  # without close()


def fail(sample: Sample) -> Tensor:
    raise ZeroDivisionError(sample.id)


def test_a_defect_in_a_worker_is_raised_too_and_leaves_no_workers() -> None:
    loader = TrainLoader(
        make_samples(8), prepare=fail, targets=[0] * 8, batch_size=2, num_workers=2, seed=0
    )
    before = set(multiprocessing.active_children())
    with pytest.raises(ZeroDivisionError):
        list(loader.batches(0))
    assert set(multiprocessing.active_children()) <= before


def test_close_ends_the_workers_also_in_the_middle_and_they_can_be_started_again() -> None:
    before = set(multiprocessing.active_children())
    loader = make_loader(2)
    whole = list(loader.batches(0))
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    unfinished = loader.batches(1)
    next(unfinished)
    assert set(multiprocessing.active_children()) - before == workers  # the same, still there
    loader.close()
    assert not set(multiprocessing.active_children()) - before
    assert_equal_batches(whole, list(loader.batches(0)))
    loader.close()
    assert not set(multiprocessing.active_children()) - before


def test_workers_started_anew_by_spawn_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module that a fresh interpreter can import, as a user's own is.
    (tmp_path / "own_preparation.py").write_text(
        "import torch\n"
        "def prepare(sample):\n"
        "    return torch.rand(1, 2, 2, dtype=torch.float64) + int(sample.id)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_preparation  # type: ignore[import-not-found]

    def batches(num_workers: int) -> list[Batch]:
        loader = TrainLoader(
            make_samples(6),
            prepare=own_preparation.prepare,
            targets=[0] * 6,
            batch_size=3,
            num_workers=num_workers,
            seed=0,
        )
        found = list(loader.batches(0))
        loader.close()
        return found

    method = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        spawned = batches(1)
    finally:
        multiprocessing.set_start_method(method, force=True)
    assert_equal_batches(batches(0), spawned)


def test_what_goes_to_a_worker_can_be_pickled() -> None:
    loader = make_loader(0)
    examples = pickle.loads(pickle.dumps(loader._examples))
    draws = loader._plan_of(0)[0]
    again, first = examples.__getitems__(draws), loader._examples.__getitems__(draws)
    assert torch.equal(again.inputs, first.inputs)


def test_float_vectors_stay_targets_of_their_own() -> None:
    loader = TrainLoader(
        make_samples(4),
        prepare=Randomly(),
        targets=[[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]],
        batch_size=4,
        num_workers=0,
        seed=0,
    )
    (batch,) = loader.batches(0)
    assert batch.targets is not None
    assert batch.targets.dtype == torch.float32
    assert batch.targets.shape == (4, 2)


def test_samples_without_targets_are_refused() -> None:
    with pytest.raises(DataError, match="4 training samples and 3 targets"):
        TrainLoader(
            make_samples(4),
            prepare=Randomly(),
            targets=[0, 1, 0],
            batch_size=2,
            num_workers=0,
            seed=0,
        )
    with pytest.raises(DataError, match="0 training samples"):
        make_loader(0, count=0)


# --- sizes ------------------------------------------------------------------------------------


def sized(samples: list[Sample], sizes: list[int] | None, *, batch_size: int = 4) -> TrainLoader:
    return TrainLoader(
        samples,
        prepare=plainly,
        targets=[0] * len(samples),
        batch_size=batch_size,
        num_workers=0,
        seed=0,
        sizes=sizes,
    )


def test_samples_of_about_one_size_come_together() -> None:
    samples = make_samples(64)
    sizes = [1 + 7 * (i % 16) for i in range(64)]
    of = {sample.id: size for sample, size in zip(samples, sizes, strict=True)}

    def padding(loader: TrainLoader) -> int:
        batches = [[of[id_] for id_ in batch.ids] for batch in loader.batches(0)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(sized(samples, sizes)) < 0.2 * padding(sized(samples, None))


def test_sizes_change_which_samples_meet_and_not_how_often_each_comes() -> None:
    samples = make_samples(37)
    loader = sized(samples, [i % 5 for i in range(37)], batch_size=8)
    for epoch in (0, 1):
        batches = list(loader.batches(epoch))
        assert sorted(id_ for batch in batches for id_ in batch.ids) == [s.id for s in samples]
        assert sorted(map(len, batches)) == [5, 8, 8, 8, 8]
    first = [batch.ids for batch in loader.batches(1)]
    assert [batch.ids for batch in loader.batches(1, start=2)] == first[2:]
    assert first != [batch.ids for batch in loader.batches(0)]


def test_each_sample_needs_a_size() -> None:
    with pytest.raises(DataError, match="3 samples have 2 sizes"):
        sized(make_samples(3), [1, 2])
