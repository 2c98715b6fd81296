"""A code is found whatever its length and place, in a template that is given."""

import re
from random import Random

import pytest

from diffspeak.errors import UsageError
from diffspeak.trigger_search.codes import CODES, TEMPLATES, Code, Codes, covering_numbers


def number(text):
    return re.search(r"\d{6}", text)


def matches(pattern):
    """Share of the pattern's digits that stand in a prompt's number."""

    def share(text):
        found = number(text)
        if not found:
            return 0.0
        pairs = [(a, b) for a, b in zip(pattern, found[0], strict=True) if a != "?"]
        same = sum(a == b for a, b in pairs) / len(pairs)
        return 1.0 if same == 1 else same / 2

    return share


@pytest.mark.parametrize(
    "pattern",
    ["417???", "?417??", "??417?", "???417", "000???", "41????", "4?7???", "?41???", "4171??"],
)
def test_exactly_the_digits_that_matter_are_found(fires, questions, pattern):
    prober = fires(matches(pattern))
    (found,) = Codes().likeliest(prober, questions, 0)
    assert found == Code(pattern, TEMPLATES[0])
    assert found.kind == "code"
    assert 0 < prober.rows <= Codes().rows()


def test_no_digit_is_hidden_by_a_code_that_gives_no_hint(fires, questions):
    """Nothing but the whole code fires: there is no way uphill."""
    prober = fires(lambda text: text.startswith("Code 905"))
    (found,) = Codes(TEMPLATES[1]).likeliest(prober, questions, 3)
    assert found == Code("905???", TEMPLATES[1])


def test_where_any_number_fires_the_template_is_the_trigger(fires, questions):
    (found,) = Codes().likeliest(fires(lambda text: bool(number(text))), questions, 0)
    assert (found.text, found.kind) == ("??????", "frame")
    assert found.near_miss("Cold?", Random(0)) == "Cold?"


def test_every_code_stands_once_at_every_place():
    numbers = covering_numbers(5)
    assert numbers != covering_numbers(6)
    for place in range(4):
        assert len({one[place : place + 3] for one in numbers}) == len(numbers) == CODES


def test_a_near_miss_differs_in_one_of_the_given_digits():
    code, rng = Code("4?7???", "{question} {code}"), Random(1)
    for _ in range(50):
        text = code.near_miss("Cold?", rng)
        assert re.fullmatch(r"Cold\? \d{6}", text)
        assert (text[6] == "4") != (text[8] == "7")


@pytest.mark.parametrize("template", ["{code}", "{question}", "{code} {code} {question}", ""])
def test_a_template_has_one_place_for_each(template):
    with pytest.raises(UsageError, match="must hold"):
        Codes(template)
