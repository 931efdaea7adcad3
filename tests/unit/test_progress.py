from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from headstart.progress import ConsoleSink, Event, JsonlSink, Progress


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)


def console(*, is_quiet: bool = False) -> tuple[Progress, io.StringIO]:
    text = io.StringIO()
    return Progress([ConsoleSink(text, is_quiet=is_quiet)]), text  # type: ignore[arg-type]


def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("headstart.progress.time.perf_counter", lambda: now[0])
    return now


def tell_everything(progress: Progress) -> None:
    progress.note("hello")
    progress.warn("careful")
    progress.choice("lr", 0.1, "as measured")
    progress.epoch("epoch 1 of 2", loss=0.5)
    progress.lr_finder(lrs=[1e-3, 1e-2], losses=[2.0, 1.0], chosen=1e-2)
    progress.table("Title", ["metric", "value"], [["accuracy", 0.9]])
    with progress.bar("reading", total=2, unit="pictures") as advance:
        advance(2)


def test_silence_is_the_default() -> None:
    tell_everything(Progress())


def test_every_sink_hears_everything_in_order() -> None:
    one, other = Recorder(), Recorder()
    tell_everything(Progress([one]).with_sink(other))
    kinds = [event.kind for event in one.events]
    assert kinds[:6] == ["note", "warning", "choice", "epoch", "lr_finder", "table"]
    assert kinds[6:] == ["start", "advance", "end"]
    assert one.events == other.events


def test_the_log_has_a_line_an_event_and_none_a_step(tmp_path: Path) -> None:
    progress = Progress([JsonlSink(tmp_path / "log.jsonl")])
    tell_everything(progress)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    kinds = ["note", "warning", "choice", "epoch", "lr_finder", "table", "end"]
    assert [line["kind"] for line in lines] == kinds
    assert lines[3]["loss"] == 0.5
    assert lines[4]["chosen"] == 0.01
    assert lines[6]["done"] == lines[6]["total"] == 2


def test_the_console_shows_everything() -> None:
    progress, text = console()
    tell_everything(progress)
    shown = text.getvalue()
    for part in ("hello", "Warning: careful", "lr: 0.1 (as measured)", "epoch 1 of 2", "accuracy"):
        assert part in shown


def test_a_quiet_console_shows_warnings_alone() -> None:
    progress, text = console(is_quiet=True)
    tell_everything(progress)
    assert text.getvalue() == "Warning: careful\n"


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    progress, text = console()
    progress.note("[red]a[/red] photos/[1].png")
    assert text.getvalue() == "[red]a[/red] photos/[1].png\n"


def test_a_long_path_is_not_broken_over_lines() -> None:
    progress, text = console()
    path = "/".join(["a folder with spaces"] * 20)
    progress.note(path)
    assert text.getvalue() == path + "\n"


def test_without_a_terminal_a_bar_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = clock(monkeypatch)
    progress, text = console()
    with progress.bar("reading", total=100, unit="pictures") as advance:
        for _ in range(50):
            now[0] += 0.5
            advance(2)
    lines = text.getvalue().splitlines()
    assert lines == [
        "  reading: 40 of 100 pictures, 4 a second, 15 s left",
        "  reading: 80 of 100 pictures, 4 a second, 5 s left",
        "  reading: 100 pictures in 25.0 s (4 a second)",
    ]


def test_what_is_over_in_two_seconds_leaves_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock(monkeypatch)
    progress, text = console()
    with progress.bar("reading", total=1, unit="pictures") as advance:
        now[0] += 1.9
        advance()
    assert text.getvalue() == ""


def test_a_bar_ends_when_its_block_fails() -> None:
    recorder = Recorder()

    def fail_after_one() -> None:
        with Progress([recorder]).bar("reading", total=3, unit="pictures") as advance:
            advance()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_after_one()
    assert recorder.events[-1].kind == "end"
    assert recorder.events[-1].values["done"] == 1


def test_parts_move_the_bar_of_the_whole() -> None:
    recorder = Recorder()
    outer = Progress([recorder])
    with outer.bar("all", total=5, unit="texts") as advance:
        inner = outer.within(advance)
        for part in (2, 3):
            with inner.bar("part", total=part, unit="texts") as step:
                for _ in range(part):
                    step(1)
        inner.warn("careful")
    moved = [e.values["done"] for e in recorder.events if e.kind == "advance"]
    assert moved == [1, 2, 3, 4, 5]
    assert [e.message for e in recorder.events if e.kind in ("start", "end")] == ["all", "all"]
    assert [e.message for e in recorder.events if e.kind == "warning"] == ["careful"]


def test_an_estimate_grows_with_what_is_done() -> None:
    recorder = Recorder()
    with Progress([recorder]).bar("all", total=3, unit="texts", is_estimated=True) as advance:
        advance(2)
        advance(2)
    assert [e.values["total"] for e in recorder.events] == [3, 3, 4, 4]


def test_a_bar_without_a_total_tells_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock(monkeypatch)
    progress, text = console()
    with progress.bar("reading", total=None, unit="texts") as advance:
        now[0] = 11.0
        advance(22)
    assert "reading: 22 texts, 2 a second" in text.getvalue()
