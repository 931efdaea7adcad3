"""From picture to input: the contract's resize rule, presets, and augmentations of the user's."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.contracts import InputContract, Sample
from headstart.data.augment_sheet import augmented_sheet
from headstart.data.loader import seeded_for
from headstart.data.transforms import (
    PRESETS,
    eval_transform,
    preset_description,
    shorter_side_for,
    train_transform,
)
from headstart.errors import ConfigError, DataError


def make_contract(
    height: int = 64,
    width: int = 64,
    *,
    crop_fraction: float = 0.875,
    resize: Any = "crop",
    interpolation: Any = "bicubic",
) -> InputContract:
    return InputContract(
        ("R", "G", "B"),
        height,
        width,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        crop_fraction=crop_fraction,
        resize=resize,
        interpolation=interpolation,
    )


def make_picture(width: int, height: int) -> Image.Image:
    """Blocks, waves and noise: nothing a wrong crop or filter could leave as it is."""
    rng = np.random.default_rng([width, height])
    y, x = np.mgrid[:height, :width]
    waves = 127 + 60 * np.sin(x / 7)[..., None] + 40 * np.cos(y / 9)[..., None]
    pixels = waves + rng.normal(0, 15, (height, width, 3)) + np.array([0, 20, -30])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


@pytest.mark.parametrize("size", [(200, 150), (150, 201), (90, 90), (40, 31), (320, 240), (64, 64)])
@pytest.mark.parametrize("crop_fraction", [0.875, 1.0])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_eval_equals_torchvisions_resize_then_centre_crop(
    size: tuple[int, int], crop_fraction: float, interpolation: str
) -> None:
    from torchvision.transforms import v2

    contract = make_contract(crop_fraction=crop_fraction, interpolation=interpolation)
    plain = v2.Compose(
        [
            v2.Resize(round(64 / crop_fraction), v2.InterpolationMode(interpolation)),
            v2.CenterCrop(64),
            v2.PILToTensor(),
        ]
    )
    picture = make_picture(*size)
    difference = (eval_transform(contract)(picture).float() - plain(picture).float()).abs()
    assert difference.max() <= 1  # rounding
    assert difference.mean() < 0.05


def test_a_far_larger_picture_is_within_two_grey_levels_of_the_plain_resize() -> None:
    picture = make_picture(1500, 1000)
    plain = picture.resize((109, 73), Image.Resampling.BICUBIC).crop((22, 4, 86, 68))
    difference = eval_transform(make_contract())(picture).float() - pixels_of(plain).float()
    assert difference.abs().mean() < 2


def test_squash_keeps_the_whole_picture() -> None:
    picture = make_picture(200, 90)
    plain = picture.resize((64, 64), Image.Resampling.BICUBIC)
    result = eval_transform(make_contract(resize="squash"))(picture)
    assert (result.float() - pixels_of(plain).float()).abs().max() <= 1


def test_a_contract_that_is_not_square_is_filled_without_distortion() -> None:
    contract = make_contract(48, 96, crop_fraction=1.0)
    picture = make_picture(192, 192)
    plain = picture.resize((96, 96), Image.Resampling.BICUBIC).crop((0, 24, 96, 72))
    result = eval_transform(contract)(picture)
    assert result.shape == (3, 48, 96)
    assert (result.float() - pixels_of(plain).float()).abs().max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3000, 2), (5, 7)])
@pytest.mark.parametrize("augment", list(PRESETS))
def test_any_size_becomes_the_contracts(size: tuple[int, int], augment: str) -> None:
    picture = Image.new("RGB", size, (200, 10, 30))
    for transform in (eval_transform(make_contract()), train_transform(make_contract(), augment)):
        result = transform(picture)
        assert result.shape == (3, 64, 64)
        assert result.dtype == torch.uint8
        assert result.is_contiguous()


def test_a_grey_picture_becomes_three_equal_bands() -> None:
    result = eval_transform(make_contract())(make_picture(90, 70).convert("L"))
    assert torch.equal(result[0], result[1])
    assert torch.equal(result[0], result[2])


def test_a_mode_that_would_be_rescaled_unseen_is_refused() -> None:
    with pytest.raises(ConfigError, match="mode `I;16`"):
        eval_transform(make_contract())(Image.new("I;16", (90, 90)))


def test_impossible_contracts_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"crop_fraction 1\.2"):
        eval_transform(make_contract(crop_fraction=1.2))
    bands = InputContract(("R", "G", "B", "NIR"), 64, 64, (0.5,) * 4, (0.2,) * 4)
    with pytest.raises(ConfigError, match="4 bands"):
        eval_transform(bands)


def test_eval_gives_the_same_from_many_threads() -> None:
    pictures = [make_picture(100 + i, 90) for i in range(16)]
    transform = eval_transform(make_contract())
    alone = [transform(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(transform, pictures))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_eval_needs_no_torchvision() -> None:
    code = (
        "import sys\n"
        "import headstart.data.transforms as t\n"
        "assert 'torch' not in sys.modules\n"
        "from PIL import Image\n"
        "from headstart.contracts import InputContract\n"
        "c = InputContract(('R','G','B'), 8, 8, (.5,)*3, (.5,)*3)\n"
        "t.eval_transform(c)(Image.new('RGB', (9, 9)))\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_none_equals_eval() -> None:
    picture = make_picture(120, 90)
    contract = make_contract()
    assert torch.equal(
        train_transform(contract, "none")(picture), eval_transform(contract)(picture)
    )


@pytest.mark.parametrize("augment", ["light", "medium", "heavy", "aerial"])
def test_a_preset_varies_with_the_seed_and_not_without_also_after_pickling(augment: str) -> None:
    transform = train_transform(make_contract(), augment)
    copy = pickle.loads(pickle.dumps(transform))
    picture = make_picture(120, 90)

    def view(change: Callable[[Image.Image], torch.Tensor], seed: int) -> torch.Tensor:
        with seeded_for(seed, epoch=0, index=0):
            return change(picture)

    assert torch.equal(view(transform, 1), view(copy, 1))
    assert not torch.equal(view(transform, 1), view(transform, 2))


@pytest.mark.parametrize("augment", ["light", "medium", "heavy", "aerial"])
def test_a_preset_leaves_most_of_a_plain_pictures_colour(augment: str) -> None:
    transform = train_transform(make_contract(), augment)
    picture = Image.new("RGB", (90, 90), (180, 120, 60))
    means = []
    for index in range(40):
        with seeded_for(0, epoch=0, index=index):
            means.append(transform(picture).float().mean(dim=(1, 2)))
    middle = torch.stack(means).median(dim=0).values
    assert (middle - torch.tensor([180.0, 120.0, 60.0])).abs().max() < 25


def orientation(pixels: torch.Tensor) -> tuple[int, ...]:
    """Which corner of the original each corner shows; corners were 40, 90, 140, 190."""
    red = pixels[0].float()
    corners = torch.stack([red[8, 8], red[8, -9], red[-9, 8], red[-9, -9]])
    return tuple(corners.argsort().tolist())


def quadrants() -> Image.Image:
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[:48, :48], pixels[:48, 48:], pixels[48:, :48], pixels[48:, 48:] = 40, 90, 140, 190
    return Image.fromarray(pixels)


def test_aerial_reaches_all_eight_orientations_about_equally_often() -> None:
    transform = train_transform(make_contract(), "aerial")
    counts: dict[tuple[int, ...], int] = {}
    for index in range(400):
        with seeded_for(0, epoch=0, index=index):
            found = orientation(transform(quadrants()))
        counts[found] = counts.get(found, 0) + 1
    assert len(counts) == 8
    assert min(counts.values()) > 25  # 50 expected, standard deviation 6.6


def test_a_quarter_turn_is_exact_and_the_same_for_pictures_and_tensors() -> None:
    from headstart.data.rotation import RandomRotate90

    picture = make_picture(20, 12)
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        turned = pixels_of(RandomRotate90()(picture))
        torch.manual_seed(seed)
        assert torch.equal(turned, RandomRotate90()(pixels_of(picture)))
        torch.manual_seed(seed)
        turns = int(torch.randint(4, ()))
        assert torch.equal(turned, torch.rot90(pixels_of(picture), turns, dims=(1, 2)))
        seen.add(turns)
    assert seen == {0, 1, 2, 3}


def test_boxes_are_not_left_unturned_in_silence() -> None:
    from torchvision import tv_tensors

    from headstart.data.rotation import RandomRotate90

    boxes = tv_tensors.BoundingBoxes([[0, 0, 3, 3]], format="XYXY", canvas_size=(8, 8))
    with pytest.raises(TypeError, match="BoundingBoxes"):
        RandomRotate90()(make_picture(8, 8), boxes)


def test_an_unknown_preset_is_met_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean `medium`"):
        train_transform(make_contract(), "mediun")
    with pytest.raises(ConfigError, match="no augmentation preset"):
        preset_description("strong")


def test_every_preset_of_the_options_is_there_and_described() -> None:
    from typing import get_args

    from headstart.config import Preset

    assert set(PRESETS) == set(get_args(Preset))
    assert all(preset_description(name) for name in PRESETS)


def test_what_is_no_augmentation_is_refused() -> None:
    with pytest.raises(ConfigError, match="object of type int"):
        train_transform(make_contract(), 3)  # type: ignore[arg-type]


# --- augmentations of the user's own ----------------------------------------------------------


@pytest.fixture
def albumentations(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    return pytest.importorskip("albumentations")


def test_an_albumentations_pipeline_works_and_is_seeded_with_the_sample(
    albumentations: Any,
) -> None:
    pipeline = albumentations.Compose(
        [
            albumentations.RandomCrop(48, 48),
            albumentations.HorizontalFlip(p=0.5),
            albumentations.RandomBrightnessContrast(p=1.0),
        ]
    )
    picture = make_picture(120, 90)
    views = []
    for seed in (0, 0, 1):
        transform = train_transform(make_contract(), pipeline)
        with seeded_for(seed, epoch=0, index=0):
            views.append([transform(picture), transform(picture)])
    assert views[0][0].shape == (3, 64, 64)
    assert torch.equal(views[0][0], views[1][0])
    assert torch.equal(views[0][1], views[1][1])
    assert not torch.equal(views[0][0], views[0][1])
    assert not torch.equal(views[0][0], views[2][0])


def test_an_albumentations_pipeline_that_normalises_is_refused(albumentations: Any) -> None:
    pipeline = albumentations.Compose([albumentations.Normalize()])
    transform = train_transform(make_contract(), pipeline)
    with pytest.raises(ConfigError, match="dtype float32") as caught:
        transform(make_picture(90, 90))
    assert "Leave out steps that normalise" in str(caught.value)


def test_a_callable_may_return_a_picture_an_array_or_a_tensor_of_any_size() -> None:
    picture = make_picture(120, 90)
    expected = eval_transform(make_contract())(picture)
    returns: list[Callable[[Image.Image], Any]] = [lambda p: p, np.asarray, pixels_of]
    for augment in returns:
        assert torch.equal(train_transform(make_contract(), augment)(picture), expected)


def test_a_result_of_the_right_size_is_not_resized_again() -> None:
    picture = make_picture(64, 64)
    transform = train_transform(make_contract(crop_fraction=0.5), lambda p: p)
    assert torch.equal(transform(picture), pixels_of(picture))


@pytest.mark.parametrize(
    ("result", "described"),
    [
        (None, "None"),
        ("done", "object of type str"),
        (torch.rand(3, 64, 64), r"Tensor of shape \(3, 64, 64\) and dtype torch.float32"),
        (torch.zeros(1, 64, 64, dtype=torch.uint8), r"shape \(1, 64, 64\)"),
        (np.zeros((64, 64, 4), np.uint8), r"ndarray of shape \(64, 64, 4\) and dtype uint8"),
        (np.zeros((0, 64, 3), np.uint8), r"shape \(0, 64, 3\)"),
        (Image.new("RGBA", (64, 64)), "mode RGBA, 64 x 64"),
    ],
)
def test_a_wrong_result_is_refused_and_described(result: Any, described: str) -> None:
    transform = train_transform(make_contract(), lambda _: result)
    with pytest.raises(ConfigError, match=described):
        transform(make_picture(90, 90))


# --- how large to decode, and the sheet -------------------------------------------------------


def test_the_size_to_decode_covers_the_resize_rule_and_the_smallest_crop() -> None:
    contract = make_contract(224, 224)
    assert shorter_side_for(contract) == shorter_side_for(contract, "none") == 256
    assert shorter_side_for(make_contract(224, 224, resize="squash")) == 224
    assert shorter_side_for(make_contract(48, 96, crop_fraction=1.0)) == 96
    for name, preset in PRESETS.items():
        side = shorter_side_for(contract, name)
        assert side is not None
        assert side * preset.min_scale**0.5 >= 224 or name == "none"
    assert shorter_side_for(contract, lambda picture: picture) is None


def test_the_sheet_shows_the_original_and_its_views_and_is_repeatable(tmp_path: Path) -> None:
    samples = []
    for i in range(2):
        path = tmp_path / f"{i}.png"
        make_picture(100, 80).save(path)
        samples.append(Sample(path.name, path, ("a",)))

    def draw(seed: int) -> Image.Image:
        return augmented_sheet(
            samples, contract=make_contract(), augment="light", seed=seed, num_views=3
        )

    sheet = draw(0)
    assert sheet.mode == "RGB"
    assert sheet.width > 4 * 144
    assert sheet.height > 2 * 144
    assert sheet.tobytes() == draw(0).tobytes()
    assert sheet.tobytes() != draw(1).tobytes()
    with pytest.raises(DataError, match="no samples"):
        augmented_sheet([], contract=make_contract(), augment="light", seed=0)


def test_light_keeps_real_photos_close_to_what_evaluation_sees(ants_bees: Path) -> None:
    path = sorted((ants_bees / "train" / "bees").glob("*.jpg"))[0]
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    transform, expected = train_transform(make_contract(), "light"), eval_transform(make_contract())
    with seeded_for(0, epoch=0, index=0):
        view = transform(picture).float()
    assert abs(view.mean() - expected(picture).float().mean()) < 25
