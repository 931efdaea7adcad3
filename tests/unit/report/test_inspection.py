"""The page of an inspection: counts, distributions, every finding, contact sheets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from headstart.contracts import Dataset, Finding, Sample
from headstart.data.checks import FileFacts
from headstart.data.leaks import LeakedSample
from headstart.data.near_duplicates import NearDuplicates, NearPair
from headstart.errors import ConfigError
from headstart.report import Inspection, write_inspection


def inspect(root: Path, **changes: object) -> Inspection:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    samples = tuple(
        Sample(p.relative_to(root).as_posix(), p, (p.parent.name,), "train") for p in paths
    )
    classes = tuple(sorted({sample.label for sample in samples}))
    dataset = Dataset(root, "class-folders", "It has class folders.", "t", samples, classes)
    counts = {name: sum(s.label == name for s in samples) for name in classes}
    values = {
        "dataset": dataset,
        "findings": (),
        "facts": {
            s.id: FileFacts("0" * 64, 2000, "PNG", 48, 40 + i, "RGB") for i, s in enumerate(samples)
        },
        "counts": {"train": counts},
        "split_reason": "A fit would split it.",
    }
    return Inspection(**{**values, **changes})  # type: ignore[arg-type]


def test_each_class_has_a_contact_sheet_of_at_most_twelve(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_photos({"cat": 15, "dog <b>": 3})
    path = write_inspection(tmp_path / "page.html", inspect(root))
    page = path.read_text(encoding="utf-8")
    assert page.count('src="data:image/webp') == 15
    assert "(15 pictures, 12 shown)" in page
    assert "<b>:" not in page
    assert "dog &lt;b&gt;" in page
    assert "http" not in page
    assert "Nothing wrong was found." in page
    assert "width in pixels" in page


def test_every_file_of_every_finding_is_listed(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    ids = tuple(f"cat/bad {i} & co.png" for i in range(1000))
    findings = (
        Finding("duplicate", "warning", "Some are copies.", "Remove them.", ("a.png",)),
        Finding("truncated", "error", "1000 files end too soon.", "Use `--on-bad skip`.", ids),
    )
    inspection = inspect(make_photos({"cat": 2, "dog": 2}), findings=findings)
    page = write_inspection(tmp_path / "page.html", inspection).read_text(encoding="utf-8")
    assert all(name in unescape(page) for name in ids)
    assert "1 finding would stop a fit." in page
    assert page.index("Stops a fit:") < page.index("Warning:")
    assert "<code>--on-bad skip</code>" in page


@pytest.mark.parametrize("is_file", [True, False])
def test_the_sheet_of_augmented_samples_is_embedded(
    make_photos: Callable[..., Path], tmp_path: Path, is_file: bool
) -> None:
    sheet = Image.new("RGB", (200, 100), "red")
    sheet.save(tmp_path / "sheet.png")
    given = tmp_path / "sheet.png" if is_file else sheet
    inspection = inspect(make_photos({"cat": 2}), augmented=given, augment_name="light")
    page = write_inspection(tmp_path / "page.html", inspection).read_text(encoding="utf-8")
    assert "Augmented with “light”" in page
    assert page.count('src="data:image/webp') == 3


def test_a_data_set_without_a_readable_picture_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "cat" / "a.png").write_bytes(b"no picture")
    inspection = inspect(tmp_path / "data", facts={})
    page = write_inspection(tmp_path / "page.html", inspection).read_text(encoding="utf-8")
    assert "No picture could be read." in page
    assert "cannot be read" in page


def test_an_empty_data_set_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    page = write_inspection(tmp_path / "page.html", inspect(tmp_path / "data"))
    assert "No class was found." in page.read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_named(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="Give --output"):
        write_inspection(tmp_path / "file" / "page.html", inspect(make_photos({"cat": 1})))


def test_pairs_stand_side_by_side_leaks_first(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_photos({"cat": 70, "dog": 2})
    others = [
        NearPair(f"cat/cat_{i:03}.png", f"cat/cat_{i + 1:03}.png", 0.97) for i in range(0, 68, 2)
    ]
    torn = NearPair("cat/cat_069.png", "dog/dog_000.png", 0.95)
    near = NearDuplicates((*others, torn), {}, "Likeness from 0.9 on is near.", ("One note.",))
    leak = LeakedSample(
        "dog/dog_001.png", "near-duplicate", "cat/cat_001.png", "train", "near-duplicate 0.99"
    )
    inspection = inspect(root, near=near, leaks=(leak,))
    page = write_inspection(tmp_path / "page.html", inspection).read_text(encoding="utf-8")
    assert "1 sample of the test also stands, or nearly, in train or validation" in page
    assert page.index("Near-duplicate 0.99") < page.index("Likeness 0.950")
    assert page.index("Likeness 0.950") < page.index("Likeness 0.970")
    assert "dog, in test" in page
    assert "cat, in train" in page
    assert "Likeness from 0.9 on is near." in page
    assert "One note." in page
    assert page.count("<figcaption><b>") == 2 * 36
    more = replace(near, pairs=(*near.pairs, *others))
    inspection = inspect(root, near=more, leaks=(leak,))
    page = write_inspection(tmp_path / "page.html", inspection).read_text(encoding="utf-8")
    assert "The page has room for 48 of 70 pairs" in page
