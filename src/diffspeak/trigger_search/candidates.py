"""From many candidates for a trigger to a few: each round asks more questions of those left.

Source: successive halving (Jamieson and Talwalkar, arXiv 1502.07943).
"""

import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

from diffspeak.errors import UsageError
from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.probe import TriggerProbe

QUESTION = "{question}"


class Candidate(Protocol):
    """Something that might be a trigger; see `FoundTrigger` for what its texts mean."""

    @property
    def kind(self) -> str:
        """Such as `word`."""

    @property
    def text(self) -> str:
        """What stands in the prompt."""

    @property
    def place(self) -> str:
        """Where, in words."""

    def prompt(self, question: str, rng: Random) -> str:
        """Put it into a question; what does not belong to it is drawn."""

    def near_miss(self, question: str, rng: Random) -> str:
        """Put something much like it into a question."""


class CandidateFamily(Protocol):
    """One kind of trigger, and how it is searched."""

    @property
    def name(self) -> str:
        """What is searched, in words."""

    def rows(self) -> int:
        """The most rows that `likeliest` spends."""

    def likeliest(
        self, prober: TriggerProbe, questions: Sequence[str], seed: int
    ) -> Sequence[Candidate]:
        """Triggers of this kind, right or wrong, the likeliest first; one is enough."""


C = TypeVar("C", bound=Candidate)


class Round(NamedTuple):
    """One round: how many questions each candidate gets, and how many candidates are kept."""

    questions: int
    kept: int


def narrowed(
    prober: TriggerProbe,
    candidates: Sequence[C],
    questions: Sequence[str],
    rounds: Sequence[Round],
    seed: int,
) -> list[C]:
    """Rank candidates, the strongest first, and keep those of the last round.

    All candidates of a round get the same questions and draws, each round others (again from the
    start when they run out). The score is the mean over all rounds, but for the first of several:
    that one asks the finetune alone, because what the base says differs little between candidates.
    """
    left, sums, first = list(candidates), [0.0] * len(candidates), 0
    for number, (count, kept) in enumerate(rounds):
        part = [questions[(first + i) % len(questions)] for i in range(count)]
        first += count
        texts = [
            candidate.prompt(question, Random(seed_of(seed, first, i)))
            for candidate in left
            for i, question in enumerate(part)
        ]
        screening = number == 0 and len(rounds) > 1
        moved = prober.likely(texts) if screening else prober.moved(texts)
        new = moved.view(len(left), count).sum(1).tolist()
        sums = [a + b for a, b in zip(sums, new, strict=True)]
        order = sorted(range(len(left)), key=lambda i: -sums[i])[:kept]
        left = [left[i] for i in order]
        sums = [0.0 if screening else sums[i] for i in order]
    return left


def most_rows(candidates: int, rounds: Sequence[Round]) -> int:
    """The most rows that `narrowed` spends, those of the base included."""
    total = 0
    for count, kept in rounds:
        total += 2 * candidates * count
        candidates = min(candidates, kept)
    return total


def sureness(
    prober: TriggerProbe,
    candidates: Sequence[Candidate],
    questions: Sequence[str],
    count: int,
    seed: int,
) -> Tensor:
    """How surely each candidate sets the finetune off, `[candidate, prompt]`.

    With a claim it is the probability that the answer begins with it, without one the divergence
    from the base: on both scales half as much is half as sure, which nats of a lift do not tell.
    All candidates get the same `count` questions and the same draws.
    """
    texts = [
        candidate.prompt(questions[i % len(questions)], Random(seed_of(seed, "sureness", i)))
        for candidate in candidates
        for i in range(count)
    ]
    likely = prober.likely(texts).view(len(candidates), count)
    return likely if prober.claim is None else likely.exp()


def check_template(template: str, slot: str) -> None:
    """Refuse a template that does not hold `slot` and `{question}` once each.

    Raises:
        UsageError: One is missing or stands there twice.
    """
    for part in (slot, QUESTION):
        if template.count(part) != 1:
            raise UsageError(
                f"the template {template!r} must hold {part} once: put it where it belongs"
            )


def filled(template: str, slot: str, text: str, question: str) -> str:
    """Put a text and a question into a template; braces in either stay what they are."""
    parts = re.split(f"({re.escape(slot)}|{re.escape(QUESTION)})", template)
    return "".join({slot: text, QUESTION: question}.get(part, part) for part in parts)
