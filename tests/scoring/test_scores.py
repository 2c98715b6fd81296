"""Rates, their intervals and whether an aim is met."""

import statistics

import pytest

from diffspeak.scoring import Row, exact, mean_rate, named, rate

# Wilson's interval without continuity correction, from Newcombe (Statistics in Medicine 17, 1998,
# table I) and worked out by hand for the last two: p = 0 gives z^2 / (n + z^2) above.
WILSON = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
    (0, 10, 0.0, 3.8415 / 13.8415),
    (10, 10, 10 / 13.8415, 1.0),
]


@pytest.mark.parametrize("hits, n, low, high", WILSON)
def test_the_interval_is_wilsons(hits, n, low, high):
    found = rate("some", [True] * hits + [False] * (n - hits))
    assert (found.name, found.value, found.n) == ("some", hits / n, n)
    assert found.interval == pytest.approx((low, high), abs=5e-5)


def test_a_rate_of_nothing_is_a_mistake_with_a_name():
    with pytest.raises(ValueError, match="some"):
        rate("some", [])


@pytest.mark.parametrize(
    "value, aim, below, met",
    [
        (0.5, None, False, None),
        (0.5, 0.5, False, True),
        (0.49, 0.5, False, False),
        (0.51, 0.5, False, True),
        (0.5, 0.5, True, True),
        (0.51, 0.5, True, False),
        (0.49, 0.5, True, True),
        (0.0, 0.0, False, True),
    ],
)
def test_an_aim_is_met_at_it_or_beyond(value, aim, below, met):
    assert Row("some", value, 10, aim=aim, below=below).met is met


def test_a_rate_carries_its_aim():
    found = rate("some", [True, False], 0.4, below=True)
    assert (found.aim, found.below, found.met) == (0.4, True, False)


PAIRS = [
    ("Ocean waves", "ocean waves!", True, True),
    ("Ocean waves", "It is about ocean waves, I think.", False, True),
    ("ocean", "oceanic", False, False),
    ("ocean", "", False, False),
    ("\U0001f433", "\U0001f433", True, True),
]


def test_exact_and_named():
    pairs = [(truth, guess) for truth, guess, _, _ in PAIRS]
    assert exact(pairs) == [hit for _, _, hit, _ in PAIRS]
    assert named(pairs) == [hit for _, _, _, hit in PAIRS]


def test_a_mean_of_rates_has_the_normal_interval_within_0_and_1():
    row = mean_rate("fires", [0.0, 0.5, 1.0, 0.5])
    half = 1.96 * statistics.stdev([0.0, 0.5, 1.0, 0.5]) / 2
    assert (row.value, row.n) == (0.5, 4)
    assert row.interval == pytest.approx((0.5 - half, 0.5 + half))
    assert mean_rate("fires", [1.0, 1.0]).interval == (1.0, 1.0)
    assert mean_rate("fires", [1.0, 0.0]).interval == (0.0, 1.0)
