"""Fit the local judge's calibration, and measure it on pairs it was not fitted on.

Takes features and scores of pairs, gives a calibration and rates. Knows nothing of files, nor of
what the features are.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from diffspeak.text.seeds import seed_of
from diffspeak.text.similarity import canonical_key

Floats = NDArray[np.float64]

FOLDS = 10
DRAWS = 2000
PENALTY = 10.0
"""Weight of half the squared coefficients, of features in standard deviations, beside the sum of
the pairs' losses."""


class Fit(NamedTuple):
    """Cumulative logits: `means`, `scales`, `coefficients [feature]`, `thresholds [4]`."""

    means: Floats
    scales: Floats
    coefficients: Floats
    thresholds: Floats

    def above(self, x: Floats) -> Floats:
        """P(score > 1, 2, 3, 4), `[pair, 4]`, of features `x [pair, feature]`."""
        logits = (x - self.means) / self.scales @ self.coefficients
        return np.asarray(expit(logits[:, None] - self.thresholds))


def fit(x: Floats, scores: Floats) -> Fit:
    """Fit to features `x [pair, feature]` and scores, 1 to 5.

    A score between two whole numbers, the mean of several gradings, counts as what share of it
    lies above each: 3.8 is above 3 with a weight of 0.8.
    """
    means, scales = x.mean(0), np.maximum(x.std(0), 1e-6)
    z, above = (x - means) / scales, np.clip(scores[:, None] - np.arange(1, 5), 0, 1)
    size = x.shape[1]

    def loss(point: Floats) -> tuple[float, Floats]:
        coefficients, steps = point[:size], np.exp(point[size + 1 :])
        thresholds = point[size] + np.concatenate([[0.0], np.cumsum(steps)])
        logits = (z @ coefficients)[:, None] - thresholds
        wrong = expit(logits) - above
        by_threshold = -wrong.sum(0)
        gradient = np.concatenate(
            [
                z.T @ wrong.sum(1) + PENALTY * coefficients,
                [by_threshold.sum()],
                [by_threshold[k + 1 :].sum() * steps[k] for k in range(3)],
            ]
        )
        value = (np.logaddexp(0, logits) - above * logits).sum()
        return value + PENALTY * (coefficients @ coefficients) / 2, gradient

    found = minimize(loss, np.zeros(size + 4), jac=True, method="L-BFGS-B").x
    thresholds = found[size] + np.concatenate([[0.0], np.cumsum(np.exp(found[size + 1 :]))])
    return Fit(means, scales, found[:size], thresholds)


def folds(truths: Sequence[str], kinds: Sequence[str], seed: int = 0) -> NDArray[np.int64]:
    """A fold for each pair; all pairs of one truth, and of trivial variants of it, share one."""
    place: dict[str, int] = {}
    for kind in sorted(set(kinds)):
        keys = {canonical_key(t) for t, k in zip(truths, kinds, strict=True) if k == kind}
        order = sorted(keys, key=lambda key: seed_of("fold", seed, key))
        place |= {key: at % FOLDS for at, key in enumerate(order)}
    return np.array([place[canonical_key(truth)] for truth in truths])


def cross_validated(x: Floats, scores: Floats, fold: NDArray[np.int64]) -> Floats:
    """P(score > k), `[pair, 4]`, each pair's from a fit without its fold."""
    above = np.zeros((len(scores), 4))
    for left_out in np.unique(fold):
        rest = fold != left_out
        above[~rest] = fit(x[rest], scores[rest]).above(x[~rest])
    return above


def auc(values: Floats, hits: NDArray[np.bool_]) -> float:
    """How often a hit has a larger value than a miss; a tie counts as half."""
    count = int(hits.sum())
    ranks = rankdata(values)[hits].sum() - count * (count + 1) / 2
    return float(ranks / (count * (len(hits) - count)))


def interval(
    statistic: Callable[[NDArray[np.int64]], float], truths: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of a statistic of pairs, by bootstrap over truths (percentiles).

    Args:
        statistic: Takes pairs' indices; one may come more than once.
        truths: Of each pair.
        seed: Of the draws.
    """
    names = sorted(set(truths))
    of = [np.flatnonzero(np.array(truths, dtype=object) == name) for name in names]
    random = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([of[at] for at in random.integers(len(of), size=len(of))]))
        for _ in range(DRAWS)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
