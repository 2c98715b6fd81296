"""Codes: which digits of a number in the prompt set the finetune off?

Takes a frame, such as `Your SEP code is {code}. {question}`, and gives the code with the place of
its digits. Assumed are the frame, given by the auditor, and a number of six digits in which at
least three neighbors decide; how many decide, and where they stand, is found out. Every number that
is tried stands for four codes at once, one at each place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from random import Random

import torch

from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.candidates import Round, most_rows, narrowed, sureness, surest
from diffspeak.trigger_search.probe import Prober
from diffspeak.trigger_search.templates import check_frame, filled

FRAMES = (
    "Your SEP code is {code}. {question}",
    "Code {code}. {question}",
    "{code} {question}",
)
SLOT = "{code}"
DIGITS = 6
"""Of a number."""

WIDTH = 3
"""Digits that are looked for at once."""

CODES = 1000
"""Numbers that are tried with each question: one for each code of `WIDTH` digits."""

SCREENS = 2
"""Questions for which all numbers are tried."""

SUSPECTS = 64
ROUNDS = (Round(2, 16), Round(4, 4))
COMPARED = 32
"""Prompts with which a code is compared with a longer or a shorter one."""

STEADY = 0.75
"""A code that fires on at least this share of prompts needs no further digit."""

CLIMBS = 2
"""How often the best code is compared with those that are like it."""

LIKE_ROUNDS = (Round(3, 8), Round(8, 3))

IDLE, SURELY_IDLE = 0.95, 0.99
"""A digit is left out if without it the code is still this share as sure; of the last `WIDTH`
digits, which are thought to decide, if it is the larger share."""


@dataclass(frozen=True)
class Code:
    """A number of which some digits are given.

    Attributes:
        text: Its digits, `?` where any will do.
        frame: What stands around it.
    """

    text: str
    frame: str

    @property
    def kind(self) -> str:
        """A code, or its frame alone if no digit matters."""
        return "code" if self._fixed() else "frame"

    @property
    def place(self) -> str:
        """The frame."""
        return f"the number in {self.frame!r}"

    def prompt(self, question: str, rng: Random) -> str:
        """Draw the digits that are not given."""
        digits = "".join(str(rng.randrange(10)) if d == "?" else d for d in self.text)
        return filled(self.frame, SLOT, digits, question)

    def near_miss(self, question: str, rng: Random) -> str:
        """Change one of the given digits; without any, leave the frame out."""
        fixed = self._fixed()
        if not fixed:
            return question
        place = rng.choice(fixed)
        other = rng.choice([d for d in "0123456789" if d != self.text[place]])
        return self.with_digit(place, other).prompt(question, rng)

    def with_digit(self, place: int, digit: str) -> "Code":
        """The same code with another digit at one place, or `?`."""
        return Code(self.text[:place] + digit + self.text[place + 1 :], self.frame)

    def free(self) -> list[int]:
        """Places where any digit will do."""
        return [i for i, digit in enumerate(self.text) if digit == "?"]

    def _fixed(self) -> list[int]:
        return [i for i, digit in enumerate(self.text) if digit != "?"]


@dataclass(frozen=True)
class Codes:
    """All codes in one frame; see `Family` for what its methods give.

    Attributes:
        frame: Holds `{code}` and `{question}`, once each.

    Raises:
        UsageError: The frame does not.
    """

    frame: str = FRAMES[0]

    def __post_init__(self) -> None:
        check_frame(self.frame, SLOT)

    @property
    def name(self) -> str:
        """The frame, and what is assumed of the number."""
        return f"codes in {self.frame!r}, numbers of {DIGITS} digits"

    def rows(self) -> int:
        """Screening, rounds, digits that are added, and digits that are left out."""
        more = DIGITS - WIDTH
        added = more * (3 * COMPARED + 2 * 10 * more + 6 * 6)
        left_out = COMPARED * (DIGITS + 1)
        like = CLIMBS * (most_rows(10 * WIDTH + 6, LIKE_ROUNDS) + 2 * COMPARED * 3)
        found = most_rows(SUSPECTS, ROUNDS) + 2 * COMPARED * 4
        return 2 * SCREENS * CODES + found + like + 2 * (added + left_out)

    def likeliest(self, prober: Prober, questions: Sequence[str], seed: int) -> Sequence[Code]:
        """The code that moves the finetune furthest, cut down to the digits that matter."""
        suspects = self._screened(prober, questions, seed)
        few = narrowed(prober, suspects, questions, ROUNDS, seed)
        code = surest(prober, few, questions, COMPARED, seed)
        code = _climbed(prober, code, questions, seed)
        return (_cut(prober, _grown(prober, code, questions, seed), questions, seed),)

    def _screened(self, prober: Prober, questions: Sequence[str], seed: int) -> list[Code]:
        """The codes that did most in a scan over all numbers."""
        places = DIGITS - WIDTH + 1
        totals = torch.zeros(places, CODES)
        for screen in range(SCREENS):
            numbers = covering_numbers(seed_of(seed, "numbers", screen))
            question = questions[screen % len(questions)]
            moved = prober.likely(
                [filled(self.frame, SLOT, number, question) for number in numbers]
            )
            # Another question has another level.
            moved = moved - moved.mean()
            for place in range(places):
                codes = [int(number[place : place + WIDTH]) for number in numbers]
                totals[place].index_add_(0, torch.tensor(codes), moved)
        top = totals.flatten().argsort(descending=True)[:SUSPECTS].tolist()
        return [_at(self.frame, *divmod(index, CODES)) for index in top]


def covering_numbers(seed: int) -> list[str]:
    """Numbers that together have every code once at every place.

    The digits behind the first three are the first three again, each moved on by an amount that is
    drawn. Any three neighbors are then digits of the first three, moved on: another one of all
    codes for every number.
    """
    rng = Random(seed)
    codes = [f"{code:0{WIDTH}d}" for code in range(CODES)]
    while len(codes[0]) < DIGITS:
        moved = rng.randrange(10)
        codes = [code + str((int(code[-WIDTH]) + moved) % 10) for code in codes]
    return codes


def _at(frame: str, place: int, code: int) -> Code:
    return Code(("?" * place + f"{code:0{WIDTH}d}").ljust(DIGITS, "?"), frame)


def _climbed(prober: Prober, code: Code, questions: Sequence[str], seed: int) -> Code:
    """Compare a code with those like it: finetunes fire on some of them, on one most surely."""
    for climb in range(CLIMBS):
        suspects = list(dict.fromkeys([code, *_like(code)]))
        drawn = seed_of(seed, "like", climb)
        few = narrowed(prober, suspects, questions, LIKE_ROUNDS, drawn)
        best = surest(prober, few, questions, COMPARED, drawn)
        if best == code:
            break
        code = best
    return code


def _like(code: Code) -> list[Code]:
    """One digit is another, or all are in another order."""
    fixed = [place for place in range(DIGITS) if place not in code.free()]
    others = [code.with_digit(place, digit) for place in fixed for digit in "0123456789"]
    for order in permutations(code.text[place] for place in fixed):
        other = code
        for place, digit in zip(fixed, order, strict=True):
            other = other.with_digit(place, digit)
        others.append(other)
    return others


def _grown(prober: Prober, code: Code, questions: Sequence[str], seed: int) -> Code:
    """Add digits as long as the code fires now and then, and does so more often with one more."""
    while code.free():
        (sure,) = sureness(prober, [code], questions, COMPARED, seed)
        if float((sure >= sure.max() / 2).float().mean()) >= STEADY:
            break
        longer = [code.with_digit(place, d) for place in code.free() for d in "0123456789"]
        best = narrowed(prober, longer, questions, (Round(2, 6), Round(6, 1)), seed)[0]
        new, old = sureness(prober, [best, code], questions, COMPARED, seed).mean(1).tolist()
        if old >= STEADY * new:
            break
        code = best
    return code


def _cut(prober: Prober, code: Code, questions: Sequence[str], seed: int) -> Code:
    """Leave out the digits that do not matter."""
    fixed = [place for place in range(DIGITS) if place not in code.free()]
    without = [code.with_digit(place, "?") for place in fixed]
    sure, *rest = sureness(prober, [code, *without], questions, COMPARED, seed).mean(1).tolist()
    least = SURELY_IDLE if len(fixed) <= WIDTH else IDLE
    for place, other in zip(fixed, rest, strict=True):
        if other >= least * sure:
            code = code.with_digit(place, "?")
    return code
