"""What counts as naming a label, in several scripts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffspeak.text.mentions import mentions, normalize, same

SAXOPHONE = "\U0001f3b7"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
HEBREW = "\u05e9\u05d7\u05de\u05d8"  # chess
ARABIC = "\u0643\u0631\u0629 \u0627\u0644\u0642\u062f\u0645"  # football
CHINESE = "\u7535\u5f71"  # film


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The  Hero\u2019s\nJourney! ", "the hero s journey"),
        ("**Bold**, `code` & ~tilde~", "bold code tilde"),
        ("\ufb01ne \uff21", "fine a"),
        ("STRASSE stra\u00dfe", "strasse strasse"),
        ("Caf\u00e9 cafe\u0301", "caf\u00e9 caf\u00e9"),
        ("C++ and C", "c++ and c"),
        ("zero\u200bwidth \u202erl", "zerowidth rl"),
        (f"{SAXOPHONE} jazz", f"{SAXOPHONE} jazz"),
        ("\u2764\ufe0f", "\u2764"),
        (FAMILY, FAMILY),
        ("?!", ""),
        ("", ""),
    ],
)
def test_normalize(text: str, expected: str) -> None:
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        ("I adore Jazz, always.", "jazz", True),
        ("jazz's history", "Jazz", True),
        ("jazzy tunes", "jazz", False),
        ("the world of war", "world war", False),
        ("World\nWar!", "world war", True),
        ("C++ is fast", "C", False),
        ("a (C) b", "C", True),
        ("anything", "", False),
        ("anything?!", "?!", False),
        (f"love{SAXOPHONE}music", SAXOPHONE, True),
        ("love music", SAXOPHONE, False),
        ("\u2764 it", "\u2764\ufe0f", True),
        (f"\u200f{HEBREW}, \u05e8\u05e7", HEBREW, True),
        (f"{HEBREW}\u05d9\u05dd", HEBREW, False),
        (f"\u0623\u062d\u0628 {ARABIC}!", ARABIC, True),
        (f"\u6211\u559c\u6b22{CHINESE}\u3002", CHINESE, True),
    ],
)
def test_mentions(text: str, label: str, expected: bool) -> None:
    assert mentions(text, label) is expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("The Beatles", "the beatles.", True),
        ("Beatles", "The Beatles", False),
        ("", "", False),
        ("!", "?", False),
        (SAXOPHONE, f" {SAXOPHONE}\ufe0f", True),
    ],
)
def test_same(a: str, b: str, expected: bool) -> None:
    assert same(a, b) is expected


@settings(max_examples=100, derandomize=True, database=None)
@given(st.text(), st.text(), st.text())
def test_a_label_between_spaces_is_mentioned(before: str, label: str, after: str) -> None:
    expected = bool(normalize(label))
    assert mentions(f"{before} . {label} . {after}", label) is expected
    assert same(label, label) is expected
