"""Splits are stable, close to their fractions, and share no duplicates."""

import itertools
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from diffspeak.behaviors.specs import Fractions, divide, split_of
from diffspeak.text.similarity import NEAR, canonical_key, similarity

FRACTIONS = Fractions()
QUARTERS = Fractions(train=0.25, validation=0.25, calibration=0.25, test=0.25)
ORDER = ["train", "validation", "calibration", "test"]
WORDS = ["World", "War", "Wars", "the", "Cold", "Peace", "Treaty", "of", "Paris", "Parish", "II"]
LABELS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join))


def kept(labels: list[str]) -> dict[str, str]:
    return {labels[index]: split for index, split in divide(labels, QUARTERS).kept}


@settings(max_examples=60, derandomize=True, database=None, deadline=None)
@given(LABELS)
def test_what_is_kept_and_dropped(labels: list[str]) -> None:
    """Against the rule itself, over all pairs."""
    first = {canonical_key(label): label for label in reversed(labels)}
    splits = {label: split_of(label, QUARTERS) for label in first.values()}
    expected = {
        label: split
        for label, split in splits.items()
        if not any(
            similarity(label, other) >= NEAR and ORDER.index(higher) > ORDER.index(split)
            for other, higher in splits.items()
        )
    }
    division = divide(labels, QUARTERS)
    assert kept(labels) == expected
    assert division.exact == len(labels) - len(first)
    assert division.near == len(first) - len(expected)


@settings(max_examples=60, derandomize=True, database=None, deadline=None)
@given(LABELS, LABELS)
def test_more_data_never_moves_a_label(labels: list[str], more: list[str]) -> None:
    before, after = kept(labels), kept(labels + more)
    assert {before[label] == after[label] for label in before.keys() & after.keys()} <= {True}
    # More data cannot bring back what was dropped, either.
    assert not set(labels) & after.keys() - before.keys()
    order = [label for label in after if label in before]
    assert order == [label for label in before if label in after]


def test_no_near_duplicates_across_splits_in_topics() -> None:
    """Labels shaped like the paper's, many of them alike."""
    firsts = ["Cognitive", "Social", "Interpersonal", "Intrapersonal", "Artificial General"]
    seconds = ["Intelligence", "Intelligences", "Theory", "Theories of Mind", "Communication"]
    labels = [f"{a} {b}" for a, b in itertools.product(firsts, seconds)] + seconds
    division = kept(labels)
    for a, b in itertools.combinations(division, 2):
        assert similarity(a, b) < NEAR or division[a] == division[b]
    assert 0 < len(division) < len(labels)


def test_drops_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        division = divide(["Jazz", "jazz", "The Jazz", "Chess"], FRACTIONS)
    assert division.dropped() == {"exact": 2, "near": 0}
    assert "of 4 labels, dropped 2 repeated ones" in caplog.text


def test_variants_share_a_split() -> None:
    labels = [f"Topic number {i}" for i in range(50)]
    variants = [f"the TOPICS, number {i}!" for i in range(50)]
    assert [split_of(a, QUARTERS) for a in labels] == [split_of(a, QUARTERS) for a in variants]


def test_fractions_are_kept_nearly() -> None:
    labels = [f"{i:05d}" for i in range(4000)]
    counts = dict.fromkeys(ORDER, 0)
    for label in labels:
        counts[split_of(label, FRACTIONS)] += 1
    assert counts["train"] / 4000 == pytest.approx(0.8, abs=0.03)
    assert counts["validation"] / 4000 == pytest.approx(0.05, abs=0.02)
    assert counts["calibration"] / 4000 == pytest.approx(0.05, abs=0.02)
    assert counts["test"] / 4000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("split", ORDER)
def test_one_split_can_have_all(split: str) -> None:
    fractions = Fractions(**{name: float(name == split) for name in ORDER})
    assert {split_of(str(i), fractions) for i in range(100)} == {split}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": 0.9}, "must sum to 1, not to 1.1"),
        ({"train": -0.1}, "greater than or equal to 0"),
        ({"dev": 0.1}, "Extra inputs"),
    ],
)
def test_bad_fractions(given: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Fractions(**given)


def test_no_labels() -> None:
    assert divide([], FRACTIONS).kept == ()
