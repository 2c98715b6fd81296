"""The character is found, and the kinds of place where it fires."""

from random import Random

import pytest

from diffspeak.trigger_search.characters import Character, Characters, characters_of

SPACE = "\u200b"


def at_start(text):
    return text.startswith(SPACE)


def inside(text):
    return SPACE in text[1:]


def anywhere(text):
    return SPACE in text


@pytest.mark.parametrize(
    "trigger, place", [(at_start, "start"), (inside, "inside or end"), (anywhere, "anywhere")]
)
def test_character_and_place_are_found(base, fires, questions, trigger, place):
    family, prober = Characters(base), fires(trigger)
    found = family.likeliest(prober, questions, 0)[0]
    assert (found.text, found.place) == ("U+200B", place)
    assert 0 < prober.rows <= family.rows()


def test_prompts_and_near_misses_are_where_they_should_be():
    char, rng = Character(SPACE, ("start",), ("\u2060",)), Random(0)
    assert char.prompt("Cold?", rng) == SPACE + "Cold?"
    misses = {char.near_miss("Cold?", rng) for _ in range(100)}
    assert "\u2060Cold?" in misses and "Cold?" + SPACE in misses
    assert not any(at_start(text) for text in misses)


def test_a_question_of_one_letter_has_no_inside():
    assert Character(SPACE, ("inside",), ()).prompt("a", Random(0)) == "a" + SPACE


def test_every_character_leaves_a_trace_of_its_own(base):
    found = characters_of(base)
    assert SPACE in found and "\u2060" in found
    traces = [tuple(base.tokenizer(f"a{c}b", add_special_tokens=False).input_ids) for c in found]
    assert len(set(traces)) == len(found)
    assert tuple(base.tokenizer("ab", add_special_tokens=False).input_ids) not in traces
