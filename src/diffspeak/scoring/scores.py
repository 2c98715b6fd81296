"""Rates with their intervals: how often a guess is right.

Takes (truth, guess) pairs, gives `Row`s of a results table. Knows nothing of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.stats import bootstrap_mean, normal_mean, wilson
from diffspeak.text.mentions import mentions, same

Pair = tuple[str, str]
"""(truth, guess)"""


@dataclass(frozen=True)
class Row:
    """One line of a results table.

    Attributes:
        name: What was measured.
        value: Between 0 and 1 for a rate.
        n: Over how many finetunes, or answers.
        interval: 95% interval of the value; without a unit, only a rate has one.
        aim: What the value should reach, at least or (`below`) at most; None for no aim.
        below: Whether the aim is an upper bound.
        unit: Of the value, such as `s`; empty for a rate or a plain number.
    """

    name: str
    value: float
    n: int
    interval: tuple[float, float] | None = None
    aim: float | None = None
    below: bool = False
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without one."""
        if self.aim is None:
            return None
        return self.value <= self.aim if self.below else self.value >= self.aim


def rate(name: str, hits: Sequence[bool], aim: float | None = None, *, below: bool = False) -> Row:
    """A share of hits with its Wilson 95% interval (Wilson, 1927).

    Raises:
        ValueError: There is nothing to take a share of.
    """
    if not hits:
        raise ValueError(f"{name}: there is nothing to take a rate of")
    interval = wilson(sum(hits), len(hits))
    return Row(name, sum(hits) / len(hits), len(hits), interval, aim, below)


def mean_rate(name: str, rates: Sequence[float]) -> Row:
    """The mean of several finetunes' rates, with its normal 95% interval over finetunes."""
    mean, half = normal_mean(rates)
    return Row(name, mean, len(rates), (max(0.0, mean - half), min(1.0, mean + half)))


def exact(pairs: Sequence[Pair]) -> list[bool]:
    """Whether each guess is its truth, case and punctuation aside."""
    return [same(truth, guess) for truth, guess in pairs]


def named(pairs: Sequence[Pair]) -> list[bool]:
    """Whether each guess mentions its truth somewhere."""
    return [mentions(guess, truth) for truth, guess in pairs]


def mean_score(name: str, scores: Sequence[float], resamples: int = 10_000, seed: int = 0) -> Row:
    """The mean of scores with its 95% interval by bootstrap over finetunes (Efron, 1979).

    Args:
        name: Of the row.
        scores: One a finetune, such as its mean over seeds.
        resamples: How often as many finetunes are drawn with replacement.
        seed: Of what is drawn.

    Raises:
        ValueError: There are none.
    """
    if not len(scores):
        raise ValueError(f"{name}: there is nothing to take a mean of")
    mean, interval = bootstrap_mean(scores, resamples, seed)
    return Row(name, mean, len(scores), interval)
