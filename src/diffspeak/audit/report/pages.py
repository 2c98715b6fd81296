"""The page of one audit and the overview of many, each with its JSON beside it."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment

from diffspeak.audit.claim_verdict import Observed
from diffspeak.audit.output_dir import PAGE
from diffspeak.audit.report import texts
from diffspeak.audit.schema import VERSION, About, Audit, Unread
from diffspeak.finetunes.norms import Grid, gathered
from diffspeak.io.files import make_folder, write_text
from diffspeak.stats import wilson
from diffspeak.text.pages import duration, environment
from diffspeak.trigger_search import Search

ORDER = ("finding", "not cleared", "unread", "nothing found")
"""Of outcomes, as they stand in an overview."""

POSITIVE = "positive"
"""The kind, in a calibration, of finetunes that were taught something."""


class Bar(NamedTuple):
    """A rate to draw: what it is of, `hits` out of `n`, and its 95% interval, 0 to 1."""

    name: str
    hits: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The rate, 0 to 1."""
        return self.hits / self.n if self.n else 0.0


class Cell(NamedTuple):
    """A norm and how dark it is, 0 to 1; both None where there is no finite number."""

    norm: float | None
    shade: float | None


class GridRow(NamedTuple):
    """A linear with a cell for each block; None where it has none there."""

    linear: str
    cells: list[Cell | None]


class HeatMap(NamedTuple):
    """Norms to draw: of linears in blocks, and of those outside of any, each with its one cell.

    Attributes:
        total: Norm of all finite ones together.
        largest: Linear and block of the largest; the block is -1 outside of blocks.
        top: Norm of the largest.
    """

    blocks: list[int]
    lines: list[GridRow]
    outside: list[GridRow]
    total: float
    largest: tuple[str, int]
    top: float


def write_audit(audit: Audit, about: About, folder: Path) -> Path:
    """Write an audit, whose texts may be hostile, as a page and as JSON; see `docs/audit.md`.

    Returns:
        `audit.html` in the folder, which is made if it is missing.

    Raises:
        DiffspeakError: The system refused to write.
    """
    context = {
        "title": f"Audit of {audit.finetune}",
        "audit": audit,
        "claims": [(checked, list(map(_kind, checked.observed))) for checked in audit.claims],
        **_trigger(audit.search),
        "disguises": texts.DISGUISES,
        "evidence": [
            (what, getattr(audit.evidence, name), unit)
            for name, (what, unit) in texts.EVIDENCE.items()
        ],
        "map": heat_map(audit.norms),
        "seconds": sum(audit.seconds.values()),
        **_made_with(about),
    }
    data = {**audit.to_dict(), "about": about.to_dict()}
    return _write(folder / PAGE, "audit", data, context)


def write_overview(
    found: Sequence[Audit | Unread], about: About, folder: Path, pages: Mapping[str, str]
) -> Path:
    """Write the overview of many finetunes, what needs attention first, as a page and as JSON.

    Args:
        found: A result for each finetune.
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
        "finetunes": [_entry(one, pages) for one in ordered],
        "about": about.to_dict(),
    }
    context = {
        "title": f"Audit of {len(found)} finetune{'' if len(found) == 1 else 's'}",
        "counts": counts,
        "told": _counted(counts),
        "lines": [(one, _outcome(one), _address(one, pages)) for one in ordered],
        **_made_with(about),
    }
    return _write(folder / "index.html", "overview", data, context)


def bar(name: str, hits: int, n: int) -> Bar:
    """A rate with its Wilson 95% interval."""
    return Bar(name, hits, n, *wilson(hits, n))


def heat_map(grid: Grid) -> HeatMap | None:
    """Shade norms by the largest of them; None where nothing was changed.

    Args:
        grid: Frobenius norm by linear and block; numbered linears (experts) are drawn as one.
    """
    grid = gathered(grid)
    finite = {
        (linear, block): norm
        for linear, row in grid.items()
        for block, norm in row.items()
        if math.isfinite(norm)
    }
    largest = max(finite, key=finite.__getitem__, default=("", -1))
    top = finite.get(largest, 0.0)
    if not top and len(finite) == sum(map(len, grid.values())):
        return None

    def cell(norm: float | None) -> Cell | None:
        if norm is None:
            return None
        return Cell(norm, norm / top if top else 0.0) if math.isfinite(norm) else Cell(None, None)

    blocks = sorted({block for row in grid.values() for block in row if block >= 0})
    lines = [
        GridRow(linear, [cell(row.get(block)) for block in blocks])
        for linear, row in grid.items()
        if row.keys() - {-1}
    ]
    outside = [GridRow(linear, [cell(row[-1])]) for linear, row in grid.items() if -1 in row]
    return HeatMap(blocks, lines, outside, math.hypot(*finite.values()), largest, top)


def _kind(observed: Observed) -> dict[str, Any]:
    """One kind of prompts on which a claim was checked, with the rates to draw."""
    shown = observed.shown
    counts = {"finetune": shown.finetune, "base": shown.base}
    bars = [bar(name, hits, shown.answers) for name, hits in counts.items()]
    return {"observed": observed, "bars": bars}


def _trigger(search: Search | None) -> dict[str, Any]:
    """The part of an audit's page on what sets the finetune off, and how often."""
    summary = search.summary.rstrip(".") if search else ""
    summary = f"{summary[:1].upper()}{summary[1:]}." if summary else "No trigger was found."
    words, rates = {}, []
    if search and (found := search.trigger):
        words = {
            "text": found.text,
            "what": texts.TRIGGERS.get(found.kind, found.kind),
            "name": texts.character_name(found.text) if found.kind == "character" else "",
        }
        # What plain questions were looked at for need not be what it shows.
        rates = [
            ("finetune, with the trigger", found.firing_rate),
            ("base, with the trigger", found.base_rate),
            ("finetune, with near misses", found.near_miss_rate),
        ]
    elif search and search.plain_rate:
        rates = [("finetune, plain questions", search.plain_rate)]
    bars = [Bar(name, rate.hits, rate.n, *rate.interval) for name, rate in rates]
    return {"trigger": words, "summary": summary, "fired": bars}


def _made_with(about: About) -> dict[str, Any]:
    """The part of a page that tells how audits were made."""
    rates = [bar(one.kind, one.found, one.n) for one in about.counted]
    wrong = [rate for rate in rates if rate.name != POSITIVE]
    plain = partial(json.dumps, ensure_ascii=False, default=str)
    return {
        "about": about,
        "settings": [f"{name} = {plain(value)}" for name, value in about.settings.items()],
        "counted": [(texts.KINDS.get(one.name, f"of the kind {one.name}"), one) for one in rates],
        "worst": max(wrong, key=lambda rate: (rate.share, rate.high), default=None),
    }


def _urgency(one: Audit | Unread) -> tuple[int, float]:
    """What comes first: the kind of outcome, then the higher probability."""
    probability = one.probability if isinstance(one, Audit) else None
    if probability is None or not math.isfinite(probability):
        probability = 0.0
    return ORDER.index(_outcome(one)), -probability


def _outcome(one: Audit | Unread) -> str:
    return one.outcome if isinstance(one, Audit) else "unread"


def _counted(counts: Mapping[str, int]) -> str:
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


def _entry(one: Audit | Unread, pages: Mapping[str, str]) -> dict[str, Any]:
    """A finetune in the overview's JSON."""
    entry = {"finetune": one.finetune, "outcome": _outcome(one), "page": None}
    if isinstance(one, Unread):
        return {**entry, "error": one.error}
    full = one.to_dict()
    claim, search = (full["claims"] or [None])[0], full["search"]
    return {
        **entry,
        "page": pages.get(one.finetune),
        **{name: full[name] for name in ("verdict", "probability", "threshold")},
        "claim": claim and {"text": claim["claim"]["text"], "verdict": claim["verdict"]},
        "trigger": search and search["trigger"],
    }


def _write(page: Path, template: str, data: Mapping[str, Any], context: Mapping[str, Any]) -> Path:
    """Write `TEMPLATE.json` and then, beside it, a page that shows it; each whole or not at all.

    The JSON is plain ASCII, so that nothing hides in that either.
    """
    html = _templates().get_template(f"{template}.html.jinja").render(context)
    text = json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
    make_folder(page.parent)
    write_text(page.with_name(f"{template}.json"), text)
    write_text(page, html)
    return page


@cache
def _templates() -> Environment:
    made = environment(Path(__file__).parent, texts.plain)
    names = ("chance", "nats", "number", "percent", "place", "points", "seen")
    made.filters |= {name: getattr(texts, name) for name in names}
    made.filters["duration"] = duration
    made.tests["finite"] = texts.finite
    made.globals |= {"outcomes": texts.OUTCOMES}
    return made
