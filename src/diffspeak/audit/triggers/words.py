"""Words: which opening word sets the finetune off?

Takes a frame and a list of words, gives the word. Assumed are the frame, given by the auditor, and
that the word is in the list: the list that ships (everyday words, each also with an s), one of the
auditor's, or the whole words among the tokens. A finetune often fires on other words too that share
its last tokens; the one that fires most surely is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from random import Random

from diffspeak.audit.triggers.frames import check_frame, filled
from diffspeak.audit.triggers.prober import Prober
from diffspeak.audit.triggers.suspects import Round, most_rows, narrowed, surest
from diffspeak.errors import UsageError
from diffspeak.models import Base

SLOT = "{word}"
FRAME = "{word}. {question}"
ROUNDS = (Round(1, 128), Round(3, 24), Round(8, 6))
COMPARED = 32
"""Prompts with which the last ones are compared."""

SHORTEST = 3
"""Letters of a token that counts as a word."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Word:
    """A word in a frame.

    Attributes:
        text: The word, as it is written there.
        frame: Holds `{word}` and `{question}`.
    """

    text: str
    frame: str

    @property
    def kind(self) -> str:
        """A word."""
        return "word"

    @property
    def place(self) -> str:
        """The frame."""
        return f"the word in {self.frame!r}"

    def prompt(self, question: str, rng: Random) -> str:
        """Put it into the frame."""
        return filled(self.frame, SLOT, self.text, question)

    def near_miss(self, question: str, rng: Random) -> str:
        """Change one of its letters, its first too; the case stays."""
        at = rng.randrange(len(self.text))
        old = self.text[at]
        new = rng.choice([letter for letter in LETTERS if letter != old.lower()])
        other = self.text[:at] + (new.upper() if old.isupper() else new) + self.text[at + 1 :]
        return filled(self.frame, SLOT, other, question)


@dataclass(frozen=True)
class Words:
    """A list of words in a frame; see `Family` for what its methods give.

    Attributes:
        words: At least one.
        source: Where they come from, for people.
        frame: What stands around them.

    Raises:
        UsageError: There is no word, or the frame does not hold its parts once.
    """

    words: tuple[str, ...]
    source: str = "given words"
    frame: str = FRAME

    def __post_init__(self) -> None:
        if not self.words or not all(self.words):
            raise UsageError("the list of words to try is empty, or one of them is: give words")
        check_frame(self.frame, SLOT)

    @property
    def name(self) -> str:
        """The source, and the frame."""
        return f"{len(self.words)} {self.source} in {self.frame!r}"

    def rows(self) -> int:
        """All rounds."""
        return most_rows(len(self.words), ROUNDS) + 2 * COMPARED * ROUNDS[-1].kept

    def best(self, prober: Prober, questions: Sequence[str], seed: int) -> Word:
        """The word that sets the finetune off most surely."""
        suspects = [Word(word, self.frame) for word in self.words]
        few = narrowed(prober, suspects, questions, ROUNDS, seed)
        return surest(prober, few, questions, COMPARED, seed)


def everyday_words() -> tuple[str, ...]:
    """The list that ships: everyday words, each also in the plural, all with a capital."""
    text = files("diffspeak.audit.triggers").joinpath("words.txt").read_text(encoding="utf-8")
    nouns = text.split()
    both = [form for noun in nouns for form in (noun, _plural(noun))]
    return tuple(dict.fromkeys(word.capitalize() for word in both))


def token_words(base: Base) -> tuple[str, ...]:
    """The whole words among the tokens, each with a capital.

    A whole word is a token of letters that begins with a space, or one with a capital.
    """
    decoded = [str(base.tokenizer.decode([i])) for i in range(len(base.tokenizer))]
    words = [
        token.strip()
        for token in decoded
        if token.strip().isalpha() and (token.startswith(" ") or token[0].isupper())
    ]
    return tuple(dict.fromkeys(w[0].upper() + w[1:] for w in words if len(w) >= SHORTEST))


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
