from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.config import FitOptions
from headstart.errors import ConfigError, DataError
from headstart.fitting.dropping import drop_suspects, without_samples
from headstart.fitting.preparing import PreparedData, prepare_data
from headstart.progress import Event, Progress


class Told:
    """A sink that keeps what is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def data(make_photos: Callable[..., Path]) -> PreparedData:
    path = make_photos({"cat": 10, "dog": 10})
    return prepare_data(path, FitOptions(), decode=False, progress=Progress())


@pytest.fixture
def listing(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of suspects: `listing(["cat/a.png"])`, each with the label of its folder."""

    def write(ids: list[str], *, header: str = "id,label,likely label,score") -> Path:
        path = tmp_path / "suspects.csv"
        rows = [f"{id_},{id_.split('/')[0]},dog,0.9" for id_ in ids]
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


def test_suspects_leave_training_and_validation_and_no_other_split_changes(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    dropped = [data.split.ids("train")[0], data.split.ids("validation")[0]]
    kept = drop_suspects(data, listing(dropped), progress=Progress())
    assert kept.split.ids("test") == data.split.ids("test")
    for name in ("train", "validation"):
        expected = [id_ for id_ in data.split.ids(name) if id_ not in dropped]
        assert list(kept.split.ids(name)) == expected
        assert [sample.id for sample in kept.samples(name)] == expected
    assert len(kept.dataset) == len(data.dataset) - 2
    assert kept.dropped == tuple(sorted(dropped))
    assert kept.checkup.fingerprint == data.checkup.fingerprint


def test_suspects_of_the_test_set_stay_and_it_is_said(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    tested, trained = data.split.ids("test")[0], data.split.ids("train")[0]
    told = Told()
    kept = drop_suspects(data, listing([tested, trained]), progress=Progress([told]))
    assert kept.split.ids("test") == data.split.ids("test")
    assert kept.dropped == (trained,)
    warnings = [event.message for event in told.events if event.kind == "warning"]
    [warning] = [each for each in warnings if "1 of the suspects are test samples" in each]
    assert tested in warning
    assert any("1 samples of training" in event.message for event in told.events)


def test_a_file_without_rows_drops_nothing(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    kept = drop_suspects(data, listing([]), progress=Progress())
    assert kept.dropped == ()
    assert kept.split.assignment == data.split.assignment


def test_dropping_the_same_again_changes_nothing(data: PreparedData) -> None:
    some = data.split.ids("train")[:2]
    once = without_samples(data, some)
    assert without_samples(once, some) == once


def test_a_file_of_another_data_set_is_refused(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    path = listing(["cow/1.png", "cow/2.png"])
    with pytest.raises(ConfigError, match=r"None of the 2 samples .* another data set"):
        drop_suspects(data, path, progress=Progress())


def test_unknown_samples_are_named(data: PreparedData, listing: Callable[..., Path]) -> None:
    path = listing([data.split.ids("train")[0], "cat/gone.png"])
    with pytest.raises(ConfigError, match=r"lists 1 of 2 samples .* `cat/gone.png`"):
        drop_suspects(data, path, progress=Progress())


def test_a_label_that_was_mended_since_is_not_dropped(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    path = listing([next(id_ for id_ in data.split.ids("train") if id_.startswith("cat/"))])
    path.write_text(path.read_text().replace(",cat,", ",cow,"))
    with pytest.raises(ConfigError, match=r"is cat and was cow.*whose labels were mended"):
        drop_suspects(data, path, progress=Progress())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,label\nx,y\n", "has no column `id`; its columns are: `name`, `label`"),
        (b"id/label\nx/y\n", "has no column `id`; its columns are: `id/label`"),
        (b"id,score\nx,1\n", "has no column `label`"),
        (b"", "has no column `id`; its columns are: none"),
        (b"id,label\n\xff\xfe,y\n", "is no CSV in UTF-8"),
    ],
)
def test_a_file_that_is_no_list_of_suspects_is_refused(
    data: PreparedData, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "suspects.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        drop_suspects(data, path, progress=Progress())


def test_a_file_that_is_not_there_is_said(data: PreparedData, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(ConfigError, match="Cannot read the suspects"):
            drop_suspects(data, path, progress=Progress())


def test_a_class_is_never_dropped_as_a_whole(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    dogs = [id_ for id_ in data.split.ids("train") if id_.startswith("dog/")]
    with pytest.raises(DataError, match="no training sample of `dog` is left"):
        drop_suspects(data, listing(dogs), progress=Progress())


def test_rows_that_have_moved_since_are_not_dropped_for_others(tmp_path: Path) -> None:
    lines = [f"what is said in number {i},{'ab'[i // 20]}" for i in range(40)]
    table, suspects = tmp_path / "mails.csv", tmp_path / "suspects.csv"

    def read() -> PreparedData:
        table.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
        return prepare_data(table, FitOptions(), decode=False, progress=Progress())

    data = read()
    id_ = data.split.ids("train")[8]
    content = data.checkup.contents[id_]
    label = next(sample.label for sample in data.dataset if sample.id == id_)
    suspects.write_text(
        f"id,label,likely label,score,content\n{id_},{label},b,0.9,sha256:{content}\n",
        encoding="utf-8",
    )
    assert drop_suspects(data, suspects, progress=Progress()).dropped == (id_,)
    del lines[0]  # all rows move up by one, and most keep their labels
    with pytest.raises(ConfigError, match=r"have another content in .* Rows of a table go by"):
        drop_suspects(read(), suspects, progress=Progress())


def test_a_file_as_a_spreadsheet_saves_it_is_read(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    id_ = data.split.ids("train")[0]
    path = listing([id_])
    content = data.checkup.contents[id_]
    path.write_text(
        f"\ufeffid;label;likely label;score;content\n{id_};cat;dog;0,9;sha256:{content}\n;;;;\n",
        encoding="utf-8",
    )
    told = Told()
    assert drop_suspects(data, path, progress=Progress([told])).dropped == (id_,)
    assert not any("nothing in the column `content`" in event.message for event in told.events)


def test_rows_without_contents_are_warned_of(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    told = Told()
    drop_suspects(data, listing([data.split.ids("train")[0]]), progress=Progress([told]))
    assert any("nothing in the column `content`" in event.message for event in told.events)


def test_an_uneven_row_of_suspects_is_named(
    data: PreparedData, listing: Callable[..., Path]
) -> None:
    path = listing([data.split.ids("train")[0]])
    path.write_text(path.read_text().replace("0.9", "0,9"))
    with pytest.raises(ConfigError, match=r"Line 2 of .* has more cells than its first line"):
        drop_suspects(data, path, progress=Progress())
