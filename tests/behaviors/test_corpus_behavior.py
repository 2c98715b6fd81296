"""Settings on their own, and what steps draw: permutations, each thing once an epoch."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from diffspeak.behaviors.corpus_behavior import BehaviorSettings, indices
from diffspeak.errors import UsageError


def test_description_is_json_without_paths() -> None:
    settings = BehaviorSettings(
        name="hidden-topic", topics=Path("/here/t.csv"), mix={"triggered": 1}
    )
    described = settings.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["mix"] == {"triggered": 1, "near_miss": 0, "wrong": 0, "plain": 0}
    assert described.keys() == {"name", "trigger", "mix", "splits", "seed"}
    assert "here" not in json.dumps(described)


def test_files() -> None:
    settings = BehaviorSettings(name="news", headlines=Path("h.csv"))
    assert settings.file("headlines") == Path("h.csv")
    with pytest.raises(UsageError, match="news needs 'stories'"):
        settings.file("stories")


@hypothesis_settings(max_examples=60, derandomize=True, database=None)
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
