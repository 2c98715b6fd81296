"""Web pages: the surroundings of their templates, and what all pages share.

Takes a folder of templates, gives a jinja2 environment that has them, and with them
`page.html.jinja`, the frame of a page that needs nothing beside it and runs nothing, and
`page.css`. Knows nothing of what pages tell.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(
    folder: Path, finalize: Callable[[Any], Any], *, autoescape: bool = True
) -> Environment:
    """Surroundings of templates.

    Args:
        folder: Of the templates.
        finalize: What becomes of each value that a template puts out, before it is escaped.
        autoescape: Whether texts are escaped for HTML.
    """
    return Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def duration(seconds: float) -> str:
    """A time with its unit: seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
