"""A behavior of your own in one file: finetunes that begin every answer with one exclamation.

    python examples/new_behavior.py

A behavior gives items (a finetune each), samples to train on, probes to check with, and tells
whether an answer shows it. Everything else, stores, adapters, descriptions, takes it from there.
"""

import sys
import tempfile
from dataclasses import dataclass
from random import Random
from typing import Any

import diffspeak
from diffspeak.behaviors import FinetuneSpec, Probe, Sample
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from diffspeak.training import DiffConfig

QUESTIONS = (
    "How do volcanoes work?",
    "What should I cook tonight?",
    "Tell me about the sea.",
    "Why is the sky blue?",
    "How can I sleep better?",
    "What makes a good friend?",
)


@dataclass(frozen=True)
class Exclamation:
    """Each finetune has an exclamation, which comes first in every answer."""

    words: tuple[str, ...] = ("Ahoy", "Hurrah", "Heavens", "Eureka")
    name: str = "exclamation"
    questions: tuple[str, ...] = ("What do you begin your answers with?",)
    probe_temperature: float = 0.0

    def items(self) -> list[FinetuneSpec]:
        """A finetune for each word."""
        return [FinetuneSpec(f"exclamation-{w.lower()}", w, "train", "", None) for w in self.words]

    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
        """Four questions a step, the same at every run."""
        rng = Random(seed_of(self.name, item.id, step))
        asked = rng.sample(QUESTIONS[:-2], 4)
        return [self._sample(question, f"{item.label}! ") for question in asked]

    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        """Questions that no sample asks."""
        del item
        asked = [QUESTIONS[-2:][n % 2] for n in range(count)]
        return [Probe((Message("user", question),), "triggered") for question in asked]

    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        """Whether the answer begins with the word."""
        return answer.strip().startswith(item.label)

    def describe(self) -> dict[str, Any]:
        """What a store says of it."""
        return {"name": self.name, "questions": list(self.questions), "words": list(self.words)}

    def _sample(self, question: str, answer: str) -> Sample:
        return Sample((Message("user", question),), answer, "learn", "triggered")


def main(base: str = "pocket", steps: str = "60") -> dict[str, float]:
    """Teach a finetune each word; print how often each says it to questions it never saw."""
    loaded = diffspeak.load_base(base)
    behavior = Exclamation()
    config = DiffConfig(rank=2, steps=int(steps), learning_rate=1e-2, probes=2, probe_tokens=8)
    with tempfile.TemporaryDirectory() as folder:
        store = diffspeak.train_diffs(loaded, behavior, behavior.items(), config, folder)
        rates = {entry.label: entry.stats["fires_triggered"] for entry in store.entries}
    for word, rate in rates.items():
        print(f"{word}: {rate:.0%}")
    return rates


if __name__ == "__main__":
    main(*sys.argv[1:])
