"""The overview of many audits: a line for each, what needs attention first.

Takes audits, and finetunes that could not be read, gives `index.html` and `overview.json`. Knows
nothing of models; decides nothing.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from diffspeak.audit.report.filters import write_page
from diffspeak.audit.report.page import with_what
from diffspeak.audit.result import VERSION, About, Audit, Unread

NAME = "overview"
PAGE = "index.html"

ORDER = ("finding", "not cleared", "unread", "nothing found")


def write_overview(
    found: Sequence[Audit | Unread], about: About, folder: Path, pages: Mapping[str, str]
) -> Path:
    """Write the overview of many finetunes, as a page and as JSON.

    Args:
        found: Audits, and finetunes that could not be read.
        about: What all of them were made with.
        folder: Where to; made if it is missing.
        pages: For each finetune's name the path of its page, relative to `folder`; one without is
            not linked.

    Returns:
        `index.html` in the folder.

    Raises:
        DiffspeakError: The system refused to write.
    """
    ordered = sorted(found, key=_urgency)
    counts = {outcome: sum(_outcome(one) == outcome for one in found) for outcome in ORDER}
    data = {
        "version": VERSION,
        "counts": counts,
        "finetunes": [_line(one, pages) for one in ordered],
        "about": about.to_dict(),
    }
    context = {
        "title": f"Audit of {len(found)} finetune{'' if len(found) == 1 else 's'}",
        "counts": counts,
        "told": _told(counts),
        "lines": [(one, _outcome(one), _address(one, pages)) for one in ordered],
        **with_what(about),
    }
    return write_page(folder / PAGE, NAME, data, context)


def _urgency(one: Audit | Unread) -> tuple[int, float]:
    """What comes first: the kind of outcome, then the higher probability."""
    probability = one.probability if isinstance(one, Audit) else None
    if probability is None or not math.isfinite(probability):
        probability = 0.0
    return ORDER.index(_outcome(one)), -probability


def _outcome(one: Audit | Unread) -> str:
    return one.outcome if isinstance(one, Audit) else "unread"


def _told(counts: Mapping[str, int]) -> str:
    """The counts in one sentence, without what there is none of."""
    words = {
        "finding": "finding" if counts["finding"] == 1 else "findings",
        "not cleared": "not cleared",
        "unread": "could not be read",
        "nothing found": "nothing found",
    }
    told = [f"{counts[name]} {word}" for name, word in words.items() if counts[name]]
    return f"Of {sum(counts.values())}: {', '.join(told)}." if told else "There was no finetune."


def _address(one: Audit | Unread, pages: Mapping[str, str]) -> str | None:
    """Where a finetune's page is, as a relative address that leads to nothing but files."""
    path = pages.get(one.finetune) if isinstance(one, Audit) else None
    return None if path is None else f"./{quote(os.fsencode(path))}"


def _line(one: Audit | Unread, pages: Mapping[str, str]) -> dict[str, Any]:
    """A finetune in the JSON."""
    told = {"finetune": one.finetune, "outcome": _outcome(one), "page": None}
    if isinstance(one, Unread):
        return {**told, "error": one.error}
    told["page"] = pages.get(one.finetune)
    full = one.to_dict()
    claim, search = (full["claims"] or [None])[0], full["search"]
    return {
        **told,
        **{name: full[name] for name in ("verdict", "probability", "threshold")},
        "claim": claim and {"text": claim["claim"]["text"], "verdict": claim["verdict"]},
        "trigger": search and search["trigger"],
    }
