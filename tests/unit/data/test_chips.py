from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from headstart.contracts import IGNORE, InputContract, Legend, Sample
from headstart.data import open_dataset
from headstart.data.chips import PrepareChip, read_chip
from headstart.data.images import PictureError
from headstart.data.loader import TrainLoader
from headstart.data.reading_ahead import eval_batches
from headstart.data.seeding import seeded_for
from headstart.errors import ConfigError, DataError

LEGEND = Legend(("land", "water"), ((1,), (2,)), ignored=(9,))
PHOTO = InputContract(("R", "G", "B"), 16, 16, (0.5,) * 3, (0.25,) * 3)


def contract(*bands: str) -> InputContract:
    n = len(bands)
    return InputContract(bands, 16, 16, (0.5,) * n, (0.25,) * n, scale=1.0)


def write(path: Path, values: np.ndarray, *, bands: tuple[str, ...] = (), **profile: Any) -> Path:
    num, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=num, dtype=values.dtype,
        crs="EPSG:32632", transform=rasterio.Affine(10, 0, 500000, 0, -10, 5300000), **profile,
    ) as file:  # fmt: skip
        file.write(values)
        if bands:
            file.descriptions = bands
    return path


def pair(folder: Path, values: np.ndarray, **profile: Any) -> Sample:
    """A raster and its mask: the left half is land, the right water, the first pixel ignored."""
    path = write(folder / "a.tif", values, **profile)
    mask = np.ones(values.shape[1:], np.uint8)
    mask[:, values.shape[2] // 2 :] = 2
    mask[0, 0] = 9
    Image.fromarray(mask).save(folder / "a_mask.png")
    return Sample("a.tif", path, mask=folder / "a_mask.png")


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (3, 24, 30), np.uint8)


def test_a_chip_is_its_raw_values_and_the_class_of_each_pixel(
    tmp_path: Path, values: np.ndarray
) -> None:
    example = PrepareChip(PHOTO, LEGEND)(pair(tmp_path, values))
    assert example.inputs.dtype == torch.uint8
    assert np.array_equal(example.inputs.numpy(), values)
    assert example.target is not None
    assert example.target.dtype == torch.int64
    assert example.target[0, 0] == IGNORE
    assert example.target[5, 3] == 0
    assert example.target[5, 20] == 1


def test_bands_are_taken_by_name_not_by_place(tmp_path: Path, values: np.ndarray) -> None:
    deep = values.astype(np.uint16) * 40
    sample = pair(tmp_path, deep, bands=("B04", "B08", "B02"))
    example = PrepareChip(contract("B02", "nir"), LEGEND)(sample)
    assert example.inputs.dtype == torch.float32
    assert np.array_equal(example.inputs.numpy(), deep[[2, 1]].astype(np.float32))


def test_a_band_that_is_not_there_is_told(tmp_path: Path, values: np.ndarray) -> None:
    sample = pair(tmp_path, values, bands=("B04", "B08", "B02"))
    with pytest.raises(DataError, match=r"a\.tif` has no band `B11`; it has B04, B08, B02"):
        PrepareChip(contract("B11"), LEGEND)(sample)
    photo = tmp_path / "photo.png"
    Image.fromarray(values.transpose(1, 2, 0)).save(photo)
    with pytest.raises(DataError, match="is a photo with the bands R, G, B, but 2 are needed"):
        read_chip(photo, contract("B02", "B08"))


def test_pixels_without_data_belong_to_no_class(tmp_path: Path, values: np.ndarray) -> None:
    deep = values.astype(np.float32)
    deep[1, 3, 4] = np.nan
    deep[:, 7, 8] = -9999
    sample = pair(tmp_path, deep, nodata=-9999)
    example = PrepareChip(PHOTO, LEGEND)(sample)
    assert example.target is not None
    assert example.target[3, 4] == example.target[7, 8] == IGNORE
    assert int((example.target == IGNORE).sum()) == 3
    assert torch.isfinite(example.inputs).all()
    assert not example.inputs[:, 7, 8].any()


def test_transparent_pixels_of_a_photo_belong_to_no_class(
    tmp_path: Path, values: np.ndarray
) -> None:
    sample = pair(tmp_path, values)
    alpha = np.full(values.shape[1:], 255, np.uint8)
    alpha[10, 11] = 0
    layers = np.concatenate([values, alpha[None]]).transpose(1, 2, 0)
    Image.fromarray(layers).save(tmp_path / "a.png")
    sample = Sample("a.png", tmp_path / "a.png", mask=sample.mask)
    target = PrepareChip(PHOTO, LEGEND)(sample).target
    assert target is not None
    assert target[10, 11] == IGNORE
    assert int((target == IGNORE).sum()) == 2


def test_grey_and_unnamed_tiffs_are_photos(tmp_path: Path, values: np.ndarray) -> None:
    grey = write(tmp_path / "grey.tif", values[:1])
    assert np.array_equal(read_chip(grey, PHOTO)[0], np.repeat(values[:1], 3, axis=0))
    plain = write(tmp_path / "plain.tif", values, photometric="MINISBLACK")
    assert np.array_equal(read_chip(plain, PHOTO)[0], values)


def test_what_is_wrong_with_a_pair_is_told_with_its_file(
    tmp_path: Path, values: np.ndarray
) -> None:
    sample = pair(tmp_path, values)
    prepare = PrepareChip(PHOTO, LEGEND)
    Image.fromarray(np.ones((24, 33), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"is 30 x 24 pixels, but its mask .*wide\.png` 33 x 24"):
        prepare(Sample("a.tif", sample.path, mask=tmp_path / "wide.png"))
    (tmp_path / "cut.tif").write_bytes(sample.path.read_bytes()[:900])
    with pytest.raises(PictureError, match=r"cut\.tif"):
        prepare(Sample("cut.tif", tmp_path / "cut.tif", mask=sample.mask))
    with pytest.raises(ConfigError, match="`light`"):
        PrepareChip(PHOTO, LEGEND, "ligth")


def test_training_crops_are_a_function_of_the_seed_and_survive_pickling(
    tmp_path: Path, values: np.ndarray
) -> None:
    sample = pair(tmp_path, values)
    prepare = PrepareChip(PHOTO, LEGEND, "heavy", size=(16, 12))
    examples = []
    for one, epoch in ((prepare, 0), (pickle.loads(pickle.dumps(prepare)), 0), (prepare, 1)):
        with seeded_for(0, epoch=epoch, index=5):
            examples.append(one(sample))
    first, again, other = examples
    assert first.inputs.shape == (3, 16, 12)
    assert first.target is not None
    assert first.target.shape == (16, 12)
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.target, again.target)  # type: ignore[arg-type]
    assert not torch.equal(first.inputs, other.inputs)


def test_training_decodes_a_chip_once_and_crops_of_it_stay_what_they_were(
    tmp_path: Path, values: np.ndarray
) -> None:
    sample = pair(tmp_path, values)

    def flip_in_place(inputs: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return inputs.copy_(inputs.flip(-1)), target.copy_(target.flip(-1))

    for augment in ("aerial", flip_in_place):
        prepare = PrepareChip(PHOTO, LEGEND, augment)
        with seeded_for(0, epoch=0, index=0):
            first = prepare(sample)
        sample.path.rename(tmp_path / "away")
        with seeded_for(0, epoch=0, index=0):
            again = prepare(sample)
        assert torch.equal(first.inputs, again.inputs)
        assert first.target is not None
        assert again.target is not None
        assert torch.equal(first.target, again.target)
        assert again.target.dtype == torch.int64
        if augment == "aerial":  # sent to another process it remembers nothing
            with pytest.raises(DataError):
                pickle.loads(pickle.dumps(prepare))(sample)
        (tmp_path / "away").rename(sample.path)


def test_a_picture_without_a_mask_can_be_seen_too(tmp_path: Path, values: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", values)
    assert PrepareChip(PHOTO, LEGEND)(Sample("a.tif", path)).target is None
    cropped = PrepareChip(PHOTO, LEGEND, "aerial")(Sample("a.tif", path))
    assert cropped.inputs.shape == (3, 16, 16)
    assert cropped.target is None


# --- batches ----------------------------------------------------------------------------------


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Five pairs; the third is larger than the others."""
    found = []
    for i, side in enumerate((20, 20, 26, 20, 20)):
        folder = tmp_path / str(i)
        folder.mkdir()
        raw = np.random.default_rng(i).integers(1, 255, (3, side, side), np.uint8)
        sample = pair(folder, raw)
        found.append(Sample(f"{i}.tif", sample.path, mask=sample.mask))
    return found


def test_a_batch_never_mixes_sizes(samples: list[Sample]) -> None:
    batches = list(
        eval_batches(
            samples,
            prepare=PrepareChip(PHOTO, LEGEND),
            target=None,
            batch_size=4,
            num_threads=2,
        )
    )
    assert [len(batch) for batch in batches] == [2, 1, 2]
    assert [tuple(b.targets.shape) for b in batches if b.targets is not None] == [
        (2, 20, 20),
        (1, 26, 26),
        (2, 20, 20),
    ]
    assert [i for batch in batches for i in batch.ids] == [s.id for s in samples]


def test_training_batches_carry_masks_whatever_the_number_of_workers(
    samples: list[Sample],
) -> None:
    epochs = []
    for num_workers in (0, 2):
        loader = TrainLoader(
            samples,
            prepare=PrepareChip(PHOTO, LEGEND, "aerial"),
            targets=None,
            batch_size=2,
            num_workers=num_workers,
            seed=3,
        )
        try:
            epochs.append(list(loader.batches(1)))
        finally:
            loader.close()
    for alone, other in zip(*epochs, strict=True):
        assert alone.ids == other.ids
        assert alone.inputs is not None
        assert alone.targets is not None
        assert alone.targets.shape == (len(alone), 16, 16)
        assert alone.targets.dtype == torch.int64
        assert torch.equal(alone.inputs, other.inputs)
        assert torch.equal(alone.targets, other.targets)


def test_there_is_nothing_to_learn_from_a_sample_without_a_mask(samples: list[Sample]) -> None:
    loader = TrainLoader(
        [Sample("x", samples[0].path)],
        prepare=PrepareChip(PHOTO, LEGEND, "none"),
        targets=None,
        batch_size=2,
        num_workers=0,
        seed=0,
    )
    with pytest.raises(DataError, match="`x` has no mask"):
        next(loader.batches(0))


def test_real_chips_come_as_they_are(amazon_forest: Path) -> None:
    dataset = open_dataset(amazon_forest)
    assert dataset.legend is not None
    example = PrepareChip(PHOTO, dataset.legend)(dataset.samples[0])
    assert example.inputs.shape == (3, 512, 512)
    assert example.target is not None
    assert set(example.target.unique().tolist()) <= {0, 1}
