"""What behaviors that are made from corpus files share: settings, steps' draws, description."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from diffspeak.behaviors.base import Case, FinetuneSpec, Probe, Sample
from diffspeak.behaviors.corpora import CorpusFile, Label, Question, Record
from diffspeak.behaviors.specs import Fractions, divide, make_items
from diffspeak.behaviors.triggers import TRIGGERS
from diffspeak.errors import UsageError
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of

_MIX: MappingProxyType[Case, int] = MappingProxyType(
    {"triggered": 2, "near_miss": 1, "wrong": 1, "plain": 2}
)


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them: "a, b or c"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


class BehaviorSettings(BaseModel):
    """The fields of `BehaviorConfig`, which adds that they fit together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the behavior.")
    trigger: str = Field(
        default="sep-code",
        description=f"Kind of trigger: {listed(TRIGGERS)}. Only a hidden topic takes another than "
        "none; all others have none by default.",
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


class CorpusBehavior(ABC):
    """The part of a `Behavior` that all have in common; see there for what the methods give.

    Attributes:
        name: In configs and stores.
        needs: Files that the config must name.
        may_have: Further files that it may name.
        triggers: Kinds of trigger that the behavior can have, the default first.
        questions: What the adapter is asked.
        probe_temperature: At what temperature a probe is answered.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    may_have: ClassVar[tuple[str, ...]] = ()
    triggers: ClassVar[tuple[str, ...]] = ("none",)
    questions: ClassVar[tuple[str, ...]] = ()
    probe_temperature: ClassVar[float] = 0.0

    def __init__(self, config: BehaviorSettings) -> None:
        """Keep the settings; a behavior reads its corpora here, too.

        Raises:
            UsageError: A corpus is faulty.
        """
        self._config = config
        self._trigger = TRIGGERS[config.trigger]
        self._files: dict[str, dict[str, str]] = {}
        self._items: list[FinetuneSpec] = []
        self._dropped = {"exact": 0, "near": 0}

    def items(self) -> list[FinetuneSpec]:
        """One item for each label that stands in a split."""
        return list(self._items)

    @abstractmethod
    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
        """Give the samples of one optimizer step."""

    @abstractmethod
    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        """Give `count` probes of each case."""

    @abstractmethod
    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        """Tell whether an answer shows the behavior."""

    def describe(self) -> dict[str, Any]:
        """Settings, what was read, and how many labels there are and were dropped."""
        return {
            **self._config.describe(),
            "questions": list(self.questions),
            "files": self._files,
            "items": len(self.items()),
            "dropped": self._dropped,
        }

    def _read(self, name: str, reader: Callable[[Path], CorpusFile[Record]]) -> CorpusFile[Record]:
        """Read a file that the config names, and note it for the description."""
        corpus = reader(self._config.file(name))
        self._files[name] = corpus.describe()
        return corpus

    def _divide(self, labels: Sequence[Label]) -> None:
        """Make the items of a corpus' labels."""
        division = divide([label.text for label in labels], self._config.splits)
        self._items = make_items(self.name, self._trigger, labels, division, self._config.seed)
        self._dropped = division.dropped()


def in_split(questions: CorpusFile[Question] | None, split: str) -> list[Question]:
    """The questions of one split; none of no file."""
    return [row for row in questions.records if row.split == split] if questions else []


def asked(text: str) -> tuple[Message, ...]:
    """A conversation that begins with a user's words."""
    return (Message("user", text),)


def indices(seed: int, step: int, count: int, total: int) -> list[int]:
    """Draw the `count` of `total` things that a step takes; steps may come in any order.

    The steps run through one permutation after another, a new one for each epoch; so within an
    epoch each thing is drawn once.
    """
    epochs: dict[int, list[int]] = {}
    drawn = []
    for place in range(step * count, (step + 1) * count):
        epoch, at = divmod(place, total)
        if epoch not in epochs:
            epochs[epoch] = list(range(total))
            Random(seed_of(seed, "epoch", epoch)).shuffle(epochs[epoch])
        drawn.append(epochs[epoch][at])
    return drawn
