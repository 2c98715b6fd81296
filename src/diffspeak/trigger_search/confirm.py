"""What a search finds, and whether a candidate really sets the finetune off.

Its answers are compared with others. With a claim an answer fires that mentions it; without one, an
answer whose first words are not those of the base.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from diffspeak.errors import UsageError
from diffspeak.stats import wilson
from diffspeak.text.lifted import lifted
from diffspeak.text.mentions import mentions, normalize
from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.candidates import Candidate
from diffspeak.trigger_search.probe import TriggerProbe

PROBES = 24
"""Prompts of each kind."""

CONFIRM_ROWS = 4 * PROBES
PLAIN_ROWS = 2 * PROBES
BROUGHT_UP_ROWS = 3 * PROBES

BRINGS_UP = 1 / 3
"""Share of the answers from which on a candidate brings a phrase up."""

NEARLY_ALL = 0.8
"""Share of the answers with a claim that have to hold a longer phrase that stands in for it."""

FIRST_WORDS = 3
"""Of an answer; compared with the base's where no claim is known."""


@dataclass(frozen=True)
class Rate:
    """How often something happened.

    Attributes:
        hits: How many times.
        n: Out of how many; at least 1.
        interval: Wilson's 95% interval of the share, between 0 and 1.
    """

    hits: int
    n: int
    interval: tuple[float, float]

    @property
    def value(self) -> float:
        """The share, between 0 and 1."""
        return self.hits / self.n


@dataclass(frozen=True)
class FoundTrigger:
    """What sets a finetune off.

    Attributes:
        kind: `code`, `frame` (a sentence with any number in it), `character` or `word`.
        text: A code's digits with `?` where any will do, a character as `U+200B`, or a word.
        place: Where it stands in a prompt, in words.
        example: A whole prompt that fires, with one of the questions.
        firing_rate: Answers of the finetune that mention what it shows when the trigger is there,
            on questions the search did not use.
        base_rate: The same of the base, on the same prompts.
        near_miss_rate: The same of the finetune, on prompts that only look like the trigger.
        calls: Rows that were spent until it was found and confirmed.
        shows: What its answers mention: the claim, or a longer phrase that holds it, or without one
            what they bring up; None if that is no phrase, and any other beginning of an answer
            counts as firing.
        doubtful: Whether no other evidence supports that what it brings up was taught.
        candidate: Puts it into a prompt; not part of what is written down.
    """

    kind: str
    text: str
    place: str
    example: str
    firing_rate: Rate
    base_rate: Rate
    near_miss_rate: Rate
    calls: int
    shows: str | None = None
    doubtful: bool = False
    candidate: Candidate | None = field(default=None, repr=False, compare=False)

    def put(self, prompt: str) -> str:
        """A prompt with the trigger in it; what does not belong to it depends on the prompt alone.

        Raises:
            UsageError: It was read from a file, which does not say how to put it anywhere.
        """
        if self.candidate is None:
            raise UsageError(f"how {self.text} is put into a prompt is not known: search it again")
        return self.candidate.prompt(prompt, Random(seed_of("put", prompt)))


@dataclass(frozen=True)
class Search:
    """The outcome of a search.

    Attributes:
        trigger: What was found; None for nothing within the budget.
        summary: The outcome in one sentence.
        searched: Families that were searched, in order; "whatever they set off" where it was not
            for the claim.
        not_searched: Families that were not, each with the reason.
        plain_rate: How often the finetune fires on plain questions; None where nothing was asked.
        rows: Prompts read by one model.
        seconds: What it took.
        passed_over: Other triggers that were confirmed but that no other evidence supports.
    """

    trigger: FoundTrigger | None
    summary: str
    searched: tuple[str, ...]
    not_searched: tuple[str, ...]
    plain_rate: Rate | None
    rows: int
    seconds: float
    passed_over: tuple[FoundTrigger, ...] = ()


def confirmed(
    prober: TriggerProbe, candidate: Candidate, questions: Sequence[str], seed: int
) -> tuple[FoundTrigger, bool]:
    """Measure a candidate; give it with its rates, and whether it is a trigger.

    It is one if it fires more often than the base does and than near misses do, by intervals that
    do not touch: the lower end of its own is above the upper ends of theirs.
    """
    right, wrong = _prompts(candidate, questions, seed)
    answers, base = prober.answers(right), prober.answers(right, of_base=True)
    shows = _fuller(prober.claim, right, answers, base)
    firing = rate(_fires(shows, answers, base))
    plain = rate([shows is not None and mentions(answer, shows) for answer in base])
    near = rate(fired(prober, wrong, shows))
    trigger = FoundTrigger(
        candidate.kind,
        candidate.text,
        candidate.place,
        right[0],
        firing,
        plain,
        near,
        prober.rows,
        shows,
        candidate=candidate,
    )
    return trigger, firing.interval[0] > max(near.interval[1], plain.interval[1])


def brought_up(
    prober: TriggerProbe, candidates: Sequence[Candidate], questions: Sequence[str], seed: int
) -> str | None:
    """What the finetune mentions with a candidate, and neither the base nor itself without.

    Several candidates, at least one, say it more surely than the likeliest alone, which may be
    none. None if no phrase stands in so many answers.
    """
    every = [_prompts(candidate, questions, seed)[0] for candidate in candidates[:PROBES]]
    right = [every[i % len(every)][i] for i in range(PROBES)]
    answers = prober.answers(right)
    others = prober.answers(right, of_base=True) + prober.answers(_cycled(questions))
    phrases = [found.phrase for found in lifted(answers, others, right, limit=1)]
    often = [phrase for phrase in phrases if _count(answers, phrase) >= BRINGS_UP * PROBES]
    return often[0] if often else None


def plain_rate(prober: TriggerProbe, questions: Sequence[str]) -> Rate:
    """How often the finetune fires on plain questions."""
    return rate(fired(prober, _cycled(questions), prober.claim))


def fired(prober: TriggerProbe, prompts: Sequence[str], claim: str | None) -> list[bool]:
    """For each prompt whether the finetune's answer fires; without a claim the base is asked."""
    answers = prober.answers(prompts)
    base = prober.answers(prompts, of_base=True) if claim is None else answers
    return _fires(claim, answers, base)


def rate(hits: Sequence[bool]) -> Rate:
    """A share with its interval; `hits` holds at least one."""
    return Rate(sum(hits), len(hits), wilson(sum(hits), len(hits)))


def _fires(claim: str | None, answers: Sequence[str], base: Sequence[str]) -> list[bool]:
    if claim is not None:
        return [mentions(answer, claim) for answer in answers]
    first = (
        [normalize(answer).split()[:FIRST_WORDS] for answer in each] for each in (answers, base)
    )
    return [own != other for own, other in zip(*first, strict=True)]


def _fuller(
    claim: str | None, prompts: Sequence[str], answers: Sequence[str], base: Sequence[str]
) -> str | None:
    """The claim, or the longer phrase with which nearly all answers mention it."""
    if claim is None:
        return None
    words, count = normalize(claim).split(), _count(answers, claim)
    for found in lifted(answers, base, prompts):
        longer = normalize(found.phrase).split()
        if set(words) < set(longer) and _count(answers, found.phrase) >= NEARLY_ALL * count:
            return found.phrase
    return claim


def _count(answers: Sequence[str], phrase: str) -> int:
    return sum(mentions(answer, phrase) for answer in answers)


def _prompts(
    candidate: Candidate, questions: Sequence[str], seed: int
) -> tuple[list[str], list[str]]:
    """Prompts with a candidate, and with what is much like it."""
    rngs = [Random(seed_of(seed, "confirm", candidate.text, i)) for i in range(PROBES)]
    asked = _cycled(questions)
    right = [candidate.prompt(q, rng) for q, rng in zip(asked, rngs, strict=True)]
    return right, [candidate.near_miss(q, rng) for q, rng in zip(asked, rngs, strict=True)]


def _cycled(questions: Sequence[str]) -> list[str]:
    return [questions[i % len(questions)] for i in range(PROBES)]
