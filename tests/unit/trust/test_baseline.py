from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.errors import DataError
from headstart.strategies.logistic import cross_validate_logistic
from headstart.trust.baseline import num_statistics, picture_statistics


def noise(n: int, bands: int, *, seed: int = 0, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, bands, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("bands", [1, 3, 5, 13])
def test_any_number_of_bands_gives_its_statistics(bands: int) -> None:
    statistics = picture_statistics(noise(4, bands))
    assert statistics.shape == (4, num_statistics(bands))
    assert statistics.dtype == torch.float32
    assert bool(torch.isfinite(statistics).all())


def test_statistics_are_those_that_numpy_finds() -> None:
    pictures = noise(3, 3, side=56)  # small enough that all pixels are looked at
    statistics = picture_statistics(pictures).numpy()
    pixels = pictures.numpy().astype(np.float64)
    np.testing.assert_allclose(statistics[:, :3], pixels.mean(axis=(2, 3)), rtol=1e-4)
    np.testing.assert_allclose(statistics[:, 3:6], pixels.std(axis=(2, 3)), rtol=1e-4)
    grid = pixels.reshape(3, 3, 4, 14, 4, 14).mean(axis=(3, 5)).reshape(3, -1)
    np.testing.assert_allclose(statistics[:, 21:69], grid, rtol=1e-4)
    quantiles = statistics[:, 6:21].reshape(3, 3, 5)
    np.testing.assert_allclose(quantiles.mean(axis=(0, 1)), [13, 64, 128, 191, 242], atol=12)


def test_floats_in_the_same_unit_give_the_same() -> None:
    pictures = noise(2, 3)
    assert torch.equal(picture_statistics(pictures), picture_statistics(pictures.float()))


def test_a_picture_has_the_same_statistics_in_any_batch() -> None:
    pictures = noise(5, 3)
    single = torch.cat([picture_statistics(picture[None]) for picture in pictures])
    torch.testing.assert_close(picture_statistics(pictures), single)


def test_stripes_are_told_by_their_orientation() -> None:
    wave = (127 + 120 * torch.sin(torch.arange(56) / 2)).to(torch.uint8)
    standing = wave.expand(1, 1, 56, 56)
    shares = picture_statistics(torch.cat([standing, standing.mT]))[:, -9:-1]
    assert shares[0].argmax() != shares[1].argmax()
    assert bool((shares.max(dim=1).values > 0.95).all())


def test_a_picture_of_one_colour_has_no_edges_and_no_spread() -> None:
    statistics = picture_statistics(torch.full((1, 3, 224, 224), 77, dtype=torch.uint8))[0]
    assert statistics[:3].tolist() == [77.0] * 3
    assert statistics[3:6].tolist() == [0.0] * 3
    assert statistics[-9:].tolist() == [0.0] * 9


def test_a_logistic_regression_on_them_tells_colours_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 2
    pictures = noise(60, 3).float() * 0.5
    pictures[:, 0] += 60 * targets[:, None, None]
    pictures += 20 * torch.randn(60, 3, 1, 1, generator=generator)
    found = cross_validate_logistic(
        picture_statistics(pictures), targets, torch.arange(60) % 5, num_classes=2
    )
    assert max(found.accuracy) > 0.9


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 3, 3, 64)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="at least 4 x 4"):
        picture_statistics(torch.zeros(shape))
