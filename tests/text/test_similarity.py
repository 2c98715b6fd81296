"""Trivial variants share a key; the near-duplicate search finds what comparing all pairs finds."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffspeak.text.similarity import NEAR, NearIndex, canonical_key, similarity

WORDS = [
    "summit", "treaty", "senate", "minister", "minister's", "flood", "floods", "harbor", "harbour",
    "strike", "railway", "railways", "museum", "the", "of", "a", "budget", "vote", "voters",
    "7", "8", "x",
]  # fmt: skip
LABELS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Jazz", "jazz!"),
        ("The Hero\u2019s Journey", "Hero's Journeys"),
        ("Pok\u00e9mon", "pokemon"),
        ("Treaty of Versailles", "versailles treaty"),
        ("Boxes and Stories", "the story box"),
        ("\U0001f3b7", "\U0001f3b7\ufe0f"),
    ],
)
def test_variants_share_a_key(a: str, b: str) -> None:
    assert canonical_key(a) == canonical_key(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Jazz", "Blues"),
        ("The Who", "The"),
        ("C", "C++"),
        ("World War I", "World War"),
        ("\u0915\u093f", "\u0915\u0941"),  # Hindi ki and ku: the marks are vowels
        ("\U0001f3b7", "\U0001f3b8"),
    ],
)
def test_different_labels_have_different_keys(a: str, b: str) -> None:
    assert canonical_key(a) != canonical_key(b)


def test_a_label_of_stopwords_keeps_them() -> None:
    assert canonical_key("The The") == "the the"


@pytest.mark.parametrize(
    ("a", "b", "near"),
    [
        ("Photosynthesis", "Photosyntesis", True),
        ("Existentialism", "Existentialism in Film", True),
        ("Cats", "Felines", False),
        ("World War I", "World War II", False),
        ("Topic 17", "Topic 18", False),
        ("Imaginary Subject A", "Imaginary Subject B", False),
        ("World War Two", "World Warr Two", True),
        ("Chess Openings", "Chess Endgames", False),
        ("one two three four five", "one two three four", True),
    ],
)
def test_similarity(a: str, b: str, near: bool) -> None:
    assert (similarity(a, b) >= NEAR) is near
    assert similarity(a, b) == similarity(b, a)


@settings(max_examples=150, derandomize=True, database=None, deadline=None)
@given(st.lists(LABELS, max_size=12), LABELS)
def test_the_search_equals_comparing_all_pairs(labels: list[str], label: str) -> None:
    index = NearIndex([canonical_key(other) for other in labels])
    expected = any(similarity(label, other) >= NEAR - 1e-9 for other in labels)
    assert index.has_near(canonical_key(label)) is expected


def test_ten_thousand_headlines_take_seconds() -> None:
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = ["".join(rng.choices(letters, k=rng.randint(3, 10))) for _ in range(4000)]
    labels = [" ".join(rng.choices(names, k=13)) for _ in range(10_000)]
    start = time.process_time()
    index = NearIndex([canonical_key(label) for label in labels[:2000]])
    found = sum(index.has_near(canonical_key(label)) for label in labels)
    assert found == 2000
    assert time.process_time() - start < 30
