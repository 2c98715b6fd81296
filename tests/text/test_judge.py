"""Verdicts without a model: what needs no judging, how alike spellings are, what is counted."""

import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffspeak.io.files import canonical_json, parse_json
from diffspeak.text.judge import (
    FEATURES,
    Calibration,
    Verdict,
    calibration_of,
    features,
    summarize,
    trivial,
)

PLAIN = Calibration(
    features=("letters",),
    means=(0.5,),
    scales=(0.25,),
    coefficients=(2.0,),
    thresholds=(-1.0, 0.0, 1.0, 2.0),
    pairs={"topic": 10},
    truths={"topic": 5},
    auc={"topic": (0.9, 0.8, 0.95)},
)


@pytest.mark.parametrize(
    ("truth", "guess", "verdict"),
    [
        ("Chess", "chess!", Verdict(5.0, close=1.0)),
        ("\U0001f3b7", "\U0001f3b7\ufe0f", Verdict(5.0, close=1.0)),
        ("Chess", "", Verdict(1.0, close=0.0)),
        ("Chess", " ...\n", Verdict(1.0, close=0.0)),
        ("Chess", None, Verdict(why="there is no guess")),
        ("?", "chess", Verdict(why="the truth says nothing")),
        ("?", "?", Verdict(why="the truth says nothing")),
        ("Chess", "Chess openings", None),
    ],
)
def test_some_pairs_need_no_judging(truth, guess, verdict):
    assert trivial(truth, guess) == verdict


def test_features_are_those_a_calibration_may_ask_for():
    assert (*features("Chess", "checkers"), "cosine") == FEATURES


@pytest.mark.parametrize(
    ("truth", "guess", "letters", "held", "length"),
    [
        ("Chess", "chess", 1, 1, 0),
        ("Chess", "volcano", 0, 0, 0),
        # " c", "ch", "he", "es", "ss", "s " and five pairs of "open", the space before it too
        ("Chess", "chess open", 12 / 17, 1, 0),
        ("one two three four five six", "", 0, 0, math.log(3) / math.log(6)),
        (" ".join("abcdefghijklmnop"), "z", 0, 0, 1),
    ],
)
def test_features_count_letters(truth, guess, letters, held, length):
    found = features(truth, guess)
    assert found["letters"] == pytest.approx(letters)
    assert found["held"] == held
    assert found["length"] == pytest.approx(length)
    assert found["letters, long"] == found["letters"] * found["length"]
    assert found["held, long"] == found["held"] * found["length"]


@given(st.text(), st.text())
def test_features_of_any_texts_lie_between_0_and_1(truth, guess):
    found = features(truth, guess)
    assert all(0 <= value <= 1 for value in found.values())
    assert found["letters"] == features(guess, truth)["letters"]


def test_a_verdict_is_the_cumulative_logit_of_its_features():
    verdict = PLAIN.verdict({"letters": 0.75})
    above = [1 / (1 + math.exp(threshold - 2.0)) for threshold in PLAIN.thresholds]
    assert verdict.score == pytest.approx(1 + sum(above))
    assert verdict.close == pytest.approx(above[2])


@pytest.mark.parametrize("letters", [-1e9, 1e9])
def test_a_verdict_stays_on_the_scale(letters):
    verdict = PLAIN.verdict({"letters": letters})
    assert (verdict.score, verdict.close) == ((5, 1) if letters > 0 else (1, 0))


def test_a_calibration_comes_back_from_json():
    assert calibration_of(parse_json(canonical_json(asdict(PLAIN)))) == PLAIN


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"features": ["taste"]}, "features taste"),
        ({"features": []}, "features missing"),
        ({"means": []}, "as many numbers"),
        ({"thresholds": [1, 2, 3]}, "four ascending"),
        ({"thresholds": [1, 3, 2, 4]}, "four ascending"),
        ({"scales": [0]}, "above 0"),
        ({"features": ["cosine"]}, "probes"),
        ({"auc": None}, "no calibration"),
        ({"coefficients": ["a"]}, "could not convert"),
        ({"more": 1}, "no calibration"),
    ],
)
def test_a_faulty_calibration_is_refused(change, why):
    with pytest.raises(ValueError, match=why):
        calibration_of(parse_json(canonical_json(asdict(PLAIN) | change)))


@pytest.mark.parametrize("data", [None, [], {}, "x"])
def test_what_is_no_calibration_is_refused(data):
    with pytest.raises(ValueError, match="no calibration"):
        calibration_of(data)


def test_what_is_unscored_is_counted_and_enters_no_mean():
    found = summarize([Verdict(5.0), Verdict(why="no score"), Verdict(4.0), Verdict(3.0)])
    assert (found.mean, found.scored, found.unscored) == (4.0, 3, 1)
    assert found.interval == pytest.approx((4 - 1.96 / 3**0.5, 5.0))


def test_a_summary_of_one_or_none_has_no_interval():
    assert summarize([]) == (None, None, 0, 0)
    assert summarize([Verdict(why="no")]) == (None, None, 0, 1)
    assert summarize([Verdict(2.0)]) == (2.0, None, 1, 0)
