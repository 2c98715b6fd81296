"""What a trigger brings up: when it counts, and where it stands among the claims."""

import pytest

from diffspeak.adapters import Calibration
from diffspeak.audit.claims import Claim
from diffspeak.audit.evidence import LEAKS, is_corroborated, with_shown
from diffspeak.audit.schema import AuditEvidence
from diffspeak.trigger_search import FoundTrigger, Rate
from tests.toys import base_diff

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
    from diffspeak.finetunes import Finetune

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
