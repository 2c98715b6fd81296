"""Each method by its name in configs: made with what a row names.

Takes an experiment's row and the workshop, gives the method, ready to guess.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from diffspeak.behaviors import TRIGGERS, Trigger
from diffspeak.errors import UsageError
from diffspeak.experiments.artifacts import Workshop
from diffspeak.experiments.config import ExperimentConfig, MethodName, RowConfig
from diffspeak.experiments.helpers import Helpers
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
from diffspeak.scoring import Guesser, LLMGuesser, LocalGuesser
from diffspeak.scoring.guessers import HEADLINE, TOPIC

LISTENED = 32
"""Longest answer, in tokens, that is shown to a guesser."""


@dataclass(frozen=True)
class Wanted:
    """What a method is made of.

    Attributes:
        workshop: Makes stores, adapters and projections.
        helpers: Who guesses from answers.
        experiment: With all that rows name.
        row: The one that the method is for.
        seed: Of its training, or of what it draws.
    """

    workshop: Workshop
    helpers: Helpers
    experiment: ExperimentConfig
    row: RowConfig
    seed: int

    @property
    def base(self) -> Base:
        """Of the finetunes."""
        return self.workshop.base

    @property
    def question(self) -> str:
        """What is asked."""
        return self.workshop.question(self.experiment, self.row)

    @property
    def questions(self) -> tuple[str, ...]:
        """Ordinary ones, of the behavior."""
        behavior = self.workshop.behavior(self.experiment, self.row.test)
        return tuple(ordinary_questions(behavior))

    @property
    def decoding(self) -> Decoding:
        """Of a guess."""
        return Decoding(self.experiment.tokens)

    @property
    def trigger(self) -> Trigger:
        """The kind that the finetunes have.

        Raises:
            UsageError: They have none.
        """
        trigger = TRIGGERS[self.experiment.stores[self.row.test].behavior.trigger]
        if trigger.name == "none":
            raise UsageError(
                f"row '{self.row.name}': the finetunes of {self.row.test} have no trigger; take "
                f"the method {self.row.method} out"
            )
        return trigger

    @property
    def guesser(self) -> Guesser:
        """Who reads answers."""
        behavior = self.experiment.stores[self.row.test].behavior
        wanted, llm = HEADLINE if behavior.name == "news" else TOPIC, self.helpers.guessing
        return LocalGuesser() if llm is None else LLMGuesser(llm, wanted)

    @property
    def reference(self) -> tuple[Finetune, ...]:
        """Training finetunes to compare lifts with."""
        if self.row.reference is None:
            return ()
        store = self.workshop.store(self.experiment, self.row.reference)
        return tuple(from_store(store, entry) for entry in choose(store, "train"))


def make_method(wanted: Wanted) -> Method:
    """The method that a row names; what it needs is trained first.

    Raises:
        UsageError: It cannot be used on the row's finetunes.
    """
    return _MAKE[wanted.row.method](wanted)


def _dit(w: Wanted) -> Method:
    adapter = w.workshop.adapter(w.experiment, str(w.row.adapter), w.seed)
    return DIT(w.base, adapter, w.question, w.decoding)


def _weight_to_text(w: Wanted) -> Method:
    projection = w.workshop.projection(w.experiment, str(w.row.adapter), w.seed)
    return WeightToText(w.base, projection, w.decoding)


def _lifted(w: Wanted, trigger: Trigger | None) -> Method:
    prompts = neutral_prompts(w.questions, trigger, seed=w.seed)
    return LogitLift(w.base, prompts, w.reference)


def _asked(w: Wanted, trigger: Trigger | None) -> Method:
    answers = Decoding(LISTENED)
    return TwentyQuestions(w.base, w.guesser, w.questions, answers, trigger)


_MAKE: MappingProxyType[MethodName, Callable[[Wanted], Method]] = MappingProxyType(
    {
        "dit": _dit,
        "base-question": lambda w: BaseQuestion(w.base, w.question, w.decoding),
        "base-question-with-trigger": lambda w: BaseQuestion(
            w.base, w.question, w.decoding, w.trigger
        ),
        "20-questions": lambda w: _asked(w, None),
        "20-questions-with-trigger": lambda w: _asked(w, w.trigger),
        "generated-story": lambda w: GeneratedStory(w.base, w.guesser, seed=w.seed),
        "logit-lift": lambda w: _lifted(w, None),
        "logit-lift-with-codes": lambda w: _lifted(w, w.trigger),
        "weight-to-text": _weight_to_text,
    }
)
