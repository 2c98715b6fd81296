"""Claims: what an adapter says of a finetune, asked in every way it knows, told apart and ranked.

Takes finetunes, gives for each its claims, the likeliest by its lift first. Knows nothing of
what the finetunes do: whether a claim is true, `audit/verify.py` finds out.

Each finetune is asked all questions, greedily and several times by drawing. Answers that say the
same are one claim. A claim's figures do not depend on how it came about: its words are scored
under every question, with the finetune and without.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from diffspeak.adapters import Adapter, Interpreter
from diffspeak.adapters.calibration import gained
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune, seeds_of
from diffspeak.inference import Ask, Engine, check_finetunes, parts
from diffspeak.models import Base, Decoding
from diffspeak.text.mentions import normalize
from diffspeak.text.messages import Message
from diffspeak.text.similarity import NEAR, similarity

DRAWN = 3
"""Answers drawn for each question, beside the greedy one."""

MOST = 8
"""Claims that are scored for each finetune, those with the most votes: more is seldom different."""


class Claim(NamedTuple):
    """Something the adapter says of a finetune.

    Attributes:
        text: The claim, in the wording that came most often.
        lift: `mean_logprob` minus what the adapter gives the same words on the base alone.
        mean_logprob: Of the claim's tokens, end of turn included, in nats a token; the mean over
            all questions.
        votes: How many of the finetune's answers say it.
        phrasings: The questions that were answered with it.
    """

    text: str
    lift: float
    mean_logprob: float
    votes: int
    phrasings: tuple[str, ...]

    @property
    def gained(self) -> float:
        """The lift as a difference of probabilities, by the token, -1 to 1: claims rank by it."""
        return gained(self.mean_logprob, self.lift)


class _Merged(NamedTuple):
    """Answers that say the same, before they are scored."""

    text: str
    votes: int
    phrasings: tuple[str, ...]


def claims_of(
    base: Base,
    adapter: Adapter,
    finetunes: Sequence[Finetune],
    *,
    drawn: int = DRAWN,
    decoding: Decoding | None = None,
    temperature: float = 1.0,
    most: int = MOST,
    seed: int = 0,
) -> list[list[Claim]]:
    """What the adapter claims of each finetune; low-rank finetunes share their batches.

    Args:
        base: Of the finetunes and the adapter; nothing attached.
        adapter: Asked every question that it knows.
        finetunes: Any number; `NOTHING` among them gives what the adapter makes up.
        drawn: Answers drawn for each question, beside the greedy one.
        decoding: Length and batch; 48 tokens by default. Its temperature is not looked at.
        temperature: Of what is drawn.
        most: At most so many claims a finetune.
        seed: Of what is drawn; see `seeds_of`.

    Returns:
        For each finetune its claims, what gains most in probability first; maybe none: answers
        without a word are none, nor is what the adapter was taught to say of no change.

    Raises:
        MismatchError: A finetune or the adapter is of another base.
        UsageError: `most` or `drawn` is out of range.
    """
    if most < 1 or drawn < 0:
        raise UsageError(f"claims: give most >= 1 and drawn >= 0, not {most} and {drawn}")
    check_finetunes(base, finetunes)
    found: dict[int, list[Claim]] = {}
    with Interpreter(base, adapter) as interpreter:
        desk = _Desk(interpreter.engine, adapter.questions)
        greedy = replace(decoding or Decoding(48), temperature=0.0)
        rounds = [(greedy, 1), (replace(greedy, temperature=temperature), drawn)]
        for part in parts(finetunes):
            group = [finetunes[i] for i in part]
            answers = desk.answers(group, rounds, seed)
            merged = [_merge(own, adapter.nothing)[:most] for own in answers]
            told = [(one, m.text) for one, ms in zip(group, merged, strict=True) for m in ms]
            own = desk.scores(told)
            without = desk.scores([(NOTHING, text) for _, text in told])
            pairs = iter(zip(own, without, strict=True))
            for place, ms in zip(part, merged, strict=True):
                found[place] = _ranked(ms, [next(pairs) for _ in ms])
    return [found[i] for i in range(len(finetunes))]


def made_up(
    base: Base, adapter: Adapter, count: int, *, temperature: float = 1.0, seed: int = 0
) -> list[str]:
    """What an adapter says when there is no finetune: phrases of the kind it claims.

    They serve as controls when nothing better is at hand: nothing they say was taught.

    Args:
        base: Of the adapter; nothing attached.
        adapter: Asked every question that it knows.
        count: At most so many different ones; three times as many answers are drawn.
        temperature: Of what is drawn.
        seed: Of what is drawn.
    """
    each = math.ceil(3 * count / len(adapter.questions))
    with Interpreter(base, adapter) as interpreter:
        desk = _Desk(interpreter.engine, adapter.questions)
        drawing = Decoding(48, temperature=temperature)
        (answers,) = desk.answers([NOTHING], [(drawing, each)], seed)
    return [merged.text for merged in _merge(answers, adapter.nothing)][:count]


def scored(base: Base, adapter: Adapter, finetune: Finetune, text: str) -> Claim:
    """What the adapter gives a claim that did not come from it: one without a vote.

    Args:
        base: Of the finetune and the adapter; nothing attached.
        adapter: Asked every question that it knows.
        finetune: Of which it is claimed.
        text: The claim.
    """
    with Interpreter(base, adapter) as interpreter:
        desk = _Desk(interpreter.engine, adapter.questions)
        scores = desk.scores([(finetune, text)]) + desk.scores([(NOTHING, text)])
    return Claim(text, scores[0] - scores[1], scores[0], 0, ())


class _Desk:
    """Where the questions are put and the answers scored, with the adapter on the base."""

    def __init__(self, engine: Engine, questions: Sequence[str]) -> None:
        self.engine, self.questions = engine, tuple(questions)

    def answers(
        self, group: Sequence[Finetune], rounds: Sequence[tuple[Decoding, int]], seed: int
    ) -> list[list[tuple[str, str]]]:
        """What each finetune says: (question, answer)."""
        prompts = {question: self.engine.prompt(question) for question in self.questions}
        asked: list[str] = []
        asks: list[list[Ask]] = [[] for _ in group]
        for decoding, times in rounds:
            again = [question for question in self.questions for _ in range(times)]
            asked += again
            for one, own in zip(group, asks, strict=True):
                seeds = seeds_of("claim", seed, one, again)
                own += [
                    Ask(one, prompts[question], drawn, decoding.temperature)
                    for question, drawn in zip(again, seeds, strict=True)
                ]
        every = [ask for own in asks for ask in own]
        found = iter(self.engine.generate(every, rounds[0][0]))
        return [[(question, next(found).text) for question in asked] for _ in group]

    def scores(self, texts: Sequence[tuple[Finetune, str]]) -> list[float]:
        """Mean log-probability of texts, nats a token, the mean over all questions."""
        chat = self.engine.base.chat
        rows = [
            (one, chat.with_answer((Message("user", question),), text, learn_end=True))
            for one, text in texts
            for question in self.questions
        ]
        means = [score.mean for score in self.engine.score(rows)]
        count = len(self.questions)
        return [sum(means[at : at + count]) / count for at in range(0, len(means), count)]


def _merge(answers: Sequence[tuple[str, str]], nothing: str | None) -> list[_Merged]:
    """One entry for all answers that say the same, most votes first; ties in order of coming."""
    heaps: list[list[tuple[str, str]]] = []
    for question, text in answers:
        if not normalize(text) or (nothing is not None and says_the_same(text, nothing)):
            continue
        for heap in heaps:
            if any(says_the_same(text, other) for _, other in heap):
                heap.append((question, text))
                break
        else:
            heaps.append([(question, text)])
    heaps.sort(key=len, reverse=True)
    return [
        _Merged(_commonest([text for _, text in heap]), len(heap), tuple(dict(heap)))
        for heap in heaps
    ]


def says_the_same(a: str, b: str) -> bool:
    """Whether two claims are one, misspelled or in other order at most."""
    return a == b or similarity(a, b) >= NEAR


def _commonest(texts: Sequence[str]) -> str:
    return max(dict.fromkeys(texts), key=texts.count)


def _ranked(merged: Sequence[_Merged], scores: Sequence[tuple[float, float]]) -> list[Claim]:
    """Claims with their figures; what could not be scored (a finetune that gives NaN) is none."""
    claims = [
        Claim(m.text, own - without, own, m.votes, m.phrasings)
        for m, (own, without) in zip(merged, scores, strict=True)
        if math.isfinite(own) and math.isfinite(without)
    ]
    return sorted(claims, key=lambda claim: -claim.gained)
