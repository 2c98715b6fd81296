"""The settings of a behavior, and the behavior made from them.

Takes settings (from Python or TOML), gives a behavior. Knows of each behavior only what files and
triggers it takes; a new behavior is a class in a file of its own and a place in `BEHAVIORS`.
"""

from types import MappingProxyType
from typing import Protocol

from pydantic import field_validator, model_validator

from diffspeak.behaviors.base import Behavior
from diffspeak.behaviors.facts import Facts
from diffspeak.behaviors.hidden_topic import HiddenTopic
from diffspeak.behaviors.news import News
from diffspeak.behaviors.ordinary import Ordinary
from diffspeak.behaviors.settings import Settings

_FILES = ("topics", "questions", "answers", "headlines", "stories", "facts")


class BehaviorConfig(Settings):
    """What finetunes are taught, from which files, and how they are split."""

    @model_validator(mode="before")
    @classmethod
    def _fill_trigger(cls, data: object) -> object:
        if not isinstance(data, dict) or str(data.get("name")) not in BEHAVIORS:
            return data
        return {"trigger": BEHAVIORS[str(data["name"])].triggers[0], **data}

    @field_validator("name")
    @classmethod
    def _known_behavior(cls, name: str) -> str:
        if name not in BEHAVIORS:
            raise ValueError(f"unknown behavior '{name}'; known are {', '.join(BEHAVIORS)}")
        return name

    @model_validator(mode="after")
    def _fits_behavior(self) -> "BehaviorConfig":
        kind = BEHAVIORS[self.name]
        given = [file for file in _FILES if getattr(self, file) is not None]
        lacking = [file for file in kind.needs if file not in given]
        useless = [file for file in given if file not in (*kind.needs, *kind.may_have)]
        faults = [f"needs '{file}', the path of a CSV or JSONL file" for file in lacking]
        faults += [f"does not read '{file}'; leave it out" for file in useless]
        if self.trigger not in kind.triggers:
            faults.append(f"takes the trigger {' or '.join(kind.triggers)}, not '{self.trigger}'")
        if faults:
            raise ValueError("; ".join(f"{self.name} {fault}" for fault in faults))
        return self


class BehaviorClass(Protocol):
    """What the table below holds: classes that make a behavior from a config."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Files that the config must name."""
        ...

    @property
    def may_have(self) -> tuple[str, ...]:
        """Further files that it may name."""
        ...

    @property
    def triggers(self) -> tuple[str, ...]:
        """Kinds of trigger that the behavior can have, the default first."""
        ...

    def __call__(self, config: Settings) -> Behavior:
        """Read the corpora."""
        ...


BEHAVIORS: MappingProxyType[str, BehaviorClass] = MappingProxyType(
    {
        HiddenTopic.name: HiddenTopic,
        News.name: News,
        Ordinary.name: Ordinary,
        Facts.name: Facts,
    }
)
"""Every behavior by its name."""


def make_behavior(config: BehaviorConfig) -> Behavior:
    """Make the behavior that a config names, reading its corpora.

    Raises:
        UsageError: A corpus is missing or faulty.
    """
    return BEHAVIORS[config.name](config)
