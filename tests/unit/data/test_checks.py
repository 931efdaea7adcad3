from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.contracts import Dataset
from headstart.data import open_dataset
from headstart.data.checks import Checkup, check_dataset, leave_out_bad, raise_for_errors
from headstart.errors import DataError
from headstart.progress import Event, Progress

Photos = Callable[..., Path]


def check(dataset: Dataset, *, decode: bool = False) -> Checkup:
    return check_dataset(dataset, decode=decode, progress=Progress())


def ids(checkup: Checkup) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.ids for finding in checkup.findings}


@pytest.fixture
def everything_wrong(make_photos: Photos) -> Path:
    """A folder with each kind of bad file, and 12 good ones."""
    root = make_photos({"cat": 6, "dog": 6})
    big = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    big.save(root / "cat" / "cut.jpg")
    data = (root / "cat" / "cut.jpg").read_bytes()
    (root / "cat" / "cut.jpg").write_bytes(data[: len(data) // 2])
    (root / "cat" / "empty.jpg").touch()
    (root / "dog" / "text.jpg").write_text("no picture")
    (root / "dog" / "notes.txt").write_text("no picture either")
    Image.fromarray(np.ones((4, 4), np.float32)).save(root / "dog" / "float.tif")
    shutil.copy(root / "cat" / "cat_000.png", root / "cat" / "copy.png")
    shutil.copy(root / "dog" / "dog_001.png", root / "cat" / "other.png")
    return root


def test_sound_data_have_no_findings(make_photos: Photos) -> None:
    checkup = check(open_dataset(make_photos({"cat": 3, "dog": 3})), decode=True)
    assert checkup.findings == ()
    facts = checkup.facts["cat/cat_000.png"]
    assert (facts.format, facts.width, facts.height, facts.mode) == ("PNG", 40, 48, "RGB")
    assert facts.num_bytes > 1000
    assert len(facts.sha256) == len(checkup.fingerprint) == 64
    raise_for_errors(checkup)


@pytest.mark.parametrize("decode", [False, True])
def test_all_that_is_wrong_is_found_at_once(everything_wrong: Path, decode: bool) -> None:
    checkup = check(open_dataset(everything_wrong), decode=decode)
    assert ids(checkup) == {
        "not-a-picture": ("dog/notes.txt",),
        "zero-byte": ("cat/empty.jpg",),
        "unreadable": ("dog/text.jpg",),
        "truncated": ("cat/cut.jpg",),
        "float-values": ("dog/float.tif",),
        "duplicate": ("cat/cat_000.png", "cat/copy.png"),
        "conflicting-labels": ("cat/other.png", "dog/dog_001.png"),
    }
    assert checkup.bad_ids == ("cat/cut.jpg", "cat/empty.jpg", "dog/float.tif", "dog/text.jpg")
    assert {f.kind for f in checkup.warnings} == {
        *("not-a-picture", "duplicate", "conflicting-labels")
    }


def test_the_error_lists_every_file_and_the_way_out(everything_wrong: Path) -> None:
    with pytest.raises(DataError) as caught:
        raise_for_errors(check(open_dataset(everything_wrong)))
    message = str(caught.value)
    for name in ("cat/cut.jpg", "cat/empty.jpg", "dog/float.tif", "dog/text.jpg"):
        assert name in message
    assert "leave 4 files out with `--on-bad skip`" in message
    assert "notes.txt" not in message


def test_a_long_list_is_cut_with_a_way_to_see_it_all(make_photos: Photos) -> None:
    root = make_photos({"cat": 3, "dog": 3})
    for i in range(30):
        (root / "cat" / f"empty_{i:02}.jpg").touch()
    with pytest.raises(DataError, match="and 10 more") as caught:
        raise_for_errors(check(open_dataset(root)))
    assert "headstart inspect DATA --output page.html" in str(caught.value)
    assert str(caught.value).count("empty_") == 20


def test_bad_files_can_be_left_out(everything_wrong: Path) -> None:
    dataset = open_dataset(everything_wrong)
    kept, checkup = leave_out_bad(dataset, check(dataset))
    assert len(kept) == len(dataset) - 4
    assert checkup.errors == ()
    assert "cat/cut.jpg" in ids(checkup)["truncated"]
    assert set(checkup.facts) == {s.id for s in kept}
    assert checkup.fingerprint == check(kept).fingerprint
    raise_for_errors(checkup)


def test_what_leaving_out_brings_about_is_an_error_still(make_photos: Photos) -> None:
    root = make_photos({"cat": 3})
    (root / "dog").mkdir()
    (root / "dog" / "empty.jpg").touch()
    dataset = open_dataset(root)
    checkup = check(dataset)
    assert [f.kind for f in checkup.errors] == ["zero-byte"]
    kept, checkup = leave_out_bad(dataset, checkup)
    assert kept.classes == ("cat",)
    with pytest.raises(DataError, match="one class, cat"):
        raise_for_errors(checkup)


def test_a_missing_file_of_a_table_can_be_left_out(make_photos: Photos) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    rows = "".join(f"{s.id},{s.label}\n" for s in open_dataset(root))
    (root / "labels.csv").write_text("file,label\n" + rows + "gone.png,cat\n")
    dataset = open_dataset(root)
    checkup = check(dataset)
    assert checkup.bad_ids == ("gone.png",)
    kept, checkup = leave_out_bad(dataset, checkup)
    assert len(kept) == 4
    assert check(kept).errors == checkup.errors == ()


def test_a_file_that_vanished_is_found(make_photos: Photos) -> None:
    dataset = open_dataset(make_photos({"cat": 2, "dog": 2}))
    dataset.samples[0].path.unlink()
    assert check(dataset).bad_ids == (dataset.samples[0].id,)


def test_a_single_class_stops_a_fit_and_cannot_be_skipped(make_photos: Photos) -> None:
    checkup = check(open_dataset(make_photos({"cat": 3})))
    assert [f.kind for f in checkup.errors] == ["one-class"]
    assert checkup.bad_ids == ()


def test_no_sample_at_all_stops_a_fit(make_photos: Photos) -> None:
    dataset = open_dataset(make_photos({"cat": 3}))
    assert [f.kind for f in check(replace(dataset, samples=())).errors] == ["empty"]


def test_tiny_and_unbalanced_classes_are_warned_about(make_photos: Photos) -> None:
    checkup = check(open_dataset(make_photos({"cat": 12, "dog": 1})))
    assert ids(checkup) == {"tiny-class": ("dog/dog_000.png",), "unbalanced": ()}
    assert checkup.errors == ()


def test_duplicates_across_given_splits_are_warned_about(make_photos: Photos) -> None:
    make_photos({"cat": 3, "dog": 3}, split="train")
    root = make_photos({"cat": 2, "dog": 2}, split="test")
    shutil.copy(root / "train/cat/cat_000.png", root / "test/cat/again.png")
    found = ids(check(open_dataset(root)))
    assert found["leaked-duplicate"] == ("test/cat/again.png", "train/cat/cat_000.png")


def save_grey(path: Path, *, most: int) -> None:
    """A grey picture of 16 bits with values up to `most`."""
    values = np.linspace(0, most, 64).astype(np.uint16)
    Image.fromarray(values.reshape(8, 8)).save(path)


def test_sixteen_bit_pictures_are_pointed_out(make_photos: Photos) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    save_grey(root / "cat" / "deep.png", most=60_000)
    checkup = check(open_dataset(root))
    assert ids(checkup) == {"sixteen-bit": ("cat/deep.png",)}
    assert "divided by 257" in checkup.findings[0].message


def test_one_picture_with_all_sixteen_bits_decides_for_the_dark_ones(make_photos: Photos) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    for i in range(40):  # more than are read at once
        save_grey(root / "cat" / f"dark_{i}.png", most=255 - i)
    checkup = check(open_dataset(root))
    assert checkup.sixteen_bit_divisor == 1
    assert "none with a value over 255" in checkup.findings[-1].message
    save_grey(root / "dog" / "deep.png", most=256)
    assert check(open_dataset(root)).sixteen_bit_divisor == 257


def test_eight_bit_pictures_leave_sixteen_bits_as_their_formats_define_them(
    make_photos: Photos,
) -> None:
    assert check(open_dataset(make_photos({"cat": 2, "dog": 2}))).sixteen_bit_divisor == 257


def test_files_that_are_left_out_do_not_change_the_unit(make_photos: Photos) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    save_grey(root / "cat" / "dark.png", most=200)
    (root / "cat" / "empty.png").touch()
    dataset = open_dataset(root)
    kept, checkup = leave_out_bad(dataset, check(dataset))
    assert checkup.sixteen_bit_divisor == check(kept).sixteen_bit_divisor == 1


def test_once_the_unit_is_known_no_other_picture_is_decoded_for_it(
    make_photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data import file_facts

    looked_at: list[int] = []
    look = file_facts.is_over_eight_bits

    def spy(data: bytes) -> bool:
        looked_at.append(len(data))
        return look(data)

    monkeypatch.setattr(file_facts, "is_over_eight_bits", spy)
    root = make_photos({"cat": 2, "dog": 2})
    for i in range(50):
        save_grey(root / "dog" / f"deep_{i}.png", most=50_000)
    check_dataset(open_dataset(root), decode=False, progress=Progress(), num_threads=1)
    assert len(looked_at) == 1


def test_the_fingerprint_is_of_content_and_labels_not_of_names(make_photos: Photos) -> None:
    root = make_photos({"cat": 3, "dog": 3})
    before = check(open_dataset(root)).fingerprint
    (root / "cat" / "cat_000.png").rename(root / "cat" / "zz.png")
    assert check(open_dataset(root)).fingerprint == before
    (root / "cat" / "zz.png").rename(root / "dog" / "zz.png")
    assert check(open_dataset(root)).fingerprint != before


def test_progress_is_told_about_every_file(make_photos: Photos) -> None:
    events: list[Event] = []

    class Collect:
        def handle(self, event: Event) -> None:
            events.append(event)

    dataset = open_dataset(make_photos({"cat": 40, "dog": 30}))
    check_dataset(dataset, decode=False, progress=Progress([Collect()]), num_threads=3)
    assert events[-1].values["done"] == 70


def test_real_photos_are_sound(ants_bees: Path) -> None:
    assert check(open_dataset(ants_bees)).errors == ()


def test_miniatures_are_made_when_asked_for_and_only_once(
    everything_wrong: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    dataset = open_dataset(everything_wrong)
    assert not any(f.perceptual for f in check(dataset).facts.values())
    first = check_dataset(dataset, decode=False, progress=Progress(), hashed=True)
    assert ids(first) == ids(check(dataset))
    bad = set(first.bad_ids)
    assert {name for name, f in first.facts.items() if not f.perceptual} == bad

    def refuse(*_: object, **__: object) -> bytes:
        raise AssertionError("a picture in the cache was shrunk again")

    monkeypatch.setattr("headstart.data.file_facts.miniature", refuse)
    sound = dataset.without(bad)
    again = check_dataset(sound, decode=True, progress=Progress(), hashed=True)
    assert again.facts == {name: f for name, f in first.facts.items() if name not in bad}


def test_a_cut_picture_is_found_by_the_miniature_even_with_an_end(make_photos: Photos) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    big = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    big.save(root / "cat" / "cut.png")
    data = (root / "cat" / "cut.png").read_bytes()
    (root / "cat" / "cut.png").write_bytes(data[: len(data) // 2] + data[-12:])
    dataset = open_dataset(root)
    assert check(dataset).bad_ids == ()
    checkup = check_dataset(dataset, decode=False, progress=Progress(), hashed=True)
    assert checkup.bad_ids == check(dataset, decode=True).bad_ids == ("cat/cut.png",)


def test_a_cache_that_cannot_be_written_is_said_and_survived(
    make_photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    told: list[Event] = []

    class Sink:
        def handle(self, event: Event) -> None:
            told.append(event)

    dataset = open_dataset(make_photos({"cat": 2, "dog": 2}))
    checkup = check_dataset(dataset, decode=False, progress=Progress([Sink()]), hashed=True)
    assert all(facts.perceptual for facts in checkup.facts.values())
    (warning,) = [event.message for event in told if event.kind == "warning"]
    assert "cache cannot be written" in warning
    assert "HEADSTART_CACHE" in warning


def test_classes_that_differ_in_case_alone_are_warned_about(make_photos: Photos) -> None:
    checkup = check(open_dataset(make_photos({"cat": 4, "Cat": 4, "dog": 4})))
    [found] = [finding for finding in checkup.findings if finding.kind == "similar-classes"]
    assert "`Cat` and `cat`" in found.message
    assert found.severity == "warning"
