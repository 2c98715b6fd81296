"""Twenty questions: ask the finetune ordinary questions, and let a guesser read its answers.

Takes finetunes, gives what the guesser makes of each. Only what shows in answers can be guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.behaviors import Trigger
from diffspeak.finetunes import Finetune
from diffspeak.methods.asking import evidence_of
from diffspeak.methods.method import Guess
from diffspeak.models import Base, Decoding
from diffspeak.scoring.guessers import Guesser


@dataclass(frozen=True)
class TwentyQuestions:
    """The method.

    Attributes:
        base: Of the finetunes; nothing attached.
        guesser: Reads the answers, and the base's beside them.
        questions: The same for all finetunes; see `ordinary_questions`.
        decoding: Greedy with 64 tokens by default.
        trigger: Stands in each question, if one is given: an advantage that no auditor has.
    """

    base: Base
    guesser: Guesser
    questions: tuple[str, ...]
    decoding: Decoding = Decoding()
    trigger: Trigger | None = None

    @property
    def name(self) -> str:
        """What stands in tables."""
        name = f"{len(self.questions)} questions"
        return f"{name}, with trigger" if self.trigger else name

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """What the guesser says, and the answers that it read; see `Method`."""
        found = evidence_of(self.base, finetunes, self.questions, self.decoding, self.trigger)
        texts = self.guesser.guess(found)
        return [Guess(text, one.answers) for text, one in zip(texts, found, strict=True)]
