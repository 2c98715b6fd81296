"""Seeds are stable, unambiguous and within 63 bits."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from diffspeak.text.seeds import seed_of

PARTS = st.lists(st.one_of(st.integers(), st.text()), max_size=3)


def test_a_seed_never_changes() -> None:
    digest = hashlib.sha256(b"i1:7s4:jazz").digest()
    assert seed_of(7, "jazz") == int.from_bytes(digest[:8], "big") >> 1 == 5252783472454653332


def test_parts_do_not_run_into_each_other() -> None:
    calls = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), (1,), ("1",), (1, ""), (), ("",)]
    assert len({seed_of(*parts) for parts in calls}) == len(calls)


@settings(max_examples=100, derandomize=True, database=None)
@given(PARTS, PARTS)
def test_seeds_differ_as_the_parts_do(a: list[int | str], b: list[int | str]) -> None:
    assert (seed_of(*a) == seed_of(*b)) is (a == b)
    assert 0 <= seed_of(*a) < 2**63
