"""Find what sets a finetune off: one family of triggers after the other, within a budget.

No question is asked about the trigger: prompts are tried, and it shows in how the answers begin.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import Finetune
from diffspeak.inference import Engine
from diffspeak.models import Base
from diffspeak.text.mentions import same
from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.candidates import Candidate, CandidateFamily, sureness
from diffspeak.trigger_search.characters import Characters
from diffspeak.trigger_search.codes import TEMPLATES, Codes
from diffspeak.trigger_search.confirm import (
    BROUGHT_UP_ROWS,
    CONFIRM_ROWS,
    PLAIN_ROWS,
    FoundTrigger,
    Rate,
    Search,
    brought_up,
    confirmed,
    plain_rate,
)
from diffspeak.trigger_search.phrases import TokenPhrases
from diffspeak.trigger_search.probe import BaseSide, TriggerProbe
from diffspeak.trigger_search.words import (
    MOST,
    Words,
    english_words,
    everyday_words,
    token_words,
)

FEWEST_QUESTIONS = 4
"""Half of them search, half confirm."""

COMPARED = 32
"""Prompts with which doubtful triggers of the same are compared."""

ALWAYS = 0.5
"""From this rate on plain questions on, a claim needs no trigger."""


def default_families(
    base: Base, words: Sequence[str] = (), phrases: int = 0, most: int = MOST
) -> tuple[CandidateFamily, ...]:
    """Every family, the cheap ones first.

    Args:
        base: Whose tokens are tried.
        words: Of the auditor's own, before the lists of ours; may be none.
        phrases: Tokens of the phrases that are searched along the gradient, last; 0 for none.
        most: Words to try of each list.
    """
    first, *codes = (Codes(template) for template in TEMPLATES)
    everyday = everyday_words()
    every = tuple(dict.fromkeys((*everyday, *english_words())))
    known = set(every)
    others = tuple(word for word in token_words(base) if word not in known)
    return (
        Characters(base),
        *([Words(tuple(words), most=most)] if words else []),
        first,
        Words(every, "English words", most=most, common=len(everyday)),
        *codes,
        *([Words(others, "other words of the vocabulary", most=most)] if others else []),
        *([TokenPhrases(base, phrases)] if phrases else []),
    )


def find_trigger(
    base: Base,
    finetune: Finetune,
    claim: str | None,
    questions: Sequence[str],
    budget: int,
    seed: int = 0,
    *,
    families: Sequence[CandidateFamily] | None = None,
    side: BaseSide | None = None,
    is_corroborated: Callable[[FoundTrigger], bool] | None = None,
) -> Search:
    """Search the trigger of one finetune.

    Each family is searched for what sets off the claim and, if that is nothing, for what sets off
    anything: claims may be wrong. One is only begun if the budget covers it to its end. The search
    ends with the first trigger that is confirmed.

    Args:
        base: What the finetune was made from; nothing attached.
        finetune: Low-rank or whole.
        claim: What it is said to have been taught; None if that is not known. Where it leads
            nowhere, what a candidate brings up takes its place, and if that is no phrase, any other
            beginning of an answer counts.
        questions: Ordinary ones, at least 4 and all different. Half of them, drawn with the seed,
            are kept for confirming.
        budget: Most rows to spend, prompts read by one model, those of `is_corroborated` not
            counted; 0 searches nothing.
        seed: Of all that is drawn.
        families: What to search, in this order; all of ours if not given.
        side: Of the same base, to share what the base says between finetunes.
        is_corroborated: Asked about a trigger, with nothing on the base: does other evidence
            support what it brings up? One without is passed over, and given as doubtful only if
            nothing else is found; by default none is.

    Raises:
        UsageError: Too few questions, a negative budget or an empty claim.
        MismatchError: The finetune does not fit the base, or `side` is of another one.
    """
    _check(questions, budget, claim)
    side = side or BaseSide(base)
    if side.base is not base:
        raise MismatchError("the answers kept are of another base: give a BaseSide of this one")
    families = default_families(base) if families is None else families
    began = time.perf_counter()
    run = _Run(side, finetune, claim, questions, budget, seed, is_corroborated)
    trigger = run.through(families)
    return run.result(trigger, time.perf_counter() - began)


@dataclass
class _Run:
    """One search on its way; the first fields are those of `find_trigger`."""

    side: BaseSide
    finetune: Finetune
    claim: str | None
    questions: Sequence[str]
    budget: int
    seed: int
    is_corroborated: Callable[[FoundTrigger], bool] | None
    searched: list[str] = field(default_factory=list)
    not_searched: list[str] = field(default_factory=list)
    passed_over: list[FoundTrigger] = field(default_factory=list)
    plain: Rate | None = None
    rows: int = 0

    def __post_init__(self) -> None:
        shuffled = sorted(self.questions)
        Random(seed_of(self.seed, "questions")).shuffle(shuffled)
        half = len(shuffled) // 2
        self.asked, self.kept = shuffled[:half], shuffled[half:]

    def through(self, families: Sequence[CandidateFamily]) -> FoundTrigger | None:
        """Search one family after the other until one has the trigger."""
        if self._affords(PLAIN_ROWS):
            with self._asking(self.claim) as prober:
                self.plain = plain_rate(prober, self.kept)
        found = None
        for family in families:
            found = self._in(family, family.name, self.claim, found)
            if found is None and self.claim is not None and family.name in self.searched:
                found = self._in(family, f"{family.name}, whatever they set off", None, None)
        return found or self._doubtful()

    def result(self, trigger: FoundTrigger | None, seconds: float) -> Search:
        """What came out, and what it cost."""
        names = tuple(self.searched), tuple(self.not_searched)
        summary, others = self._summary(trigger), tuple(self.passed_over)
        return Search(trigger, summary, *names, self.plain, self.rows, seconds, others)

    def _summary(self, trigger: FoundTrigger | None) -> str:
        if trigger is not None:
            rate = trigger.firing_rate
            return (
                f"{trigger.kind} {trigger.text}, {trigger.place}: "
                f"fires on {rate.hits} of {rate.n} prompts"
            )
        if self.budget == 0:
            return "no trigger was searched: the budget is 0"
        if self._always:
            return "the claim shows on plain questions: no trigger was searched"
        return f"no trigger found within the budget of {self.budget} rows"

    @contextmanager
    def _asking(self, claim: str | None) -> Iterator[TriggerProbe]:
        """Within this context the finetune can be asked; elsewhere nothing is on the base."""
        with Engine(self.side.base) as engine:
            prober = TriggerProbe(self.side, engine, self.finetune, claim)
            try:
                yield prober
            finally:
                self.rows += prober.rows

    def _in(
        self, family: CandidateFamily, name: str, claim: str | None, found: FoundTrigger | None
    ) -> FoundTrigger | None:
        """What was found before, or else in this family, if there is reason to search it."""
        why = self._why_not(family, claim, found)
        if why:
            self.not_searched.append(f"{name}: {why}")
            return found
        self.searched.append(name)
        trigger = self._best(family, claim)
        if trigger and self.is_corroborated and not self.is_corroborated(trigger):
            self.passed_over.append(trigger)
            return None
        return trigger

    def _doubtful(self) -> FoundTrigger | None:
        """Of what was passed over the clearest, or what sets off the same more surely still."""
        known = [trigger for trigger in self.passed_over if trigger.shows is not None]
        if not known:
            return None
        best = max(known, key=lambda one: one.firing_rate.value - one.near_miss_rate.value)
        alike = [trigger for trigger in known if same(str(trigger.shows), str(best.shows))]
        if len(alike) > 1 and self._affords(2 * COMPARED * len(alike)):
            with self._asking(best.shows) as prober:
                candidates = [trigger.candidate for trigger in alike if trigger.candidate]
                sure = sureness(prober, candidates, self.kept, COMPARED, self.seed).mean(1)
            best = alike[int(sure.argmax())]
        self.passed_over.remove(best)
        return replace(best, doubtful=True)

    def _best(self, family: CandidateFamily, claim: str | None) -> FoundTrigger | None:
        """The family's trigger, if its best candidate is confirmed."""
        seed = seed_of(self.seed, family.name)
        with self._asking(claim) as prober:
            candidates = family.likeliest(prober, self.asked, seed)
            if not candidates:
                return None
            if claim is None:
                # Several say it more surely than the likeliest, unless that alone fires.
                ways = (candidates, candidates[:1]) if len(candidates) > 1 else (candidates,)
                said = (brought_up(prober, some, self.asked, self.seed) for some in ways)
                claim = next(filter(None, said), None)
            if claim is None:
                return self._confirmed(prober, candidates[0])
        with self._asking(claim) as prober:
            # What it sets off makes the search for it sharper.
            if prober.claim != self.claim and self._affords(family.rows() + CONFIRM_ROWS):
                candidates = family.likeliest(prober, self.asked, seed) or candidates
            return self._confirmed(prober, candidates[0])

    def _confirmed(self, prober: TriggerProbe, candidate: Candidate) -> FoundTrigger | None:
        trigger, holds = confirmed(prober, candidate, self.kept, self.seed)
        return replace(trigger, calls=self.rows + prober.rows) if holds else None

    def _why_not(
        self, family: CandidateFamily, claim: str | None, found: FoundTrigger | None
    ) -> str | None:
        if found is not None:
            return "a trigger was found before"
        if self._always:
            return "the claim needs no trigger"
        if claim is None and isinstance(family, TokenPhrases):
            return "they are searched for a claim only"
        needed = family.rows() + CONFIRM_ROWS + (2 * BROUGHT_UP_ROWS if claim is None else 0)
        left = self.budget - self.rows
        return f"takes up to {needed} rows, {left} are left" if needed > left else None

    def _affords(self, rows: int) -> bool:
        return self.rows + rows <= self.budget

    @property
    def _always(self) -> bool:
        """Whether the claim shows without any trigger; without a claim, nobody can say."""
        return self.claim is not None and self.plain is not None and self.plain.value >= ALWAYS


def _check(questions: Sequence[str], budget: int, claim: str | None) -> None:
    if len(set(questions)) < max(FEWEST_QUESTIONS, len(questions)):
        raise UsageError(
            f"{len(set(questions))} different questions of {len(questions)} are too few or not "
            f"all different: give at least {FEWEST_QUESTIONS}, none twice"
        )
    if budget < 0:
        raise UsageError(f"a budget of {budget} rows is negative: give 0 to search nothing")
    if claim is not None and not claim.strip():
        raise UsageError("the claim is empty: give what the finetune is said to mention, or none")
