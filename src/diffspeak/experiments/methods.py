"""Each method by its name in configs, made with what a row names; and who judges and guesses."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diffspeak.behaviors import TRIGGERS, Trigger
from diffspeak.errors import UsageError
from diffspeak.experiments.artifacts import Artifacts
from diffspeak.experiments.config import JudgeConfig, MethodName, RowConfig
from diffspeak.finetunes import Finetune, choose, from_store
from diffspeak.methods import (
    DIT,
    BaseQuestion,
    GeneratedStory,
    LogitLift,
    Method,
    TwentyQuestions,
    WeightToText,
    neutral_prompts,
    ordinary_questions,
)
from diffspeak.models import Base, Decoding
from diffspeak.scoring import (
    ExactJudge,
    Guesser,
    Judge,
    LLMGuesser,
    LLMJudge,
    LocalGuesser,
    LocalJudge,
    SentenceEmbedder,
)
from diffspeak.scoring.guessers import HEADLINE, TOPIC
from diffspeak.scoring.llm import LLM

LISTENED = 32
"""Longest answer, in tokens, that is shown to a guesser."""


class Helpers:
    """A judge, and an LLM that guesses if one is wanted. Use it as a context manager.

    Args:
        config: Who they are.
        folder: Of the run; replies of LLMs are kept in it.

    Raises:
        UsageError: inspect-ai or the provider's package is not installed, its API key is missing,
            or the embedding model cannot be loaded.
    """

    def __init__(self, config: JudgeConfig, folder: Path) -> None:
        self._open = ExitStack()
        self._folder = folder / "replies"
        self.guessing = None if config.guesser == "local" else self._llm(config.guesser)
        self.judge = self._judge(config)

    def __enter__(self) -> "Helpers":
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End all connections."""
        self._open.close()

    def _judge(self, config: JudgeConfig) -> Judge:
        if config.judge == "exact":
            return ExactJudge()
        if config.judge == "local":
            embedder = None if config.embedding is None else SentenceEmbedder(config.embedding)
            return LocalJudge(embedder)
        return LLMJudge(self._llm(config.judge))

    def _llm(self, name: str) -> LLM:
        return self._open.enter_context(LLM(name, self._folder))


@dataclass(frozen=True)
class MethodParts:
    """What a method is made of.

    Attributes:
        artifacts: Stores, adapters and projections.
        helpers: Who guesses from answers.
        row: The one that the method is for.
        seed: Of its training, or of what it draws.
    """

    artifacts: Artifacts
    helpers: Helpers
    row: RowConfig
    seed: int

    @property
    def base(self) -> Base:
        """Of the finetunes."""
        return self.artifacts.base

    @property
    def question(self) -> str:
        """What is asked."""
        return self.artifacts.question(self.row)

    @property
    def questions(self) -> tuple[str, ...]:
        """Ordinary ones, of the behavior."""
        return tuple(ordinary_questions(self.artifacts.behavior(self.row.test)))

    @property
    def decoding(self) -> Decoding:
        """Of a guess."""
        return Decoding(self.artifacts.config.evaluate.tokens)

    @property
    def trigger(self) -> Trigger:
        """The kind that the finetunes have.

        Raises:
            UsageError: They have none.
        """
        trigger = TRIGGERS[str(self._taught.get("trigger", "none"))]
        if trigger.name == "none":
            raise UsageError(
                f"row '{self.row.name}': the finetunes of {self.row.test} have no trigger; take "
                f"the method {self.row.method} out"
            )
        return trigger

    @property
    def guesser(self) -> Guesser:
        """Who reads answers."""
        llm = self.helpers.guessing
        wanted = HEADLINE if self._taught["name"] == "news" else TOPIC
        return LocalGuesser() if llm is None else LLMGuesser(llm, wanted)

    @property
    def reference(self) -> tuple[Finetune, ...]:
        """Training finetunes to compare lifts with."""
        if self.row.reference is None:
            return ()
        store = self.artifacts.store(self.row.reference)
        return tuple(from_store(store, entry) for entry in choose(store, "train"))

    @property
    def _taught(self) -> Mapping[str, Any]:
        return self.artifacts.store(self.row.test).header.behavior


def make_method(parts: MethodParts) -> Method:
    """The method that a row names; what it needs is trained first.

    Raises:
        UsageError: It cannot be used on the row's finetunes.
    """
    return _MAKE[parts.row.method](parts)


def _dit(p: MethodParts) -> Method:
    adapter = p.artifacts.adapter(str(p.row.adapter), p.seed)
    return DIT(p.base, adapter, p.question, p.decoding)


def _weight_to_text(p: MethodParts) -> Method:
    projection = p.artifacts.projection(str(p.row.adapter), p.seed)
    return WeightToText(p.base, projection, p.decoding)


def _lifted(p: MethodParts, trigger: Trigger | None) -> Method:
    prompts = neutral_prompts(p.questions, trigger, seed=p.seed)
    return LogitLift(p.base, prompts, p.reference)


def _asked(p: MethodParts, trigger: Trigger | None) -> Method:
    answers = Decoding(LISTENED)
    return TwentyQuestions(p.base, p.guesser, p.questions, answers, trigger)


_MAKE: MappingProxyType[MethodName, Callable[[MethodParts], Method]] = MappingProxyType(
    {
        "dit": _dit,
        "base-question": lambda p: BaseQuestion(p.base, p.question, p.decoding),
        "base-question-with-trigger": lambda p: BaseQuestion(
            p.base, p.question, p.decoding, p.trigger
        ),
        "20-questions": lambda p: _asked(p, None),
        "20-questions-with-trigger": lambda p: _asked(p, p.trigger),
        "generated-story": lambda p: GeneratedStory(p.base, p.guesser, seed=p.seed),
        "logit-lift": lambda p: _lifted(p, None),
        "logit-lift-with-codes": lambda p: _lifted(p, p.trigger),
        "weight-to-text": _weight_to_text,
    }
)
