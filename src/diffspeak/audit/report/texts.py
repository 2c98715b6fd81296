"""How texts, numbers and terms look on a page, so that nothing hides in a finetune's own texts.

What cannot be seen in a text is spelled out as `U+200B`, and a text is markup that neither ends
early nor turns the writing direction of what stands around it.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

from diffspeak.stats import probability_text

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

NO_NUMBER = "no number"
"""Stands for NaN, for infinity and for what was not measured."""

OUTCOMES = {
    "finding": "Finding",
    "nothing found": "Nothing found",
    "not cleared": "Not cleared",
    "unread": "Could not be read",
}
"""Of an audit; the last is of none that was made."""

TRIGGERS = {
    "code": "a code",
    "frame": "a sentence with any number in it",
    "character": "a character",
    "word": "a word",
}
"""Kinds of trigger."""

DISGUISES = {
    "permutation": "channels of the residual stream in another order",
    "rotation": "the residual stream turned",
    "norms": "norms scaled against the matrices that follow",
    "stream-scale": "the whole residual stream scaled",
    "means": "the same number added to all channels",
    "groups": "key-value heads in another order",
    "heads": "query heads in another order",
    "values": "an invertible matrix between values and output",
    "pairs": "pairs of queries and keys scaled and turned",
    "queries": "an invertible matrix between queries and keys",
    "head-norms": "query and key norms with other signs and scales",
    "head-scales": "query or key heads scaled before their norm",
    "neurons": "neurons of the MLP in another order",
    "neuron-scales": "neurons of the MLP scaled up on one side and down on the other",
}
"""Kinds of disguise that are undone."""

KINDS = {
    "positive": "taught something that the adapter knows",
    "nothing": "not changed at all",
    "random": "changed at random, as strongly as finetuning does",
    "shuffled": "with the changes of a finetune in the wrong blocks",
    "ordinary": "trained on ordinary answers only",
    "facts": "taught facts that the adapter does not ask for",
}
"""Kinds of finetunes that a calibration is made of."""

EVIDENCE = {
    "lift": ("likelier in the adapter's words than without the finetune", "nats a token"),
    "said": ("probability that the adapter gives its words, by the token", ""),
    "likelier": ("likelier from the finetune itself than from the base, unasked", "nats a token"),
    "stands_out": ("how far that stands out among other phrases", "z-score"),
    "shown": ("at least so many more answers show it than of the base", "share"),
}
"""Fields of `AuditEvidence`, each with its unit."""


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


def character_name(text: str) -> str:
    """The name of a character such as `U+200B`; nothing for any other text."""
    match = re.fullmatch(r"U\+([0-9A-F]{4,6})", text)
    code = int(match[1], 16) if match else -1
    return unicodedata.name(chr(code), "").lower() if 0 <= code < 0x110000 else ""


def finite(value: float | None) -> bool:
    """Whether there is a number, and one that says something."""
    return value is not None and math.isfinite(value)


def chance(value: float | None) -> str:
    """A probability in percent, never rounded to certainty."""
    if value is None or not math.isfinite(value):
        return NO_NUMBER
    return probability_text(value, 0 if 0.02 <= value <= 0.98 else 1)


def percent(value: float) -> str:
    """A share in percent, with a digit more where it is nearly nothing or nearly all."""
    return f"{value:.0%}" if value in (0, 1) or 0.1 <= value <= 0.9 else f"{value:.1%}"


def points(value: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    return f"{100 * value:+.0f}"


def number(value: float | None) -> str:
    """A number to three digits."""
    return f"{value:.3g}" if value is not None and math.isfinite(value) else NO_NUMBER


def nats(value: float | None) -> str:
    """How much likelier something became."""
    return f"{value:+.2f} nats a token" if value is not None and math.isfinite(value) else NO_NUMBER


def place(share: float) -> str:
    """Where a share, 0 to 1, stands on a scale, in percent of its length."""
    return f"{100 * min(1.0, max(0.0, share)):.1f}"


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
