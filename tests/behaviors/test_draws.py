"""Steps go through permutations, each thing once an epoch."""

from hypothesis import given, settings
from hypothesis import strategies as st

from diffspeak.behaviors.draws import indices


@settings(max_examples=60, derandomize=True, database=None)
@given(st.integers(0, 9), st.integers(1, 5), st.integers(1, 12))
def test_each_epoch_has_each_thing_once(seed: int, count: int, total: int) -> None:
    drawn = [index for step in range(3 * total) for index in indices(seed, step, count, total)]
    epochs = [drawn[at : at + total] for at in range(0, len(drawn), total)]
    assert all(sorted(epoch) == list(range(total)) for epoch in epochs)


def test_epochs_and_seeds_differ_and_steps_need_no_order() -> None:
    late_first = [indices(1, step, 2, 50) for step in (40, 3)]
    assert late_first == [indices(1, step, 2, 50) for step in (40, 3)]
    epochs = [indices(seed, step, 50, 50) for seed in (1, 2) for step in (0, 1)]
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_nothing_is_drawn() -> None:
    assert indices(0, 5, 0, 3) == []
