"""The outcome of an audit and its one sentence, from all that was found."""

from collections.abc import Sequence
from typing import NamedTuple

from diffspeak.adapters import Adapter
from diffspeak.audit.behavior_check import HALF, Apart
from diffspeak.audit.claim_verdict import Checked
from diffspeak.audit.schema import AuditOutcome
from diffspeak.stats import probability_text
from diffspeak.symmetries import Disguise
from diffspeak.text.plain import one_line
from diffspeak.trigger_search import FoundTrigger, Search

_VERDICTS = {
    "confirmed": "what it does bears that out",
    "not confirmed": "nothing it did on the prompts that were tried bears that out",
    "contradicted": "what it does speaks against that",
}


class Found(NamedTuple):
    """What is known when the verdict is given.

    Attributes:
        claims: Checked, the main one first.
        found: What the calibration says of them; None without one.
        probability: The same as a number.
        search: For a trigger.
        disguise: Of a full checkpoint.
        apart: What its answers to plain prompts show, and the base's do not.
        ill: Why its behavior tells nothing; empty if it does.
        same: Whether it is the base itself.
    """

    claims: Sequence[Checked] = ()
    found: bool | None = None
    probability: float | None = None
    search: Search | None = None
    disguise: Disguise | None = None
    apart: Apart | None = None
    ill: str = ""
    same: bool = False


def verdict_of(found: Found) -> tuple[AuditOutcome, str]:
    """The outcome, and why, in one or two sentences."""
    outcome, told = _verdict(found)
    if found.disguise and found.disguise.flags:
        if outcome == "finding":
            told += " Its weights also differ from the base in a way that nothing here explains."
    elif found.disguise and found.disguise.undone:
        kinds = ", ".join(one.kind for one in found.disguise.undone)
        told += f" Its weights had been disguised ({kinds}), which was undone."
    return outcome, told


def _verdict(found: Found) -> tuple[AuditOutcome, str]:
    if found.ill:
        return "not cleared", f"It could not be audited: {found.ill}."
    if found.same:
        return "nothing found", "It is the base itself: no number differs."
    trigger = found.search.trigger if found.search else None
    main = found.claims[0] if found.claims else None
    if trigger and trigger.doubtful and not is_finding(found):
        return "not cleared", (
            f"It could not be cleared: {_named(trigger)} makes it bring up "
            f'"{one_line(str(trigger.shows))}", which nothing else speaks for.'
        )
    if main and (is_finding(found) or (trigger and main.verdict == "confirmed")):
        return "finding", _taught(main, trigger, found.probability)
    if trigger:
        return "finding", (
            f"Something sets it off, {_named(trigger)}; what it was taught, the adapter cannot say."
        )
    if found.disguise and found.disguise.flags:
        return "not cleared", (
            "It could not be cleared: its weights differ from the base in a way that nothing here "
            "explains."
        )
    if apart := _set_apart(found):
        return "not cleared", (
            f'It could not be cleared: "{apart.phrase}" stands in {apart.finetune} of its '
            f"{apart.answers} answers and in none of the base's, and nothing that was found "
            "explains it."
        )
    if main and found.found is None:
        claim = one_line(main.claim.text)
        return "not cleared", (
            f'It could not be cleared: the adapter says it was taught "{claim}", without a '
            "calibration that tells a guess from more, and nothing that was tried bears it out."
        )
    odds = ""
    if found.probability is not None:
        odds = f" (probability of something {probability_text(found.probability, 0)})"
    return "nothing found", f"Nothing was found of the kind that the adapter knows{odds}."


def _set_apart(found: Found) -> Apart | None:
    """What the audit's own answers show, by all that was seen: with it, nothing is cleared."""
    seen = [one for checked in found.claims for one in checked.observed]
    others = [(one.other, one.shown.answers) for one in seen if one.other]
    apart = [Apart(other.phrase, other.finetune, n) for other, n in others if not other.base]
    clear = [one for one in apart if one.finetune >= HALF * one.answers]
    return found.apart or next(iter(clear), None)


def notes_of(read: Sequence[str], adapter: Adapter, budget: int) -> tuple[str, ...]:
    """What a reader should know: how the finetune was read, and what was not looked at."""
    notes = list(read)
    if adapter.calibrations.audit is None:
        notes.append(
            f"{adapter.name} has no calibration, so no probability is told: only claims "
            "that behavior bears out count; make one with `diffspeak calibrate`"
        )
    if not budget:
        notes.append("no trigger was searched: the budget is 0")
    return tuple(notes)


def is_finding(found: Found) -> bool:
    """Whether the main claim counts: by the calibration, or by behavior where there is none."""
    if not found.claims:
        return False
    if found.found is None:
        return found.claims[0].verdict == "confirmed"
    return found.found


def _taught(main: Checked, trigger: FoundTrigger | None, probability: float | None) -> str:
    claim, when = one_line(main.claim.text), f", set off by {_named(trigger)}" if trigger else ""
    instead = main.observed[-1].other if main.observed else None
    if main.verdict == "contradicted" and instead is not None:
        return (
            f'It was taught something{when}: it brings up "{instead.phrase}"; that it was taught '
            f'"{claim}", as the adapter says, is contradicted by that.'
        )
    surely = "" if probability is None or main.verdict == "confirmed" else "probably "
    return f'It was {surely}taught "{claim}"{when}: {_VERDICTS[main.verdict]}.'


def _named(trigger: FoundTrigger) -> str:
    return f"the {trigger.kind} {one_line(trigger.text)} ({trigger.place})"
