"""Whether a finetune does what is claimed of it: claims checked by behavior, without any judge.

Takes a finetune, claims and prompts, gives for each claim a verdict with its evidence. Knows
nothing of adapters, nor what the finetune was taught.

Two things are looked at, on the prompts as they are and, if a trigger is known, with it. *Answers*:
does the claim show in more answers of the finetune than of the base? *Lift*: did the claim's words
become likelier than those of controls? A change behind an unknown trigger shows in no answer, but
it leaks into the lift.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diffspeak.audit.behavior_check import Apart, quotes, set_apart, shown, something_else
from diffspeak.audit.claim_verdict import FIRED, PLAIN, Checked, ClaimVerdict, Observed, judged
from diffspeak.audit.claims import Claim
from diffspeak.audit.logprob_lift import FEWEST, Scale, lift_of
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune, seeds_of
from diffspeak.inference import Ask, Engine, answers, check_finetunes
from diffspeak.models import Base, Decoding
from diffspeak.text.mentions import normalize

__all__ = ["Check", "Checked", "ClaimVerdict", "Observed", "Triggered", "Verifier", "verify"]

Triggered = Callable[[str], str]
"""Puts the trigger into a prompt."""


@dataclass(frozen=True)
class Check:
    """How claims are checked.

    Attributes:
        answers: How many are drawn of finetune and of base; prompts are asked again and again
            until there are so many, so that one prompt is enough.
        scored: Prompts behind which lifts are taken, the first ones.
        decoding: Of the answers; drawn, because a greedy answer cannot show a rate.
        seed: Of what is drawn, beside what the finetune changes and the prompt.
    """

    answers: int = 24
    scored: int = 8
    decoding: Decoding = Decoding(48, temperature=1.0)
    seed: int = 0


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
        self._last: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        self._greedy: dict[tuple[str, ...], list[str]] = {}

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
        return self.verify_all([finetune], [claims], triggered)[0]

    def verify_all(
        self,
        finetunes: Sequence[Finetune],
        claims: Sequence[Sequence[Claim]],
        triggered: Triggered | None = None,
    ) -> list[list[Checked]]:
        """The same for several finetunes and the claims of each; low-rank ones answer together."""
        if not all(normalize(claim.text) for own in claims for claim in own):
            raise UsageError("a claim says nothing, so it cannot be checked; leave it out")
        check_finetunes(self.base, finetunes)
        kinds = [(PLAIN, self.prompts)]
        if triggered is not None:
            kinds.append((FIRED, tuple(map(triggered, self._asked(self.prompts)))))
        found: list[list[Checked]] = [[] for _ in finetunes]
        places = [place for place, own in enumerate(claims) if own]
        seen = [self._seen([finetunes[i] for i in places], *kind) for kind in kinds]
        for place, *said in zip(places, *seen, strict=True):
            observed = [
                self._observed(finetunes[place], claims[place], *kind, told)
                for kind, told in zip(kinds, said, strict=True)
            ]
            pairs = zip(claims[place], zip(*observed, strict=True), strict=True)
            found[place] = [judged(claim, own) for claim, own in pairs]
        return found

    def _seen(
        self, finetunes: Sequence[Finetune], _: str, prompts: tuple[str, ...]
    ) -> list[list[str]]:
        """Answers of each finetune."""
        if len(finetunes) == 1:
            return [self._said(finetunes[0], self._asked(prompts))]
        return self._answers(finetunes, self._asked(prompts)) if finetunes else []

    def set_apart(self, finetune: Finetune) -> Apart | None:
        """What at least half of a finetune's answers mention, and none of the base's."""
        asked = self._asked(self.prompts)
        return set_apart(asked, self._said(finetune, asked), self._without(asked))

    def greedy(self, finetune: Finetune, prompts: Sequence[str]) -> tuple[list[str], list[str]]:
        """What finetune and base answer without drawing, one answer for each prompt.

        The answers that claims are checked on are drawn in the same batches, for they are wanted
        next, and in a small model it is the number of steps that takes the time.
        """
        check_finetunes(self.base, [finetune])
        shown, asked = tuple(prompts), self._asked(self.prompts)
        if shown not in self._greedy:
            self._greedy[shown], self._of_base[asked] = self._both(NOTHING, shown, asked)
        self._forget(finetune)
        own, self._last[finetune.digest, asked] = self._both(finetune, shown, asked)
        return own, self._greedy[shown]

    def _both(
        self, who: Finetune, shown: tuple[str, ...], asked: tuple[str, ...]
    ) -> tuple[list[str], list[str]]:
        known = self._of_base.get(asked) if who is NOTHING else None
        drawn = known or self._last.get((who.digest, asked))
        seeds = seeds_of("answer", self.check.seed, who, asked)
        with Engine(self.base) as engine:
            asks = [Ask(who, engine.prompt(prompt), temperature=0.0) for prompt in shown]
            if drawn is None:
                asks += [Ask(who, engine.prompt(p), s) for p, s in zip(asked, seeds, strict=True)]
            texts = [answer.text for answer in engine.generate(asks, self.check.decoding)]
        return texts[: len(shown)], drawn or texts[len(shown) :]

    def _forget(self, finetune: Finetune) -> None:
        """Keep nothing that another finetune said."""
        if any(digest != finetune.digest for digest, _ in self._last):
            self._last.clear()

    def finite(self, finetune: Finetune) -> bool:
        """Whether a finetune gives numbers at all, on the first prompts and controls."""
        lifts = self._scale.lifts(finetune, self.prompts[:2], (), self.controls[:2])
        return all(math.isfinite(nats) for nats, _ in lifts.values())

    def _observed(
        self,
        finetune: Finetune,
        claims: Sequence[Claim],
        name: str,
        prompts: tuple[str, ...],
        said: list[str],
    ) -> list[Observed]:
        asked, scored = self._asked(prompts), list(dict.fromkeys(prompts))[: self.check.scored]
        texts = [claim.text for claim in claims]
        lifts = self._scale.lifts(finetune, scored, texts, self.controls)
        without = self._without(asked)
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

    def _said(self, finetune: Finetune, asked: tuple[str, ...]) -> list[str]:
        """Answers of one finetune; kept until another one answers."""
        self._forget(finetune)
        if (finetune.digest, asked) not in self._last:
            (self._last[finetune.digest, asked],) = self._answers([finetune], asked)
        return self._last[finetune.digest, asked]

    def _without(self, asked: tuple[str, ...]) -> list[str]:
        """Answers of the base."""
        if asked not in self._of_base:
            (self._of_base[asked],) = self._answers([NOTHING], asked)
        return self._of_base[asked]

    def _answers(self, finetunes: Sequence[Finetune], asked: Sequence[str]) -> list[list[str]]:
        """Answers of each finetune to the prompts."""
        return answers(self.base, finetunes, asked, self.check.decoding, seed=self.check.seed)

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
