"""The shell over the verbs: arguments in, messages out, exit codes.

0 done, 2 the user can mend it (the message alone), 130 interrupted and resumable, 1 our defect.
Wires nothing: the verbs are in `api`, the tables in `showing`; beside them this touches options,
cache, files and progress.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError
from pydantic import ValidationError

import headstart
from headstart import showing
from headstart.cli_predict import Device, predict, shielded
from headstart.cli_stac import Quiet
from headstart.cli_stac import app as stac_app
from headstart.config import FitOptions, Units, load_options
from headstart.errors import ConfigError, HeadstartError, InterruptedFit
from headstart.inspect_options import InspectOptions
from headstart.openmp import wait_briefly
from headstart.option_values import columns_of, explain
from headstart.progress import ConsoleSink, Progress
from headstart.rank_options import RankOptions

app = App(
    name="headstart",
    version=headstart.__version__,
    help="A folder of labelled data and a pretrained model in, a model of your own that you can "
    "trust out.",
    help_format="plaintext",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `run` tells that it was stopped
)
cache_app = App(name="cache", help="Show, limit or empty the cache of features and weights.")
app.command(cache_app)
app.command(stac_app)


def _progress(*, quiet: bool = False) -> Progress:
    """What goes on, to standard error."""
    return Progress([ConsoleSink(is_quiet=quiet)])


def _results() -> Progress:
    """What was asked for, to standard output."""
    return Progress([ConsoleSink(sys.stdout)])


@app.command
def inspect(
    data: Path,
    /,
    *,
    options: Annotated[InspectOptions | None, Parameter(name="*")] = None,
) -> None:
    """Show what is in a data set, and everything that is wrong with it.

    Args:
        data: A folder or a table of labelled pictures or texts.
        options: All options of an inspection.
    """
    from headstart import api

    options = options or InspectOptions()
    reading = options.as_fit()
    found = api.inspect(
        data,
        image_column=reading.image_column,
        text_column=reading.text_column,
        label_column=reading.label_column,
        group=reading.group,
        ignore_value=reading.ignore_value,
        outside=reading.outside,
        bands=reading.bands,
        units=reading.units,
        seed=reading.seed,
        backbone=reading.backbone,
        output=options.output,
        augment=options.augment,
        progress=_progress(),
    )
    showing.show_inspection(found, _results())


@app.command
def fit(
    data: Annotated[Path | None, Parameter(show_default=False)] = None,
    /,
    *,
    config: Path | None = None,
    resume: Path | None = None,
    quiet: Quiet = False,
    options: Annotated[FitOptions | None, Parameter(name="*")] = None,
) -> None:
    """Adapt a pretrained model to labelled data: a folder in, a run folder out.

    Args:
        data: A folder or a table of labelled pictures or texts; not needed with --resume.
        config: A YAML file of options; the command line has the last word.
        resume: Go on with an interrupted run in this folder.
        quiet: Only warnings and results.
        options: All options of a fit.
    """
    from headstart import api

    given = options.model_dump(exclude_unset=True) if options is not None else {}
    progress = _progress(quiet=quiet)
    if resume is not None:
        if data is not None or given or config is not None:
            raise ConfigError(
                "--resume takes data and options from the run itself. Leave all else away: "
                f"headstart fit --resume {resume}"
            )
        run = api.resume(resume, progress=progress)
    elif data is None:
        raise ConfigError("What shall be fitted? Give a folder: headstart fit photos/")
    else:
        run = api.fit(data, load_options(config, given), progress=progress)
    showing.show_run(run, _results())


@app.command
def evaluate(
    run: str,
    data: Path,
    /,
    *,
    output: Path | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    group: str | None = None,
    units: Units | None = None,
    on_bad: Literal["stop", "skip"] = "stop",
    device: Device = "auto",
) -> None:
    """Measure a run's model on other labelled data, without what it has learnt from.

    Args:
        run: The run folder; or a pretrained model as it comes, such as timm:resnet50.
        data: A folder or a table with classes that the model knows.
        output: A JSON file to write the metrics to.
        image_column: The column of a table that holds picture paths; as in the fit by default.
        text_column: The column that holds texts; several with commas between them; as in the fit
            by default. Columns of other names stand for those of the fit, in the order of these.
        label_column: The column of a table, or of polygons, that holds labels; as in the fit by
            default.
        group: A column of groups, such as patients, or a pattern on names with one bracket; samples
            of one group count as one for the intervals.
        units: What the values of rasters with masks mean, where the files do not say it.
        on_bad: At files that cannot be used, stop, or skip them with a warning.
        device: Where to compute.
    """
    import json

    from headstart import api
    from headstart.atomic import refuse_to_replace, replacing

    if output is not None:
        if output.suffix.lower() != ".json":
            raise ConfigError(f"--output `{output}` is written as JSON. Let its name end in .json.")
        refuse_to_replace(output, [data])
    progress = _progress()
    found = api.evaluate(
        run,
        data,
        image_column=image_column,
        text_columns=columns_of(text_column),
        label_column=label_column,
        group=group,
        units=units,
        on_bad=on_bad,
        device=device,
        progress=progress,
    )
    showing.show_evaluation(found, data, _results())
    if output is not None:
        values = {
            "n": found.n,
            "metrics": {name: vars(m) for name, m in found.metrics.items()},
            "per_class": found.per_class,
            "confusion": found.confusion,
        }
        try:
            with replacing(output) as temporary:
                temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"Cannot write `{output}`: {error.strerror}. Give --output a file that can be "
                "written."
            ) from None
        progress.note(f"Written: {output}")


app.command(predict)


@app.command
def report(run: Path, /, *, open_it: Annotated[bool, Parameter(name="--open")] = True) -> None:
    """Draw a run's report anew and open it.

    Args:
        run: The run folder.
        open_it: Open it in the browser, where there is one.
    """
    import webbrowser

    from headstart import api

    page = api.report(run)
    sys.stdout.write(f"{page}\n")
    if open_it and sys.stdout.isatty():
        webbrowser.open(page.resolve().as_uri())


@app.command
def compare(*runs: Path, output: Path | None = None) -> None:
    """Show how much better runs are than the first, on the same unseen samples.

    Args:
        runs: Two to eight run folders; the first is the reference.
        output: An HTML page to write, with charts and the samples they disagree on.
    """
    from headstart import api

    found = api.compare(runs, output=output, progress=_progress())
    showing.show_comparison(found, _results())


@app.command
def rank(
    data: Path,
    /,
    *,
    quiet: Quiet = False,
    options: Annotated[RankOptions | None, Parameter(name="*")] = None,
) -> None:
    """Race backbones on a data set: which suits it best, and what each costs.

    Args:
        data: A folder or a table of labelled pictures or texts.
        quiet: Only warnings and results.
        options: All options of a ranking.
    """
    from headstart import api

    found = api.rank(data, options, progress=_progress(quiet=quiet))
    showing.show_ranking(found, _results())


@app.command
def models(query: str = "", /) -> None:
    """List models whose name matches, those of the catalogue first.

    Args:
        query: Part of a name, such as vgg or resnet, or text for language models; `*` stands for
            anything.
    """
    from headstart import api

    cards = api.models(query)
    if not cards:
        raise ConfigError(f"No model is called anything like `{query}`. Try part of a name: vgg")
    showing.show_models(cards, _results())


@app.command
def pull(name: str, /) -> None:
    """Fetch a model's weights into the cache, so that later no network is needed.

    Args:
        name: As `headstart models` lists it; hf:ORG/REPO, a language model with its tokenizer; or
            weights alone, such as hf://ORG/REPO. Code that a model brings is fetched by the first
            fit with --trust-remote-code.
    """
    from headstart import api

    path = api.pull(name, progress=_progress())
    sys.stdout.write(f"{path}\n")


@app.command
def demo(
    kind: Literal["pictures", "text"] = "pictures",
    /,
    *,
    output: Path | None = None,
    quiet: Quiet = False,
) -> None:
    """Fit a model to real photos or articles and predict new ones, in under two minutes.

    Args:
        kind: Photos of solar cells, or the sections of news articles.
        output: The run folder.
        quiet: Only warnings and results.
    """
    from headstart import api

    progress = _progress(quiet=quiet)
    result = api.demo(kind, output=output, progress=progress)
    showing.show_demo(result, _results())


@cache_app.command(name="show")
@cache_app.default
def show_cache() -> None:
    """Show where the cache is and what is in it."""
    from headstart import cache

    showing.show_cache(cache.cache_root(), cache.usage(), cache.limit_bytes(), _results())


@cache_app.command(name="limit")
def limit_cache(size: str, /) -> None:
    """Set how large the cache may grow; what was used longest ago goes first.

    Args:
        size: Such as 500MB, 5GB or 1TB.
    """
    from headstart import cache

    cache.set_limit(cache.parse_size(size))
    show_cache()


@cache_app.command(name="clear")
def clear_cache(part: str | None = None, /) -> None:
    """Empty the cache, or one part of it. Everything in it can be made or fetched again.

    Args:
        part: features, weights, miniatures, speed, data or code; all without it.
    """
    from headstart import cache

    cache.clear(part)
    show_cache()


# What the user can mend about files that are written on the way, such as the cache.
_MENDABLE: dict[int | None, str] = {
    errno.ENOSPC: "the disk is full. Free some space, or move the cache with "
    "HEADSTART_CACHE=FOLDER and the run with --output; an interrupted run goes on with --resume.",
    errno.EACCES: "you may not write there. Move the cache with HEADSTART_CACHE=FOLDER, or what is "
    "written with --output.",
    errno.EROFS: "it is read-only. Move the cache with HEADSTART_CACHE=FOLDER, or what is written "
    "with --output.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    wait_briefly(os.environ)
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run a command; returns its exit code."""
    is_debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        app(shielded(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _complain(_explain_usage(error), is_debug=is_debug)
        return 2
    except InterruptedFit as error:
        _complain(str(error), is_debug=is_debug)
        return 130
    except KeyboardInterrupt:
        _complain("Stopped.", is_debug=is_debug)
        return 130
    except HeadstartError as error:
        _complain(str(error), is_debug=is_debug)
        return 2
    except OSError as error:
        if _is_closed(error):
            return 141  # as a process that SIGPIPE ends
        if error.errno not in _MENDABLE:
            raise
        where = f"`{error.filename}`" if error.filename else "to standard output"
        _complain(f"Cannot write {where}: {_MENDABLE[error.errno]}", is_debug=is_debug)
        return 2
    return 0


def _is_closed(error: OSError) -> bool:
    """Whether nobody reads standard output any more, such as `head` that has seen enough."""
    if not isinstance(error, BrokenPipeError) or not hasattr(select, "poll"):
        return False
    output = select.poll()
    output.register(sys.stdout, 0)  # what is wrong with it is told unasked
    return any(event & select.POLLERR for _, event in output.poll(0))


def _explain_usage(error: CycloptsError) -> str:
    """What is wrong with the arguments, in our words where the model of options refused them."""
    if isinstance(error.__cause__, ValidationError):
        return explain(error.__cause__, source="the options", known=FitOptions.model_fields)
    return f"{error} See `headstart --help`, or `headstart fit --help` for one command."


def _complain(message: str, *, is_debug: bool) -> None:
    from rich.console import Console

    console = Console(file=sys.stderr, highlight=False)
    if is_debug:
        console.print_exception()
    # Not wrapped here, so that a path or a command in it can be copied.
    console.print("Error: " + message, style="bold red", markup=False, soft_wrap=True)
