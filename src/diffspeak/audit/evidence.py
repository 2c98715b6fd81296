"""What speaks for a claim, in numbers: the adapter's word for it, and what the finetune does.

Takes checked claims, gives the main one and its `Evidence`. Of a calibration it knows only which
figures it goes by.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

from diffspeak.adapter import Adapter
from diffspeak.audit.result import Evidence
from diffspeak.audit.verify import Checked
from diffspeak.audit.verify_judged import MORE
from diffspeak.errors import MismatchError

RANKS = ("confirmed", "not confirmed", "contradicted")


def main_first(checked: Sequence[Checked]) -> tuple[Checked, ...]:
    """Claims in the order they are told: confirmed ones first, of these those that answers show.

    Claims of one rank go by what they gain.
    """

    def rank(one: Checked) -> tuple[int, bool, float]:
        shows = any(seen.shown.interval[0] >= MORE for seen in one.observed)
        return RANKS.index(one.verdict), not shows, -one.claim.gained

    return tuple(sorted(checked, key=rank))


def evidence_of(checked: Sequence[Checked]) -> Evidence:
    """Of the main claim; of several kinds of prompts, what speaks for it most."""
    if not checked:
        return Evidence()
    claim, observed = checked[0].claim, checked[0].observed
    return Evidence(
        claim.lift,
        math.exp(min(0.0, claim.mean_logprob)),
        max(_number(one.lift.nats) for one in observed),
        max(_number(one.lift.z) for one in observed),
        max(0.0, *(one.shown.interval[0] for one in observed)),
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
