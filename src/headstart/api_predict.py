"""The verbs that answer for new samples with classes, as Python functions: `load`, `predict`.

Those that answer with masks are in `api_masks`. Imports no torch at the top.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.api_masks import answers_with_masks
from headstart.contracts import Prediction, Sample
from headstart.errors import ConfigError, DataError
from headstart.progress import Event, Progress
from headstart.rundir import RunFolder

if TYPE_CHECKING:
    from headstart.fitted import FittedModel

# Samples left out that are told one by one; a table with a million of them is told in a sentence.
_MOST_NAMED = 20


def load(
    reference: Path | str, *, device: str = "auto", trust_remote_code: bool = False
) -> FittedModel:
    """A model that predicts: of a run folder, or a pretrained classifier such as `timm:resnet50`.

    Of a fit that was interrupted it is the best model so far, with a Python warning.

    Args:
        reference: The run folder, or the classifier's name.
        device: See FitOptions.
        trust_remote_code: Agree, on this machine from now on, to the Python code that the model of
            the run brings, if it does. It can do whatever you can.

    Raises:
        RunError: There is no run there, or none that has a model yet.
        WeightsError: The pretrained weights cannot be had, or the model needs code that nobody
            agreed to.
    """
    progress = Progress([_PythonWarnings()])
    return load_told(
        reference, device=device, trust_remote_code=trust_remote_code, progress=progress
    )


class _PythonWarnings:
    """A sink that shows warnings as Python does, to callers who gave no other."""

    def handle(self, event: Event) -> None:
        if event.kind == "warning":
            warnings.warn(event.message, stacklevel=2)


def load_told(
    reference: Path | str, *, device: str, trust_remote_code: bool = False, progress: Progress
) -> FittedModel:
    """The same as `load`; warnings go to `progress`."""
    from headstart.saved import agree_to_code, load_model, load_pretrained

    if not _is_backbone(str(reference)):
        folder = RunFolder.open_unfinished(Path(reference))
        if answers_with_masks(folder.path):
            raise ConfigError(
                f"`{reference}` answers with masks. Write them to a folder: headstart predict "
                f"{reference} PICTURES --output MASKS/ (in Python: headstart.map_pictures)."
            )
        whole = folder.is_finished or not folder.has_usable_model
        found = RunFolder.open(folder.path) if whole else folder.so_far
        if trust_remote_code:
            agree_to_code(found)
        if whole:
            return load_model(found, device=device)
        progress.warn(
            f"`{reference}` is not finished: this is its best model so far, whose accuracy has not "
            f"been measured. Go on with: headstart fit --resume {reference}"
        )
        return load_model(found, device=device)
    return load_pretrained(str(reference), device=device, progress=progress)


def _is_backbone(reference: str) -> bool:
    from headstart.backbones import SOURCES, list_models
    from headstart.backbones.model_files import is_model_folder

    if Path(reference).is_dir():
        return is_model_folder(Path(reference))
    prefix = reference.partition(":")[0]
    return prefix in SOURCES or any(card.name == reference for card in list_models(reference))


def predict(
    model: Path | str,
    paths: Sequence[Path | str] | Path | str,
    *,
    text_columns: tuple[str, ...] | None = None,
    min_confidence: float | None = None,
    device: str = "auto",
    on_bad: str = "stop",
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Prediction:
    """Predictions for folders, files and patterns.

    Args:
        model: A run folder, or a pretrained classifier such as `timm:resnet50`.
        paths: Folders (searched through), files, or patterns such as `new/*.jpg`; of a model of
            texts .txt files, folders of them, tables, and `-` for standard input.
        text_columns: Of tables of texts; None takes those of the fit, else guesses.
        min_confidence: Leave samples undecided that are answered less surely than this.
        device: See FitOptions.
        on_bad: `stop` at a file, or a row of a table of texts, that cannot be read, or `skip` it
            with a warning.
        trust_remote_code: See `load`.
        progress: Told about everything; None is silent.

    Raises:
        ConfigError: `min_confidence` is no share.
        DataError: Nothing was found, or a file cannot be read.
    """
    from headstart.fitted import check_confidence

    check_confidence(min_confidence)
    progress = progress or Progress()
    fitted = load_told(model, device=device, trust_remote_code=trust_remote_code, progress=progress)
    left_out = _LeftOut(fitted.predictor.task.unit, progress)
    on_error = left_out if on_bad == "skip" else None
    samples = fitted.find(paths, text_columns=text_columns, on_error=on_error, progress=progress)
    prediction = fitted.predictor.predict(samples, progress=progress, on_error=on_error)
    left_out.tell()
    return replace(prediction, min_confidence=min_confidence)


def predict_parts(
    model: Path | str,
    paths: Sequence[Path | str] | Path | str,
    *,
    text_columns: tuple[str, ...] | None = None,
    min_confidence: float | None = None,
    device: str = "auto",
    on_bad: str = "stop",
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """The same as `predict`, a part at a time: of more texts than fit into memory.

    Pictures come in one part. The model is loaded at once; samples are read as parts are asked for.

    Raises:
        ConfigError: `min_confidence` is no share, or columns are named for a model of pictures.
        DataError: Nothing was found, or a file cannot be read; when a part is asked for.

    Example:
        >>> for part in predict_parts("runs/mails-1", ["new.csv"]):     # doctest: +SKIP
        ...     print(len(part), part.labels[0])
        16384 praise
    """
    from headstart.fitted import check_confidence

    check_confidence(min_confidence)
    progress = progress or Progress()
    fitted = load_told(model, device=device, trust_remote_code=trust_remote_code, progress=progress)
    left_out = _LeftOut(fitted.predictor.task.unit, progress)
    parts = fitted.predict_parts(
        paths,
        text_columns=text_columns,
        on_error=left_out if on_bad == "skip" else None,
        progress=progress,
    )
    return _undecided_below(min_confidence, parts, left_out)


def _undecided_below(
    min_confidence: float | None, parts: Iterator[Prediction], left_out: _LeftOut
) -> Iterator[Prediction]:
    for part in parts:
        yield replace(part, min_confidence=min_confidence)
    left_out.tell()


class _LeftOut:
    """What is told of samples that cannot be read and are left out: each, then how many.

    Args:
        unit: What a sample is.
        progress: Told of them.
    """

    def __init__(self, unit: str, progress: Progress) -> None:
        self._unit = unit
        self._progress = progress
        self._num = 0
        self._num_tables = 0

    def __call__(self, sample: Sample, error: DataError) -> None:
        from headstart.data.table_files import TABLE_READERS

        # Where a table breaks off, itself stands for all rows that may follow.
        is_table = sample.id == sample.path.name and sample.path.suffix.lower() in TABLE_READERS
        self._num_tables += is_table
        self._num += not is_table
        if is_table or self._num <= _MOST_NAMED:
            self._progress.warn(str(error))

    def tell(self) -> None:
        """Called when all was read."""
        from headstart.data.listing import count

        if self._num_tables:
            self._progress.warn(f"Left out: what follows in {count(self._num_tables, 'table')}.")
        if not self._num:
            return
        more = f"; the first {_MOST_NAMED} are named above" if self._num > _MOST_NAMED else ""
        self._progress.warn(f"Left out: {count(self._num, self._unit)} that cannot be read{more}.")
