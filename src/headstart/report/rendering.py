"""Fills the page templates, with everything from outside escaped. Knows neither runs nor data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.report.drawing import CHART_STYLE

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """A whole HTML page: `context` under the names the template uses, the style sheet inlined.

    Strings are escaped, charts (`drawn` in the template) are trusted: `charts` escapes its texts.
    """
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
        "listed": wording.names,
    }
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    page = environment.get_template(template)
    return page.render({**context, "style": Markup(style + CHART_STYLE)})


def _prose(text: str) -> Markup:
    """A sentence, escaped, in which `what stands in backticks` is set as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
