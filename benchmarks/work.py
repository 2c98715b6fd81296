"""The work that every contender does: the same samples, labels and random finetunes.

Takes a shape, gives a behavior and labels whose conversations all have the same length, so that
nobody gains by padding less.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.shapes import WORDS, Shape
from diffspeak.behaviors import Case, FinetuneSpec, Kind, Probe, Sample
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of

AROUND = 3
"""Tokens of a prompt that the chat template adds to its words."""

KINDS: tuple[tuple[Case, Kind], ...] = (
    ("triggered", "learn"),
    ("wrong", "keep"),
    ("plain", "keep"),
)
"""The paper's three kinds of sample, one of each a step."""

QUESTION = "w1 w2 w3 w4 w5 w6"


def words(count: int, *key: object) -> str:
    """So many words that depend on the key alone."""
    return " ".join(f"w{i}" for i in Random(seed_of(*key)).choices(range(WORDS), k=count))


@dataclass(frozen=True)
class RandomTalk:
    """A behavior without sense: random words of a fixed number. See `Behavior`."""

    shape: Shape
    tasks: int
    name: str = "random"
    questions: tuple[str, ...] = (QUESTION,)
    probe_temperature: float = 0.0

    def items(self) -> list[FinetuneSpec]:
        """As many as there are tasks."""
        return [
            FinetuneSpec(f"random-{n}", self.label(n), "train", "random", None)
            for n in range(self.tasks)
        ]

    def label(self, number: int) -> str:
        """A label as long as an answer."""
        return words(self.shape.answer - 1, "label", number)

    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
        """One sample of each kind."""
        asked = self.shape.tokens - self.shape.answer - AROUND
        return [
            Sample(
                (Message("user", words(asked, "prompt", item.id, step, case)),),
                words(self.shape.answer, "answer", item.id, step, case),
                kind,
                case,
            )
            for case, kind in KINDS
        ]

    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        """None."""
        return []

    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        """Never."""
        return False

    def describe(self) -> dict[str, Any]:
        """Name and size."""
        return {"name": self.name, "questions": list(self.questions), "tasks": self.tasks}
