"""What an audit of one finetune found, as data that can be written to JSON.

Holds data only; knows nothing of models, and nothing of how a page looks.
"""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from diffspeak.adapters import Counted
from diffspeak.audit.behavior_check import Quote
from diffspeak.audit.verify import Checked
from diffspeak.symmetries import Disguise
from diffspeak.trigger_search import Search

VERSION = 2
"""Of the JSON; `docs/audit.md` says what is in it."""

Outcome = Literal["finding", "nothing found", "not cleared"]
"""Something was taught; nothing was found; or it could not be told, so nothing is vouched for."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for a claim, in numbers that a calibration knows; zeros where there is none.

    Attributes:
        lift: How much likelier the adapter says it with the finetune than without, nats a token.
        said: The probability that the adapter gives its words, by the token, 0 to 1.
        likelier: How much likelier the finetune says it than the base, unasked, nats a token.
        stands_out: z-score of that among other phrases.
        shown: Lower end of the interval of how much more of the finetune's answers show it, 0 to 1.
    """

    lift: float = 0.0
    said: float = 0.0
    likelier: float = 0.0
    stands_out: float = 0.0
    shown: float = 0.0


@dataclass(frozen=True)
class Audit:
    """One finetune's audit.

    Attributes:
        finetune: Its name.
        outcome: See `Outcome`.
        verdict: The outcome in one sentence, for people who do not read on.
        probability: That it was taught something the adapter knows, at even odds; None without a
            calibration.
        threshold: Probability from which on that is a finding; None without a calibration.
        claims: What the adapter says of it, the main one first, with the verdict on each.
        evidence: Of the main claim.
        search: For a trigger; None where none was begun.
        disguise: None where there was nothing to undo: for a low-rank finetune.
        examples: Finetune and base side by side on ordinary prompts, and with the trigger.
        norms: Frobenius norm of each change, by linear and block (-1: in none).
        notes: What a reader should know: how it was read, what was not looked at.
        seconds: What each part took.
    """

    finetune: str
    outcome: Outcome
    verdict: str
    probability: float | None = None
    threshold: float | None = None
    claims: tuple[Checked, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    search: Search | None = None
    disguise: Disguise | None = None
    examples: tuple[Quote, ...] = ()
    norms: dict[str, dict[int, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON; what is no finite number becomes None."""
        return {"version": VERSION, **_plain(self)}


@dataclass(frozen=True)
class About:
    """What audits were made with: the same for all finetunes of one run.

    Attributes:
        base: Its name.
        fingerprint: Of the base.
        adapter: Its name.
        behaviors: What it was trained to tell.
        counted: For positives and each kind of negative how many the calibration calls a finding,
            of how many; empty without a calibration.
        settings: Of the audit, by name.
        machine: Device, dtype and the like.
        versions: Of libraries.
        command: What reproduces it, as typed; empty where it was no command.
    """

    base: str
    fingerprint: str
    adapter: str
    behaviors: tuple[str, ...]
    counted: tuple[Counted, ...]
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return dict(_plain(self))


@dataclass(frozen=True)
class Unread:
    """A finetune that could not be audited, because its files cannot be used.

    Attributes:
        finetune: Its name.
        error: What is wrong with it, and what to do.
    """

    finetune: str
    error: str


def _plain(value: Any) -> Any:
    """Plain data: named tuples and dataclasses as objects, tuples as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.repr}
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
