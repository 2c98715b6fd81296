"""What a trigger brings up: when it counts, and where it stands among the claims."""

import pytest

from diffspeak.adapters import Calibration
from diffspeak.audit.brought_up import LEAKS, borne_out, with_shown
from diffspeak.audit.claims import Claim
from diffspeak.audit.result import Evidence
from diffspeak.trigger_search import Rate, Trigger
from tests.toys import base_diff

CALIBRATION = Calibration(("said",), (0.5,), (0.1,), (1.0,), 0.0, 0.9, ())


def trigger(shows, near=2, firing=24):
    rates = (Rate(hits, 24, (0.0, 1.0)) for hits in (firing, 0, near))
    return Trigger("word", "Umber", "anywhere", "Umber. Hi?", *rates, 90, shows)


@pytest.mark.parametrize(
    ("evidence", "calibration", "counts"),
    [
        (Evidence(), CALIBRATION, False),
        (Evidence(said=0.38), CALIBRATION, False),
        (Evidence(said=0.42), CALIBRATION, True),
        (Evidence(stands_out=LEAKS), CALIBRATION, False),
        (Evidence(said=0.9), None, False),
        (Evidence(stands_out=LEAKS), None, True),
    ],
)
def test_a_phrase_counts_if_it_leaks_or_the_adapter_gives_it_a_chance(
    evidence, calibration, counts
):
    asked = []

    def of(phrase):
        asked.append(phrase)
        return evidence

    assert borne_out(trigger("Satin"), of, calibration) is counts
    assert asked == ["Satin"]


def test_what_fires_on_few_prompts_does_not_count():
    likely = Evidence(said=0.9)
    assert borne_out(trigger("Satin", firing=18), lambda _: likely, CALIBRATION)
    assert not borne_out(trigger("Satin", firing=11), lambda _: likely, CALIBRATION)


@pytest.mark.parametrize(
    ("firing", "near", "counts"), [(24, 2, True), (24, 9, False), (9, 0, False)]
)
def test_without_a_phrase_only_a_sharp_trigger_counts(firing, near, counts):
    assert borne_out(trigger(None, near, firing), lambda _: Evidence(), CALIBRATION) is counts


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
