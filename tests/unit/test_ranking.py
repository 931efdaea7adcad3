"""The verb `rank`, with tiny backbones of random weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart
from headstart import cli
from headstart.compute import MeasuredFormat
from headstart.contracts import ComputeFormat
from headstart.errors import ConfigError, DataError, InterruptedFit, WeightsError
from headstart.field import default_backbones
from headstart.progress import Event, Progress
from headstart.racing import Race

pytestmark = pytest.mark.usefixtures("tiny_racers")

SEEING = ("test_resnet", "test_efficientnet")


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def num_read(self) -> int:
        """Pictures that went through a backbone."""
        ends = [e for e in self.events if e.kind == "end" and e.message == "reading pictures"]
        return sum(event.values["done"] for event in ends)


@pytest.fixture
def photos(make_photos: Callable[..., Path]) -> Path:
    """Train and test, ready-made: 48 and 12 pictures."""
    make_photos({"cat": 24, "dog": 24}, split="train")
    return make_photos({"cat": 6, "dog": 6}, split="test")


def test_what_sees_nothing_drops_out_after_the_first_round(photos: Path) -> None:
    ranking = headstart.rank(photos, backbones=[*SEEING, "blind", "blind too"])
    assert ranking.parts == (24, 48)
    assert {found.backbone.reference for found in ranking.contenders[:2]} == set(SEEING)
    assert [found.num_rounds for found in ranking] == [2, 2, 1, 1]
    assert [found.n for found in ranking] == [48, 48, 24, 24]
    best, *_, last = ranking.contenders
    assert best.metrics["accuracy"].value > 0.9
    assert last.metrics["accuracy"].value <= 0.6
    assert last.num_mistakes >= 9
    assert last.said == "worse than the best"
    assert last.gap is not None
    assert last.gap.n == 24  # in the round that both ran
    assert best.cost.epoch_s is not None
    assert last.cost.epoch_s is None


def test_no_backbone_sees_a_picture_of_the_test_and_no_label_of_it_matters(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from headstart.data import images

    read: list[Path] = []
    real = images.read_image

    def record(path: Path, **options: Any) -> Any:
        read.append(path)
        return real(path, **options)

    monkeypatch.setattr(images, "read_image", record)
    before = headstart.rank(photos, backbones=SEEING)
    for i, path in enumerate(sorted((photos / "test").rglob("*.png"))):
        other = "dog" if path.parent.name == "cat" and i % 2 else "cat"
        path.rename(photos / "test" / other / f"moved_{i}.png")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "another"))
    after = headstart.rank(photos, backbones=SEEING)
    assert len({path for path in read if "train" in path.parts}) == 48
    assert not [path for path in read if "test" in path.parts]
    assert before.verdict.split(" cannot")[0] == after.verdict.split(" cannot")[0]
    assert [found.metrics for found in before] == [found.metrics for found in after]


def test_a_fit_with_the_winner_reads_the_test_alone(photos: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    progress = Progress([recorder])
    ranking = headstart.rank(photos, backbones=SEEING, progress=progress)
    assert recorder.num_read() == 2 * 48
    recorder.events.clear()
    best = ranking.best.backbone.reference
    options = {"backbone": best, "strategy": "probe", "output": tmp_path / "run"}
    headstart.fit(photos, progress=progress, **options)
    assert recorder.num_read() == 12


def test_a_second_ranking_reads_nothing_and_says_the_same(photos: Path) -> None:
    first = headstart.rank(photos, backbones=SEEING)
    recorder = Recorder()
    second = headstart.rank(photos, backbones=SEEING, progress=Progress([recorder]))
    assert recorder.num_read() == 0
    assert [found.metrics for found in first] == [found.metrics for found in second]
    assert all(found.cost.samples_per_s > 0 for found in second)


def test_weights_that_cannot_be_had_are_listed_and_the_race_goes_on(photos: Path) -> None:
    ranking = headstart.rank(photos, backbones=["unreachable", "test_resnet", "test_resnet"])
    assert ranking.absent == (("unreachable", "The registry does not answer."),)
    assert ranking.verdict.startswith("test_resnet ran alone: accuracy ")
    with pytest.raises(WeightsError, match=r"No backbone can be had:\n  unreachable: The reg"):
        headstart.rank(photos, backbones=["unreachable"])


def test_a_backbone_that_cannot_be_tried_takes_no_part(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart import field

    measure = field.new_probe

    def refuse(where: Any, backbone: Any) -> Any:
        if "efficientnet" in backbone.spec.architecture:
            raise WeightsError("It cannot be run here.")
        return measure(where, backbone)

    monkeypatch.setattr(field, "new_probe", refuse)
    ranking = headstart.rank(photos, backbones=SEEING)
    assert ranking.absent == (("test_efficientnet", "It cannot be run here."),)


def test_a_name_that_does_not_exist_stops_the_race_before_it_begins(photos: Path) -> None:
    recorder = Recorder()
    with pytest.raises(ConfigError, match="no architecture `test_resnett`"):
        headstart.rank(
            photos, backbones=["test_resnet", "test_resnett"], progress=Progress([recorder])
        )
    assert recorder.num_read() == 0


def test_a_budget_that_holds_no_backbone_is_an_error(photos: Path) -> None:
    with pytest.raises(ConfigError, match=r"budget of 0.001s was over before any of 1 backbone"):
        headstart.rank(photos, backbones=["test_resnet"], budget="0.001s")


def test_parts_shrink_to_what_the_budget_holds(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = MeasuredFormat(ComputeFormat(), 0.5, "as the test has it")
    monkeypatch.setattr("headstart.fitting.embedding.choose_format", lambda *_, **__: slow)
    ranking = headstart.rank(photos, backbones=SEEING, budget="150s")
    assert ranking.parts == (24,)
    assert ranking.notes[0].startswith("At most 24 of 48 samples were looked at")


def test_a_round_that_the_budget_cuts_counts_for_nobody(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Race._run, []

    def run(self: Race, racer: Any, divisor: int) -> bool:
        calls.append(racer.reference)
        return len(calls) < 5 and real(self, racer, divisor)

    monkeypatch.setattr(Race, "_run", run)
    ranking = headstart.rank(photos, backbones=[*SEEING, "blind"])
    assert len(calls) == 5  # three in the first round, and the second of two in the second
    assert {found.num_rounds for found in ranking} == {1}
    assert ranking.notes[0] == "The budget of 5m ended the race after round 1 of 2."


def test_a_stopped_race_says_how_to_go_on(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Race._run

    def run(self: Race, racer: Any, divisor: int) -> bool:
        self.where.stop.is_set = True  # as Ctrl-C does
        return real(self, racer, divisor)

    monkeypatch.setattr(Race, "_run", run)
    with pytest.raises(InterruptedFit, match="in the cache: the same command goes on"):
        headstart.rank(photos, backbones=SEEING)


def test_pictures_that_cannot_be_decoded_stop_it_or_are_left_out(photos: Path) -> None:
    broken = sorted((photos / "train" / "cat").iterdir())[0]
    content = broken.read_bytes()
    broken.write_bytes(content[:60] + bytes(len(content) - 72) + content[-12:])
    with pytest.raises(DataError, match="cat_000"):
        headstart.rank(photos, backbones=SEEING)
    ranking = headstart.rank(photos, backbones=SEEING, on_bad="skip")
    assert {found.n for found in ranking} == {47}


def test_by_default_the_packaged_default_and_all_in_the_cache_race() -> None:
    assert default_backbones("picture") == ["efficientnet-lite0"]
    assert default_backbones("text") == ["minilm"]


def test_an_unknown_option_is_answered_with_the_nearest(photos: Path) -> None:
    with pytest.raises(ConfigError, match=r"`backbone` is no option. Did you mean `backbones`"):
        headstart.rank(photos, backbone="test_resnet")
    with pytest.raises(ConfigError, match="`x` is no duration"):
        headstart.rank(photos, budget="x")


def test_several_labels_a_picture_are_ranked_by_macro_f1(photos: Path) -> None:
    rows = ["file,labels"]
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        labels = path.parent.name if i % 3 else f"{path.parent.name}|odd"
        rows.append(f"{path.relative_to(photos).as_posix()},{labels}")
    shutil.move(photos, photos.with_name("pictures"))
    table = photos.with_name("pictures") / "labels.csv"
    table.write_text("\n".join(rows))
    ranking = headstart.rank(table, backbones=SEEING)
    assert ranking.headline == "macro_f1"
    assert "macro f1" in ranking.verdict


def test_the_command_prints_scores_and_costs_and_writes_the_page(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    arguments = ["rank", str(photos), "--backbones", *SEEING, "unreachable", "--output", str(page)]
    assert cli.run(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("test_")
    for words in ("may gain", "unreachable took no part: The registry", "--backbone"):
        assert words in out
    assert "the test set is sealed" in out
    assert page.read_text(encoding="utf-8").count("<svg") == 2


def test_a_page_that_cannot_be_written_stops_the_race_before_it_begins(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for page in (tmp_path, tmp_path / "file" / "ranking.html"):
        with pytest.raises(ConfigError, match=r"cannot be written\. Give a file"):
            headstart.rank(photos, backbones=SEEING, output=page)
