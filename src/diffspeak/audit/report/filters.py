"""How numbers and texts look on an audit's pages, and how a page and its JSON are written.

Takes data and what a template names, gives files. Knows nothing of what an audit holds.
"""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from diffspeak.audit.report.texts import plain, seen
from diffspeak.audit.report.words import OUTCOMES
from diffspeak.io.files import make_folder, write_text
from diffspeak.text.pages import duration, environment

NO_NUMBER = "no number"
"""Stands for NaN, for infinity and for what was not measured."""


def write_page(
    page: Path, template: str, data: Mapping[str, Any], context: Mapping[str, Any]
) -> Path:
    """Write `TEMPLATE.json` and then, beside it, a page that shows it; each whole or not at all.

    Args:
        page: The page's file; its folder is made if it is missing.
        template: Name without `.html.jinja`.
        data: For the JSON, which is plain ASCII, so that nothing hides in that either.
        context: What the template names.

    Returns:
        The page's file.

    Raises:
        DiffspeakError: The system refused to write.
    """
    html = _templates().get_template(f"{template}.html.jinja").render(context)
    text = json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
    make_folder(page.parent)
    write_text(page.with_name(f"{template}.json"), text)
    write_text(page, html)
    return page


@cache
def _templates() -> Environment:
    made = environment(Path(__file__).parent, plain)
    made.filters |= {
        "chance": chance,
        "duration": duration,
        "nats": nats,
        "number": number,
        "percent": percent,
        "place": place,
        "points": points,
        "seen": seen,
    }
    made.tests["finite"] = finite
    made.globals |= {"outcomes": OUTCOMES}
    return made


def finite(value: float | None) -> bool:
    """Whether there is a number, and one that says something."""
    return value is not None and math.isfinite(value)


def chance(value: float | None) -> str:
    """A probability in percent, never rounded to certainty."""
    if value is None or not math.isfinite(value):
        return NO_NUMBER
    if not 0.001 <= value <= 0.999:
        return "over 99.9%" if value > 0.5 else "under 0.1%"
    return f"{value:.0%}" if 0.02 <= value <= 0.98 else f"{value:.1%}"


def percent(value: float) -> str:
    """A share in percent, with a digit more where it is nearly nothing or nearly all."""
    return f"{value:.0%}" if value in (0, 1) or 0.1 <= value <= 0.9 else f"{value:.1%}"


def points(value: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    return f"{100 * value:+.0f}"


def number(value: float | None) -> str:
    """A number to three digits."""
    return f"{value:.3g}" if value is not None and math.isfinite(value) else NO_NUMBER


def nats(value: float | None) -> str:
    """How much likelier something became."""
    return f"{value:+.2f} nats a token" if value is not None and math.isfinite(value) else NO_NUMBER


def place(share: float) -> str:
    """Where a share, 0 to 1, stands on a scale, in percent of its length."""
    return f"{100 * min(1.0, max(0.0, share)):.1f}"
