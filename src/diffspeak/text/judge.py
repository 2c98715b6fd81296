"""A judge's verdict, and how near a guess comes to the truth by spelling alone.

Takes texts, gives numbers: features of a pair, and from features, through a calibration, a score
from 1 to 5. Knows nothing of models; a cosine of embeddings is for it one feature more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from diffspeak.stats import normal_mean
from diffspeak.text.mentions import normalize

Judged = tuple[str, str | None]
"""(truth, guess); None where there is no guess, for instance because a guesser failed."""

COSINE = "cosine"
"""The feature that an embedding model gives."""

_LONG = 12
"""Words from which on a truth counts as a whole sentence."""


class Verdict(NamedTuple):
    """What a judge makes of one pair.

    Attributes:
        score: 1 (unrelated) to 5 (the same in other words); None where it is unscored.
        why: Why it is unscored, in one line; empty if it is scored.
        close: Probability that an LLM judge would say at least 4, from judges that know it.
    """

    score: float | None = None
    why: str = ""
    close: float | None = None


class Summary(NamedTuple):
    """What a judge makes of many pairs.

    Attributes:
        mean: Of the scores, 1 to 5; None if there are none.
        interval: Its normal 95% interval over the pairs; None for fewer than two scores.
        scored: How many pairs have a score.
        unscored: How many have none.
    """

    mean: float | None
    interval: tuple[float, float] | None
    scored: int
    unscored: int


def summarize(verdicts: Sequence[Verdict]) -> Summary:
    """Mean score of what is scored; what is not is counted, and enters no mean."""
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    n, unscored = len(scores), len(verdicts) - len(scores)
    if not scores:
        return Summary(None, None, n, unscored)
    mean, half = normal_mean(scores)
    if n == 1:
        return Summary(mean, None, n, unscored)
    return Summary(mean, (max(1.0, mean - half), min(5.0, mean + half)), n, unscored)


def trivial(truth: str, guess: str | None) -> Verdict | None:
    """The verdict on a pair that needs no judging; None where a judge is needed.

    No guess, or a truth without a word, is unscored. A guess without a word is unrelated (1), one
    that is the truth but for case and punctuation is the same (5).
    """
    if guess is None:
        return Verdict(why="there is no guess")
    wanted, found = normalize(truth), normalize(guess)
    if not wanted:
        return Verdict(why="the truth says nothing")
    if not found:
        return Verdict(1.0, close=0.0)
    return Verdict(5.0, close=1.0) if wanted == found else None


def features(truth: str, guess: str) -> dict[str, float]:
    """How alike two texts are in spelling.

    Returns:
        By name: *letters*, the Dice coefficient of their pairs of letters; *held*, the share of
        the truth's runs of four letters that the guess has too; *length*, 0 for a truth of up to
        two words to 1 for one of twelve or more, by logarithm; *letters, long* and *held, long*,
        the same times the length, because two whole sentences always share some letters.
    """
    wanted, found = normalize(truth), normalize(guess)
    pairs, others = _runs(wanted, 2), _runs(found, 2)
    letters = 2 * len(pairs & others) / (len(pairs) + len(others))
    fours = _runs(wanted, 4)
    held = len(fours & _runs(found, 4)) / len(fours) if fours else 0.0
    words = min(max(len(wanted.split()), 2), _LONG)
    length = math.log(words / 2) / math.log(_LONG / 2)
    return {
        "letters": letters,
        "held": held,
        "length": length,
        "letters, long": letters * length,
        "held, long": held * length,
    }


FEATURES = ("letters", "held", "length", "letters, long", "held, long", COSINE)
"""All that a calibration may ask for."""


@dataclass(frozen=True)
class Calibration:
    """Cumulative logits (McCullagh, 1980): how features become an LLM judge's score.

    P(score > k) = sigmoid(sum of coefficient * (feature - mean) / scale - threshold k), for k from
    1 to 4.

    Attributes:
        features: Names of the features.
        means: Of each, where it was fitted.
        scales: Of each, its standard deviation there.
        coefficients: Of each.
        thresholds: Four, ascending.
        pairs: By kind of truth, how many judged pairs it was fitted on.
        truths: By kind, how many truths these have.
        auc: By kind, for "score at least 4", cross-validated: value, low, high.
        embedding: Name of the embedding model of the cosine; None without one.
        probes: The cosines that model gives to `PROBES`.
    """

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    thresholds: tuple[float, ...]
    pairs: dict[str, int]
    truths: dict[str, int]
    auc: dict[str, tuple[float, ...]]
    embedding: str | None = None
    probes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that it can be computed with.

        Raises:
            ValueError: It cannot; the message says why.
        """
        unknown = sorted(set(self.features) - set(FEATURES))
        if unknown or not self.features:
            raise ValueError(f"features {', '.join(unknown) or 'missing'}")
        if {len(self.means), len(self.scales), len(self.coefficients)} != {len(self.features)}:
            raise ValueError("not as many numbers as features")
        if len(self.thresholds) != 4 or sorted(self.thresholds) != list(self.thresholds):
            raise ValueError("not four ascending thresholds")
        if min(self.scales) <= 0:
            raise ValueError("a scale that is not above 0")
        if self.embeds and not self.probes:
            raise ValueError("a cosine without an embedding model's probes")

    @property
    def embeds(self) -> bool:
        """Whether it needs an embedding model."""
        return COSINE in self.features

    def verdict(self, values: Mapping[str, float]) -> Verdict:
        """The expected score, and the probability of at least 4."""
        logit = math.fsum(
            coefficient * (values[name] - mean) / scale
            for name, mean, scale, coefficient in zip(
                self.features, self.means, self.scales, self.coefficients, strict=True
            )
        )
        above = [_sigmoid(logit - threshold) for threshold in self.thresholds]
        return Verdict(1 + math.fsum(above), close=above[2])


PROBES = (
    ("Beekeeping", "bees and honey"),
    ("A bridge was closed after a storm.", "Storm damage shuts a river crossing."),
    ("Chess", "volcanoes"),
)
"""Pairs whose cosines tell one embedding model from another, whatever it is called."""


def calibration_of(data: Any) -> Calibration:
    """A calibration from plain data, as `dataclasses.asdict` and JSON leave it.

    Raises:
        ValueError: It is none; the message says what is wrong.
    """
    if not isinstance(data, Mapping):
        raise ValueError("no calibration: not an object")
    try:
        plain: dict[str, Any] = dict(data)
        for key in ("features", "probes"):
            plain[key] = tuple(plain[key])
        plain["auc"] = {kind: tuple(map(float, each)) for kind, each in plain["auc"].items()}
        for key in ("means", "scales", "coefficients", "thresholds"):
            plain[key] = tuple(map(float, plain[key]))
        return Calibration(**plain)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no calibration: {error}") from error


def _sigmoid(logit: float) -> float:
    """Without overflow at either end."""
    return 0.5 * (1 + math.tanh(logit / 2))


def _runs(words: str, size: int) -> set[str]:
    """Runs of so many characters, of a text with a space at both ends."""
    text = f" {words} "
    return {text[at : at + size] for at in range(len(text) - size + 1)}
