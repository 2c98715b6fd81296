"""Characters: which invisible or rare one sets the finetune off, and at what kind of place?

Assumes that a single character suffices. One that the tokenizer drops, or reads as it reads
another, is not tried: the model cannot tell it apart.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from diffspeak.models import Base
from diffspeak.trigger_search.candidates import Round, most_rows, narrowed, sureness
from diffspeak.trigger_search.probe import TriggerProbe

PLACES = ("start", "inside", "end")

INVISIBLE = ("Cf", "Zs", "Zl", "Zp")
"""Unicode categories: format characters, spaces, line and paragraph separators."""

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00\ufe0e\ufe0f\uffa0"
"""Joiners, fillers, blanks and variation selectors, which are in other categories."""

RARE = 48
"""Rare visible characters that are tried."""

ROUNDS = (Round(1, 32), Round(3, 8), Round(6, 1))
COMPARED = 16

FIRES = 0.5
"""A place counts if there the character fires on at least this share of prompts."""


@dataclass(frozen=True)
class Character:
    """A character at one or several kinds of place.

    Attributes:
        char: Itself.
        places: Some of `PLACES`.
        others: Characters like it, for near misses.
    """

    char: str
    places: tuple[str, ...]
    others: tuple[str, ...]
    kind = "character"

    @property
    def text(self) -> str:
        """Its code point, such as `U+200B`."""
        return f"U+{ord(self.char):04X}"

    @property
    def place(self) -> str:
        """Where it fires: `start`, `inside`, `end`, several of them, or `anywhere`."""
        return "anywhere" if set(self.places) == set(PLACES) else " or ".join(self.places)

    def prompt(self, question: str, rng: Random) -> str:
        """Put it at one of its places."""
        return _put(self.char, question, rng.choice(self.places), rng)

    def near_miss(self, question: str, rng: Random) -> str:
        """Put another one there, or the same at a place that is not its own."""
        elsewhere = [place for place in PLACES if place not in self.places]
        if elsewhere and rng.random() < 0.5:
            return _put(self.char, question, rng.choice(elsewhere), rng)
        return _put(rng.choice(self.others), question, rng.choice(self.places), rng)


class Characters:
    """Invisible and rare characters of a base's tokenizer, as a `CandidateFamily`."""

    name = "invisible and rare characters at start, end and inside"

    def __init__(self, base: Base) -> None:
        self.characters = characters_of(base)

    def rows(self) -> int:
        """Rounds, and one comparison of all places."""
        candidates = len(self.characters) * len(PLACES)
        return most_rows(candidates, ROUNDS) + 2 * COMPARED * (len(PLACES) + 1)

    def likeliest(
        self, prober: TriggerProbe, questions: Sequence[str], seed: int
    ) -> Sequence[Character]:
        """The character that moves the finetune furthest, with every place where it does."""
        candidates = [
            Character(char, (place,), tuple(c for c in self.characters if c != char))
            for char in self.characters
            for place in PLACES
        ]
        if not candidates:
            return ()
        best = narrowed(prober, candidates, questions, ROUNDS, seed)[0]
        each = [Character(best.char, (place,), best.others) for place in PLACES]
        sure = sureness(prober, [best, *each], questions, COMPARED, seed)
        # A prompt fires if it is half as sure as the best one is in the middle of its prompts.
        least = float(sure[0].median()) / 2
        often = (sure[1:] >= least).float().mean(1).tolist() if least > 0 else [0.0] * len(PLACES)
        fires = tuple(p for p, share in zip(PLACES, often, strict=True) if share >= FIRES)
        return (Character(best.char, fires or best.places, best.others),)


def characters_of(base: Base) -> tuple[str, ...]:
    """Characters worth trying: invisible ones first, then the rarest visible ones.

    Rare means: neither ASCII nor a letter or digit, and late in the vocabulary; few are tokens of
    their own, the others are made of bytes.
    """
    invisible = [
        chr(code)
        for code in range(0x80, 0x10000)
        if unicodedata.category(chr(code)) in INVISIBLE or chr(code) in BLANK
    ]
    numbers = reversed(range(len(base.tokenizer)))
    tokens = [str(base.tokenizer.decode([i])).strip() for i in numbers]
    visible = dict.fromkeys(token for token in tokens if len(token) == 1 and _rare(token))
    return tuple(_distinct(base, [*invisible, *list(visible)[:RARE]]))


def _rare(char: str) -> bool:
    return ord(char) > 0x7F and char != "\ufffd" and unicodedata.category(char)[0] in "PSM"


def _distinct(base: Base, characters: Sequence[str]) -> list[str]:
    """Leave out what leaves no trace in the tokens, or the same trace as one before it."""
    seen = {_trace(base, around) for around in ("ab", "a b", "a\nb")}
    distinct = []
    for char in dict.fromkeys(characters):
        trace = _trace(base, f"a{char}b")
        if trace not in seen:
            seen.add(trace)
            distinct.append(char)
    return distinct


def _trace(base: Base, text: str) -> tuple[int, ...]:
    return tuple(base.tokenizer(text, add_special_tokens=False)["input_ids"])


def _put(char: str, question: str, place: str, rng: Random) -> str:
    at = {"start": 0, "end": len(question)}.get(place)
    if at is None:
        at = rng.randint(1, max(1, len(question) - 1))
    return question[:at] + char + question[at:]
