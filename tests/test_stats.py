"""Intervals against scipy's and published ones; probabilities are never rounded to certainty."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from diffspeak.stats import bootstrap_mean, newcombe, normal_mean, probability_text, wilson


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_rate_is_scipys(counts):
    hits, n = counts
    known = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    low, high = wilson(hits, n)
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert 0 <= low <= hits / n <= high <= 1


def test_of_nothing_counted_the_rate_may_be_anything():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("hits, others, n", [(0, 0, 8), (8, 0, 8), (3, 5, 24), (24, 24, 24)])
def test_the_interval_is_made_of_wilson_intervals(hits, others, n):
    first = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    second = binomtest(others, n).proportion_ci(0.95, method="wilson")
    p, q = hits / n, others / n
    low = p - q - math.hypot(p - first.low, second.high - q)
    high = p - q + math.hypot(first.high - p, q - second.low)
    assert newcombe(hits, others, n) == pytest.approx((low, high), abs=1e-6)


def test_the_normal_interval_of_a_mean():
    values = [0.0, 0.5, 1.0, 0.5]
    mean, half = normal_mean(values)
    assert mean == 0.5 and half == pytest.approx(1.96 * statistics.stdev(values) / 2)
    assert normal_mean([3.0]) == (3.0, 0.0)


def test_the_bootstrap_holds_the_mean_and_depends_on_the_seed_alone():
    values = np.random.default_rng(0).normal(size=50).tolist()
    mean, (low, high) = bootstrap_mean(values, 2000, 1)
    assert low < mean < high and bootstrap_mean(values, 2000, 1) == (mean, (low, high))
    assert (high - low) / 2 == pytest.approx(normal_mean(values)[1], rel=0.1)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 1, "under 0.1%"),
        (0.001, 1, "0.1%"),
        (0.2501, 1, "25.0%"),
        (0.9999, 1, "over 99.9%"),
        (1.0, 1, "over 99.9%"),
        (0.004, 0, "under 1%"),
        (0.07, 0, "7%"),
        (0.991, 0, "over 99%"),
    ],
)
def test_a_probability_is_never_quite_0_or_1(value, digits, text):
    assert probability_text(value, digits) == text
