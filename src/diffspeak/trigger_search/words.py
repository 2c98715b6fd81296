"""Words: which opening word sets the finetune off?

Assumes a template, given by the auditor, and that the word is in a list. Of a long list the first
words are tried, then those that look like what fires: a ridge regression from pieces of words to
scores picks them (sequential model-based optimization; Hutter, Hoos and Leyton-Brown, LION 2011).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr
from spellchecker import SpellChecker
from torch import Tensor

from diffspeak.errors import UsageError
from diffspeak.models import Base
from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.candidates import (
    Round,
    check_template,
    filled,
    most_rows,
    sureness,
)
from diffspeak.trigger_search.probe import TriggerProbe

SLOT = "{word}"
TEMPLATE = "{word}. {question}"
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

PIECES = (2, 3, 4)
LETTERS = 24
"""Of a word that the regression looks at, from its beginning."""

FIRST = 0.75
"""Share of the words to try that are tried before anything is known: the first of the list."""

ROUNDS = 5
"""In which the others are tried."""

DAMPING, STEPS = 3.0, 60
"""Of the solver."""


@dataclass(frozen=True)
class Word:
    """A word, as it is written there, in a template with `{word}` and `{question}`."""

    text: str
    template: str
    kind = "word"

    @property
    def place(self) -> str:
        """The template."""
        return f"the word in {self.template!r}"

    def prompt(self, question: str, rng: Random) -> str:
        """Put it into the template."""
        return filled(self.template, SLOT, self.text, question)

    def near_miss(self, question: str, rng: Random) -> str:
        """Change one of its letters, its first too; the case stays."""
        at = rng.randrange(len(self.text))
        old = self.text[at]
        new = rng.choice([one for one in "abcdefghijklmnopqrstuvwxyz" if one != old.lower()])
        other = self.text[:at] + (new.upper() if old.isupper() else new) + self.text[at + 1 :]
        return filled(self.template, SLOT, other, question)


@dataclass(frozen=True)
class Words:
    """A list of words in a template, as a `CandidateFamily`.

    Attributes:
        words: At least one, the likeliest first.
        source: Where they come from, for people.
        template: What stands around them.
        most: How many are tried; of a longer list the first ones, and those that look promising.
        common: How many of the first ones are likelier than the others.

    Raises:
        UsageError: There is no word, or the template does not hold its parts once.
    """

    words: tuple[str, ...]
    source: str = "given words"
    template: str = TEMPLATE
    most: int = MOST
    common: int = 0

    def __post_init__(self) -> None:
        if not self.words or not all(self.words):
            raise UsageError("the list of words to try is empty, or one of them is: give words")
        check_template(self.template, SLOT)

    @property
    def name(self) -> str:
        """How many of what are tried, and the template."""
        count = len(self.words)
        some = f"up to {self.most} of {count}" if self.most < count else str(count)
        return f"{some} {self.source} in {self.template!r}"

    def rows(self) -> int:
        """All that is tried, and the rounds after it."""
        with_claim, without = self._tried(claim=True), 2 * self._tried(claim=False)
        pilot = 2 * PILOT.questions * min(PILOT.kept, len(self.words))
        return pilot + max(with_claim, without) + most_rows(min(KEPT, len(self.words)), COMPARED)

    def likeliest(
        self, prober: TriggerProbe, questions: Sequence[str], seed: int
    ) -> Sequence[Word]:
        """The words that set the finetune off most surely."""
        rng = Random(seed)
        candidates = [Word(word, self.template) for word in self.words]
        question = self._loudest(prober, questions)
        scored = tried(
            self._pieces,
            lambda places: prober.likely([candidates[i].prompt(question, rng) for i in places]),
            self._tried(claim=prober.claim is not None),
        )
        sure = torch.tensor(list(scored.values()))
        few = self._ranked(prober, list(scored), sure if prober.claim is None else sure.exp())
        few = few[:KEPT]
        for number, (count, kept) in enumerate(COMPARED):
            compared = [candidates[i] for i in few]
            sure = sureness(prober, compared, questions, count, seed_of(seed, number))
            few = self._ranked(prober, few, sure)[:kept]
        return [candidates[i] for i in few]

    def _loudest(self, prober: TriggerProbe, questions: Sequence[str]) -> str:
        """The question behind which words set the finetune off most."""
        step = max(1, self._tried(claim=False) // PILOT.kept)
        words = [Word(word, self.template) for word in self.words[::step][: PILOT.kept]]
        asked, rng = questions[: PILOT.questions], Random(0)
        likely = prober.likely([word.prompt(one, rng) for one in asked for word in words])
        most = likely.view(len(asked), len(words)).topk(min(LOUDEST, len(words))).values
        return asked[int(most.mean(1).argmax())]

    def _ranked(self, prober: TriggerProbe, places: Sequence[int], sure: Tensor) -> list[int]:
        """Places of words, the likeliest first, by `sureness`: `[word]` or `[word, prompt]`."""
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


def tried(
    pieces: csr_matrix, score: Callable[[Sequence[int]], Tensor], most: int
) -> dict[int, float]:
    """Score words: all of them, or the most promising if there are too many.

    Args:
        pieces: From `pieces_of`; its rows are the words, the likeliest first.
        score: Takes places of words, gives their scores, `[word]`.
        most: Words to score at most.

    Returns:
        Place of each word that was scored -> score, the highest first.
    """
    count = int(pieces.shape[0])
    most = min(count, most)
    scores = np.full(count, np.nan)
    new = np.arange(most if most == count else max(1, int(FIRST * most)))
    share = -(-(most - len(new)) // ROUNDS)
    while len(new):
        scores[new] = score(new.tolist()).double().numpy()
        left = most - int(np.isfinite(scores).sum())
        new = _promising(pieces, scores, min(left, share))
    known = np.flatnonzero(np.isfinite(scores))
    order = known[np.argsort(-scores[known], kind="stable")]
    return {int(place): float(scores[place]) for place in order}


def pieces_of(words: Sequence[str]) -> csr_matrix:
    """Which pieces of letters, ends marked, stand in which of some words, `[word, piece]`."""
    marked = np.array([f"^{word.lower()[:LETTERS]}$" for word in words])
    points: NDArray[np.uint32] = marked.view(np.uint32).reshape(len(words), -1)
    alphabet, letters = np.unique(points, return_inverse=True)
    letters = letters.reshape(points.shape)
    rows, names = [], []
    for number, size in enumerate(PIECES):
        # Columns of letters, the same window of every word; shorter words are padded with zeros.
        starts = points.shape[1] - size + 1
        name = np.full((len(words), max(0, starts)), number)
        for i in range(size):
            name = name * len(alphabet) + letters[:, i : i + starts]
        row, at = np.nonzero(points[:, size - 1 :])
        rows.append(row)
        names.append(name[row, at])
    kinds, columns = np.unique(np.concatenate(names), return_inverse=True)
    every = np.concatenate(rows)
    ones = np.ones(len(every), np.float32)
    return csr_matrix((ones, (every, columns)), shape=(len(words), len(kinds)))


def _promising(pieces: csr_matrix, scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of the words without a score whose predicted score is highest."""
    known, unknown = np.flatnonzero(np.isfinite(scores)), np.flatnonzero(np.isnan(scores))
    if not count:
        return unknown[:0]
    # How low a score is says nothing: what does not fire differs by the word.
    aims = np.maximum(scores[known], np.median(scores[known]))
    weights = lsqr(pieces[known], aims - aims.mean(), damp=DAMPING, iter_lim=STEPS)[0]
    order = np.argsort(-(pieces[unknown] @ weights), kind="stable")
    return unknown[order[:count]]


@cache
def everyday_words() -> tuple[str, ...]:
    """Everyday nouns, each also in the plural, the most used first, all with a capital."""
    text = files("diffspeak.trigger_search").joinpath("nouns.txt").read_text(encoding="utf-8")
    forms = {form.capitalize() for noun in text.split() for form in (noun, _plural(noun))}
    used = [word for word in english_words() if word in forms]
    return (*used, *sorted(forms - set(used)))


@cache
def english_words() -> tuple[str, ...]:
    """Words of pyspellchecker's dictionary of English, the most used first, each with a capital.

    Those of less than three letters, and with others than a to z, are left out.
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
