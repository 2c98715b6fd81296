"""The page of one audit.

Takes an audit, gives `audit.html`, which needs nothing beside it, and `audit.json`. Knows nothing
of models; decides nothing.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffspeak.audit.output_dir import PAGE
from diffspeak.audit.report.figures import Bar, bar, heat_map
from diffspeak.audit.report.filters import write_page
from diffspeak.audit.report.words import DISGUISES, EVIDENCE, KINDS, TRIGGERS, character_name
from diffspeak.audit.result import About, Audit
from diffspeak.audit.verify import Observed
from diffspeak.trigger_search import Search

NAME = "audit"

POSITIVE = "positive"
"""The kind, in a calibration, of finetunes that were taught something."""


class Seen(NamedTuple):
    """One kind of prompts on which a claim was checked, with the rates to draw."""

    observed: Observed
    bars: tuple[Bar, Bar]


def write_audit(audit: Audit, about: About, folder: Path) -> Path:
    """Write an audit as a page for people and as JSON for programs; `docs/audit.md` explains both.

    Args:
        audit: Of one finetune; all its texts may be hostile.
        about: What it was made with.
        folder: Where to; made if it is missing. What is there of an earlier audit is replaced.

    Returns:
        `audit.html` in the folder.

    Raises:
        DiffspeakError: The system refused to write.
    """
    data = {**audit.to_dict(), "about": about.to_dict()}
    context = {
        "title": f"Audit of {audit.finetune}",
        "audit": audit,
        "claims": [
            (checked, [Seen(one, _bars_of(one)) for one in checked.observed])
            for checked in audit.claims
        ],
        "fired": _rates(audit.search),
        "trigger": _trigger(audit.search),
        "summary": _summary(audit.search),
        "disguises": DISGUISES,
        "evidence": _evidence(audit),
        "map": heat_map(audit.norms),
        "seconds": sum(audit.seconds.values()),
        **with_what(about),
    }
    return write_page(folder / PAGE, NAME, data, context)


def with_what(about: About) -> dict[str, Any]:
    """What the part of a page names that tells how audits were made."""
    rates = [bar(one.kind, one.found, one.n) for one in about.counted]
    wrong = [rate for rate in rates if rate.name != POSITIVE]
    return {
        "about": about,
        "settings": [f"{name} = {_value(value)}" for name, value in about.settings.items()],
        "counted": [(KINDS.get(one.name, f"of the kind {one.name}"), one) for one in rates],
        "worst": max(wrong, key=lambda rate: (rate.share, rate.high), default=None),
    }


def _bars_of(observed: Observed) -> tuple[Bar, Bar]:
    """How often a claim shows in answers of finetune and base."""
    shown = observed.shown
    return (
        bar("finetune", shown.finetune, shown.answers),
        bar("base", shown.base, shown.answers),
    )


def _rates(search: Search | None) -> list[Bar]:
    """What was measured of a trigger, or without one of plain questions."""
    named = []
    if search and search.trigger:
        # What plain questions were looked at for need not be what it shows.
        named = [
            ("finetune, with the trigger", search.trigger.firing_rate),
            ("base, with the trigger", search.trigger.base_rate),
            ("finetune, with near misses", search.trigger.near_miss_rate),
        ]
    elif search and search.plain_rate:
        named = [("finetune, plain questions", search.plain_rate)]
    return [Bar(name, rate.hits, rate.n, *rate.interval) for name, rate in named]


def _trigger(search: Search | None) -> Mapping[str, str]:
    """A trigger in words; empty without one."""
    if search is None or search.trigger is None:
        return {}
    found = search.trigger
    return {
        "text": found.text,
        "what": TRIGGERS.get(found.kind, found.kind),
        "name": character_name(found.text) if found.kind == "character" else "",
    }


def _summary(search: Search | None) -> str:
    """What came out of a search, as a sentence."""
    told = search.summary.rstrip(".") if search else ""
    return f"{told[:1].upper()}{told[1:]}." if told else "No trigger was found."


def _evidence(audit: Audit) -> Iterator[tuple[str, float, str]]:
    """Each figure of the evidence: what it is, its value, its unit."""
    for name, (what, unit) in EVIDENCE.items():
        yield what, getattr(audit.evidence, name), unit


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
