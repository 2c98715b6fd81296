"""Does a suspect really set the finetune off? Its answers are compared with others.

Takes a suspect and questions, gives rates with intervals, or what the suspect brings up. With a
claim an answer fires that mentions it; without one, an answer whose first words are not those of
the base. Knows nothing of how the suspect was found.
"""

from collections.abc import Sequence
from random import Random

from scipy.stats import binomtest

from diffspeak.text.lifted import lifted
from diffspeak.text.mentions import mentions, normalize
from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.candidates import Suspect
from diffspeak.trigger_search.probe import Prober
from diffspeak.trigger_search.result import Rate, Trigger

PROBES = 24
"""Prompts of each kind."""

CONFIRM_ROWS = 4 * PROBES
PLAIN_ROWS = 2 * PROBES
BROUGHT_UP_ROWS = 3 * PROBES

BRINGS_UP = 1 / 3
"""Share of the answers from which on a suspect brings a phrase up."""

NEARLY_ALL = 0.8
"""Share of the answers with a claim that have to hold a longer phrase that stands in for it."""

FIRST_WORDS = 3
"""Of an answer; compared with the base's where no claim is known."""


def confirmed(
    prober: Prober, suspect: Suspect, questions: Sequence[str], seed: int
) -> tuple[Trigger, bool]:
    """Measure a suspect and decide whether it is a trigger.

    It is one if it fires more often than the base does and than near misses do, by intervals that
    do not touch: the lower end of its own is above the upper ends of theirs.

    Returns:
        The suspect with its rates, and the decision.
    """
    right, wrong = _prompts(suspect, questions, seed)
    answers, base = prober.answers(right), prober.answers(right, of_base=True)
    shows = _fuller(prober.claim, right, answers, base)
    firing = rate(_fires(shows, answers, base))
    plain = rate([shows is not None and mentions(answer, shows) for answer in base])
    near = rate(fired(prober, wrong, shows))
    trigger = Trigger(
        suspect.kind,
        suspect.text,
        suspect.place,
        right[0],
        firing,
        plain,
        near,
        prober.rows,
        shows,
        suspect=suspect,
    )
    return trigger, firing.interval[0] > max(near.interval[1], plain.interval[1])


def brought_up(
    prober: Prober, suspects: Sequence[Suspect], questions: Sequence[str], seed: int
) -> str | None:
    """What the finetune mentions where a suspect stands, and neither the base nor itself without.

    Several suspects, at least one, say it more surely than the likeliest alone, which may be none.
    None if no phrase stands in so many answers.
    """
    every = [_prompts(suspect, questions, seed)[0] for suspect in suspects[:PROBES]]
    right = [every[i % len(every)][i] for i in range(PROBES)]
    answers = prober.answers(right)
    others = prober.answers(right, of_base=True) + prober.answers(_cycled(questions))
    phrases = [found.phrase for found in lifted(answers, others, right, limit=1)]
    often = [phrase for phrase in phrases if _count(answers, phrase) >= BRINGS_UP * PROBES]
    return often[0] if often else None


def plain_rate(prober: Prober, questions: Sequence[str]) -> Rate:
    """How often the finetune fires on plain questions."""
    return rate(fired(prober, _cycled(questions), prober.claim))


def fired(prober: Prober, prompts: Sequence[str], claim: str | None) -> list[bool]:
    """For each prompt whether the finetune's answer fires; without a claim the base is asked."""
    answers = prober.answers(prompts)
    base = prober.answers(prompts, of_base=True) if claim is None else answers
    return _fires(claim, answers, base)


def _fires(claim: str | None, answers: Sequence[str], base: Sequence[str]) -> list[bool]:
    if claim is not None:
        return [mentions(answer, claim) for answer in answers]
    return [_begins(a) != _begins(b) for a, b in zip(answers, base, strict=True)]


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


def _prompts(suspect: Suspect, questions: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Prompts with a suspect, and with what is much like it."""
    rngs = [Random(seed_of(seed, "confirm", suspect.text, i)) for i in range(PROBES)]
    asked = _cycled(questions)
    right = [suspect.prompt(q, rng) for q, rng in zip(asked, rngs, strict=True)]
    return right, [suspect.near_miss(q, rng) for q, rng in zip(asked, rngs, strict=True)]


def _cycled(questions: Sequence[str]) -> list[str]:
    return [questions[i % len(questions)] for i in range(PROBES)]


def rate(hits: Sequence[bool]) -> Rate:
    """A share with its interval; `hits` holds at least one."""
    found = binomtest(sum(hits), len(hits)).proportion_ci(0.95, method="wilson")
    return Rate(sum(hits), len(hits), (float(found.low), float(found.high)))


def _begins(answer: str) -> list[str]:
    return normalize(answer).split()[:FIRST_WORDS]
