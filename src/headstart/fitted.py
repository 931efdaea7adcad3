"""What a loaded model is asked: predictions for files and texts, and what it expects of them.

How it is loaded is in `saved`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from headstart.contracts import (
    InputContract,
    Legend,
    Prediction,
    Sample,
    TermsContract,
    TextContract,
)
from headstart.data import find_pictures
from headstart.data.new_texts import OnError, TextPart, text_parts
from headstart.data.raster_values import STRETCHED
from headstart.data.text_rows import cleaned
from headstart.errors import ConfigError, DataError
from headstart.mask_predictor import MaskPredictor
from headstart.model import Model
from headstart.predictor import Predictor
from headstart.progress import Progress


class FittedModel:
    """A model that predicts; what `headstart.load` gives.

    Args:
        predictor: The model with its input contract.
        text_columns: Columns of tables that it was fitted on, where they were named.
        usual_text_columns: The same where they were found out.

    Attributes:
        classes: Names of its classes.
        contract: What its backbone expects as input.
        task: The name of its task.

    Example:
        >>> import headstart as hs
        >>> model = hs.load("runs/photos-1")            # doctest: +SKIP
        >>> model.predict(["new/a.jpg"]).labels         # doctest: +SKIP
        ['bees']
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        text_columns: tuple[str, ...] | None = None,
        usual_text_columns: tuple[str, ...] = (),
    ) -> None:
        self.predictor = predictor
        self.text_columns = text_columns
        self.usual_text_columns = usual_text_columns

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes."""
        return self.predictor.classes

    @property
    def contract(self) -> InputContract | TextContract | TermsContract:
        """What its backbone expects as input."""
        return self.predictor.contract

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.predictor.task.name

    @property
    def module(self) -> Model:
        """The PyTorch module: inputs as its task makes them -> logits (B, num_classes)."""
        return self.predictor.model

    def find(
        self,
        paths: Sequence[Path | str] | Path | str,
        *,
        text_columns: tuple[str, ...] | None = None,
        on_error: OnError | None = None,
        progress: Progress,
    ) -> list[Sample]:
        """The samples that some paths stand for, as the model takes them.

        Args:
            paths: See `predict`.
            text_columns: Of tables of texts; None takes those of the fit, else guesses.
            on_error: Told of each file or row of texts that cannot be read, which is then left out;
                None: the error is raised. Pictures are not read here.
            progress: Told what was guessed.

        Raises:
            ConfigError: Columns are named for a model of pictures.
            DataError: Nothing was found there, or it cannot be read.
        """
        self._refuse_columns(text_columns)
        paths = _listed(paths)
        if self.is_of_texts:
            parts = self._text_parts(
                paths, text_columns=text_columns, on_error=on_error, progress=progress
            )
            return [sample for part in parts for sample in part.samples]
        return find_pictures(paths)

    @property
    def is_of_texts(self) -> bool:
        """Whether its samples are texts."""
        return self.predictor.task.unit == "text"

    def _refuse_columns(self, text_columns: tuple[str, ...] | None) -> None:
        if text_columns is not None and not self.is_of_texts:
            raise ConfigError(
                f"--text-column {','.join(text_columns)} is of texts, but the model is of "
                "pictures. Leave it away."
            )

    def _text_parts(
        self,
        paths: Sequence[Path | str],
        *,
        text_columns: tuple[str, ...] | None,
        on_error: OnError | None,
        progress: Progress,
    ) -> Iterator[TextPart]:
        """Texts a part at a time; what was guessed is told as soon as it is known."""
        notes: list[str] = []
        num_told = 0
        columns = text_columns or self.text_columns
        usual = self.usual_text_columns
        parts = text_parts(paths, columns=columns, usual=usual, notes=notes, on_error=on_error)
        for part in parts:
            for note in notes[num_told:]:
                progress.note(note)
            num_told = len(notes)
            yield part
        for note in notes[num_told:]:
            progress.note(note)

    def predict_parts(
        self,
        paths: Sequence[Path | str] | Path | str,
        *,
        text_columns: tuple[str, ...] | None = None,
        on_error: OnError | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Prediction]:
        """Predictions for files, folders and patterns, a part at a time; of pictures all in one.

        Args:
            paths: See `predict`.
            text_columns: See `find`.
            on_error: Told of each sample that cannot be read, which is then left out.
            progress: Told about everything; None is silent.

        Raises:
            ConfigError: Columns are named for a model of pictures.
            DataError: Nothing was found there, or a file cannot be read; when a part is asked for.
        """
        self._refuse_columns(text_columns)
        paths, progress = _listed(paths), progress or Progress()
        if not self.is_of_texts:
            return self._whole(paths, on_error=on_error, progress=progress)
        parts = self._text_parts(
            paths, text_columns=text_columns, on_error=on_error, progress=progress
        )
        return self._by_parts(parts, on_error=on_error, progress=progress)

    def _whole(
        self, paths: Sequence[Path | str], *, on_error: OnError | None, progress: Progress
    ) -> Iterator[Prediction]:
        samples = self.find(paths, progress=progress)
        yield self.predictor.predict(samples, progress=progress, on_error=on_error)

    def _by_parts(
        self, parts: Iterator[TextPart], *, on_error: OnError | None, progress: Progress
    ) -> Iterator[Prediction]:
        first, second = next(parts), next(parts, None)
        if second is None:  # the most common case: how many there are is known
            yield self.predictor.predict(first.samples, progress=progress, on_error=on_error)
            return
        share = first.share_read
        total = None if not share else max(1, round(len(first.samples) / share))
        with progress.bar("predicting", total=total, unit="texts", is_estimated=True) as advance:
            counted = progress.within(advance)
            for part in chain([first, second], parts):
                yield self.predictor.predict(part.samples, progress=counted, on_error=on_error)

    def predict(
        self,
        paths: Sequence[Path | str] | Path | str,
        *,
        min_confidence: float | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Predictions for files, folders and patterns.

        Args:
            paths: One or several: folders (searched through), files, or patterns such as
                `new/*.jpg`. Of texts
                .txt files, folders of them, tables, or `-` for standard input.
            min_confidence: Leave samples undecided that are answered less surely than this.
            progress: Told about everything; None is silent.

        Raises:
            ConfigError: `min_confidence` is no share.
            DataError: Nothing was found there, or a file cannot be read.
        """
        check_confidence(min_confidence)
        progress = progress or Progress()
        samples = self.find(paths, progress=progress)
        prediction = self.predictor.predict(samples, progress=progress)
        return replace(prediction, min_confidence=min_confidence)

    def predict_texts(
        self, texts: Sequence[str], *, min_confidence: float | None = None
    ) -> Prediction:
        """Predictions for texts themselves, with the ids `0`, `1`, ...

        Raises:
            ConfigError: `min_confidence` is no share, or the model is of pictures.
            DataError: There is no text, or one is none.
        """
        check_confidence(min_confidence)
        if not self.is_of_texts:
            raise ConfigError("The model is of pictures, not of texts. Use `predict` with files.")
        samples = [Sample(str(i), Path(), text=text) for i, text in enumerate(_read_as(texts))]
        prediction = self.predictor.predict(samples, progress=Progress())
        return replace(prediction, min_confidence=min_confidence)


def _read_as(texts: Sequence[str]) -> list[str]:
    """Texts as those of files and tables are read.

    Raises:
        DataError: There is none, or one is none.
    """
    if isinstance(texts, str):
        raise DataError("`predict_texts` was given a single text. Give a list of texts: [text].")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"Text {place} is a {type(text).__name__} ({text!r:.60}), and must be a string. "
                "Leave it out, or give an empty string."
            )
    if not texts:
        raise DataError("There is no text to predict. Give at least one.")
    return [cleaned(text) for text in texts]


def _listed(paths: Sequence[Path | str] | Path | str) -> Sequence[Path | str]:
    return [paths] if isinstance(paths, str | Path) else paths


@dataclass(frozen=True, eq=False)
class FittedSegmenter:
    """A model that answers with masks.

    Attributes:
        predictor: The model with its input contract.
        legend: What the values of its masks mean.
        key: Tells its weights and its format from all others.
        knows_wide: Whether it was fitted on photos of 16 bits, too.
    """

    predictor: MaskPredictor
    legend: Legend
    key: str
    knows_wide: bool = False


def read_in_units_of(fitted: FittedSegmenter, units: str | None) -> None:
    """From now on take all rasters for what their user says they are; None: as in the fit.

    Raises:
        ConfigError: The model takes values as they are stored; or one of the two is reflectance,
            and the other has been stretched for the eye.
    """
    if units is None:
        return
    predictor = fitted.predictor
    known = predictor.contract.units
    if not known:
        raise ConfigError(
            f"--units {units} has no effect: the model was fitted on values as they are stored, "
            "and takes them so. Leave it away."
        )
    if units != known and not {units, known}.isdisjoint(STRETCHED):
        raise ConfigError(
            f"--units {units} is none that the model can take: it was fitted on {known}, and what "
            "has been stretched for the eye cannot be made into reflectance, nor the other way "
            "round. Leave it away, or fit a model to rasters of this kind."
        )
    predictor.contract = replace(predictor.contract, units=units)


def check_confidence(min_confidence: float | None) -> None:
    """Refuse what is no share, before anything takes long.

    Raises:
        ConfigError: It is not between 0 and 1.
    """
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise ConfigError(
            f"A least confidence of {min_confidence:g} cannot be: it is a probability, from 0 "
            "(decide everything) to 1, such as 0.9."
        )
