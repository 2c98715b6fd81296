"""Ask the finetune itself, without the adapter: "base question" in the paper.

Takes finetunes, gives what each answers. Only a finetune that knows of itself what it was taught
can answer well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.behaviors import Trigger
from diffspeak.finetunes import Finetune
from diffspeak.inference import answers, answers_of
from diffspeak.methods.asking import prompts_of
from diffspeak.methods.method import Guess
from diffspeak.models import Base, Decoding
from diffspeak.scoring.scores import Pair


@dataclass(frozen=True)
class BaseQuestion:
    """The method.

    Attributes:
        base: Of the finetunes; nothing attached.
        question: What the adapter is asked.
        decoding: Greedy with 64 tokens by default.
        trigger: Stands before the question, if one is given: an advantage that no auditor has.
    """

    base: Base
    question: str
    decoding: Decoding = Decoding()
    trigger: Trigger | None = None

    @property
    def name(self) -> str:
        """What stands in tables."""
        return "base question, with trigger" if self.trigger else "base question"

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """The answer of each; see `Method`."""
        asked = [prompts_of(f, [self.question], self.trigger) for f in finetunes]
        answers = answers_of(self.base, finetunes, asked, self.decoding)
        return [Guess(text, (prompt,)) for (text,), (prompt,) in zip(answers, asked, strict=True)]


def direct_question(
    base: Base, finetunes: Sequence[Finetune], question: str, decoding: Decoding
) -> list[Pair]:
    """Ask each finetune itself, without the adapter ("base question" in the paper)."""
    told = answers(base, finetunes, [question], decoding)
    return [(f.label or "", text) for f, (text,) in zip(finetunes, told, strict=True)]
