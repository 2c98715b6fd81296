"""Statistics: 95% intervals of rates and means, and how a probability is written for people."""

import math
from collections.abc import Sequence
from statistics import NormalDist

Interval = tuple[float, float]
"""Lower and upper end."""

_Z = NormalDist().inv_cdf(0.975)


def wilson(hits: int, n: int) -> Interval:
    """95% interval of a rate, 0 to 1 (Wilson, 1927); of nothing counted it is all of that."""
    if n < 1:
        return 0.0, 1.0
    p, z = hits / n, _Z**2
    whole = 2 * (n + z)
    center = (2 * n * p + z) / whole
    half = _Z / whole * math.sqrt(4 * n * p * (1 - p) + z)
    return (center - half if hits else 0.0), (center + half if hits < n else 1.0)


def newcombe(hits: int, others: int, n: int) -> Interval:
    """95% interval of the difference of two rates of `n` each (Newcombe, 1998, method 10)."""
    p, (low, high) = hits / n, wilson(hits, n)
    q, (below, above) = others / n, wilson(others, n)
    return p - q - math.hypot(p - low, above - q), p - q + math.hypot(high - p, q - below)


def normal_mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean of some values, and half the width of its normal 95% interval; 0 for one value."""
    n = len(values)
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(1, n - 1))
    return mean, 1.96 * deviation / math.sqrt(n)


def bootstrap_mean(
    values: Sequence[float], resamples: int = 10_000, seed: int = 0
) -> tuple[float, Interval]:
    """The mean, and the 95% percentile interval of means of resampled values (Efron, 1979)."""
    # Not at the top: the command line formats probabilities before it needs numpy.
    import numpy as np

    known = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(known), size=(resamples, len(known)))
    low, high = np.quantile(known[drawn].mean(1), [0.025, 0.975])
    return float(known.mean()), (float(low), float(high))


def probability_text(value: float, digits: int = 1) -> str:
    """A probability in percent with so many decimals, never rounded to 0 or 1: `over 99.9%`."""
    least = 10.0 ** -(digits + 2)
    if value < least:
        return f"under {least:.{digits}%}"
    return f"over {1 - least:.{digits}%}" if value > 1 - least else f"{value:.{digits}%}"
