"""Ctrl-C and SIGTERM as a flag that long work looks at, so that it ends with its state saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from headstart.progress import Progress


class StopSignal:
    """While it is entered, the first Ctrl-C or SIGTERM sets `is_set`; a second one stops at once.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self, progress: Progress) -> None:
        self.is_set = False
        self._progress = progress
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True
        self._progress.warn("Stopping after this step and saving. Once more to stop at once.")
