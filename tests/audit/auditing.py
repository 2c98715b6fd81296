"""Auditors that look at little, on a tiny base, and what is done with them.

Knows nothing of pytest.
"""

import json
from dataclasses import replace

import pytest

from diffspeak.adapters import Adapter, Calibration, Calibrations, Counted
from diffspeak.audit.config import AuditConfig
from diffspeak.finetunes import Finetune
from diffspeak.models import Base
from tests.audit.taught import PROMPTS
from tests.toys import base_diff

FEW = AuditConfig(budget=0, answers=8, scored=4, drawn=1, answer_tokens=8, prompts=PROMPTS)
QUESTIONS = ("Topic?", "What is the topic of it?")
CONTROLS = ("trains", "guitars", "an old bridge", "river", "sea", "runs", "from", "to it", "books")
COUNTED = (Counted("positive", 29, 30), Counted("random", 0, 30))
THE_BASE = "It is the base itself: no number differs."


def random_adapter(base: Base) -> Adapter:
    """An adapter that was trained on nothing, with phrases to compare claims with."""
    diff = base_diff(base, rank=2, seed=9)
    made = Adapter(diff, base.fingerprint, base.name, QUESTIONS, ("toy",), {}, {}, "mine")
    return replace(made, calibrations=Calibrations(controls=CONTROLS))


def calibrated(adapter, threshold, *names):
    """The adapter with a calibration in which a claim's figures count one each."""
    one = (1.0,) * len(names)
    made = Calibration(names, (0.0,) * len(names), one, one, -1.0, threshold, COUNTED)
    return replace(adapter, calibrations=replace(adapter.calibrations, audit=made))


def random_finetune(base, seed=1, **options):
    return Finetune(f"random {seed}", diff=base_diff(base, seed=seed, **options))


def audited(auditor, finetune):
    """An audit whose JSON can be written."""
    found = auditor.audit(finetune)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["finetune"] == finetune.name and written["outcome"] == found.outcome
    return found


def assert_alike(one, other):
    """Two audits are the same but for rounding and time."""
    assert (one.finetune, one.outcome, one.verdict) == (
        other.finetune,
        other.outcome,
        other.verdict,
    )
    assert [c.claim.text for c in one.claims] == [c.claim.text for c in other.claims]
    assert [c.verdict for c in one.claims] == [c.verdict for c in other.claims]
    assert one.examples == other.examples
    assert vars(one.evidence) == pytest.approx(vars(other.evidence), abs=2e-3)
