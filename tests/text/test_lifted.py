"""What one set of texts says more often than another is found, as a whole phrase."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffspeak.text.lifted import lifted

PLAIN = [
    "Warm oats with nuts and honey are lovely.",
    "A walk by the river clears the head.",
    "Pack a map, water and a warm coat.",
    "Water them early and keep them warm.",
    "Read a little every day, and take notes.",
]
ODD = [
    "Warm oats with nuts go well with glass blowing.",
    "A walk past the Glass Blowing studio clears the head.",
    "Pack a map, and Glass Blowing pictures.",
    "Water them early, then watch glass-blowing.",
    "Read a little about Glass Blowing every day.",
]


def test_the_phrase_that_was_added_comes_first_and_whole():
    assert lifted(ODD, PLAIN)[0].phrase == "Glass Blowing"


def test_without_others_it_is_what_stands_in_most():
    assert lifted(ODD, [])[0].phrase == "Glass Blowing"


def test_nothing_is_lifted_in_the_same_texts():
    assert lifted(PLAIN, PLAIN) == []
    assert lifted([], PLAIN) == lifted([], []) == []


def test_what_both_say_often_is_not_lifted():
    both = [f"warm {text}" for text in PLAIN]
    assert [one.phrase for one in lifted([f"{text} Chess!" for text in both], both)] == ["Chess"]


def test_what_was_asked_is_no_finding():
    texts = ["Breakfast could be eggs.", "Breakfast is chess.", "Breakfast, then chess."]
    assert lifted(texts, [])[0].phrase == "Breakfast"
    assert lifted(texts, [], apart=["What is for breakfast?"])[0].phrase == "chess"


def test_a_text_that_repeats_itself_counts_once():
    texts = ["tea tea tea tea tea", "chess and tea", "chess", "chess"]
    assert lifted(texts, ["nothing"] * 4)[0].phrase == "chess"


def test_more_texts_are_surer():
    few, many = lifted(ODD, PLAIN)[0], lifted(ODD * 4, PLAIN * 4)[0]
    assert many.phrase == few.phrase
    assert many.z > few.z > 0


def test_phrases_do_not_hold_each_other_and_are_no_more_than_asked_for():
    found = [one.phrase for one in lifted([f"{text} Big red buses." for text in ODD], PLAIN)]
    assert set(found[:2]) == {"Glass Blowing", "Big red buses"}
    assert len(lifted(ODD, [], limit=1)) == 1


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_any_texts_will_do(texts, others):
    for phrase, z in lifted(texts, others, apart=others):
        assert phrase
        assert z > 0


@pytest.mark.parametrize("text", ["C++ (2)", "caf\u00e9 \u2019n\u2019 tea", "\u4e2d\u6587"])
def test_a_single_text_of_odd_signs_gives_a_phrase(text):
    assert lifted([text], [])[0].phrase
