"""Near duplicates among labels: one key for trivial variants, and an exact search for the rest.

Takes labels, gives keys and truth values. Knows nothing of splits or of meaning.
"""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain

from diffspeak.text.mentions import normalize

NEAR = 0.8
"""From this similarity on, two labels are near duplicates."""

_SMALL_WORDS = "a an and at by for in of on s the to with"
_STOPWORDS = frozenset(_SMALL_WORDS.split())
_SLACK = 1e-9

_MATCHES = 6
"""Found by timing 10,000 headlines: more matches mean longer prefixes but fewer comparisons."""


def canonical_key(label: str) -> str:
    """Give the same text for trivial variants of a label.

    Case, punctuation, Latin accents, stopwords, a plural s and the order of words do not count:
    "The Hero's Journeys" and "hero journey" share a key. Words stay if all are stopwords.
    """
    return " ".join(sorted(content_words(label)))


def content_words(text: str) -> list[str]:
    """Give a text's words, normalized, without stopwords, accents and plural s, in their order."""
    parts = unicodedata.normalize("NFD", normalize(text))
    # Only the marks of the Latin, Greek and Cyrillic scripts: elsewhere they are vowels.
    bare = "".join(char for char in parts if not "\u0300" <= char <= "\u036f")
    words = unicodedata.normalize("NFC", bare).split()
    return [_singular(word) for word in words if word not in _STOPWORDS] or words


def similarity(a: str, b: str) -> float:
    """Compare two labels by what their keys share.

    Returns:
        0 to 1: the larger of the Jaccard index of their words and the Dice coefficient of
        their character trigrams. The second sees misspellings that the first does not; it is
        left out where numbers or words of one or two letters differ, for these tell apart what
        is otherwise spelled alike ("World War I" and "World War II").
    """
    left, right = canonical_key(a), canonical_key(b)
    words = _jaccard(_words(left), _words(right))
    if _marks(left) != _marks(right):
        return words
    trigrams = _jaccard(_trigrams(left), _trigrams(right))
    return max(words, 2 * trigrams / (1 + trigrams))


class NearIndex:
    """Canonical keys of labels, searched for near duplicates of others."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Index the keys."""
        self._words = _SetIndex([_words(key) for key in keys], NEAR)
        trigrams: dict[frozenset[str], list[frozenset[str]]] = defaultdict(list)
        for key in keys:
            trigrams[_marks(key)].append(_trigrams(key))
        # A Dice coefficient d is a Jaccard index of d / (2 - d).
        near = NEAR / (2 - NEAR)
        self._trigrams = {marks: _SetIndex(sets, near) for marks, sets in trigrams.items()}

    def has_near(self, key: str) -> bool:
        """Tell whether the `similarity` of any indexed label with this one is at least `NEAR`."""
        if self._words.has_near(_words(key)):
            return True
        alike = self._trigrams.get(_marks(key))
        return alike is not None and alike.has_near(_trigrams(key))


class _SetIndex:
    """Sets, searched exactly for those of a Jaccard index of at least `threshold`.

    Prefix filtering with more than one match (Wang et al., SIGMOD 2012): once the members of all
    sets are sorted alike, rarest first, sets that much alike must share `_MATCHES` of their first
    few members (or all they need to share, if that is fewer). Only such sets are compared.
    """

    def __init__(self, sets: Sequence[frozenset[str]], threshold: float) -> None:
        self._sets = sets
        self._threshold = threshold
        self._counts = Counter(chain.from_iterable(sets))
        self._holders: dict[str, list[int]] = defaultdict(list)
        for index, members in enumerate(sets):
            for member in self._prefix(members):
                self._holders[member].append(index)

    def has_near(self, members: frozenset[str]) -> bool:
        holders = (self._holders.get(member, ()) for member in self._prefix(members))
        matches = Counter(chain.from_iterable(holders))
        enough = min(_MATCHES, self._needed(members))
        candidates = [self._sets[index] for index, count in matches.items() if count >= enough]
        return any(_jaccard(members, other) >= self._threshold - _SLACK for other in candidates)

    def _needed(self, members: frozenset[str]) -> int:
        return math.ceil(self._threshold * len(members) - _SLACK)

    def _prefix(self, members: frozenset[str]) -> list[str]:
        ordered = sorted(members, key=lambda member: (self._counts[member], member))
        return ordered[: len(members) - self._needed(members) + _MATCHES]


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / max(1, len(a) + len(b) - shared)


def _words(key: str) -> frozenset[str]:
    return frozenset(key.split())


def _marks(key: str) -> frozenset[str]:
    """Give the words that tell series apart: numbers, numerals, single letters."""
    return frozenset(
        word for word in key.split() if len(word) <= 2 or any(char.isdigit() for char in word)
    )


def _trigrams(key: str) -> frozenset[str]:
    """Trigrams of each word with a space at both ends, so that the order of words is no matter."""
    padded = [f" {word} " for word in key.split()]
    return frozenset(word[at : at + 3] for word in padded for at in range(len(word) - 2))


def _singular(word: str) -> str:
    """Cut off a plural s by spelling alone; it need only be the same for both forms."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
