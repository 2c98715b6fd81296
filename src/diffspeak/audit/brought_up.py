"""What a trigger brings up: whether it counts, and how it joins the claims of the adapter.

Takes a trigger, evidence and claims. Knows nothing of how the trigger was found.
"""

from collections.abc import Callable, Sequence

from diffspeak.adapters import Adapter, Calibration
from diffspeak.audit.behavior_check import words_of
from diffspeak.audit.claims import Claim, says_the_same, scored
from diffspeak.audit.evidence import figures
from diffspeak.audit.result import Evidence
from diffspeak.finetunes import Finetune
from diffspeak.models import Base
from diffspeak.trigger_search import Trigger

SURE, SILENT = 0.75, 0.25
"""Share of prompts on which a trigger fires; and its near misses, if no phrase shows with it."""

LIKELY = 0.25
"""Probability, without its trigger, of what a trigger brings up."""

LEAKS = 5.0
"""z-score of it among other phrases, where there is no calibration."""


def borne_out(
    trigger: Trigger, evidence: Callable[[str], Evidence], calibration: Calibration | None
) -> bool:
    """Whether more speaks for what a trigger brings up than that it does.

    Of thousands of words one always sets something off, in a finetune that was taught nothing too.
    What was taught leaks into ordinary answers and into what the adapter says.

    Args:
        trigger: That was found.
        evidence: For a claim, without any trigger.
        calibration: Of that evidence, if there is one.
    """
    if trigger.firing_rate.value < SURE:
        return False
    if trigger.shows is None:
        return trigger.near_miss_rate.value <= SILENT
    seen = evidence(trigger.shows)
    if calibration is None:
        return seen.stands_out >= LEAKS
    return calibration.probability(figures(seen)) >= LIKELY


def with_shown(
    base: Base, adapter: Adapter, finetune: Finetune, claims: Sequence[Claim], shown: str | None
) -> list[Claim]:
    """Claims with what a finetune brings up first; those that say a part of it are left out.

    Args:
        base: Of the finetune and the adapter; nothing attached.
        adapter: Scores what it did not claim itself.
        finetune: Of which all is claimed.
        claims: Of the adapter.
        shown: What the finetune brings up; None if that is no phrase.
    """
    if shown is None:
        return list(claims)
    words = set(words_of(shown))
    whole = [claim for claim in claims if not set(words_of(claim.text)) < words]
    same = [claim for claim in whole if says_the_same(claim.text, shown)]
    first = same[:1] or [scored(base, adapter, finetune, shown)]
    return first + [claim for claim in whole if claim not in same]
