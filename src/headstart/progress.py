"""Events on what goes on, and where they go: console, log.jsonl, nowhere.

Library code never prints: it is handed a `Progress` and tells it. Nobody but this module writes to
the terminal. Knows nothing of tasks, models or runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        kind: `note`, `warning`, `choice`, `start`, `advance`, `end`, `epoch`,
            `lr_finder`, `table`.
        message: What a person reads.
        values: What a program reads.
    """

    kind: str
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """Where events go."""

    def handle(self, event: Event) -> None: ...


class Progress:
    """What library code is handed to tell how it is getting on.

    Example:
        >>> progress = Progress()          # silent
        >>> with progress.bar("reading pictures", total=3, unit="pictures") as advance:
        ...     advance(3)
    """

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self.sinks = tuple(sinks)

    def with_sink(self, sink: Sink) -> Progress:
        """The same, and one sink more."""
        return Progress((*self.sinks, sink))

    def emit(self, event: Event) -> None:
        """Hand an event to every sink."""
        for sink in self.sinks:
            sink.handle(event)

    def within(self, advance: Callable[[int], None]) -> Progress:
        """The same, but that bars move one that is there already: for steps that are parts of one.

        Args:
            advance: Of the bar that is there.
        """
        return Progress([_Within(advance, self)])

    def note(self, message: str, **values: Any) -> None:
        """Something the user wants to know."""
        self.emit(Event("note", message, values))

    def warn(self, message: str, **values: Any) -> None:
        """Something the user should look at."""
        self.emit(Event("warning", message, values))

    def choice(self, name: str, value: Any, reason: str) -> None:
        """An `auto` was settled, once, for this reason."""
        values = {"name": name, "value": value, "reason": reason}
        self.emit(Event("choice", f"{name}: {value} ({reason})", values))

    def epoch(self, message: str, **values: Any) -> None:
        """An epoch ended: one line."""
        self.emit(Event("epoch", message, values))

    def lr_finder(self, *, lrs: Sequence[float], losses: Sequence[float], chosen: float) -> None:
        """The learning-rate finder's curve."""
        values = {"lrs": list(lrs), "losses": list(losses), "chosen": chosen}
        self.emit(Event("lr_finder", f"learning rate found: {chosen:.2g}", values))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A small table."""
        values = {"columns": list(columns), "rows": [[str(c) for c in row] for row in rows]}
        self.emit(Event("table", title, values))

    @contextmanager
    def bar(
        self,
        label: str,
        *,
        total: int | None,
        unit: str,
        is_summed_up: bool = True,
        is_estimated: bool = False,
    ) -> Iterator[Any]:
        """A bar with rate and time left; yields `advance(count)`.

        Args:
            label: What goes on.
            total: How many there are to do; None where nobody knows.
            unit: Of what, in the plural.
            is_summed_up: Leave a line with the rate when it took long.
            is_estimated: The total is about right: it grows where more are done.
        """
        self.emit(Event("start", label, {"total": total, "unit": unit}))
        started, done = time.perf_counter(), 0

        def advance(count: int = 1) -> None:
            nonlocal done, total
            done += count
            if is_estimated and total is not None:
                total = max(total, done)
            self.emit(Event("advance", label, {"done": done, "total": total, "unit": unit}))

        try:
            yield advance
        finally:
            seconds = time.perf_counter() - started
            values = {"done": done, "total": total, "unit": unit, "seconds": round(seconds, 3)}
            self.emit(Event("end", label, {**values, "is_summed_up": is_summed_up}))


class _Within:
    """Moves one bar as others move; see `Progress.within`."""

    def __init__(self, advance: Callable[[int], None], outer: Progress) -> None:
        self._advance = advance
        self._outer = outer
        self._done = 0

    def handle(self, event: Event) -> None:
        if event.kind == "start":
            self._done = 0
        elif event.kind == "advance":
            self._advance(event.values["done"] - self._done)
            self._done = event.values["done"]
        elif event.kind != "end":
            self._outer.emit(event)


class JsonlSink:
    """Appends every event but a bar's steps to a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def handle(self, event: Event) -> None:
        if event.kind in ("advance", "start"):
            return
        record = {"time": round(time.time(), 3), "kind": event.kind, "message": event.message}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**record, **event.values}, default=str) + "\n")


class ConsoleSink:
    """Shows events on the terminal with rich; bars become a line now and then without one.

    Everything goes to standard error, so that standard output is free for results.
    """

    def __init__(self, file: TextIO | None = None, *, is_quiet: bool = False) -> None:
        from rich.console import Console

        self.console = Console(file=file or sys.stderr, highlight=False, soft_wrap=False)
        self.is_quiet = is_quiet
        self._bar: Any = None
        self._task: Any = None
        self._started = self._last_line = 0.0

    def handle(self, event: Event) -> None:
        if self.is_quiet and event.kind not in ("warning",):
            return
        getattr(self, f"_{event.kind}")(event)

    def _print(self, message: str, style: str | None = None) -> None:
        # Not wrapped here: a path or a command in it can then be copied.
        self.console.print(message, style=style, markup=False, soft_wrap=True)

    def _note(self, event: Event) -> None:
        self._print(event.message)

    def _warning(self, event: Event) -> None:
        self._print("Warning: " + event.message, "yellow")

    def _choice(self, event: Event) -> None:
        self._print("  " + event.message, "dim")

    def _epoch(self, event: Event) -> None:
        self._print("  " + event.message)

    def _lr_finder(self, event: Event) -> None:
        self._print("  " + event.message)

    def _table(self, event: Event) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        title = event.message or None
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for number, column in enumerate(event.values["columns"]):
            # The first column names the row: it is folded if need be, but never cut short.
            table.add_column(column, no_wrap=number == 0, overflow="fold")
        for row in event.values["rows"]:
            table.add_row(*(Text(str(cell)) for cell in row))
        self.console.print(table)

    def _start(self, event: Event) -> None:
        self._started = self._last_line = time.perf_counter()
        if not self.console.is_terminal:
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task(event.message, total=event.values["total"])
        self._bar.start()

    def _advance(self, event: Event) -> None:
        if self._bar is not None:
            done, total = event.values["done"], event.values["total"]
            self._bar.update(self._task, completed=done, total=total)
            return
        now = time.perf_counter()
        if now - self._last_line >= 10.0:  # without a terminal: a line now and then
            self._last_line = now
            self._print("  " + self._rate(event, now - self._started))

    def _end(self, event: Event) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        seconds = time.perf_counter() - self._started
        if seconds >= 2.0 and event.values["is_summed_up"]:
            self._print("  " + self._rate(event, seconds, is_over=True), "dim")

    @staticmethod
    def _rate(event: Event, seconds: float, *, is_over: bool = False) -> str:
        done, total, unit = (event.values[k] for k in ("done", "total", "unit"))
        rate = done / max(seconds, 1e-9)
        if is_over:
            return f"{event.message}: {done} {unit} in {seconds:.1f} s ({rate:.0f} a second)"
        if total is None:
            return f"{event.message}: {done} {unit}, {rate:.0f} a second"
        left = (total - done) / max(rate, 1e-9)
        return f"{event.message}: {done} of {total} {unit}, {rate:.0f} a second, {left:.0f} s left"
