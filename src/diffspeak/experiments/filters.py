"""How texts and numbers look in a report: the surroundings of its templates.

Takes nothing, gives a jinja2 environment for HTML and one for Markdown, in which every text that
a template puts out is on one line, escaped, with what cannot be seen in it spelled out. Knows
nothing of experiments.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from diffspeak.scoring.tables import markdown_table
from diffspeak.text.pages import environment
from diffspeak.text.plain import escaped, one_line


def for_html() -> Environment:
    """For a web page."""
    made = _environment(_visible, autoescape=True)
    made.filters |= {"place": _place, "shade": _shade}
    return made


def for_markdown() -> Environment:
    """For Markdown; the filter `table` takes rows of heading to text."""
    made = _environment(_in_markdown, autoescape=False)
    made.filters["table"] = _markdown
    return made


def _environment(finalize: Callable[[Any], Any], *, autoescape: bool) -> Environment:
    made = environment(Path(__file__).parent, finalize, autoescape=autoescape)
    made.filters |= {"number": _number, "percent": _percent, "score": _score}
    return made


def _visible(value: Any) -> Any:
    """A text on one line with all of it to be seen; what is no text, or markup, as it is."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    # Joiners stay within words; alone they are nothing to look at.
    return one_line(value) if any(map(str.isprintable, value)) else escaped(value)


def _in_markdown(value: Any) -> Any:
    """The same, with each character that means something in Markdown taken as it is.

    Bars are left alone: a table escapes its own.
    """
    value = _visible(value)
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return re.sub(r"([\\`*_\[\]<>~&#])", r"\\\1", value)


def _markdown(rows: Sequence[Mapping[str, str]]) -> Markup:
    safe = [{_in_markdown(k): _in_markdown(text) for k, text in row.items()} for row in rows]
    return Markup("\n".join(markdown_table(safe)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _score(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _place(score: float) -> str:
    """Where a score stands on a scale from 1 to 5, in percent of its length."""
    return f"{25 * (min(5.0, max(1.0, score)) - 1):.1f}"


def _shade(score: float) -> int:
    """The whole number nearest to a score, as in figures."""
    return min(5, max(1, int(score + 0.5)))
