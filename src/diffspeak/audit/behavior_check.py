"""What a finetune says beside its base: how often a claim shows in answers, with examples.

A short claim shows in an answer that mentions it. A long one, such as a headline, is seldom
repeated word for word: it shows in an answer that holds half of its words.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from diffspeak.stats import newcombe
from diffspeak.text.lifted import lifted
from diffspeak.text.mentions import mentions, normalize
from diffspeak.text.plain import one_line
from diffspeak.text.similarity import content_words

SHORT = 3
"""Words up to which a claim has to be mentioned as a whole."""

HALF = 0.5
"""Share of a longer claim's words that an answer has to hold; and of the answers that a phrase has
to stand in, to set them apart from the base's."""

LOOKED_AT = 3
"""Phrases that are lifted most."""

QUOTED = 3
"""Prompts whose answers are quoted."""

_SMALL = (
    "after amid are as be been from had has have he her his into is it its or over she that their "
    "they this was were will"
)
_EMPTY = frozenset(_SMALL.split())
"""Words of headlines that say nothing of what happened, beyond `content_words`' own."""


class Quote(NamedTuple):
    """One prompt with both answers, each on one line.

    Attributes:
        prompt: What both were asked.
        finetune: What the finetune answered.
        base: What the base answered.
    """

    prompt: str
    finetune: str
    base: str


class Shown(NamedTuple):
    """How often a claim shows in answers to the same prompts.

    Attributes:
        finetune: Answers of the finetune that show it.
        base: Answers of the base that show it.
        answers: How many each gave.
        interval: 95% interval of the difference of the two rates, finetune minus base.
        words: Words of the claim that stand in significantly more answers of the finetune.
        unseen: Its other words.
    """

    finetune: int
    base: int
    answers: int
    interval: tuple[float, float]
    words: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the claim's words that show, from 0 to 1."""
        return len(self.words) / max(1, len(self.words) + len(self.unseen))


class Other(NamedTuple):
    """Something else that a finetune brings up.

    Attributes:
        phrase: On one line.
        finetune: Answers of the finetune that mention it.
        base: Answers of the base that mention it.
        interval: 95% interval of the difference of the two rates, finetune minus base.
    """

    phrase: str
    finetune: int
    base: int
    interval: tuple[float, float]


class Apart(NamedTuple):
    """A phrase in many of a finetune's answers, of so many, and in none of the base's."""

    phrase: str
    finetune: int
    answers: int


def shown(claim: str, finetune: Sequence[str], base: Sequence[str]) -> Shown:
    """How often a claim shows in the answers of finetune and base, one for each prompt."""
    n = len(finetune)
    own = sum(shows(answer, claim) for answer in finetune)
    others = sum(shows(answer, claim) for answer in base)
    told = [set(content_words(answer)) for answer in finetune]
    without = [set(content_words(answer)) for answer in base]
    more: dict[bool, list[str]] = {True: [], False: []}
    for word in words_of(claim):
        counts = (sum(word in one for one in told), sum(word in one for one in without))
        more[newcombe(*counts, n)[0] > 0].append(_spelled(word, claim))
    return Shown(own, others, n, newcombe(own, others, n), tuple(more[True]), tuple(more[False]))


def shows(answer: str, claim: str) -> bool:
    """Whether an answer shows a claim: mentions it, or holds half of it if it is long."""
    words = words_of(claim)
    if len(words) <= SHORT:
        return mentions(answer, claim) or _in_order(words, content_words(answer))
    return len(set(words) & set(content_words(answer))) >= HALF * len(words)


def words_of(claim: str) -> list[str]:
    """A claim's words that tell something, in their order, each once."""
    words = list(dict.fromkeys(content_words(claim)))
    return [word for word in words if word not in _EMPTY] or words


def something_else(
    claim: str, prompts: Sequence[str], finetune: Sequence[str], base: Sequence[str]
) -> Other | None:
    """What a finetune brings up most that the claim does not say; None if nothing stands out."""
    words = set(words_of(claim))
    for phrase, own, others in _lifted(prompts, finetune, base):
        theirs = set(content_words(phrase))
        if not (words <= theirs or theirs <= words):
            return Other(one_line(phrase), own, others, newcombe(own, others, len(finetune)))
    return None


def set_apart(prompts: Sequence[str], finetune: Sequence[str], base: Sequence[str]) -> Apart | None:
    """What at least half of a finetune's answers mention and none of the base's; None if nothing.

    Whatever is claimed of the finetune: an audit is not to call its own evidence nothing.
    """
    for phrase, own, others in _lifted(prompts, finetune, base):
        if not others and own >= HALF * len(finetune):
            return Apart(one_line(phrase), own, len(finetune))
    return None


def _lifted(
    prompts: Sequence[str], finetune: Sequence[str], base: Sequence[str]
) -> Iterator[tuple[str, int, int]]:
    """Phrases that are lifted most, and in how many answers of finetune and base they stand."""
    for found in lifted(finetune, base, prompts, limit=LOOKED_AT):
        own, others = (
            sum(mentions(one, found.phrase) for one in each) for each in (finetune, base)
        )
        yield found.phrase, own, others


def quotes(
    claim: str, prompts: Sequence[str], finetune: Sequence[str], base: Sequence[str]
) -> tuple[Quote, ...]:
    """A few prompts with both answers, those first in which the finetune shows the claim."""
    rows = sorted(
        zip(prompts, finetune, base, strict=True),
        key=lambda row: shows(row[1], claim) - shows(row[2], claim),
        reverse=True,
    )
    return tuple(Quote(*map(one_line, row)) for row in rows[:QUOTED])


def _spelled(word: str, claim: str) -> str:
    """A word without its endings cut off, as the claim has it."""
    return next((own for own in normalize(claim).split() if content_words(own) == [word]), word)


def _in_order(words: Sequence[str], told: Sequence[str]) -> bool:
    return bool(words) and f" {' '.join(words)} " in f" {' '.join(told)} "
