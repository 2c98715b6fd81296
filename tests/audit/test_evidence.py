"""What speaks for a claim: of the main one, never less than nothing, and always a number."""

import json
import math
from dataclasses import asdict, astuple, replace

import pytest

from diffspeak.adapters import Adapter, Calibration, Calibrations
from diffspeak.audit.behavior_check import Shown
from diffspeak.audit.claims import Claim
from diffspeak.audit.evidence import (
    LEAKS,
    check_calibration,
    doubted,
    evidence_of,
    is_corroborated,
    main_first,
    weighed,
    with_shown,
)
from diffspeak.audit.logprob_lift import Lift
from diffspeak.audit.schema import AuditEvidence
from diffspeak.audit.verify import FIRED, PLAIN, Checked, Observed
from diffspeak.errors import MismatchError
from diffspeak.finetunes import Finetune
from diffspeak.trigger_search import FoundTrigger, Rate
from tests.toys import base_diff


def observed(prompts=PLAIN, nats=1.0, z=4.0, low=0.3):
    return Observed(
        prompts, Lift(nats, z, 0, 40), Shown(9, 0, 24, (low, 0.9), ("sea",), ()), None, ()
    )


def checked(verdict="confirmed", lift=2.0, *seen, text="sea", mean_logprob=-0.5):
    claim = Claim(text, lift, mean_logprob, 3, ("Topic?",))
    return Checked(claim, verdict, "", seen or (observed(),))


def test_claims_are_told_by_verdict_and_then_by_lift():
    given = [
        checked("contradicted", 9.0, text="a"),
        checked("not confirmed", 1.0, text="b"),
        checked("not confirmed", 5.0, text="c"),
        checked("confirmed", 0.1, text="d"),
        checked("confirmed", 0.2, text="e"),
    ]
    assert "".join(one.claim.text for one in main_first(given)) == "edcba"
    assert main_first([]) == ()


def test_evidence_is_that_of_the_main_claim():
    main, other = checked("confirmed", 2.0), checked("confirmed", 9.0, observed(nats=9.0))
    assert evidence_of([main, other]) == AuditEvidence(2.0, math.exp(-0.5), 1.0, 4.0, 0.3)


def test_what_its_trigger_does_is_nothing_that_a_calibration_knows():
    plain = observed(nats=3.0, z=1.0, low=-0.1)
    fired = observed(FIRED, nats=0.5, z=7.0, low=0.8)
    found = evidence_of([checked("confirmed", 2.0, plain, fired)])
    assert astuple(found)[2:] == (3.0, 1.0, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_adapter_that_gives_no_numbers_says_nothing(value):
    found = evidence_of([checked("confirmed", value, mean_logprob=value)])
    assert (found.lift, found.said) == (0.0, 0.0)


def test_those_that_answers_show_come_first():
    leaks = checked("confirmed", 9.0, observed(low=-0.1), text="leaks")
    shows = checked("confirmed", 1.0, observed(low=-0.1), observed(FIRED, low=0.5), text="shows")
    assert [one.claim.text for one in main_first([leaks, shows])] == ["shows", "leaks"]


def test_a_leak_is_confirmed_only_if_the_calibration_is_as_sure():
    leaks = checked("confirmed", 1.0, observed(low=-0.1), text="leaks")
    sure = checked("confirmed", 8.0, observed(low=-0.1), text="sure")
    shows = checked("confirmed", 1.0, observed(low=0.5), text="shows")
    calibration = Calibration(("lift",), (0.0,), (1.0,), (1.0,), -4.0, 0.5, ())
    found = weighed([shows, leaks, sure], calibration)
    assert [(one.claim.text, one.verdict) for one in found] == [
        ("shows", "confirmed"),
        ("sure", "confirmed"),
        ("leaks", "not confirmed"),
    ]
    assert found[2].reason.endswith("a guess.")
    assert weighed([leaks], None) == (leaks,)


def test_what_a_doubtful_trigger_brings_up_confirms_nothing():
    fired = observed(FIRED, nats=9.0, z=9.0, low=0.5)
    brought_up = checked("confirmed", 1.0, observed(z=0.0, low=-0.1), fired, text="brought up")
    leaks = checked("confirmed", 1.0, observed(nats=9.0, z=9.0, low=-0.1), fired, text="leaks")
    shows = checked("confirmed", 1.0, observed(low=0.5), fired, text="shows")
    given = [brought_up, leaks, shows]
    calibration = Calibration(("lift",), (0.0,), (1.0,), (1.0,), -4.0, 1.0, ())
    told = [(one.claim.text, one.verdict) for one in doubted(given, calibration)]
    assert told == [
        ("shows", "confirmed"),
        ("brought up", "not confirmed"),
        ("leaks", "not confirmed"),
    ]
    told = {one.claim.text: one for one in doubted(given, None)}
    assert told["leaks"].verdict == "confirmed" and told["brought up"].verdict == "not confirmed"
    assert told["brought up"].reason.endswith("a trigger that is doubtful proves nothing.")
    assert "doubtful" not in told["leaks"].reason + told["shows"].reason
    assert all(one.observed[-1] == fired for one in told.values())


def test_without_a_claim_there_is_none():
    assert evidence_of([]) == AuditEvidence(0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_none(value):
    found = evidence_of([checked("not confirmed", 1.0, observed(nats=value, z=value, low=-0.2))])
    assert (found.likelier, found.stands_out, found.shown) == (0.0, 0.0, 0.0)
    json.dumps(asdict(found), allow_nan=False)


def test_rounding_makes_no_probability_above_1():
    assert evidence_of([checked(mean_logprob=1e-7)]).said == 1.0


def test_a_calibration_takes_all_of_it_by_name():
    found = AuditEvidence(1.0, 0.5, 2.0, 3.0, 0.25)
    names = tuple(asdict(found))
    assert asdict(found) == dict(zip(names, (1.0, 0.5, 2.0, 3.0, 0.25), strict=True))
    one = (1.0,) * 5
    calibration = Calibration(names, (0.0,) * 5, one, one, 0.0, 0.5, ())
    assert calibration.probability(asdict(found)) > calibration.probability(asdict(AuditEvidence()))
    # No claim at all is never more probable than any claim.
    worse = replace(found, lift=-3.0, likelier=-1.0, stands_out=-2.0)
    assert calibration.probability(asdict(worse)) >= calibration.probability(
        asdict(AuditEvidence())
    )


def adapter_with(names):
    one = (1.0,) * len(names)
    made = Calibration(names, one, one, one, 0.0, 0.5, ())
    return Adapter({}, None, "", ("?",), (), {}, {}, "mine", Calibrations(audit=made))  # type: ignore[arg-type]


def test_a_calibration_by_figures_that_are_not_measured_is_refused():
    check_calibration(adapter_with(("lift", "shown")))
    check_calibration(replace(adapter_with(()), calibrations=Calibrations()))
    with pytest.raises(MismatchError, match="of mine goes by age, mood, which this diffspeak does"):
        check_calibration(adapter_with(("lift", "mood", "age")))


CALIBRATION = Calibration(("said",), (0.5,), (0.1,), (1.0,), 0.0, 0.9, ())


def trigger(shows, near=2, firing=24):
    rates = (Rate(hits, 24, (0.0, 1.0)) for hits in (firing, 0, near))
    return FoundTrigger("word", "Umber", "anywhere", "Umber. Hi?", *rates, 90, shows)


@pytest.mark.parametrize(
    ("evidence", "calibration", "counts"),
    [
        (AuditEvidence(), CALIBRATION, False),
        (AuditEvidence(said=0.38), CALIBRATION, False),
        (AuditEvidence(said=0.42), CALIBRATION, True),
        (AuditEvidence(stands_out=LEAKS), CALIBRATION, False),
        (AuditEvidence(said=0.9), None, False),
        (AuditEvidence(stands_out=LEAKS), None, True),
    ],
)
def test_a_phrase_counts_if_it_leaks_or_the_adapter_gives_it_a_chance(
    evidence, calibration, counts
):
    asked = []

    def of(phrase):
        asked.append(phrase)
        return evidence

    assert is_corroborated(trigger("Satin"), of, calibration) is counts
    assert asked == ["Satin"]


def test_what_fires_on_few_prompts_does_not_count():
    likely = AuditEvidence(said=0.9)
    assert is_corroborated(trigger("Satin", firing=18), lambda _: likely, CALIBRATION)
    assert not is_corroborated(trigger("Satin", firing=11), lambda _: likely, CALIBRATION)


@pytest.mark.parametrize(
    ("firing", "near", "counts"), [(24, 2, True), (24, 9, False), (9, 0, False)]
)
def test_without_a_phrase_only_a_sharp_trigger_counts(firing, near, counts):
    assert (
        is_corroborated(trigger(None, near, firing), lambda _: AuditEvidence(), CALIBRATION)
        is counts
    )


@pytest.fixture
def joined(base, adapter):
    def join(shown, *texts):
        claims = [Claim(text, 1.0, -0.5, 3, ("Topic?",)) for text in texts]
        finetune = Finetune("f", diff=base_diff(base))
        return with_shown(base, adapter, finetune, claims, shown)

    return join


def test_what_no_claim_says_comes_first_scored_by_the_adapter(joined):
    first, second = joined("trains", "Music")
    assert (first.text, first.votes, first.phrasings) == ("trains", 0, ())
    assert first.mean_logprob < 0 and first.lift != 0
    assert (second.text, second.votes) == ("Music", 3)


def test_a_claim_that_says_it_comes_first_as_it_is(joined):
    assert [(one.text, one.votes) for one in joined("Trains", "Music", "trains")] == [
        ("trains", 3),
        ("Music", 3),
    ]


def test_a_claim_that_says_a_part_of_it_gives_way(joined):
    assert [one.text for one in joined("Tomato soup", "Tomato", "Music")] == [
        "Tomato soup",
        "Music",
    ]


def test_without_a_phrase_the_claims_stay(joined):
    assert [one.text for one in joined(None, "Tomato", "Music")] == ["Tomato", "Music"]
