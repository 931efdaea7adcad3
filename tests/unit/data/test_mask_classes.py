from __future__ import annotations

from pathlib import Path

import pytest

from headstart.contracts import Dataset, Finding, Legend, Sample, Split
from headstart.data.mask_checks import MaskFacts
from headstart.data.mask_classes import mask_class_findings, pixel_counts, unlearnt_findings

NAMES = ("land", "water", "city")


def masks(*pixels: tuple[int, ...]) -> tuple[Dataset, dict[str, MaskFacts]]:
    """One sample a tuple: how many pixels of each class its mask has."""
    splits: tuple[Split, Split] = ("train", "test")
    samples = tuple(
        Sample(
            str(i), Path(str(i)), tuple(n for n, p in zip(NAMES, of, strict=True) if p),
            splits[i % 2], mask=Path("m"),
        )
        for i, of in enumerate(pixels)
    )  # fmt: skip
    legend = Legend(NAMES, ((0,), (1,), (2,)))
    dataset = Dataset(
        Path(), "masks", "", "semantic-segmentation", samples, NAMES,
        is_multilabel=True, legend=legend,
    )  # fmt: skip
    facts = {str(i): MaskFacts(10, 10, of, 0, str(i)) for i, of in enumerate(pixels)}
    return dataset, facts


def find(*pixels: tuple[int, ...]) -> dict[str, Finding]:
    return {finding.kind: finding for finding in mask_class_findings(*masks(*pixels))}


def test_classes_are_counted_by_pixels_in_each_split() -> None:
    dataset, facts = masks((60, 40, 0), (10, 0, 90), (5, 5, 90))
    assert pixel_counts(dataset, facts) == {
        "train": {"land": 65, "water": 45, "city": 90},
        "test": {"land": 10, "water": 0, "city": 90},
    }
    drawn: dict[str, Split] = {"0": "validation", "1": "validation"}
    counts = pixel_counts(dataset, facts, drawn)
    assert counts["validation"] == {"land": 70, "water": 40, "city": 90}
    assert counts["all"]["city"] == 90


def test_even_classes_are_no_finding_however_few_pictures_there_are() -> None:
    assert find((50, 30, 20), (20, 50, 30)) == {}


def test_a_class_without_a_pixel_is_told() -> None:
    found = find((60, 40, 0), (40, 60, 0))
    assert list(found) == ["no-class"]
    assert "1 of 3 classes without a pixel in any mask: city" in found["no-class"].message


def test_a_class_in_one_mask_only_is_told_with_the_mask() -> None:
    found = find((50, 50, 0), (30, 30, 40), (50, 50, 0))
    assert found["tiny-class"].ids == ("1",)


def test_a_rare_class_is_told_by_its_share_of_the_pixels() -> None:
    found = find((9000, 900, 10), (9000, 900, 10))
    assert list(found) == ["unbalanced"]
    assert "city 0.10%" in found["unbalanced"].message


def test_masks_of_a_single_class_stop_a_fit() -> None:
    found = find((100, 0, 0), (100, 0, 0))
    assert found["one-class"].severity == "error"
    assert list(found) == ["one-class"]


def test_a_class_that_train_does_not_show_is_told_with_the_split_that_has_it() -> None:
    dataset, facts = masks((60, 40, 0), (10, 0, 90), (50, 50, 0))
    (finding,) = unlearnt_findings(dataset, facts, {"0": "train", "1": "test", "2": "validation"})
    assert (finding.kind, finding.severity, finding.ids) == ("unlearnt-class", "warning", ("1",))
    assert "1 of 3 classes without a pixel in train: city (90 in test)." in finding.message
    assert not [*unlearnt_findings(dataset, facts, dict.fromkeys("012", "train"))]


def test_a_class_that_no_split_shows_is_not_told_again() -> None:
    dataset, facts = masks((60, 40, 0), (60, 40, 0))
    assert not [*unlearnt_findings(dataset, facts, {"0": "train", "1": "test"})]
    assert not [*unlearnt_findings(dataset, {}, {"0": "train", "1": "test"})]


@pytest.mark.parametrize("num_samples", [0, 2])
def test_masks_that_nothing_is_known_of_are_no_finding(num_samples: int) -> None:
    dataset, _ = masks(*[(1, 1, 1)] * num_samples)
    assert list(mask_class_findings(dataset, {})) == []
