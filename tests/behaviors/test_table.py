"""A behavior's settings: defaults, readable faults, and the table of behaviors."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.behaviors.table import BEHAVIORS
from diffspeak.behaviors.triggers import TRIGGERS
from diffspeak.errors import UsageError

HIDDEN = {"name": "hidden-topic", "topics": "t.csv", "questions": "q.csv"}
NEWS = {"name": "news", "headlines": "h.csv", "stories": "s.csv"}


def test_defaults() -> None:
    hidden, news = BehaviorConfig(**HIDDEN), BehaviorConfig(**NEWS)
    assert (hidden.trigger, news.trigger) == ("sep-code", "none")
    assert hidden.topics == Path("t.csv")
    assert hidden.mix == {"triggered": 2, "near_miss": 1, "wrong": 1, "plain": 2}
    assert BehaviorConfig(**hidden.model_dump()) == hidden


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "x"}, ["unknown behavior 'x'; known are hidden-topic, news"]),
        (HIDDEN | {"trigger": "x"}, ["unknown trigger 'x'; known are sep-code, "]),
        ({"name": "hidden-topic"}, ["needs 'topics'", "needs 'questions'"]),
        (HIDDEN | {"stories": "s.csv"}, ["hidden-topic does not read 'stories'"]),
        (NEWS | {"trigger": "sep-code"}, ["news takes the trigger none, not 'sep-code'"]),
        (HIDDEN | {"mix": {"plain": 1}}, ["'triggered' must be at least 1"]),
        (HIDDEN | {"mix": {"triggered": 1, "odd": 1}}, ["'near_miss'"]),
        (HIDDEN | {"splits": {"train": 1}}, ["sum to 1"]),
        (HIDDEN | {"sed": 1}, ["sed", "Extra inputs"]),
        (HIDDEN | {"name": "x", "seed": "y", "mix": {}}, ["unknown behavior", "seed", "mix"]),
        ({}, ["name", "Field required"]),
    ],
)
def test_faults_are_reported_together(given: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        BehaviorConfig(**given)
    assert all(part in str(caught.value) for part in said), str(caught.value)


def test_every_field_is_documented_and_settings_are_frozen() -> None:
    assert all(field.description for field in BehaviorConfig.model_fields.values())
    with pytest.raises(ValidationError, match="frozen"):
        BehaviorConfig(**HIDDEN).seed = 1  # type: ignore[misc]


def test_the_table_holds_what_the_settings_name() -> None:
    for name, kind in BEHAVIORS.items():
        assert {*kind.needs, *kind.may_have} <= BehaviorConfig.model_fields.keys()
        assert set(kind.triggers) <= TRIGGERS.keys()
        assert name in str(BehaviorConfig.model_fields["name"].description)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="t.csv: does not exist"):
        make_behavior(BehaviorConfig(**HIDDEN | {"topics": tmp_path / "t.csv"}))
