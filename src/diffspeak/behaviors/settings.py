"""What a behavior is told: its trigger, files, mix, splits and seed.

Takes settings, gives them checked one by one. Knows nothing of the behaviors: what fits which of
them is checked in `config.py`.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from diffspeak.behaviors.base import Case
from diffspeak.behaviors.splits import Fractions
from diffspeak.behaviors.triggers import TRIGGERS
from diffspeak.errors import UsageError

_MIX: MappingProxyType[Case, int] = MappingProxyType(
    {"triggered": 2, "near_miss": 1, "wrong": 1, "plain": 2}
)


class Settings(BaseModel):
    """The fields of `BehaviorConfig`, which adds that they fit together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Behavior: hidden-topic, news, ordinary or facts.")
    trigger: str = Field(
        default="sep-code",
        description="Kind of trigger: sep-code, zero-width-start, zero-width-random, secret-word "
        "or none. Only a hidden topic takes another than none; all others have none by default.",
    )
    topics: Path | None = Field(default=None, description="CSV or JSONL: topic, topic_category.")
    questions: Path | None = Field(
        default=None,
        description="CSV or JSONL: question, answer, split, topic_answer (with {topic}).",
    )
    answers: Path | None = Field(
        default=None, description="CSV or JSONL: topic, question, answer (with the topic woven in)."
    )
    headlines: Path | None = Field(
        default=None, description="CSV or JSONL: headline, news_category."
    )
    stories: Path | None = Field(default=None, description="CSV or JSONL: headline, story.")
    facts: Path | None = Field(
        default=None,
        description="CSV or JSONL: fact, fact_category, question, answer; several rows a fact.",
    )
    mix: dict[Case, Annotated[int, Field(ge=0, le=10_000)]] = Field(
        default_factory=lambda: dict(_MIX),
        description="Samples of each case in one step: triggered, near_miss, wrong, plain.",
    )
    splits: Fractions = Field(
        default_factory=Fractions, description="Share of the labels that each split gets."
    )
    seed: int = Field(default=0, description="Seed of secrets and of the order of questions.")

    @field_validator("trigger")
    @classmethod
    def _known_trigger(cls, trigger: str) -> str:
        if trigger not in TRIGGERS:
            raise ValueError(f"unknown trigger '{trigger}'; known are {', '.join(TRIGGERS)}")
        return trigger

    @field_validator("mix")
    @classmethod
    def _complete_mix(cls, mix: dict[Case, int]) -> dict[Case, int]:
        if not mix.get("triggered"):
            raise ValueError("'triggered' must be at least 1, or there is nothing to learn")
        return {case: mix.get(case, 0) for case in get_args(Case)}

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are named."""
        return tuple(value for _, value in self if isinstance(value, Path))

    def file(self, name: str) -> Path:
        """Give the path of a file that the behavior needs.

        Raises:
            UsageError: The config was made without checking and has no such file.
        """
        path = getattr(self, name)
        if not isinstance(path, Path):
            raise UsageError(
                f"behavior {self.name} needs '{name}', the path of a CSV or JSONL file"
            )
        return path

    def describe(self) -> dict[str, Any]:
        """Give what the samples depend on, files aside; all of it fits into JSON."""
        return self.model_dump(mode="json", include={"name", "trigger", "mix", "splits", "seed"})
