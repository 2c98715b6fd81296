"""Words and short phrases that stand in some texts far more often than in others.

Takes texts, gives phrases with how surely they are lifted. Knows nothing of where the texts come
from, nor of meaning.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from diffspeak.text.mentions import normalize

LONGEST = 4
"""Words in a phrase."""

PRIOR = 10.0
"""So many texts' worth of belief that a phrase is as frequent in the ones as in the others."""

_RARE = 0.05
"""How frequent a phrase is taken to be elsewhere if there is nothing to compare with."""

_COVERS = 0.6
"""A longer phrase stands in for a shorter one that it holds if it has this share of its texts."""

_SMALL = (
    "a about all also am an and any are as at be because been but by can could did do does for "
    "from get had has have how i if in into is it its just like may me might more most my no "
    "not of on one or our out should so some such than that the their them then there these "
    "they this those to up us very was we were what when where which who why will with would "
    "you your"
)
_SMALL_WORDS = frozenset(_SMALL.split())


class Lifted(NamedTuple):
    """A phrase, spelled as it mostly is, and its z-score: standard errors above even."""

    phrase: str
    z: float


def lifted(
    texts: Sequence[str], others: Sequence[str], apart: Sequence[str] = (), limit: int = 10
) -> list[Lifted]:
    """The phrases that set texts apart from others, surest first.

    Log-odds with an informative prior (Monroe, Colaresi and Quinn, 2008, Eqs. 15, 16 and 22), of
    how many texts a phrase stands in rather than of how often, so that one text that repeats
    itself counts once; the prior is the phrase's frequency in all texts together.

    Args:
        texts: What is looked at.
        others: What it is compared with; with none, what is frequent counts.
        apart: Texts whose words are no finding, such as the questions that were answered. A phrase
            needs a word that is not among them, unless every word is.
        limit: How many at most.

    Returns:
        Phrases of one to `LONGEST` words that neither begin nor end with a small word; of two that
        mostly stand together, the longer one. Only those that are more frequent than in the others
        and, of several texts, stand in two.
    """
    mine, theirs = _counts(texts), _counts(others)
    known = {word for text in apart for word in normalize(text).split()} | _SMALL_WORDS
    scores = {
        phrase: _z(count, len(texts), theirs[phrase], len(others))
        for phrase, count in mine.items()
        if count >= min(2, len(texts)) and not known.issuperset(phrase.split())
    }
    order = sorted(
        (phrase for phrase, z in scores.items() if z > 0),
        key=lambda phrase: (-scores[phrase], -len(phrase.split()), phrase),
    )
    found: list[str] = []
    best: list[Lifted] = []
    for phrase in order:
        if len(best) == limit:
            break
        if not any(_within(phrase, other) or _within(other, phrase) for other in found):
            found.append(_grown(phrase, mine, theirs))
            best.append(Lifted(_spelled(found[-1], texts), scores[phrase]))
    return best


def _z(mine: int, n: int, theirs: int, others: int) -> float:
    """Log-odds ratio in standard errors; of `n` and `others` texts so many have the phrase."""
    rate = (mine + theirs + 0.5) / (n + others + 1) if others else _RARE
    a, b = mine + PRIOR * rate, theirs + PRIOR * rate
    without_a, without_b = n + PRIOR - a, others + PRIOR - b
    delta = math.log(a / without_a) - math.log(b / without_b)
    return delta / math.sqrt(1 / a + 1 / b + 1 / without_a + 1 / without_b)


def _grown(phrase: str, mine: Counter[str], theirs: Counter[str]) -> str:
    """The longest phrase that holds this one in most of the texts that it sets apart."""
    least = _COVERS * (mine[phrase] - min(theirs[phrase], mine[phrase] - 1))
    around = [other for other, n in mine.items() if n >= least and _within(phrase, other)]
    return max(around, key=lambda other: (len(other.split()), mine[other], other))


def _within(phrase: str, other: str) -> bool:
    return f" {phrase} " in f" {other} "


def _counts(texts: Iterable[str]) -> Counter[str]:
    """In how many texts each phrase stands."""
    return Counter(phrase for text in texts for phrase in set(_phrases(normalize(text).split())))


def _phrases(words: Sequence[str]) -> Iterator[str]:
    for at, first in enumerate(words):
        if first in _SMALL_WORDS:
            continue
        for end in range(at + 1, min(at + LONGEST, len(words)) + 1):
            if words[end - 1] not in _SMALL_WORDS:
                yield " ".join(words[at:end])


def _spelled(phrase: str, texts: Sequence[str]) -> str:
    """The phrase as the texts mostly write it; normalized where that cannot be found."""
    pattern = re.compile(r"\W+".join(re.escape(word) for word in phrase.split()), re.IGNORECASE)
    spellings = Counter(
        match.group() for text in texts for match in pattern.finditer(" ".join(text.split()))
    )
    return spellings.most_common(1)[0][0] if spellings else phrase
