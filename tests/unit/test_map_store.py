"""Maps that are kept to learn from, and crops of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headstart.contracts import Batch
from headstart.map_shape import MapShape
from headstart.map_store import MapBatches, MapStore, StoredMaps

SHAPE = MapShape((1, 2), (2, 4))


@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_read_back_as_they_were_added(
    is_file: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    store = MapStore(tmp_path / "room" / "maps.bin" if is_file else None, dtype)
    rows = [torch.randn(n) for n in (5, 1, 8)]
    for row in rows:
        passed = row.clone()
        store.add(passed)
        passed += 1  # what is kept is a copy
    found = store.rows()
    assert len(found) == 3
    for row, kept in zip(rows, found, strict=True):
        assert kept.dtype == dtype
        assert torch.equal(kept, row.to(dtype))


def stored(number: int, *, height: int = 16, width: int = 24) -> StoredMaps:
    """Maps and a target that tell where each pixel was: the row in one, the column in the other."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    fine = (rows[::2, ::2] * 100 + columns[::2, ::2])[None, None].float()
    coarse = torch.stack([rows[::4, ::4], columns[::4, ::4]])[None].float()
    target = (rows * 100 + columns).to(torch.int16)
    return StoredMaps(f"{number}", SHAPE.flat([fine, coarse])[0], target, (height, width))


def batches_of(num: int = 3, *, batch_size: int = 4, repeats: int = 3) -> MapBatches:
    return MapBatches(
        [[[stored(i)], [stored(i)]] for i in range(num)],
        shape=SHAPE,
        side=8,
        divisor=4,
        batch_size=batch_size,
        repeats=repeats,
        seed=0,
    )


def test_crops_of_all_maps_and_of_the_mask_are_of_one_place() -> None:
    places = set()
    for epoch in range(5):
        for batch in batches_of().batches(epoch):
            assert batch.features is not None
            assert batch.targets is not None
            fine, coarse = SHAPE.maps(batch.features, 8, 8)
            assert torch.equal(fine[:, 0].long(), batch.targets[:, ::2, ::2])
            assert torch.equal(
                (coarse[:, 0] * 100 + coarse[:, 1]).long(), batch.targets[:, ::4, ::4]
            )
            places |= {int(target[0, 0]) for target in batch.targets}
    assert places == {100 * top + left for top in (0, 4, 8) for left in (0, 4, 8, 12, 16)}


def test_no_crop_reaches_beyond_the_mask_into_what_its_maps_were_enlarged_by() -> None:
    whole = stored(0)
    window = StoredMaps("0", whole.row, whole.target[:14, :21], whole.padded)
    batches = MapBatches(
        [[[window]]], shape=SHAPE, side=8, divisor=4, batch_size=30, repeats=30, seed=0
    )
    (batch,) = batches.batches(0)
    assert batch.targets is not None
    assert batch.targets.shape == (30, 8, 8)
    tops, lefts = batch.targets[:, 0, 0] // 100, batch.targets[:, 0, 0] % 100
    assert set(tops.tolist()) == {0, 4}
    assert set(lefts.tolist()) == {0, 4, 8, 12}


def test_an_epoch_is_a_function_of_its_number() -> None:
    def told(batch: Batch) -> tuple[tuple[str, ...], list[float]]:
        assert batch.features is not None
        return batch.ids, batch.features.flatten().tolist()

    whole = [told(batch) for batch in batches_of().batches(1)]
    assert whole == [told(batch) for batch in batches_of().batches(1)]
    assert whole[1:] == [told(batch) for batch in batches_of().batches(1, start=1)]
    assert whole != [told(batch) for batch in batches_of().batches(2)]


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4]), (5, [5, 4]), (9, [9]), (20, [9])])
def test_each_chip_comes_as_often_but_for_a_last_crop_alone(
    batch_size: int, sizes: list[int]
) -> None:
    batches = batches_of(batch_size=batch_size)
    found = list(batches.batches(0))
    assert len(batches) == len(found)
    assert [len(batch) for batch in found] == sizes
    if sum(sizes) == 9:
        names = [id_ for batch in found for id_ in batch.ids]
        assert sorted(names) == ["0"] * 3 + ["1"] * 3 + ["2"] * 3
