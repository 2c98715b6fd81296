"""Texts of finetunes on a page: nothing hides in them, nothing of them becomes markup."""

import pytest
from markupsafe import Markup

from diffspeak.audit.report.texts import LONGEST, plain, seen, spelled
from diffspeak.trigger_search.characters import BLANK
from tests.audit.report.seen import Seen


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain, with 'quotes' & caf\u00e9", "plain, with 'quotes' & caf\u00e9"),
        ("a\u200bb", "aU+200Bb"),
        ("\u202eevil\u202c", "U+202EevilU+202C"),
        ("a\u00a0b\u3000", "aU+00A0bU+3000"),
        ("\ud800", "U+D800"),
        ("\x00\x1b[31m", "U+0000U+001B[31m"),
        ("one\ntwo", "oneU+000A\ntwo"),
        ("\U000e0041", "U+E0041"),
        ("x\u0301\u0302", "x\u0301\u0302"),
        ("x" + "\u0301" * 5, "x\u0301\u0301" + "U+0301" * 3),
        ("\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text, told):
    assert spelled(text) == told and plain(text) == told
    assert Seen(str(seen(text))).text.replace(" ", "") == "".join(told.split())


def test_every_blank_that_may_be_a_trigger_is_spelled_out():
    assert spelled(BLANK) == "".join(f"U+{ord(char):04X}" for char in BLANK)


def test_markup_is_text():
    page = Seen(str(seen('</script><img src=x onerror="alert(1)"><bdi>')))
    assert page.tags == ["bdi"] and not page.unclosed and not page.addresses()
    assert page.isolated == ['</script><img src=x onerror="alert(1)"><bdi>']


def test_a_hidden_character_is_set_apart():
    page = seen("a\u200bb")
    assert page == '<bdi>a<span class="hidden-character">U+200B</span>b</bdi>'


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_text_is_told(empty):
    assert Seen(str(seen(empty))).texts == ["(nothing)"]


def test_numbers_and_markup_stay_as_they_are():
    assert plain(3) == 3 and plain(Markup("<b>\u200b</b>")) == "<b>\u200b</b>"
    assert seen(0) == "<bdi>0</bdi>"


def test_a_text_without_end_is_cut_and_its_length_is_told():
    text = "x" * (LONGEST + 1234)
    page = Seen(str(seen(text)))
    assert page.isolated == ["x" * LONGEST] and "and 1,234 more characters" in page.texts
    assert "more" not in seen("x" * LONGEST)
