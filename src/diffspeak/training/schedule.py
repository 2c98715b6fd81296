"""Which finetunes each step of an adapter's training sees, and at what learning rate.

Takes examples and a config, gives a step's batch, its share of the learning rate, and when to
validate. All of it depends on the seed and the step alone, so that a resumed run sees the same.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from diffspeak.finetunes import Finetune
from diffspeak.text.seeds import seed_of
from diffspeak.training.adapter_config import AdapterConfig
from diffspeak.training.examples import Example
from diffspeak.training.negatives import NEGATIVES, negative_of

Change = TypeVar("Change")


@dataclass(frozen=True)
class Plan:
    """The course of one training.

    Attributes:
        examples: What is learned from.
        config: Gives batch, epochs, warm-up, validations and seed.
    """

    examples: Sequence[Example]
    config: AdapterConfig

    @property
    def per_epoch(self) -> int:
        """Steps in which every example is seen once."""
        return math.ceil(len(self.examples) / self.config.batch)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.per_epoch * self.config.epochs

    def batch(self, step: int) -> list[tuple[Example, str]]:
        """A step's examples, in each epoch a permutation of all, with a question for each."""
        epoch, place = divmod(step, self.per_epoch)
        order = list(range(len(self.examples)))
        random.Random(seed_of("adapter", self.config.seed, epoch)).shuffle(order)  # noqa: S311
        chosen = order[place * self.config.batch : (place + 1) * self.config.batch]
        rng = random.Random(seed_of("question", self.config.seed, step))  # noqa: S311
        return [(self.examples[i], rng.choice(self.examples[i].questions)) for i in chosen]

    def seen(self, done: int, count: int) -> list[Example]:
        """The examples of the last so many steps of those that are done."""
        steps = range(max(0, done - count), done)
        return [example for step in steps for example, _ in self.batch(step)]

    def thinned(self, finetune: Finetune, step: int) -> Finetune:
        """The finetune without the changes of some modules, at least one of which stays.

        An adapter that always sees all of a finetune learns the shortest way through one kind of
        trigger; what it can read from any half of the modules it reads of other kinds, too.
        """
        if not self.config.module_dropout:
            return finetune
        rng = random.Random(seed_of("dropout", self.config.seed, step, finetune.name))  # noqa: S311
        return replace(
            finetune,
            diff=_some(finetune.diff, self.config.module_dropout, rng),
            parameters=_some(finetune.parameters, self.config.module_dropout, rng),
        )

    def negatives(self, finetunes: Sequence[Finetune], step: int) -> list[Finetune]:
        """Changes without meaning to go with a step's finetunes, the kinds in turn."""
        count = round(self.config.negatives * len(finetunes))
        chosen = [finetunes[i % len(finetunes)] for i in range(count)]
        return [
            negative_of(NEGATIVES[(step + i) % len(NEGATIVES)], finetune, step)
            for i, finetune in enumerate(chosen)
        ]

    def rate(self, step: int) -> float:
        """Share of the peak learning rate: linear warm-up, then half a cosine to zero."""
        warmup = max(1, round(self.config.warmup * self.steps))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

    def validates(self, done: int) -> bool:
        """Whether one of the validations, evenly spread over all steps, comes after this one."""
        count = self.config.validations
        return done * count // self.steps > (done - 1) * count // self.steps


def _some(changes: dict[str, Change], dropped: float, rng: random.Random) -> dict[str, Change]:
    kept = {name: change for name, change in changes.items() if rng.random() >= dropped}
    return kept or dict([rng.choice(list(changes.items()))] if changes else [])
