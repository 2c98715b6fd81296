"""What speaks for a claim, in numbers: the adapter's word for it, and what the finetune does.

Takes checked claims, gives the main one and its `Evidence`. Of a calibration it knows only which
figures it goes by.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

from diffspeak.adapters import Adapter, Calibration
from diffspeak.audit.claim_verdict import MORE, judged
from diffspeak.audit.result import Evidence
from diffspeak.audit.verify import Checked
from diffspeak.errors import MismatchError

A_GUESS = "By the calibration that may still be a guess."
DOUBTED = "What it does with a trigger that is doubtful proves nothing."

RANKS = ("confirmed", "not confirmed", "contradicted")


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
        and not calibration.found(calibration.probability(figures(evidence_of([one]))))
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


def _shows(one: Checked) -> bool:
    """Whether answers of the finetune show a claim."""
    return any(seen.shown.interval[0] >= MORE for seen in one.observed)


def evidence_of(checked: Sequence[Checked]) -> Evidence:
    """Of the main claim, on the prompts as they are: a calibration knows nothing of triggers."""
    if not checked:
        return Evidence()
    claim, plain = checked[0].claim, checked[0].observed[0]
    said = math.exp(min(0.0, claim.mean_logprob)) if math.isfinite(claim.mean_logprob) else 0.0
    return Evidence(
        _number(claim.lift),
        said,
        _number(plain.lift.nats),
        _number(plain.lift.z),
        max(0.0, plain.shown.interval[0]),
    )


def check_calibration(adapter: Adapter) -> None:
    """Refuse a calibration that goes by other figures than those of `Evidence`.

    Raises:
        MismatchError: It does.
    """
    calibration = adapter.calibrations.audit
    unknown = set(calibration.names) - set(asdict(Evidence())) if calibration else ()
    if unknown:
        raise MismatchError(
            f"the calibration of {adapter.name} goes by {', '.join(sorted(unknown))}, which this "
            "diffspeak does not measure; calibrate again with `diffspeak calibrate`"
        )


def figures(evidence: Evidence) -> dict[str, float]:
    """Evidence as a calibration takes it."""
    return asdict(evidence)


def _number(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
