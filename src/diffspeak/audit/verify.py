"""Whether a finetune does what is claimed of it: claims checked by behavior, without any judge.

Takes a finetune, claims and prompts, gives for each claim a verdict with its evidence. Knows
nothing of adapters, nor what the finetune was taught.

Two things are looked at, on the prompts as they are and, if a trigger is known, with it. *Answers*:
does the claim show in more answers of the finetune than of the base? *Lift*: did the claim's words
become likelier than those of controls? A change behind an unknown trigger shows in no answer, but
it leaks into the lift.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from diffspeak.audit.claims import Claim
from diffspeak.audit.verify_answers import (
    Other,
    Quote,
    Shown,
    quotes,
    shown,
    something_else,
)
from diffspeak.audit.verify_lifts import FEWEST, Lift, Scale, lift_of
from diffspeak.errors import UsageError
from diffspeak.evaluate.methods.asking import check_finetunes
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.interpret import answers
from diffspeak.models import Base, Decoding
from diffspeak.text.mentions import normalize
from diffspeak.text.plain import one_line

Verdict = Literal["confirmed", "not confirmed", "contradicted"]
Triggered = Callable[[str], str]
"""Puts the trigger into a prompt."""

PLAIN, FIRED = "as they are", "with the trigger"
"""The two kinds of prompts."""

MORE = 0.02
"""Lower end of the interval of how much more often a confirmed claim shows than in the base: beyond
chance, and some. Of wrong topics none came near it."""

WORDS = 0.8
"""Share of a claim's words that have to show significantly more often. Two headlines with most of
their words in common are told apart by it: true ones nearly always have more, wrong ones less."""

STANDS_OUT = 5.0
"""z-score of the lift from which a claim may count as confirmed though no answer shows it."""

LIKELIER = 1.3
"""Nats a token that it takes too: where hardly anything moved, little stands out. What both let
through on the pocket base is in `docs/log.md`."""

ELSE = 0.3
"""Lower end of the interval for something else, from which it speaks against a claim."""

HARDLY = 1 / 3
"""Share of a claim's words below which a finetune that brings up something else contradicts it."""


class Observed(NamedTuple):
    """What was seen of one claim on one kind of prompt.

    Attributes:
        prompts: `PLAIN` or `FIRED`.
        lift: How much likelier its words became.
        shown: In how many answers it shows.
        other: What the finetune brings up instead, if anything stands out.
        quotes: Examples, finetune and base on the same prompts.
    """

    prompts: str
    lift: Lift
    shown: Shown
    other: Other | None
    quotes: tuple[Quote, ...]


class Checked(NamedTuple):
    """A claim, the verdict on it, the reason in one sentence, and all that was seen."""

    claim: Claim
    verdict: Verdict
    reason: str
    observed: tuple[Observed, ...]


@dataclass(frozen=True)
class Check:
    """How claims are checked.

    Attributes:
        answers: How many are drawn of finetune and of base; prompts are asked again and again
            until there are so many, so that one prompt is enough.
        scored: Prompts behind which lifts are taken, the first ones.
        decoding: Of the answers; drawn, because a greedy answer cannot show a rate.
    """

    answers: int = 24
    scored: int = 8
    decoding: Decoding = Decoding(48, temperature=1.0)


class Verifier:
    """Checks claims of many finetunes on the same prompts; the base's side is computed once.

    Args:
        base: Of the finetunes; nothing attached.
        prompts: Neutral ones, or those that a behavior is about (a news story).
        controls: Phrases of the kind that is claimed, such as other labels, or what
            `audit.claims.made_up` gives; `FEWEST` at least, some dozens are good.
        check: How much is looked at.

    Raises:
        UsageError: No prompts, too few controls, or counts below 1.
    """

    def __init__(
        self,
        base: Base,
        prompts: Sequence[str],
        controls: Sequence[str],
        check: Check | None = None,
    ) -> None:
        self.base, self.check = base, check or Check()
        self.prompts = tuple(prompts)
        self.controls = tuple(dict.fromkeys(c for c in controls if normalize(c)))
        if not self.prompts:
            raise UsageError(
                "there are no prompts to check claims on; give some ordinary questions"
            )
        if len(self.controls) < FEWEST:
            raise UsageError(
                f"claims are compared with at least {FEWEST} other phrases, and there are "
                f"{len(self.controls)}; give more controls"
            )
        if min(self.check.answers, self.check.scored) < 1:
            raise UsageError("checking claims needs at least one answer and one scored prompt")
        self._scale = Scale(base)
        self._of_base: dict[tuple[str, ...], list[str]] = {}

    def verify(
        self, finetune: Finetune, claims: Sequence[Claim], triggered: Triggered | None = None
    ) -> list[Checked]:
        """Check claims of one finetune.

        Args:
            finetune: Whose behavior is looked at.
            claims: Of it, from anywhere.
            triggered: Puts its trigger into a prompt, if one is known.

        Returns:
            One for each claim, in their order.

        Raises:
            MismatchError: The finetune is of another base.
            UsageError: A claim says nothing.
        """
        if not all(normalize(claim.text) for claim in claims):
            raise UsageError("a claim says nothing, so it cannot be checked; leave it out")
        check_finetunes(self.base, [finetune])
        if not claims:
            return []
        kinds = [(PLAIN, self.prompts)]
        if triggered is not None:
            kinds.append((FIRED, tuple(map(triggered, self._asked(self.prompts)))))
        seen = [self._observed(finetune, claims, *kind) for kind in kinds]
        return [_checked(c, own) for c, own in zip(claims, zip(*seen, strict=True), strict=True)]

    def _observed(
        self, finetune: Finetune, claims: Sequence[Claim], name: str, prompts: tuple[str, ...]
    ) -> list[Observed]:
        asked, scored = self._asked(prompts), list(dict.fromkeys(prompts))[: self.check.scored]
        texts = [claim.text for claim in claims]
        lifts = self._scale.lifts(finetune, scored, [*texts, *self.controls])
        (said,) = answers(self.base, [finetune], asked, self.check.decoding)
        if asked not in self._of_base:
            (self._of_base[asked],) = answers(self.base, [NOTHING], asked, self.check.decoding)
        without = self._of_base[asked]
        return [
            Observed(
                name,
                lift_of(text, self.controls, lifts),
                shown(text, said, without),
                something_else(text, asked, said, without),
                quotes(text, asked, said, without),
            )
            for text in texts
        ]

    def _asked(self, prompts: tuple[str, ...]) -> tuple[str, ...]:
        """The prompts, over and over until there is one for each answer."""
        return tuple(prompts[place % len(prompts)] for place in range(self.check.answers))


def verify(
    base: Base,
    finetune: Finetune,
    claims: Sequence[Claim],
    prompts: Sequence[str],
    triggered: Triggered | None = None,
    *,
    controls: Sequence[str],
    check: Check | None = None,
) -> list[Checked]:
    """Check claims of one finetune; see `Verifier`, which does so for many."""
    return Verifier(base, prompts, controls, check).verify(finetune, claims, triggered)


def _checked(claim: Claim, observed: tuple[Observed, ...]) -> Checked:
    """The verdict: what shows in answers counts first, lift where answers tell nothing."""
    clearest = max(observed, key=lambda one: (_tells(one.shown), one.shown.interval[0]))
    if _tells(clearest.shown):
        return Checked(claim, "confirmed", _told(clearest), observed)
    # With its trigger a finetune shows what it does. Without, something open may hide a secret.
    last, lifted = observed[-1], max(observed, key=lambda one: _z(one.lift))
    instead = _brings_up_else(last)
    if _stands_out(lifted.lift) and not (instead and last.prompts == FIRED):
        return Checked(claim, "confirmed", _leaked(lifted), observed)
    if instead and last.shown.share < HARDLY:
        return Checked(claim, "contradicted", _instead(last), observed)
    return Checked(claim, "not confirmed", _nothing(lifted, clearest), observed)


def _tells(seen: Shown) -> bool:
    """Whether a claim shows in answers of the finetune beyond chance, and most of its words do."""
    return seen.interval[0] >= MORE and seen.share >= WORDS


def _brings_up_else(one: Observed) -> bool:
    """Whether the finetune brings up something else, and the claim no more than the base does."""
    return one.other is not None and one.other.interval[0] >= ELSE and one.shown.interval[0] <= 0


def _stands_out(lift: Lift) -> bool:
    return _z(lift) >= STANDS_OUT and lift.nats is not None and lift.nats >= LIKELIER


def _z(lift: Lift) -> float:
    return float("-inf") if lift.z is None else lift.z


def _told(one: Observed) -> str:
    low, high = (max(0.0, 100 * end) for end in one.shown.interval)
    unseen = one_line(", ".join(one.shown.unseen))
    but = f"; what no answers bear out: {unseen}" if unseen else ""
    return (
        f"On the prompts {one.prompts} it shows in {_counts(one.shown)}; that is {low:.0f} to "
        f"{high:.0f} percentage points more{but}."
    )


def _leaked(one: Observed) -> str:
    lift = one.lift
    return (
        f"On the prompts {one.prompts} no more answers show it, but its words became "
        f"{lift.nats:.1f} nats a token likelier, {_place(lift)}: it may need a trigger."
    )


def _instead(one: Observed) -> str:
    assert one.other is not None
    return (
        f'On the prompts {one.prompts} the finetune brings up "{one.other.phrase}" in '
        f"{_counts(one.other, one.shown.answers)}, and the claim in {one.shown.finetune}."
    )


def _nothing(lifted: Observed, clearest: Observed) -> str:
    lift = lifted.lift
    if lift.nats is None:
        return "The finetune gives no numbers (NaN or infinite), so nothing can be confirmed."
    if lift.z == 0:
        return "The finetune answers as the base does."
    return (
        f"It shows in {_counts(clearest.shown)}, and its words became {lift.nats:.1f} nats a token "
        f"likelier, {_place(lift)}: no more than chance allows."
    )


def _counts(seen: Shown | Other, answers: int | None = None) -> str:
    n = seen.answers if isinstance(seen, Shown) else answers
    return f"{seen.finetune} of {n} answers (base: {seen.base})"


def _place(lift: Lift) -> str:
    z = "" if lift.z is None else f", z = {lift.z:.1f}"
    if not lift.above:
        return f"more than any of {lift.controls} other phrases{z}"
    return f"where {lift.above} of {lift.controls} other phrases became likelier still{z}"
