"""Fills the page templates, with everything from outside escaped. Knows neither runs nor data."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.atomic import replacing
from headstart.errors import ConfigError
from headstart.report.drawing import CHART_STYLE

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """A whole HTML page: `context` under the names the template uses, the style sheet inlined.

    Strings are escaped, charts (`drawn` in the template) are trusted: `charts` escapes its texts.
    """
    from markupsafe import Markup

    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    page = _environment().get_template(template)
    return page.render({**context, "style": Markup(style + CHART_STYLE)})


@functools.cache
def _environment() -> Environment:
    """Reads the templates, each once in a process: to parse them takes longer than to fill them."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from headstart.report import wording

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "drawn": Markup,
        "prose": _prose,
        "percent": wording.percent,
        "duration": wording.duration,
        "size": wording.size,
        "count": wording.count,
        "told": wording.told,
        "rounded": wording.rounded,
        "listed": wording.names,
    }
    return environment


def write_page(path: Path, template: str, context: Mapping[str, Any]) -> Path:
    """Write a page where the user wants it; see `render_page`.

    Raises:
        ConfigError: It cannot be written there.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_text(render_page(template, context), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"Cannot write `{path}`: {error.strerror or error}. "
            "Give --output a file in a folder of your own."
        ) from error
    return path


def _prose(text: str) -> Markup:
    """A sentence, escaped, in which `what stands in backticks` is set as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
