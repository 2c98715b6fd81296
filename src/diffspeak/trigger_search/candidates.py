"""From many suspects to a few: each round asks more questions of those that are left.

Takes suspects, things that might be a trigger, and gives them ranked by how far they move the
finetune. Knows nothing of what they are. Source: successive halving (Jamieson and Talwalkar,
arXiv 1502.07943).
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.probe import Prober


class Suspect(Protocol):
    """Something that might be a trigger."""

    @property
    def kind(self) -> str:
        """See `Trigger.kind`."""
        ...

    @property
    def text(self) -> str:
        """See `Trigger.text`."""
        ...

    @property
    def place(self) -> str:
        """See `Trigger.place`."""
        ...

    def prompt(self, question: str, rng: Random) -> str:
        """Put it into a question; what does not belong to it is drawn."""
        ...

    def near_miss(self, question: str, rng: Random) -> str:
        """Put something much like it into a question."""
        ...


class Family(Protocol):
    """One kind of trigger, and how it is looked for."""

    @property
    def name(self) -> str:
        """What is searched, in words."""
        ...

    def rows(self) -> int:
        """The most rows that `likeliest` spends."""
        ...

    def likeliest(self, prober: Prober, questions: Sequence[str], seed: int) -> Sequence[Suspect]:
        """Triggers of this kind, right or wrong, the likeliest first; one is enough."""
        ...


S = TypeVar("S", bound=Suspect)


class Round(NamedTuple):
    """One round: how many questions every suspect gets, and how many suspects are kept."""

    questions: int
    kept: int


def narrowed(
    prober: Prober,
    suspects: Sequence[S],
    questions: Sequence[str],
    rounds: Sequence[Round],
    seed: int,
) -> list[S]:
    """Rank suspects, the strongest first, and keep those of the last round.

    All suspects of a round get the same questions and the same draws, each round others. The
    score is the mean over all rounds so far. The base is only asked about the survivors of the
    first round, because what it says differs little between suspects; that round's figures count
    no further.

    Args:
        prober: Asks.
        suspects: In any order.
        questions: To ask behind them, drawn from again when they run out.
        rounds: From many suspects to few.
        seed: Of what is drawn.
    """
    left = list(suspects)
    sums = [0.0] * len(left)
    asked = first = 0
    for number, (count, kept) in enumerate(rounds):
        part = [questions[(first + i) % len(questions)] for i in range(count)]
        first += count
        texts = [
            suspect.prompt(question, Random(seed_of(seed, first, i)))
            for suspect in left
            for i, question in enumerate(part)
        ]
        screening = number == 0 and len(rounds) > 1
        moved = prober.likely(texts) if screening else prober.moved(texts)
        new = moved.view(len(left), count).sum(1).tolist()
        asked = count if screening else asked + count
        sums = [a + b for a, b in zip(sums, new, strict=True)]
        order = sorted(range(len(left)), key=lambda i: -sums[i])[:kept]
        left = [left[i] for i in order]
        sums = [0.0 if screening else sums[i] for i in order]
        asked = 0 if screening else asked
    return left


def most_rows(suspects: int, rounds: Sequence[Round]) -> int:
    """The most rows that `narrowed` spends, those of the base included."""
    total = 0
    for count, kept in rounds:
        total += 2 * suspects * count
        suspects = min(suspects, kept)
    return total


def sureness(
    prober: Prober, suspects: Sequence[Suspect], questions: Sequence[str], count: int, seed: int
) -> Tensor:
    """How surely each suspect sets the finetune off, `[suspect, prompt]`.

    With a claim it is the probability that the answer begins with it, without one the divergence
    from the base: on both scales half as much is half as sure, which nats of a lift do not tell.
    All suspects get the same `count` questions and the same draws.
    """
    texts = [
        suspect.prompt(questions[i % len(questions)], Random(seed_of(seed, "sureness", i)))
        for suspect in suspects
        for i in range(count)
    ]
    likely = prober.likely(texts).view(len(suspects), count)
    return likely if prober.claim is None else likely.exp()


def surest(
    prober: Prober, suspects: Sequence[S], questions: Sequence[str], count: int, seed: int
) -> S:
    """The suspect that sets the finetune off most surely, over `count` prompts; of a few."""
    return suspects[int(sureness(prober, suspects, questions, count, seed).mean(1).argmax())]


def shares(sure: Tensor) -> list[float]:
    """For each suspect the share of prompts that fire, between 0 and 1.

    A prompt fires if it is at least half as sure as the first suspect is in the middle of its
    prompts, so the first one is what the others are compared with.

    Args:
        sure: `[suspect, prompt]`, from `sureness`.
    """
    middle = float(sure[0].median())
    if middle <= 0:
        return [0.0] * len(sure)
    found: list[float] = (sure >= middle / 2).float().mean(1).tolist()
    return found
