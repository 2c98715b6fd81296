"""The table of behaviors, and the config that chooses one of them.

A new behavior is a `CorpusBehavior` in a file of its own and a line in `BEHAVIORS`; see
docs/how-to/add-a-behavior.md.
"""

from pathlib import Path
from types import MappingProxyType

from pydantic import Field, field_validator, model_validator

from diffspeak.behaviors.base import Behavior
from diffspeak.behaviors.corpus_behavior import BehaviorSettings, CorpusBehavior, listed
from diffspeak.behaviors.facts import Facts
from diffspeak.behaviors.hidden_topic import HiddenTopic
from diffspeak.behaviors.news import News
from diffspeak.behaviors.ordinary import Ordinary

BEHAVIORS: MappingProxyType[str, type[CorpusBehavior]] = MappingProxyType(
    {
        "hidden-topic": HiddenTopic,
        "news": News,
        "ordinary": Ordinary,
        "facts": Facts,
    }
)
"""Every behavior by its name."""

_FILES = tuple(
    name
    for name, field in BehaviorSettings.model_fields.items()
    if field.annotation == (Path | None)
)


class BehaviorConfig(BehaviorSettings):
    """What finetunes are taught, from which files, and how they are split."""

    name: str = Field(description=f"Behavior: {listed(BEHAVIORS)}.")

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


def make_behavior(config: BehaviorConfig) -> Behavior:
    """Make the behavior that a config names, reading its corpora.

    Raises:
        UsageError: A corpus is missing or faulty.
    """
    return BEHAVIORS[config.name](config)
