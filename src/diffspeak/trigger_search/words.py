"""Words: which opening word sets the finetune off?

Takes a frame and a list of words, gives the word. Assumed are the frame, given by the auditor, and
that the word is in the list: everyday nouns, a dictionary of English, a list of the auditor's, or
the whole words among the tokens. Of a long list the first words are tried, and then those that look
like what fires. A finetune often fires on other words too that share tokens with its own; the one
that fires most surely is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from random import Random

import torch
from scipy.sparse import csr_matrix
from spellchecker import SpellChecker
from torch import Tensor

from diffspeak.errors import UsageError
from diffspeak.models import Base
from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.candidates import Round, most_rows, sureness
from diffspeak.trigger_search.guided import pieces_of, tried
from diffspeak.trigger_search.probe import Prober
from diffspeak.trigger_search.templates import check_frame, filled

SLOT = "{word}"
FRAME = "{word}. {question}"
MOST = 30_000
"""Words of a list that are tried."""

UNNAMED = 3
"""Without a claim so many times fewer words are tried: one that fires is enough to learn what it
brings up, and each takes two rows."""

PILOT = Round(8, 200)
"""Questions, and words to choose one of them with: a finetune is set off less behind some."""

LOUDEST = 10
"""Of the words of the pilot, those that count."""

COMPARED = (Round(4, 32), Round(32, 24))
KEPT = 128
"""Words that are compared more closely."""

CERTAIN = 1e-5
"""Nearer to 0 or 1 than this, a probability is no surer."""

RARE, LONG = 1.5, 0.4
"""Taken off a word's log-odds if it is none of the common ones, and for each letter: of words that
all fire, a common and short one is likelier to be the trigger than others that hold its tokens. Set
by finetunes of the train and calibration splits."""

SHORTEST = 3
"""Letters of what counts as a word."""

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
        words: At least one, the likeliest first.
        source: Where they come from, for people.
        frame: What stands around them.
        most: How many are tried; of a longer list the first ones, and those that look promising.
        common: How many of the first ones are likelier than the others.

    Raises:
        UsageError: There is no word, or the frame does not hold its parts once.
    """

    words: tuple[str, ...]
    source: str = "given words"
    frame: str = FRAME
    most: int = MOST
    common: int = 0

    def __post_init__(self) -> None:
        if not self.words or not all(self.words):
            raise UsageError("the list of words to try is empty, or one of them is: give words")
        check_frame(self.frame, SLOT)

    @property
    def name(self) -> str:
        """How many of what are tried, and the frame."""
        count = len(self.words)
        some = f"up to {self.most} of {count}" if self.most < count else str(count)
        return f"{some} {self.source} in {self.frame!r}"

    def rows(self) -> int:
        """All that is tried, and the rounds after it."""
        with_claim, without = self._tried(claim=True), 2 * self._tried(claim=False)
        pilot = 2 * PILOT.questions * min(PILOT.kept, len(self.words))
        return pilot + max(with_claim, without) + most_rows(min(KEPT, len(self.words)), COMPARED)

    def likeliest(self, prober: Prober, questions: Sequence[str], seed: int) -> Sequence[Word]:
        """The words that set the finetune off most surely."""
        rng = Random(seed)
        suspects = [Word(word, self.frame) for word in self.words]
        question = self._loudest(prober, questions)
        scored = tried(
            self._pieces,
            lambda places: prober.likely([suspects[i].prompt(question, rng) for i in places]),
            self._tried(claim=prober.claim is not None),
        )
        few = list(scored)
        sure = torch.tensor(list(scored.values()))
        few = self._ranked(prober, few, sure if prober.claim is None else sure.exp())[:KEPT]
        for number, (count, kept) in enumerate(COMPARED):
            compared = [suspects[i] for i in few]
            sure = sureness(prober, compared, questions, count, seed_of(seed, number))
            few = self._ranked(prober, few, sure)[:kept]
        return [suspects[i] for i in few]

    def _loudest(self, prober: Prober, questions: Sequence[str]) -> str:
        """The question behind which words set the finetune off most."""
        step = max(1, self._tried(claim=False) // PILOT.kept)
        words = [Word(word, self.frame) for word in self.words[::step][: PILOT.kept]]
        asked, rng = questions[: PILOT.questions], Random(0)
        likely = prober.likely([word.prompt(one, rng) for one in asked for word in words])
        most = likely.view(len(asked), len(words)).topk(min(LOUDEST, len(words))).values
        return asked[int(most.mean(1).argmax())]

    def _ranked(self, prober: Prober, places: Sequence[int], sure: Tensor) -> list[int]:
        """Places of words, the likeliest first.

        Args:
            prober: Whether it has a claim matters.
            places: Of words.
            sure: How surely each fires, `[word]` or `[word, prompt]`; see `sureness`.
        """
        if prober.claim is not None:
            sure = sure.logit(CERTAIN)
        prior = [RARE * (i >= self.common) + LONG * len(self.words[i]) for i in places]
        ranked = sure.view(len(places), -1).mean(1) - torch.tensor(prior)
        return [places[i] for i in ranked.argsort(descending=True, stable=True).tolist()]

    def _tried(self, *, claim: bool) -> int:
        return min(len(self.words), self.most if claim else max(1, self.most // UNNAMED))

    @cached_property
    def _pieces(self) -> csr_matrix:
        return pieces_of(self.words)


@cache
def everyday_words() -> tuple[str, ...]:
    """Everyday nouns, each also in the plural, the most used first, all with a capital."""
    text = files("diffspeak.trigger_search").joinpath("nouns.txt").read_text(encoding="utf-8")
    forms = {form.capitalize() for noun in text.split() for form in (noun, _plural(noun))}
    used = [word for word in english_words() if word in forms]
    return (*used, *sorted(forms - set(used)))


@cache
def english_words() -> tuple[str, ...]:
    """A dictionary of English, the most used words first, each with a capital.

    That of pyspellchecker; words of less than three letters, and with others than a to z, aside.
    """
    uses = SpellChecker(language="en").word_frequency.dictionary
    words = [word for word in uses if word.isascii() and word.isalpha() and len(word) >= SHORTEST]
    return tuple(word.capitalize() for word in sorted(words, key=lambda word: (-uses[word], word)))


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
