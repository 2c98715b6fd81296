"""Where a label falls when labels are divided into splits: a number from a stable hash.

Takes labels, gives numbers. Knows nothing of fractions or splits.
"""

from diffspeak.text.seeds import seed_of
from diffspeak.text.similarity import canonical_key

_SEEDS = 2**63

TEST_FROM = 0.9
"""Labels from this place on are the test split, by the default fractions."""


def place_of(label: str) -> float:
    """Give a label's place in [0, 1); it depends on the label's canonical key alone."""
    return place_of_key(canonical_key(label))


def place_of_key(key: str) -> float:
    """Give the place of a label whose canonical key is known."""
    return seed_of("split", key) / _SEEDS
