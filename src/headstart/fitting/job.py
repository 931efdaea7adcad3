"""The verb `fit`: from a folder to a run. Only wiring; each step is done elsewhere.

What is read, and the run's folder, are alike for all tasks; the work between them is the task's.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import torch

from headstart.compute import choose_device
from headstart.config import FitOptions
from headstart.errors import HeadstartError, InterruptedFit
from headstart.fitting.classifying import Classifying
from headstart.fitting.dropping import drop_suspects, without_samples
from headstart.fitting.preparing import PreparedData, as_when_begun, prepare_data
from headstart.fitting.refusing import (
    refuse_contradictions,
    refuse_format,
    refuse_other_task,
    refuse_pointless,
)
from headstart.fitting.segmenting import Segmenting
from headstart.fitting.settle import GRADIENT_STRATEGIES, Choices
from headstart.fitting.situation import Situation, TaskT
from headstart.interrupt import StopSignal
from headstart.option_values import parse_duration_s
from headstart.progress import JsonlSink, Progress
from headstart.rundir import RunFolder

# Task -> the steps of a fit of it.
WORK: dict[str, type[Classifying | Segmenting]] = {
    "image-classification": Classifying,
    "text-classification": Classifying,
    "semantic-segmentation": Segmenting,
}


class FitJob:
    """One fit on its way. Its steps run in the order in which they stand here, each once.

    Args:
        data: The folder or table.
        options: As the user gave them.
        progress: Is told everything.
        augment: An augmentation of a Python caller's own.
        resume: The folder of an interrupted run to go on with.
    """

    def __init__(
        self,
        data: Path,
        options: FitOptions,
        *,
        progress: Progress,
        augment: Any = None,
        resume: RunFolder | None = None,
    ) -> None:
        self.path = data
        self.options = options
        self.progress = progress
        self.own_augment = augment
        self.resume = resume

    def run(self) -> RunFolder:
        """Do it all.

        Raises:
            HeadstartError: With what to do; nothing that was done is lost.
        """
        started = time.monotonic()
        if self.resume is None:  # what has begun goes on as it began
            refuse_contradictions(self.options)
        refuse_pointless(self.options)
        torch.manual_seed(self.options.seed)
        with StopSignal(self.progress) as stop:
            data = self._read()
            refuse_other_task(
                self.options,
                data.dataset.task,
                has_own_augment=self.own_augment is not None and self.resume is None,
            )
            WORK[data.dataset.task].refuse(self.options, data)
            seconds = {"read": time.monotonic() - started}
            folder, data, choices = self._open_folder(data)
            budget = self.options.budget
            try:
                device = choose_device(self.options.device)
                refuse_format(self.options, device_type=device.type)

                def situated(task: TaskT) -> Situation[TaskT]:
                    return Situation(
                        data=data,
                        options=self.options,
                        own_augment=self.own_augment,
                        task=task,
                        device=device,
                        folder=folder,
                        progress=self.progress,
                        stop=stop,
                        started=started,
                        deadline=started + parse_duration_s(budget) if budget else None,
                        seconds=seconds,
                    )

                begin = WORK[data.dataset.task].begin
                work = begin(data.dataset, situated, choices, resume=self.resume)
                work.run()
            except (KeyboardInterrupt, InterruptedFit):
                folder.metrics.unlink(missing_ok=True)  # written, but not verified
                if not folder.config.is_file():
                    rest = "" if folder.remove_if_unused() else f"; remove `{folder.path}`"
                    raise InterruptedFit(f"Stopped before anything was done{rest}.") from None
                raise InterruptedFit(
                    f"Stopped. Go on with: headstart fit --resume {shlex.quote(str(folder.path))}"
                ) from None
            except HeadstartError:
                folder.remove_if_unused()  # so that the mended command finds its place free
                raise
            work.control()
        return folder

    def _read(self) -> PreparedData:
        # A feature pass finds by itself what cannot be decoded; training must not stop for it.
        strategy = self.options.strategy
        decode = strategy in GRADIENT_STRATEGIES and strategy != "head"
        return prepare_data(self.path, self.options, decode=decode, progress=self.progress)

    def _open_folder(self, data: PreparedData) -> tuple[RunFolder, PreparedData, Choices]:
        """The run's folder, the data as the run began with, and no choice yet."""
        earlier: dict[str, Any] = {}
        if self.resume is not None:
            folder = self.resume
            folder.remove_leftovers()
            choices = folder.read_json(folder.config)["choices"]
            earlier = {choice["name"]: choice["value"] for choice in choices}
            # As it was dropped then: the file may have changed since.
            dropped = folder.read_json(folder.dataset).get("dropped_suspects", [])
            data = as_when_begun(without_samples(data, dropped), folder)
        else:
            if self.options.drop_suspects is not None:
                data = drop_suspects(data, self.options.drop_suspects, progress=self.progress)
            name = self.path.resolve().stem or "run"
            folder = RunFolder.create(name, output=self.options.output)
        self.progress = self.progress.with_sink(JsonlSink(folder.log))
        self.progress.note(f"Run folder: {folder.path}")
        return folder, data, Choices(self.options, progress=self.progress, earlier=earlier)
