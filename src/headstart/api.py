"""The verbs, as Python functions: the only wiring of the parts, together with `fitting`.

Those that answer for new samples are in `api_predict`, and with masks in `api_masks`.

Nothing is imported at the top that imports torch, so that `headstart --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headstart.api_masks import answers_with_masks, ready_segmenter
from headstart.api_predict import load as load
from headstart.api_predict import load_told
from headstart.api_predict import predict as predict
from headstart.api_predict import predict_parts as predict_parts
from headstart.config import FitOptions, make_options
from headstart.contracts import Evaluation, Measure, ModelCard, Prediction
from headstart.errors import ConfigError, RunError, did_you_mean
from headstart.inspecting import Inspected as Inspected
from headstart.inspecting import inspect as inspect
from headstart.progress import Progress
from headstart.rank_options import RankOptions, make_rank_options
from headstart.rundir import RunFolder, given_options

if TYPE_CHECKING:
    from headstart.demo import Showcase
    from headstart.fitted import FittedModel
    from headstart.report.comparison import Compared
    from headstart.report.ranking import Ranking


@dataclass(frozen=True)
class Run:
    """Everything one fit produced, in a folder.

    Example:
        >>> run = Run.open("runs/photos-1")        # doctest: +SKIP
        >>> print(run.metrics["accuracy"])         # doctest: +SKIP
        0.948 (95% 0.90-0.98, n=153)
    """

    folder: RunFolder

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """A finished run.

        Raises:
            RunError: There is none.
        """
        return cls(RunFolder.open(Path(path)))

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def report(self) -> Path:
        """The report, one HTML file. A notebook shows it."""
        from headstart.report.notebook import ReportPage

        return ReportPage(self.folder.report)

    def _repr_html_(self) -> str:
        """What a notebook shows: what the model can do, how sure that is, what to watch out for."""
        from headstart.report.notebook import summary_html

        return summary_html(self.folder)

    @property
    def metrics(self) -> Mapping[str, Measure]:
        """Metrics on the sealed test set, with 95% intervals."""
        found = self.folder.read_json(self.folder.metrics)["metrics"]
        return {name: Measure(**values) for name, values in found.items()}

    def load(self, *, device: str = "auto") -> FittedModel:
        """The model, ready to predict."""
        from headstart.saved import load_model

        return load_model(self.folder, device=device)


def fit(
    data: Path | str,
    options: FitOptions | None = None,
    *,
    augment: Any = None,
    progress: Progress | None = None,
    **values: Any,
) -> Run:
    """Adapt a pretrained model to labelled data.

    Args:
        data: A folder or a table; see `open_dataset`.
        options: All options at once; or give them by name, as `values`.
        augment: Instead of a preset, an albumentations.Compose or a callable from picture to
            picture.
        progress: Told about everything; None is silent.
        **values: Fields of FitOptions, such as `strategy="probe"`.

    Raises:
        HeadstartError: With what was found, what is needed and what to do.
    """
    from headstart.fitting.job import FitJob

    if isinstance(augment, str):
        values["augment"], augment = augment, None
    settled = make_options(
        {**(options.model_dump(exclude_unset=True) if options else {}), **values}
    )
    job = FitJob(Path(data), settled, progress=progress or Progress(), augment=augment)
    return Run(job.run())


def resume(path: Path | str, *, augment: Any = None, progress: Progress | None = None) -> Run:
    """Go on with an interrupted fit.

    Args:
        path: The run folder.
        augment: The augmentation of the caller's own that the fit began with, if it did.
        progress: Told about everything; None is silent.

    Raises:
        RunError: The run is finished, its data has changed, or its augmentation is missing.
    """
    from headstart.fitting.attempt import OWN_AUGMENT
    from headstart.fitting.job import FitJob

    folder = RunFolder.open_unfinished(Path(path))
    if folder.metrics.is_file():
        raise RunError(f"`{path}` is finished; there is nothing to resume. Fit anew.")
    config = folder.read_json(folder.config)
    given = given_options(config)
    earlier = {choice["name"]: choice["value"] for choice in config["choices"]}
    settled = {name: earlier[name] for name in ("backbone",) if name in earlier}
    if earlier.get("augment") == OWN_AUGMENT:
        given.pop("augment", None)
        if augment is None:
            raise RunError(
                f"`{path}` was begun with an augmentation of your own, which no file can hold. Go "
                "on from Python: headstart.resume(path, augment=...)"
            )
    options = make_options({**given, **settled}, source=f"`{folder.config}`")
    job = FitJob(
        Path(config["data"]),
        options,
        progress=progress or Progress(),
        augment=augment,
        resume=folder,
    )
    return Run(job.run())


def evaluate(
    run: Path | str,
    data: Path | str,
    *,
    image_column: str | None = None,
    text_columns: tuple[str, ...] | None = None,
    label_column: str | None = None,
    group: str | None = None,
    units: str | None = None,
    on_bad: str = "stop",
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Metrics of a run's model on other labelled data.

    Samples that the run learnt from, or was chosen by, are known again by their contents and left
    out. Copies and near-copies count as one for the intervals, as in a fit.

    Args:
        run: The run folder, or a pretrained model as it comes, such as `timm:resnet50`.
        data: A folder or a table.
        image_column: Of a table; None takes the one the run was fitted with, else guesses.
        text_columns: The same for the texts.
        label_column: The same for the labels.
        group: A column of groups, or a pattern on names, as of a fit; samples of one group count as
            one for the intervals.
        units: What the values of rasters with masks mean; None goes by the files, as in the fit.
        on_bad: `stop` at files that cannot be used, or `skip` them with a warning.
        device: See FitOptions.
        progress: Told about everything; None is silent.

    Raises:
        ConfigError: `units` are given to a model that answers with classes.
        DataError: The data has classes that the model does not know, cannot be read, or is all of
            it what the model has learnt from.
        RunError: A file of the run is missing or damaged.
    """
    from headstart.data.text_tables import has_text_table
    from headstart.evaluating import Columns, evaluate_labels, evaluate_masks
    from headstart.unseen import learnt_contents

    progress = progress or Progress()
    fit = _fit_of(run)
    used = dict(fit.get("options", {}))
    if used.get("text_column") is not None:  # as in the table: options part a name at its commas
        used["text_column"] = fit.get("model", {}).get("text_columns")
    used_group = used.get("group")
    # Columns are those of a file; where texts were read, also of a folder with tables in it.
    reads_texts = fit.get("task") == "text-classification"
    has_columns = has_text_table if reads_texts else Path.is_file
    if not has_columns(Path(data)):
        used = {}
    columns = Columns(
        image_column or used.get("image_column"),
        text_columns or used.get("text_column"),
        label_column or used.get("label_column"),
        group,
    )
    learnt = learnt_contents(RunFolder(Path(run)), progress=progress) if fit else frozenset()
    if answers_with_masks(run):
        segmenter = ready_segmenter(run, device=device, units=units, progress=progress)
        return evaluate_masks(
            segmenter,
            Path(data),
            columns=columns,
            learnt=learnt,
            on_bad=on_bad,
            progress=progress,
        )
    if used_group and group is None:
        progress.warn(
            f"The fit kept groups together (--group {used_group}); here only copies count as one, "
            "so that intervals are too narrow where others belong together. Give --group if the "
            "data tells of groups."
        )
    if units is not None:
        raise ConfigError(
            f"--units {units} is of masks, and `{run}` answers with classes. Leave it away."
        )
    fitted = load_told(run, device=device, progress=progress)
    return evaluate_labels(
        fitted,
        Path(data),
        columns=columns,
        learnt=learnt,
        on_bad=on_bad,
        progress=progress,
    )


def _fit_of(run: Path | str) -> Mapping[str, Any]:
    """How a run was fitted, its `options` among it; nothing for a pretrained model."""
    from headstart.backbones.model_files import is_model_folder

    if not Path(run).is_dir() or is_model_folder(Path(run)):
        return {}
    folder = RunFolder(Path(run))
    config: Mapping[str, Any] = folder.read_json(folder.config)
    return config


def report(run: Path | str) -> Path:
    """Draw the report of a run anew, from its folder alone; returns the page.

    Raises:
        RunError: There is no finished run, or a file of it is missing.
    """
    from headstart.report import write_report

    return write_report(RunFolder.open(Path(run)))


def compare(
    runs: Sequence[Path | str],
    *,
    output: Path | str | None = None,
    progress: Progress | None = None,
) -> Compared:
    """How much better runs are than the first of them, on the same unseen samples.

    Args:
        runs: Two to eight run folders; the first is the reference.
        output: An HTML page to write.
        progress: Told about everything; None is silent.

    Raises:
        RunError: A run is not finished, or the runs cannot be compared: other classes, other test
            samples, or one learned from the test samples of another.

    Example:
        >>> for found in compare(["runs/photos-1", "runs/photos-2"]):   # doctest: +SKIP
        ...     print(found.verdict)
        photos-2 is right more often than photos-1: +2.1 points (95% +0.4 to +3.8, n=420).
    """
    from headstart.comparing import compare as compare_runs

    return compare_runs(runs, output=output, progress=progress)


def rank(
    data: Path | str,
    options: RankOptions | None = None,
    *,
    progress: Progress | None = None,
    **values: Any,
) -> Ranking:
    """Race backbones on a data set: what a linear probe on each is worth, and what each costs.

    Args:
        data: A folder or a table.
        options: All options at once; or give them by name, as `values`.
        progress: Told about everything; None is silent.
        **values: Fields of RankOptions, such as `backbones=["efficientnet-lite0", "resnet50"]`.

    Raises:
        HeadstartError: With what was found, what is needed and what to do.

    Example:
        >>> ranking = rank("photos/", budget="2m")                  # doctest: +SKIP
        >>> ranking.best.backbone.reference                         # doctest: +SKIP
        'efficientnet-lite2'
    """
    from headstart.ranking import rank as race

    given = options.model_dump(exclude_unset=True) if options else {}
    settled = make_rank_options({**given, **values})
    return race(Path(data), settled, progress=progress or Progress())


def models(query: str = "") -> list[ModelCard]:
    """The models that can be had: the catalogue's, those that begin with the query, all others."""
    from headstart.backbones import list_models

    def order(card: ModelCard) -> tuple[bool, bool]:
        name = card.name.partition(":")[2]
        return bool(name), not name.startswith(query.lower())

    return sorted(list_models(query), key=order)


def pull(name: str, *, progress: Progress | None = None) -> Path:
    """Fetch a model's weights into the cache; returns the file."""
    from headstart.backbones import pull as pull_weights

    return pull_weights(name, progress=progress or Progress())


@dataclass(frozen=True)
class Demonstration:
    """What `demo` made.

    Attributes:
        run: The fitted run.
        data: The labelled samples.
        prediction: For new ones.
        predictions: The file they were written to.
        showcase: What is demonstrated, and how it is told.
    """

    run: Run
    data: Path
    prediction: Prediction
    predictions: Path
    showcase: Showcase


def demo(
    kind: Literal["pictures", "text"] = "pictures",
    *,
    output: Path | None = None,
    progress: Progress | None = None,
) -> Demonstration:
    """Fit a packaged default to real samples, and predict some that were put aside.

    Args:
        kind: `pictures` of solar cells, after which the same time is spent from random weights, to
            show what the pretrained ones bring; or `text`, the sections of news articles.
        output: The run folder.
        progress: Told about everything; None is silent.

    Raises:
        ConfigError: There is no such demonstration.
        WeightsError: The package registry cannot be reached.
    """
    from headstart.demo import SHOWCASES, unpacked
    from headstart.prediction_files import write_predictions

    if kind not in SHOWCASES:
        raise ConfigError(f"There is no demonstration `{kind}`. {did_you_mean(kind, SHOWCASES)}")
    showcase = SHOWCASES[kind]
    progress = progress or Progress()
    progress.note(showcase.notice)
    data = unpacked(showcase, progress)
    options = make_options({**showcase.options, "output": output})
    run = fit(data.labelled, options, progress=progress)
    prediction = predict(run.path, [data.new], progress=progress)
    predictions = run.path / f"{showcase.new}.csv"
    write_predictions(predictions, prediction)
    return Demonstration(run, data.labelled, prediction, predictions, showcase)
