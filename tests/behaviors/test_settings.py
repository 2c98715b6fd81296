"""Settings on their own: what a store keeps of them, and files they lack."""

import json
from pathlib import Path

import pytest

from diffspeak.behaviors.settings import Settings
from diffspeak.errors import UsageError


def test_description_is_json_without_paths() -> None:
    settings = Settings(name="hidden-topic", topics=Path("/here/t.csv"), mix={"triggered": 1})
    described = settings.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["mix"] == {"triggered": 1, "near_miss": 0, "wrong": 0, "plain": 0}
    assert described.keys() == {"name", "trigger", "mix", "splits", "seed"}
    assert "here" not in json.dumps(described)


def test_files() -> None:
    settings = Settings(name="news", headlines=Path("h.csv"))
    assert settings.file("headlines") == Path("h.csv")
    with pytest.raises(UsageError, match="news needs 'stories'"):
        settings.file("stories")
