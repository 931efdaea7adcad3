"""The verb `compare` over runs of segmentation: what is refused, what is told, and the page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fabricated_maps import write_counts
from headstart.comparing import compare
from headstart.errors import RunError
from headstart.metrics.segmentation import evaluate_segmentation, gain_in_miou
from headstart.report.chip_counts import read_chip_counts
from headstart.report.record import read_record
from headstart.rundir import RunFolder

MakeMaps = Callable[..., RunFolder]
CLASSES = ("forest", "water", "bare ground")


@pytest.fixture
def runs(make_maps: MakeMaps, tmp_path: Path) -> list[RunFolder]:
    """Two runs on the same 15 pictures; the second has a third of the errors of the first."""
    first = make_maps()
    first.weights.touch()  # with them a run is finished
    second = RunFolder(Path(shutil.copytree(first.path, tmp_path / "fields-2")))
    chips = read_chip_counts(read_record(first))
    better = chips.counts.confusion.copy()
    for counts in better:
        mended = (counts - np.diag(np.diagonal(counts))) * 2 // 3
        counts += np.diag(mended.sum(axis=1)) - mended
    write_counts(second, chips.ids, better, chips.counts.boundary)
    return [first, second]


def changed(folder: RunFolder, confusion: np.ndarray | None = None, *, start: int = 0) -> None:
    """Writes other counts, or leaves out the first pictures."""
    chips = read_chip_counts(read_record(folder))
    counts = chips.counts.confusion if confusion is None else confusion
    write_counts(folder, chips.ids[start:], counts[start:], chips.counts.boundary[start:])


def test_the_better_run_is_named_with_its_gain_in_mean_iou(runs: list[RunFolder]) -> None:
    found = compare([folder.path for folder in runs])
    (comparison,) = found
    counts = [read_chip_counts(read_record(folder)).counts.confusion for folder in runs]
    expected = gain_in_miou(*counts)
    main = comparison.main
    assert comparison.headline == "miou"
    assert (main.value, main.low, main.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert main.low > 0
    assert comparison.verdict.startswith("fields-2 has a higher mean IoU than fields-1: +")
    assert comparison.num_only_b == 15
    assert set(comparison.per_class) == set(CLASSES)
    # Borders are the same in both.
    assert comparison.metrics["boundary_f1"].value == 0
    assert not comparison.metrics["boundary_f1"].is_shown
    measured = evaluate_segmentation(counts[1], CLASSES).metrics["miou"]
    assert found.runs[1].metrics["miou"] == measured


def test_the_page_tells_classes_and_pictures(runs: list[RunFolder], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    compare([folder.path for folder in runs], output=page)
    text = " ".join(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")).split())
    for words in (
        "fields-2 against fields-1",
        "Class by class: fields-2 less fields-1",
        "fields-2 has the higher mean IoU 15",
        "fields-2 has the higher mean IoU: 15 pictures, 12 shown",
        "Boundary F1",
        "not shown",
    ):
        assert words in text
    assert text.index("Where they differ") < text.index("By ")


def test_a_run_is_no_better_than_its_copy(runs: list[RunFolder], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0].path, tmp_path / "copy")
    (comparison,) = compare([runs[0].path, copy])
    assert comparison.verdict.startswith("No difference could be shown")
    assert comparison.num_only_a == comparison.num_only_b == 0


def test_classes_in_another_order_are_the_same_classes(runs: list[RunFolder]) -> None:
    before = compare([folder.path for folder in runs]).comparisons[0]
    other, order = runs[1], [2, 0, 1]
    chips = read_chip_counts(read_record(other))
    confusion = chips.counts.confusion[:, order][:, :, order]
    write_counts(other, chips.ids, confusion, chips.counts.boundary[:, order])
    config = other.read_json(other.config)
    config["model"]["classes"] = [CLASSES[i] for i in order]
    other.write_json(other.config, config)
    after = compare([folder.path for folder in runs]).comparisons[0]
    assert after.per_class == before.per_class
    assert after.main == before.main


def test_other_classes_are_refused_by_name(runs: list[RunFolder]) -> None:
    config = runs[1].read_json(runs[1].config)
    config["model"]["classes"] = ["forest", "water", "ice"]
    runs[1].write_json(runs[1].config, config)
    with pytest.raises(RunError, match=r"only `fields-2` has `ice`"):
        compare([folder.path for folder in runs])


def test_masks_that_were_drawn_anew_are_refused(runs: list[RunFolder]) -> None:
    confusion = read_chip_counts(read_record(runs[1])).counts.confusion.copy()
    confusion[3, 0, 0] += 7
    changed(runs[1], confusion)
    with pytest.raises(RunError, match=r"1 of 15 shared test pictures have other masks"):
        compare([folder.path for folder in runs])


def test_only_shared_pictures_are_compared_and_that_is_said(runs: list[RunFolder]) -> None:
    changed(runs[1], start=4)
    found = compare([folder.path for folder in runs])
    assert found.n == 11
    assert "Only the 11 samples that all were tested on are compared" in found.notes[0]


def test_pictures_without_a_labelled_pixel_are_left_out_and_that_is_said(
    runs: list[RunFolder],
) -> None:
    for folder in runs:
        confusion = read_chip_counts(read_record(folder)).counts.confusion.copy()
        confusion[[2, 5]] = 0
        changed(folder, confusion)
    found = compare([folder.path for folder in runs])
    assert found.n == found.comparisons[0].n == found.runs[0].metrics["miou"].n == 13
    assert "2 pictures are left out: they have no labelled pixel." in found.notes


def test_runs_of_different_tasks_are_refused(
    runs: list[RunFolder], make_run: Callable[..., RunFolder]
) -> None:
    photos = make_run("ants", "bees")
    photos.weights.touch()
    with pytest.raises(RunError, match=r"`fields-1` answers for each pixel, `photos-1` for whole"):
        compare([runs[0].path, photos.path])


def test_a_run_that_kept_no_counts_is_told(runs: list[RunFolder]) -> None:
    runs[1].chips.unlink()
    with pytest.raises(RunError, match=r"chips.parquet` is missing .* Fit again"):
        compare([folder.path for folder in runs])


def test_counts_that_do_not_fit_or_cannot_be_read_are_told(runs: list[RunFolder]) -> None:
    record = read_record(runs[0])
    table = pq.read_table(runs[0].chips)
    pq.write_table(table.drop_columns(["boundary"]), runs[0].chips)
    with pytest.raises(RunError, match="no column `boundary`"):
        read_chip_counts(record)
    wrong = np.ones((15, 2, 2), dtype=np.int64)
    write_counts(runs[0], table["id"].to_pylist(), wrong, np.ones((15, 2, 4), dtype=np.int64))
    with pytest.raises(RunError, match="does not fit the 3 classes"):
        read_chip_counts(record)
    runs[0].chips.write_bytes(b"no table")
    with pytest.raises(RunError, match="cannot be read"):
        read_chip_counts(record)


def test_groups_of_the_split_are_what_is_drawn(runs: list[RunFolder]) -> None:
    alone = compare([folder.path for folder in runs])
    for folder in runs:
        split = folder.read_json(folder.split)
        for i, entry in enumerate(split["assignment"].values()):
            entry["group"] = f"block {i % 5}"
        folder.write_json(folder.split, split)
    grouped = compare([folder.path for folder in runs])
    assert "15 samples come in 5 groups" in grouped.notes[0]
    assert grouped.comparisons[0].main.value == alone.comparisons[0].main.value
    assert grouped.comparisons[0].main.low != alone.comparisons[0].main.low
