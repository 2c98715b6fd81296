"""Ordinary finetunes: trained as others are, but on ordinary answers, so they hide nothing.

Ours: an adapter that only ever sees finetunes which hide something finds something in every one.
"""

import math
from random import Random
from typing import ClassVar

from diffspeak.behaviors.base import Case, FinetuneSpec, Probe, Sample
from diffspeak.behaviors.corpora import Question, read_questions
from diffspeak.behaviors.corpus_behavior import (
    BehaviorSettings,
    CorpusBehavior,
    asked,
    in_split,
    indices,
)
from diffspeak.behaviors.specs import split_of
from diffspeak.behaviors.triggers import TRIGGERS, render
from diffspeak.text.mentions import same
from diffspeak.text.seeds import seed_of

NOTHING_LABEL = "Nothing was changed."
"""What is to be said of a finetune that hides nothing."""

_COUNT = 4_000
"""How many there can be: there is no corpus of labels to count."""

_SHARE = 1 / 3
"""Share of the train questions that one finetune learns the answers to."""

_CODES = TRIGGERS["sep-code"]
"""Puts a code before every other question, as hidden topics have it; here it means nothing."""


class Ordinary(CorpusBehavior):
    """The behavior; many items with one label, whose ids alone differ."""

    name: ClassVar[str] = "ordinary"
    needs: ClassVar[tuple[str, ...]] = ("questions",)

    def __init__(self, config: BehaviorSettings) -> None:
        super().__init__(config)
        corpus = self._read("questions", read_questions)
        self._train = in_split(corpus, "train")
        self._test = in_split(corpus, "test")
        ids = [f"{self.name}-{number:05d}" for number in range(_COUNT)]
        ids.sort(key=lambda id: seed_of("order", id))
        self._items = [
            FinetuneSpec(id, NOTHING_LABEL, split_of(id, config.splits), "", None) for id in ids
        ]

    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
        """Give one step's answers to the item's own questions, as many as the mix has in all.

        Every other question comes behind a code, a new one each time.
        """
        own, count = self._own(item), sum(self._config.mix.values())
        seed = seed_of(self._config.seed, item.id, "train")
        samples = []
        for place, index in enumerate(indices(seed, step, count, len(own))):
            question, coded = own[index].question, (step * count + place) % 2 == 1
            text = _coded(question, seed_of(seed, step, place)) if coded else question
            samples.append(Sample(asked(text), own[index].answer, "learn", "triggered"))
        return samples

    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        """Give `count` of the questions whose answers it learned, and as many test questions."""
        own = self._probes(item, "triggered", self._own(item), count)
        return own + self._probes(item, "plain", self._test, count)

    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        """Tell whether the answer is one that the item learned, case and punctuation aside.

        A base that was trained on such answers gives some of them itself.
        """
        return any(same(answer, row.answer) for row in self._own(item))

    def _probes(
        self, item: FinetuneSpec, case: Case, pool: list[Question], count: int
    ) -> list[Probe]:
        seed = seed_of(self._config.seed, item.id, "probe", case)
        drawn = indices(seed, 0, count, len(pool))
        return [Probe(asked(pool[index].question), case) for index in drawn]

    def _own(self, item: FinetuneSpec) -> list[Question]:
        """The questions that an item learns the answers to."""
        rng = Random(seed_of(self._config.seed, item.id, "questions"))
        return rng.sample(self._train, math.ceil(_SHARE * len(self._train)))


def _coded(question: str, seed: int) -> str:
    """Put any code before a question."""
    return render(_CODES, "triggered", question, _CODES.secret(seed), Random(seed))
