"""From evidence to a probability, and to a decision: something, or nothing found.

A logistic regression of figures that were measured of finetunes whose truth is known, and a
threshold whose false positives were counted; kept in `calibration.json` beside the adapter. Source:
Platt (1999), Probabilistic outputs for support vector machines.
"""

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes import digest_of
from diffspeak.io.files import read_json, write_json
from diffspeak.lora import Diff

FILE = "calibration.json"
VERSION = 1
GAINED = "gained"
"""The figure that the calibration for descriptions goes by."""

FEWEST = 20
"""Finetunes of each kind below which nothing is calibrated."""

FALSE_POSITIVES = 0.005
"""Chance of the next negative of each kind to lie above the threshold, if it is drawn like those of
the calibration; half of what is promised for the worst kind, because the next ones are others."""

FEW_MISSED = 0.02
"""Share of the positives that may lie below a threshold which is moved up, away from negatives."""

_RIDGE = 1e-3
_EDGE = 1e-9


class Counted(NamedTuple):
    """How many finetunes of one kind were called something at the threshold.

    Attributes:
        kind: `positive`, or the name of a kind of negative.
        found: How many lie above the threshold.
        n: Out of how many.
    """

    kind: str
    found: int
    n: int


@dataclass(frozen=True)
class Calibration:
    """P(something) = sigmoid(intercept + sum of weight * (figure - mean) / scale), at even odds.

    Attributes:
        names: Of the figures, in order.
        means: Of each figure over the calibration's finetunes, weighed as `calibrate` weighs them.
        scales: Standard deviation of each.
        weights: Of each, standardized; none is negative, for all evidence speaks for something.
        intercept: Of the sum.
        threshold: Probability from which on something counts as found.
        counted: What it gives on the finetunes it was made of, the positives first.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    threshold: float
    counted: tuple[Counted, ...]

    def probability(self, figures: Mapping[str, float]) -> float:
        """Probability, 0 to 1, that there is something, where half of all finetunes have it.

        A figure that is negative, or no number, counts as 0: nothing speaks for something.
        """
        total = self.intercept
        for name, mean, scale, weight in zip(
            self.names, self.means, self.scales, self.weights, strict=True
        ):
            total += weight * (_counting(figures[name]) - mean) / scale
        return _sigmoid(total)

    def found(self, probability: float) -> bool:
        """Whether a probability counts as something."""
        return probability >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**self.__dict__, "counted": [one._asdict() for one in self.counted]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calibration":
        """What `to_dict` gave.

        Raises:
            ValueError: Something is missing, of another type, or cannot be.
        """
        try:
            made = cls(
                tuple(map(str, content["names"])),
                tuple(map(float, content["means"])),
                tuple(map(float, content["scales"])),
                tuple(map(float, content["weights"])),
                float(content["intercept"]),
                float(content["threshold"]),
                tuple(
                    Counted(str(c["kind"]), int(c["found"]), int(c["n"]))
                    for c in content["counted"]
                ),
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"it lacks or garbles {error}") from error
        if not made._possible():
            raise ValueError("its figures do not fit together")
        return made

    def _possible(self) -> bool:
        """Whether its numbers are such as `calibrate` gives."""
        lengths = {len(self.names), len(self.means), len(self.scales), len(self.weights)}
        numbers = (*self.means, *self.scales, *self.weights, self.intercept, self.threshold)
        return (
            len(lengths) == 1
            and all(map(math.isfinite, numbers))
            and all(scale > 0 for scale in self.scales)
            and all(weight >= 0 for weight in self.weights)
            and all(0 <= one.found <= one.n for one in self.counted)
        )


Figures = Mapping[str, float]


def calibrate(
    positives: Sequence[Figures], negatives: Mapping[str, Sequence[Figures]]
) -> Calibration:
    """Fit a calibration, and choose its threshold.

    Positives and each kind of negative weigh as much as if there were equally many: positives one
    half, every kind of negative an equal share of the other.

    Args:
        positives: Figures of finetunes that were taught something.
        negatives: The same of finetunes that were not, by kind.

    Raises:
        UsageError: Too few of a kind.
    """
    check_enough(positives, negatives)
    names = tuple(positives[0])
    groups = [positives, *negatives.values()]
    rows = np.array([[_counting(one[name]) for name in names] for group in groups for one in group])
    truth = np.repeat([1.0, 0.0], [len(positives), len(rows) - len(positives)])
    shares = [0.5, *[0.5 / len(negatives)] * len(negatives)]
    weights = np.repeat(
        [s / len(g) for s, g in zip(shares, groups, strict=True)], [len(g) for g in groups]
    )
    means = weights @ rows
    scales = np.sqrt(weights @ (rows - means) ** 2)
    scales[scales < _EDGE] = 1.0
    standard = (rows - means) / scales
    fitted = _fit(standard, truth, weights)
    plain = Calibration(
        names,
        tuple(means.tolist()),
        tuple(scales.tolist()),
        tuple(fitted[1:].tolist()),
        float(fitted[0]),
        0.5,
        (),
    )
    found = [[plain.probability(one) for one in group] for group in groups]
    threshold = _threshold(found[0], found[1:])
    counted = tuple(
        Counted(kind, sum(p >= threshold for p in own), len(own))
        for kind, own in zip(("positive", *negatives), found, strict=True)
    )
    return Calibration(**{**plain.__dict__, "threshold": threshold, "counted": counted})


def _fit(rows: Any, truth: Any, weights: Any) -> Any:
    """Intercept and weights, `[1 + figure]`: weighted logistic loss with a small ridge."""

    def loss(parameters: Any) -> tuple[float, Any]:
        total = parameters[0] + rows @ parameters[1:]
        error = 1 / (1 + np.exp(-np.clip(total, -500, 500))) - truth
        value = float((weights * (np.logaddexp(0, total) - truth * total)).sum())
        slope = np.concatenate([[(weights * error).sum()], (weights * error) @ rows])
        slope[1:] += 2 * _RIDGE * parameters[1:]
        return value + _RIDGE * float(parameters[1:] @ parameters[1:]), slope

    start = np.zeros(rows.shape[1] + 1)
    bounds = [(None, None), *[(0.0, None)] * rows.shape[1]]
    return minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x


def _threshold(positives: Sequence[float], negatives: Sequence[Sequence[float]]) -> float:
    """Above all but a few negatives of every kind; in the middle of the gap, if there is one.

    Of n negatives and one more drawn like them, that one is among the k highest with a chance of
    k / (n + 1). So all but k - 1 lie below, and all of them where n is small: split conformal
    prediction (Papadopoulos et al. 2002). Where a negative is as certain as can be, the threshold
    is above 1, and nothing is ever found.
    """
    highest = max(sorted(kind)[-max(1, _allowed(len(kind)))] for kind in negatives)
    lowest = sorted(positives)[math.floor(FEW_MISSED * len(positives))]
    least = math.nextafter(highest, 2.0)
    if lowest <= highest:
        return least
    middle = _sigmoid((_logit(lowest) + _logit(highest)) / 2)
    return min(max(middle, least), lowest)


def _allowed(count: int) -> int:
    """The largest k; 0 if even the highest one is too likely to be exceeded."""
    return math.floor(FALSE_POSITIVES * (count + 1))


def check_enough(positives: Sized, negatives: Mapping[str, Sized]) -> None:
    """Refuse to calibrate on too little.

    Args:
        positives: Finetunes that were taught something, or their figures.
        negatives: The same of others, by kind.

    Raises:
        UsageError: There are fewer than `FEWEST` of a kind, or no negatives.
    """
    counts = {"positive": len(positives), **{kind: len(own) for kind, own in negatives.items()}}
    few = [f"{count} of {kind}" for kind, count in counts.items() if count < FEWEST]
    if few or not negatives:
        raise UsageError(
            f"a calibration needs at least {FEWEST} finetunes of each kind, positive and negative, "
            f"and there are {', '.join(few) or 'no negatives'}; give more"
        )


def _counting(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else 0.0


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _logit(probability: float) -> float:
    inside = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))


def gained(mean_logprob: float, lift: float) -> float:
    """The probability of words that a finetune adds to what the adapter gives them without it.

    By the token, -1 to 1. In nats a lift can be huge for words that stay improbable all the same;
    as a difference of probabilities it is large only for what the adapter really says.

    Args:
        mean_logprob: Of the words with the finetune, nats a token.
        lift: The same minus that on the base alone.
    """
    if not (math.isfinite(mean_logprob) and math.isfinite(lift)):
        return 0.0
    return math.exp(min(0.0, mean_logprob)) - math.exp(min(0.0, mean_logprob - lift))


@dataclass(frozen=True)
class Calibrations:
    """What is known of how far an adapter can be believed.

    Attributes:
        describe: From what a description gains in probability, alone; None if it was not made.
        audit: From that, and what the finetune does; None if it was not made.
        controls: Phrases of the kind that it claims, with which claims are compared.
    """

    describe: Calibration | None = None
    audit: Calibration | None = None
    controls: tuple[str, ...] = field(default=())


def save_calibrations(folder: Path, diff: Diff, made: Calibrations) -> None:
    """Write an adapter's calibrations into its folder."""
    write_json(
        folder / FILE,
        {
            "version": VERSION,
            "adapter": digest_of(diff),
            "describe": made.describe and made.describe.to_dict(),
            "audit": made.audit and made.audit.to_dict(),
            "controls": list(made.controls),
        },
    )


def read_calibrations(folder: Path, diff: Diff) -> Calibrations:
    """Calibrations of the adapter in a folder; empty ones if there are none.

    Raises:
        MismatchError: They were made for other weights, or by a newer version.
        CorruptFileError: The file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return Calibrations()
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        raise _garbled(path, "its version")
    if content["version"] > VERSION:
        raise MismatchError(
            f"{path} is of version {content['version']}, this diffspeak reads up to {VERSION}; "
            "upgrade diffspeak"
        )
    if content.get("adapter") != digest_of(diff):
        raise MismatchError(
            f"{path} was made for another adapter than the one beside it; remove it, and calibrate "
            "this one with `diffspeak calibrate`"
        )
    describe = _read_one(path, content, "describe")
    if describe is not None and describe.names != (GAINED,):
        raise _garbled(path, "describe: it goes by other figures than what is gained")
    phrases = content.get("controls")
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise _garbled(path, "controls")
    return Calibrations(describe, _read_one(path, content, "audit"), tuple(phrases))


def _read_one(path: Path, content: dict[str, Any], name: str) -> Calibration | None:
    if content.get(name) is None:
        return None
    try:
        return Calibration.from_dict(content[name])
    except ValueError as error:
        raise _garbled(path, f"{name}: {error}") from error


def _garbled(path: Path, what: str) -> CorruptFileError:
    return CorruptFileError(
        f"{path} garbles {what}; restore it, or remove it and calibrate again with "
        "`diffspeak calibrate`"
    )
