"""A fit finds out in which unit 16-bit pictures are stored, and its model goes by that for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.contracts import Sample
from headstart.errors import DataError

Fit = Callable[..., Any]
NUM_EACH = 8


def noise(path: Path, *, most: int, seed: int) -> None:
    """Noise of 16 bits with values up to `most`."""
    values = np.random.default_rng(seed).integers(0, most + 1, (24, 24))
    values[0, 0] = most
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16)).save(path)


def plain(path: Path, value: int) -> Path:
    """16 bits, of one value, which resizing does not change."""
    Image.fromarray(np.full((24, 24), value, np.uint16)).save(path)
    return path


@pytest.fixture
def draw_grey(tmp_path: Path) -> Callable[[Sequence[int]], Path]:
    """Two classes of 16-bit pictures: `draw_grey([most, ...])`, the largest values in turn."""

    def draw(mosts: Sequence[int]) -> Path:
        for number, label in enumerate("ab"):
            for i in range(NUM_EACH):
                path = tmp_path / "grey" / label / f"{i}.png"
                noise(path, most=mosts[i % len(mosts)] // (1 + number), seed=10 * number + i)
        return tmp_path / "grey"

    return draw


def brightest(model: hs.FittedModel, path: Path) -> int:
    """The largest raw value of a picture, as the model is given it."""
    (batch,) = model.predictor.batches([Sample(path.name, path)])
    assert batch.inputs is not None
    return int(batch.inputs.max())


def test_one_dark_picture_is_predicted_in_the_unit_of_the_fit(
    fit: Fit, draw_grey: Callable[[Sequence[int]], Path], tmp_path: Path
) -> None:
    run = fit(draw_grey([60_000, 65_535, 200]), strategy="probe")
    assert run.read("input.json")["sixteen_bit_divisor"] == 257
    model = hs.load(run.path)
    assert brightest(model, plain(tmp_path / "dark.png", 250)) == 1
    assert brightest(model, plain(tmp_path / "deep.png", 65_535)) == 255
    assert len(model.predict([tmp_path / "dark.png"])) == 1


def test_values_of_eight_bits_in_sixteen_are_kept_in_fit_and_prediction(
    fit: Fit, draw_grey: Callable[[Sequence[int]], Path], tmp_path: Path
) -> None:
    run = fit(draw_grey([200, 255]), strategy="probe")
    assert run.read("input.json")["sixteen_bit_divisor"] == 1
    kinds = {finding["kind"] for finding in run.read("dataset.json")["findings"]}
    assert "sixteen-bit" in kinds
    assert not kinds & {"unused-bits", "no-contrast", "unit-range"}
    model = hs.load(run.path)
    assert brightest(model, plain(tmp_path / "dark.png", 100)) == 100
    with pytest.raises(DataError, match="fitted on end at 255"):
        model.predict([plain(tmp_path / "deep.png", 40_000)])


def test_the_control_reads_what_the_model_reads(
    fit: Fit,
    draw_grey: Callable[[Sequence[int]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headstart.backbones import load_backbone
    from headstart.fitting import choosing
    from headstart.fitting.attempt import Attempt

    divisors: dict[str, int] = {}
    make = Attempt.__init__

    def spy(attempt: Attempt, strategy: str, *rest: Any, **named: Any) -> None:
        make(attempt, strategy, *rest, **named)
        divisors[strategy] = attempt.backbone.contract.sixteen_bit_divisor

    monkeypatch.setattr(Attempt, "__init__", spy)

    def as_if_pretrained(unit: str, reference: str, **options: Any) -> Any:
        found = load_backbone(reference, weights="random", progress=options["progress"])
        return replace(found, spec=replace(found.spec, weights="as if fetched"))

    monkeypatch.setattr(choosing, "load_backbone_for", as_if_pretrained)
    fit(draw_grey([200, 255]), strategy="probe", weights=None, control="scratch", batch_size=4)
    assert divisors == {"probe": 1, "scratch": 1}
