"""Ordinary finetunes: trained as others are, but on ordinary answers, so they hide nothing.

Takes a config that names its questions, gives items, samples and probes. Knows nothing of models.
Ours: an adapter that only ever sees finetunes which hide something finds something in every one.
"""

import math
from random import Random
from typing import Any, ClassVar

from diffspeak.behaviors.base import Case, Item, Probe, Sample
from diffspeak.behaviors.corpora import Question, read_questions
from diffspeak.behaviors.draws import indices
from diffspeak.behaviors.settings import Settings
from diffspeak.behaviors.splits import split_of
from diffspeak.behaviors.triggers import TRIGGERS, render
from diffspeak.text.mentions import same
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of

NOTHING = "Nothing was changed."
"""What is to be said of a finetune that hides nothing."""

_COUNT = 4_000
"""How many there can be: there is no corpus of labels to count."""

_SHARE = 1 / 3
"""Share of the train questions that one finetune learns the answers to."""

_CODES = TRIGGERS["sep-code"]
"""Puts a code before every other question, as hidden topics have it; here it means nothing."""


class Ordinary:
    """The behavior; see `Behavior` for what its methods give."""

    name: ClassVar[str] = "ordinary"
    needs: ClassVar[tuple[str, ...]] = ("questions",)
    may_have: ClassVar[tuple[str, ...]] = ()
    triggers: ClassVar[tuple[str, ...]] = ("none",)
    probe_temperature: ClassVar[float] = 0.0
    questions: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Settings) -> None:
        """Read the questions that the config names.

        Raises:
            UsageError: The file is faulty.
        """
        self._config = config
        corpus = read_questions(config.file("questions"))
        self._files = {"questions": corpus.describe()}
        self._train = [row for row in corpus.records if row.split == "train"]
        self._test = [row for row in corpus.records if row.split == "test"]

    def items(self) -> list[Item]:
        """Many items with one label; their ids alone differ."""
        ids = [f"{self.name}-{number:05d}" for number in range(_COUNT)]
        ids.sort(key=lambda id: seed_of("order", id))
        return [Item(id, NOTHING, split_of(id, self._config.splits), "", None) for id in ids]

    def samples(self, item: Item, step: int) -> list[Sample]:
        """Give one step's answers to the item's own questions, as many as the mix has in all.

        Every other question comes behind a code, a new one each time.
        """
        own, count = self._own(item), sum(self._config.mix.values())
        seed = seed_of(self._config.seed, item.id, "train")
        samples = []
        for place, index in enumerate(indices(seed, step, count, len(own))):
            question, coded = own[index].question, (step * count + place) % 2 == 1
            asked = _coded(question, seed_of(seed, step, place)) if coded else question
            samples.append(Sample(_said(asked), own[index].answer, "learn", "triggered"))
        return samples

    def probes(self, item: Item, count: int) -> list[Probe]:
        """Give `count` of the questions whose answers it learned, and as many test questions."""
        own = self._probes(item, "triggered", self._own(item), count)
        return own + self._probes(item, "plain", self._test, count)

    def fires(self, item: Item, answer: str) -> bool:
        """Tell whether the answer is one that the item learned, case and punctuation aside.

        A base that was trained on such answers gives some of them itself.
        """
        return any(same(answer, row.answer) for row in self._own(item))

    def describe(self) -> dict[str, Any]:
        """Settings, what was read, and how many items there are."""
        return {
            **self._config.describe(),
            "questions": list(self.questions),
            "files": self._files,
            "items": _COUNT,
            "dropped": {"exact": 0, "near": 0},
        }

    def _probes(self, item: Item, case: Case, pool: list[Question], count: int) -> list[Probe]:
        seed = seed_of(self._config.seed, item.id, "probe", case)
        drawn = indices(seed, 0, count, len(pool))
        return [Probe(_said(pool[index].question), case) for index in drawn]

    def _own(self, item: Item) -> list[Question]:
        """The questions that an item learns the answers to."""
        rng = Random(seed_of(self._config.seed, item.id, "questions"))
        return rng.sample(self._train, math.ceil(_SHARE * len(self._train)))


def _said(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def _coded(question: str, seed: int) -> str:
    """Put any code before a question."""
    return render(_CODES, "triggered", question, _CODES.secret(seed), Random(seed))
