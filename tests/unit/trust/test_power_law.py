from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from headstart.trust.power_law import fit_power_laws

SIZES = np.array([25.0, 50.0, 100.0, 200.0, 250.0])


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.1, 1.0, 0.5), (0.0, 0.5, 0.2)])
def test_exact_errors_give_back_their_law(floor: float, scale: float, exponent: float) -> None:
    errors = floor + scale * SIZES**-exponent
    law = fit_power_laws(SIZES, errors[None, :], spread=np.full(5, 0.01))
    assert law.floor[0] == pytest.approx(floor, abs=0.01)
    assert law.exponent[0] == pytest.approx(exponent, abs=0.03)
    assert law.error(1000)[0] == pytest.approx(floor + scale * 1000**-exponent, abs=0.003)


def test_noisy_errors_give_the_least_squares_that_scipy_finds() -> None:
    errors = 0.1 + SIZES**-0.5 + np.array([0.01, -0.012, 0.006, -0.004, 0.003])
    spread = np.array([0.02, 0.015, 0.01, 0.008, 0.008])
    law = fit_power_laws(SIZES, errors[None, :], spread=spread)

    def formula(n, a, b, c):
        return a + b * n**-c

    best, _ = curve_fit(
        formula, SIZES, errors, p0=(0.1, 1, 0.5), sigma=spread, bounds=([0, 0, 0.05], [1, 50, 1.5])
    )
    assert law.error(500)[0] == pytest.approx(formula(500, *best), abs=0.002)


def test_rows_are_fitted_as_if_alone() -> None:
    rng = np.random.default_rng(0)
    errors = 0.2 + SIZES**-0.5 + 0.02 * rng.normal(size=(20, 5))
    together = fit_power_laws(SIZES, errors, spread=np.full(5, 0.02))
    for i, row in enumerate(errors):
        alone = fit_power_laws(SIZES, row[None, :], spread=np.full(5, 0.02))
        assert alone.error(500)[0] == pytest.approx(together.error(500)[i])


@pytest.mark.parametrize(
    "errors", [[0.1, 0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4, 0.5], [0.0] * 5, [1.0] * 5]
)
def test_no_law_falls_below_zero_or_rises(errors: list[float]) -> None:
    law = fit_power_laws(SIZES, np.array([errors]), spread=np.full(5, 0.01))
    values = np.array([law.error(n)[0] for n in (1, 10, 100, 1000, 10**6)])
    assert (values >= 0).all()
    assert (values <= 1).all()
    assert (np.diff(values) <= 1e-12).all()
