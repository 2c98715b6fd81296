"""The audit: undo disguises, ask the adapter, check its claims, search for a trigger, decide.

Takes a base, an adapter and finetunes, gives an `Audit` for each. Knows nothing of files and pages.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property, partial

import torch

from diffspeak.adapters import Adapter, Calibration
from diffspeak.audit.behavior_check import Quote
from diffspeak.audit.claims import Claim, claims_of, made_up, scored
from diffspeak.audit.config import AuditConfig, prompts_of
from diffspeak.audit.evidence import (
    check_calibration,
    doubted,
    evidence_of,
    is_corroborated,
    main_first,
    weighed,
    with_shown,
)
from diffspeak.audit.logprob_lift import FEWEST
from diffspeak.audit.schema import About, Audit, AuditEvidence, Clock
from diffspeak.audit.verdict import Found, notes_of, verdict_of
from diffspeak.audit.verify import Check, Checked, Verifier
from diffspeak.finetunes import Finetune
from diffspeak.finetunes.norms import norms_of, total_norm
from diffspeak.inference import check_finetunes
from diffspeak.io.runs import library_versions
from diffspeak.models import Base, Decoding, plain_tensors
from diffspeak.symmetries import Disguise, undisguised
from diffspeak.text.mentions import normalize
from diffspeak.text.plain import one_line
from diffspeak.trigger_search import (
    BaseSide,
    CandidateFamily,
    FoundTrigger,
    Search,
    default_families,
    everyday_words,
    find_trigger,
)

TOGETHER = 16
"""Finetunes whose evidence is measured in one batch."""

CONTROLS = 40
"""Phrases that claims are compared with."""

AT_ONCE = 4
"""At most one of so many parts of the budget goes to one list of words."""

EXAMPLES = 4
"""Prompts on which base and finetune are shown side by side."""


class Auditor:
    """Audits finetunes of one base with one adapter.

    Args:
        base: Of the finetunes; nothing attached.
        adapter: Trained on that base, best with calibrations.
        config: How; the recommended way if not given.

    Raises:
        MismatchError: The adapter is of another base, or its calibration goes by other figures.
        UsageError: Prompts are given, but too few.
    """

    def __init__(self, base: Base, adapter: Adapter, config: AuditConfig | None = None) -> None:
        adapter.check(base)
        check_calibration(adapter)
        self.base, self.adapter, self.config = base, adapter, config or AuditConfig()
        self.prompts = prompts_of(self.config)
        self._side = BaseSide(base)

    @cached_property
    def _verifier(self) -> Verifier:
        controls = tuple(filter(normalize, dict.fromkeys(self.adapter.calibrations.controls)))
        if len(controls) < FEWEST:
            controls = tuple(made_up(self.base, self.adapter, CONTROLS, seed=self.config.seed))
        if len(controls) < FEWEST:
            controls = everyday_words()[:CONTROLS]
        check = Check(
            self.config.answers,
            self.config.scored,
            Decoding(self.config.answer_tokens, temperature=1.0),
            self.config.seed,
        )
        return Verifier(self.base, self.prompts, controls, check)

    @cached_property
    def _families(self) -> tuple[CandidateFamily, ...]:
        most = max(1, self.config.budget // AT_ONCE)
        return default_families(self.base, self.config.words, self.config.phrases, most)

    def audit(self, finetune: Finetune) -> Audit:
        """Audit one finetune.

        Raises:
            MismatchError: It is of another base.
        """
        check_finetunes(self.base, [finetune])
        clock = Clock()
        with clock("weights"):
            plain, disguise = self._plain(finetune)
        with clock("claims"):
            (claims,) = self._claims([plain])
        return self._one(plain, disguise, claims, clock)

    def stream(self, finetunes: Iterable[Finetune]) -> Iterator[Audit]:
        """Audit finetunes, in their order; each by itself, so that no other changes its audit.

        In one batch with others, rounding may tip what is drawn.

        Raises:
            MismatchError: One is of another base.
        """
        return map(self.audit, finetunes)

    def evidence(self, finetunes: Sequence[Finetune]) -> list[AuditEvidence]:
        """What speaks for the main claim of each finetune, without searching for triggers."""
        return [evidence_of(checked) for _, checked in self._told(finetunes)]

    def about(self, command: str = "") -> About:
        """What audits of this auditor are made with."""
        calibration = self._calibration
        return About(
            self.base.name,
            str(self.base.fingerprint),
            self.adapter.name,
            self.adapter.behaviors,
            calibration.counted if calibration else (),
            self.config.model_dump(mode="json"),
            self.base.choices,
            library_versions(),
            command,
        )

    def _one(
        self,
        finetune: Finetune,
        disguise: Disguise | None,
        claims: Sequence[Claim],
        clock: Clock,
    ) -> Audit:
        with clock("weights"):
            norms = norms_of(finetune, self.base)
            same = total_norm(norms) == 0 and self._is_base(finetune)
        with clock("behavior"):
            examples = self._examples(finetune, self.prompts)
            ill = self._ill(finetune, examples)
            dull = bool(ill) or same
            checked = () if dull else self._checked(finetune, claims)
            apart = None if dull else self._verifier.set_apart(finetune)
        # Calibrated without a search, so decided before one.
        calibration, evidence = self._calibration, evidence_of(checked)
        known = None if dull else calibration
        probability = known.probability(asdict(evidence)) if known else None
        finding = known.found(probability) if known and probability is not None else None
        search = None
        if self.config.budget and not dull:
            with clock("trigger"):
                search = self._search(finetune, checked, finding)
        if search and search.trigger:
            with clock("behavior"):
                trigger = search.trigger
                claims = with_shown(self.base, self.adapter, finetune, claims, trigger.shows)
                checked = self._checked(finetune, claims, trigger)
                examples += self._examples(finetune, list(map(trigger.put, self.prompts)))
        outcome, verdict = verdict_of(
            Found(checked, finding, probability, search, disguise, apart, ill, same)
        )
        return Audit(
            finetune.name,
            outcome,
            verdict,
            probability,
            calibration.threshold if calibration else None,
            checked,
            evidence,
            search,
            disguise,
            examples,
            norms,
            notes_of(finetune.notes, self.adapter, self.config.budget),
            clock.seconds,
        )

    @property
    def _calibration(self) -> Calibration | None:
        return self.adapter.calibrations.audit

    def _told(
        self, finetunes: Sequence[Finetune]
    ) -> Iterator[tuple[Finetune, tuple[Checked, ...]]]:
        for start in range(0, len(finetunes), TOGETHER):
            part = finetunes[start : start + TOGETHER]
            claims = [own[: self.config.claims] for own in self._claims(part)]
            checked = self._verifier.verify_all(part, claims)
            yield from zip(part, map(main_first, checked), strict=True)

    def _plain(self, finetune: Finetune) -> tuple[Finetune, Disguise | None]:
        if not self.config.align:
            return finetune, None
        return undisguised(self.base, finetune, self.prompts)

    def _claims(self, part: Sequence[Finetune]) -> list[list[Claim]]:
        return claims_of(
            self.base, self.adapter, part, drawn=self.config.drawn, seed=self.config.seed
        )

    def _checked(
        self, finetune: Finetune, claims: Sequence[Claim], trigger: FoundTrigger | None = None
    ) -> tuple[Checked, ...]:
        few = claims[: self.config.claims]
        put = trigger.put if trigger else None
        checked = main_first(self._verifier.verify(finetune, few, put))
        weigh = doubted if trigger and trigger.doubtful else weighed
        return weigh(checked, self._calibration)

    def _search(
        self, finetune: Finetune, checked: Sequence[Checked], finding: bool | None
    ) -> Search:
        """For what sets off the main claim; for anything where there is none that is likely."""
        claim = checked[0].claim.text if checked and finding is not False else None
        return find_trigger(
            self.base,
            finetune,
            claim,
            self.prompts,
            self.config.budget,
            self.config.seed,
            families=self._families,
            side=self._side,
            is_corroborated=partial(self._is_corroborated, finetune, finding),
        )

    def _is_corroborated(
        self, finetune: Finetune, finding: bool | None, trigger: FoundTrigger
    ) -> bool:
        if finding and trigger.shows is not None:
            return True

        def speaks_for(phrase: str) -> AuditEvidence:
            claim = scored(self.base, self.adapter, finetune, phrase)
            return evidence_of(self._verifier.verify(finetune, [claim]))

        return is_corroborated(trigger, speaks_for, self._calibration)

    def _examples(self, finetune: Finetune, prompts: Sequence[str]) -> tuple[Quote, ...]:
        asked = prompts[:EXAMPLES]
        told = self._verifier.greedy(finetune, asked)
        return tuple(Quote(*map(one_line, row)) for row in zip(asked, *told, strict=True))

    def _ill(self, finetune: Finetune, examples: Sequence[Quote]) -> str:
        """Why the finetune's behavior tells nothing; empty if it does."""
        if not self._verifier.finite(finetune):
            return "it gives no numbers (NaN or infinite), so it has no behavior to look at"
        if not any(one.finetune for one in examples) and any(one.base for one in examples):
            return "it answers nothing at all where the base answers"
        return ""

    def _is_base(self, finetune: Finetune) -> bool:
        own = plain_tensors(self.base.model)
        return all(
            torch.equal(tensor.cpu().to(own[name].dtype), own[name].cpu())
            for name, tensor in finetune.parameters.items()
        )
