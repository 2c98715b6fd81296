"""Texts that came out of finetunes, put on a page so that nothing in them can hide or deceive.

Takes any text, gives it with what cannot be seen spelled out as `U+200B`, and as markup that
neither ends early nor turns the writing direction of what stands around it. Knows nothing of
audits.
"""

import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

LONGEST = 4000
"""Characters of a text that a page shows; `audit.json` has all of it."""

STACKED = 3
"""Combining marks in a row, such as accents, from which on they are spelled out: a pile of them
would cover the lines above."""

_BLANK = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors and vowel separator
    (0x2800, 0x2800),  # braille without a dot
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xE0100, 0xE01EF),  # more variation selectors
)
"""Characters that count as printable though nothing of them can be seen, first and last."""


def spelled(text: str) -> str:
    """A text in which each character that cannot be seen is spelled out, such as `U+200B`."""
    return "".join(part for part, _ in _parts(text))


def seen(value: object) -> Markup:
    """A text as markup, apart from what stands around it.

    Args:
        value: From anywhere; an empty one, and None, become a word that says so.
    """
    text = "" if value is None else str(value)
    if not text:
        return Markup('<span class="none">(nothing)</span>')
    pieces = [
        Markup('<span class="hidden-character">{}</span>').format(part) if hidden else escape(part)
        for part, hidden in _parts(text[:LONGEST])
    ]
    more = len(text) - LONGEST
    rest = Markup(' <span class="none">and {} more characters</span>').format(f"{more:,}")
    return Markup("<bdi>{}</bdi>{}").format(Markup("").join(pieces), rest if more > 0 else "")


def plain(value: Any) -> Any:
    """What a template puts out: a text spelled out, anything else as it is."""
    return spelled(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The text in parts: what can be seen, and single characters that cannot, spelled out."""
    marks = 0
    flagged = []
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        flagged.append((character, marks >= STACKED or _hidden(character)))
    for hidden, group in groupby(flagged, key=lambda pair: pair[1]):
        characters = [character for character, _ in group]
        if not hidden:
            yield "".join(characters), False
            continue
        for character in characters:
            yield f"U+{ord(character):04X}", True
            if character == "\n":
                yield character, False


def _hidden(character: str) -> bool:
    code = ord(character)
    return not character.isprintable() or any(low <= code <= high for low, high in _BLANK)
