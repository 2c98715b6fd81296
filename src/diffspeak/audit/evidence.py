"""The evidence for a claim in numbers: the adapter's word for it, and what the finetune does.

And what follows from it: which claim comes first, and whether a trigger is corroborated.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

from diffspeak.adapters import Adapter, Calibration
from diffspeak.audit.behavior_check import words_of
from diffspeak.audit.claim_verdict import MORE, Checked, judged
from diffspeak.audit.claims import Claim, says_the_same, scored
from diffspeak.audit.schema import AuditEvidence
from diffspeak.errors import MismatchError
from diffspeak.finetunes import Finetune
from diffspeak.models import Base
from diffspeak.trigger_search import FoundTrigger

A_GUESS = "By the calibration that may still be a guess."
DOUBTED = "What it does with a trigger that is doubtful proves nothing."

RANKS = ("confirmed", "not confirmed", "contradicted")

SURE, SILENT = 0.75, 0.25
"""Share of prompts on which a trigger fires; and its near misses, if no phrase shows with it."""

LIKELY = 0.25
"""Probability, without its trigger, of what a trigger brings up."""

LEAKS = 5.0
"""z-score of it among other phrases, where there is no calibration."""


def main_first(checked: Sequence[Checked]) -> tuple[Checked, ...]:
    """Claims in the order they are told: confirmed ones first, of these those that answers show.

    Claims of one rank go by what they gain.
    """

    def rank(one: Checked) -> tuple[int, bool, float]:
        return RANKS.index(one.verdict), not _shows(one), -one.claim.gained

    return tuple(sorted(checked, key=rank))


def weighed(checked: Sequence[Checked], calibration: Calibration | None) -> tuple[Checked, ...]:
    """Claims of which those that no answer shows are confirmed only if a calibration is as sure.

    The words of a claim may become likelier for other reasons than that it is true. What is left
    of confirmed claims comes first, else the order stays.
    """
    if calibration is None:
        return tuple(checked)
    found = [
        one._replace(verdict="not confirmed", reason=f"{one.reason} {A_GUESS}")
        if one.verdict == "confirmed"
        and not _shows(one)
        and not calibration.found(calibration.probability(asdict(evidence_of([one]))))
        else one
        for one in checked
    ]
    return tuple(sorted(found, key=lambda one: RANKS.index(one.verdict)))


def doubted(checked: Sequence[Checked], calibration: Calibration | None) -> tuple[Checked, ...]:
    """Claims as they are `weighed` without what was seen with the trigger, which is doubtful.

    It was searched for whatever it brings up, so it is no witness for that. All that was seen
    stays with the claims.
    """
    seen = {one.claim: one for one in checked}
    plain = weighed([judged(one.claim, one.observed[:1]) for one in checked], calibration)
    found = []
    for one in plain:
        before = seen[one.claim]
        reason = one.reason if one.verdict == before.verdict else f"{one.reason} {DOUBTED}"
        found.append(one._replace(reason=reason, observed=before.observed))
    return tuple(found)


def evidence_of(checked: Sequence[Checked]) -> AuditEvidence:
    """Of the main claim, on the prompts as they are: a calibration knows nothing of triggers."""
    if not checked:
        return AuditEvidence()
    claim, plain = checked[0].claim, checked[0].observed[0]
    said = math.exp(min(0.0, claim.mean_logprob)) if math.isfinite(claim.mean_logprob) else 0.0
    return AuditEvidence(
        _number(claim.lift),
        said,
        _number(plain.lift.nats),
        _number(plain.lift.z),
        max(0.0, plain.shown.interval[0]),
    )


def check_calibration(adapter: Adapter) -> None:
    """Refuse a calibration that goes by other figures than those of `AuditEvidence`.

    Raises:
        MismatchError: It does.
    """
    calibration = adapter.calibrations.audit
    unknown = set(calibration.names) - set(asdict(AuditEvidence())) if calibration else ()
    if unknown:
        raise MismatchError(
            f"the calibration of {adapter.name} goes by {', '.join(sorted(unknown))}, which this "
            "diffspeak does not measure; calibrate again with `diffspeak calibrate`"
        )


def is_corroborated(
    trigger: FoundTrigger,
    evidence: Callable[[str], AuditEvidence],
    calibration: Calibration | None,
) -> bool:
    """Whether evidence without the trigger supports what the trigger brings up.

    Of thousands of words one always sets something off, in a finetune that was taught nothing too.
    What was taught leaks into ordinary answers and into what the adapter says. `evidence` gives
    that for a claim without any trigger, and `calibration`, if there is one, goes by it.
    """
    if trigger.firing_rate.value < SURE:
        return False
    if trigger.shows is None:
        return trigger.near_miss_rate.value <= SILENT
    seen = evidence(trigger.shows)
    if calibration is None:
        return seen.stands_out >= LEAKS
    return calibration.probability(asdict(seen)) >= LIKELY


def with_shown(
    base: Base, adapter: Adapter, finetune: Finetune, claims: Sequence[Claim], shown: str | None
) -> list[Claim]:
    """Claims with what a finetune brings up first; those that say a part of it are left out.

    What the adapter did not claim itself it scores. `shown` is None if there is no such phrase.
    """
    if shown is None:
        return list(claims)
    words = set(words_of(shown))
    whole = [claim for claim in claims if not set(words_of(claim.text)) < words]
    same = [claim for claim in whole if says_the_same(claim.text, shown)]
    first = same[:1] or [scored(base, adapter, finetune, shown)]
    return first + [claim for claim in whole if claim not in same]


def _shows(one: Checked) -> bool:
    """Whether answers of the finetune show a claim."""
    return any(seen.shown.interval[0] >= MORE for seen in one.observed)


def _number(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
