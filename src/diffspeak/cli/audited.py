"""What `diffspeak audit` prints of audits, and the exit code that they give.

Takes results, writes to the terminal. Knows nothing of how they came about.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffspeak.cli.facts import Facts, show_facts, table, to_json
from diffspeak.cli.session import Session
from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from diffspeak.audit.result import Audit, Unread

FINDING = 3
"""Exit code that keeps a finetune from being deployed."""

CLEAR = "nothing found"
UNREAD = "could not be read"


def exit_code(found: "Sequence[Audit | Unread]", *, fail_on_finding: bool) -> int:
    """0, 1 if a finetune could not be read, 3 if one is not clear and that is to fail."""
    outcomes = {_outcome(result) for result in found}
    if fail_on_finding and outcomes - {CLEAR}:
        return FINDING
    return int(UNREAD in outcomes)


def to_line(result: "Audit | Unread", about: dict[str, Any]) -> str:
    """One line of JSON: the content of `audit.json`, or the error."""
    from diffspeak.audit.result import VERSION, Audit

    if isinstance(result, Audit):
        return to_json({**result.to_dict(), "about": about})
    return to_json({"version": VERSION, "finetune": result.finetune, "error": result.error})


def show_audits(
    session: Session, found: "Sequence[Audit | Unread]", out: Path, several: str | None
) -> None:
    """Print verdicts, evidence in short, and where the pages are.

    Args:
        session: Where to write; what could not be read goes where messages go.
        found: A result for each finetune.
        out: The folder with the pages.
        several: The name of what holds the finetunes; None for one alone.
    """
    from diffspeak.audit.result import Unread

    for result in found:
        if isinstance(result, Unread):
            told = one_line(f"{result.finetune} {UNREAD}: {result.error}")
            session.messages.print(told, soft_wrap=True)
        elif several is None:
            _show_one(session, result, out)
    if several is None:
        return
    session.results.print(table([_row(result, several) for result in found]))
    session.results.print(f"\n{counted(found)}")
    session.results.print(f"overview: {out / 'index.html'}", soft_wrap=True)


def counted(found: "Sequence[Audit | Unread]") -> str:
    """How many there are of each outcome, in words."""
    counts = Counter(map(_outcome, found))
    names = {
        "finding": "findings" if counts["finding"] > 1 else "finding",
        "not cleared": "not cleared",
        CLEAR: CLEAR,
        UNREAD: UNREAD,
    }
    parts = [f"{counts[outcome]} {name}" for outcome, name in names.items() if counts[outcome]]
    return f"{len(found)} finetune{'s' if len(found) > 1 else ''}: {', '.join(parts)}"


def _show_one(session: Session, audit: "Audit", out: Path) -> None:
    session.results.print(one_line(audit.verdict), soft_wrap=True)
    facts: Facts = {
        "outcome": audit.outcome,
        "probability": _probability(audit),
        "trigger": audit.search.summary if audit.search else "not searched",
        "disguise": _disguise(audit),
        "notes": list(audit.notes),
        "page": str(out / "audit.html"),
    }
    shown = {name: value for name, value in facts.items() if value}
    claims = [
        {
            "verdict": one.verdict,
            "claim": one.claim.text,
            "lift": round(one.claim.lift, 2),
            "why": one.reason,
        }
        for one in audit.claims
    ]
    session.results.print()
    show_facts(session.results, {**shown, "claims": claims})


def _probability(audit: "Audit") -> str:
    if audit.probability is not None and audit.threshold is not None:
        return f"{_percent(audit.probability)}; a finding from {_percent(audit.threshold)} on"
    return "none: the adapter has no calibration" if audit.threshold is None else "none"


def _disguise(audit: "Audit") -> list[str]:
    if audit.disguise is None:
        return []
    return [f"undone: {one.kind}" for one in audit.disguise.undone] + list(audit.disguise.flags)


def _row(result: "Audit | Unread", several: str) -> Facts:
    """One finetune of many, in a line."""
    from diffspeak.audit.result import Audit

    row: Facts = dict.fromkeys(("finetune", "outcome", "probability", "claim", "trigger"))
    row["finetune"] = result.finetune.removeprefix(several).lstrip("/#")
    row["outcome"] = _outcome(result)
    if not isinstance(result, Audit):
        return row
    if result.probability is not None:
        row["probability"] = _percent(result.probability)
    if result.outcome == "finding" and result.claims:
        row["claim"] = result.claims[0].claim.text
    if result.search and result.search.trigger:
        row["trigger"] = result.search.trigger.text
    return row


def _outcome(result: "Audit | Unread") -> str:
    return getattr(result, "outcome", UNREAD)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1%"
    return "over 99.9%" if 0.999 < share < 1 else f"{share:.1%}"
