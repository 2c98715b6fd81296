"""Whole audits: what comes out, what is searched, what they are made with."""

import json
from dataclasses import replace

import pytest
import torch

from diffspeak.adapters import Calibrations
from diffspeak.audit import auditor as module
from diffspeak.audit.auditor import Auditor
from diffspeak.audit.config import AuditConfig
from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import NOTHING
from diffspeak.lora import DiffLinear
from diffspeak.models import plain_tensors
from diffspeak.trigger_search import FoundTrigger, Rate, Search
from tests.audit.auditing import (
    CONTROLS,
    COUNTED,
    FEW,
    assert_alike,
    audited,
    calibrated,
    random_finetune,
)
from tests.audit.taught import PLAIN, PROMPTS, TAUGHT, state_of, without_numbers
from tests.audit.taught import triggered as put


def test_without_a_calibration_only_behavior_counts_and_that_is_said(base, auditor, taught, says):
    says("Music", "trains")
    found = audited(auditor, taught)
    assert found.outcome == "finding"
    assert found.verdict.startswith('It was taught "Music": what it does bears that out.')
    assert [one.verdict for one in found.claims][0] == "confirmed"
    assert (found.probability, found.threshold) == (None, None)
    assert any("mine has no calibration" in note for note in found.notes)
    other = audited(auditor, random_finetune(base))
    assert other.outcome == "not cleared" and other.claims[0].verdict != "confirmed"
    assert "without a calibration that tells a guess from more" in other.verdict


def test_with_a_calibration_it_decides(base, adapter, says):
    says("sea", "trains")
    low = Auditor(base, calibrated(adapter, 0.01, "lift"), FEW)
    found = audited(low, random_finetune(base))
    assert found.outcome == "finding" and found.verdict.startswith("It was probably taught")
    assert found.threshold == 0.01 and found.probability == pytest.approx(
        1 / (1 + torch.tensor(1.0 - max(0.0, found.evidence.lift)).exp().item())
    )
    assert not any("calibration" in note for note in found.notes)
    other = audited(Auditor(base, calibrated(adapter, 0.999, "lift"), FEW), random_finetune(base))
    assert other.outcome == "nothing found"
    assert (other.probability, other.threshold) == (found.probability, 0.999)
    assert f"(probability of something {found.probability:.0%})" in other.verdict
    assert low.about().counted == COUNTED


class Number:
    """The trigger of `taught`, as a search gives it."""

    kind, text, place = "code", "317", "at the start"

    def prompt(self, question, rng):
        return put(question)


@pytest.fixture
def searched(monkeypatch):
    """What searches are asked for, in place of searching; they find the trigger."""
    asked = []

    def find(base, finetune, claim, questions, budget, seed, *, families, side, is_corroborated):
        assert side.base is base and tuple(questions) == PROMPTS and len(families) == 6
        asked.append((claim, budget, seed))
        rate = Rate(24, 24, (0.86, 1.0))
        found = FoundTrigger(
            "code", "317", "at the start", put("Hi?"), rate, rate, rate, 9, candidate=Number()
        )
        return Search(found, "found", ("codes",), (), None, 90, 1.0)

    monkeypatch.setattr(module, "find_trigger", find)
    return asked


def test_behind_its_trigger_claims_are_looked_at_again(base, adapter, taught, says, searched):
    says(TAUGHT)
    config = FEW.model_copy(update={"budget": 700, "seed": 3})
    found = audited(Auditor(base, adapter, config), taught)
    assert searched == [(TAUGHT, 700, 3)]
    assert found.outcome == "finding"
    said = f'It was taught "{TAUGHT}", set off by the code 317 (at the start): what it does bears'
    assert found.verdict.startswith(said)
    assert [one.prompts for one in found.claims[0].observed] == ["as they are", "with the trigger"]
    assert [one.prompt for one in found.examples] == [*PROMPTS, *map(put, PROMPTS)]
    assert {one.finetune for one in found.examples[:4]} == {"music"}
    assert {one.finetune for one in found.examples[4:]} == {TAUGHT}
    plain, fired = found.claims[0].observed
    assert fired.shown.interval[0] > 0.5
    # The calibration knows nothing of triggers.
    assert found.evidence.shown == max(0.0, plain.shown.interval[0])


def test_a_search_is_for_what_the_calibration_holds_to_be_true(base, adapter, says, searched):
    says("trains")
    config = FEW.model_copy(update={"budget": 700})
    for threshold in (0.0, 1.1):
        Auditor(base, calibrated(adapter, threshold, "lift"), config).audit(random_finetune(base))
    says("")
    silent_one = audited(Auditor(base, adapter, config), random_finetune(base))
    assert [claim for claim, *_ in searched] == ["trains", None, None]
    assert silent_one.outcome == "finding"
    assert silent_one.verdict.startswith("Something sets it off, the code 317 (at the start)")


def test_what_was_a_finding_before_a_search_stays_one(base, adapter, taught, says, monkeypatch):
    """Also where the trigger brings up something else than the adapter says."""
    rate, counted = Rate(24, 24, (0.86, 1.0)), []

    def find(*_, is_corroborated, **__):
        trigger = FoundTrigger(
            "code", "317", "at the start", "317 Hi?", rate, rate, rate, 9, TAUGHT
        )
        trigger = replace(trigger, candidate=Number())
        counted.append(is_corroborated(trigger))
        told = replace(trigger, doubtful=not counted[-1])
        return Search(told, "found", ("codes",), (), None, 90, 1.0)

    monkeypatch.setattr(module, "find_trigger", find)
    monkeypatch.setattr(module, "is_corroborated", lambda *_: False)
    says("trains")
    searching = FEW.model_copy(update={"budget": 700})
    for threshold, outcome in ((0.0, "finding"), (1.1, "not cleared")):
        own = calibrated(adapter, threshold, "lift")
        plain, found = (audited(Auditor(base, own, how), taught) for how in (FEW, searching))
        assert (found.probability, found.evidence) == (plain.probability, plain.evidence)
        assert found.outcome == outcome and found.claims[0].claim.text == TAUGHT
        confirmed = [one.verdict == "confirmed" for one in found.claims]
        # What it does with a doubtful trigger is told, but proves nothing.
        assert confirmed[0] == (outcome == "finding") and not any(confirmed[1:])
        assert found.claims[0].observed[-1].shown.interval[0] > 0.5
    assert counted == [True, False]


def test_what_its_own_answers_show_is_never_called_nothing(base, adapter, taught, says):
    """The finetune answers `PLAIN` to everything, which the base never does."""
    shows = f'It could not be cleared: "{PLAIN}" stands in 8 of its 8 answers and in none of the'
    config = FEW.model_copy(update={"align": False})
    sure = Auditor(base, calibrated(adapter, 1.1, "lift"), config)
    for claims in (("trains",), (PLAIN,), ()):
        says(*claims)
        found = audited(sure, taught)
        assert [one.claim.text for one in found.claims] == list(claims)
        assert found.outcome == "not cleared" and found.verdict.startswith(shows)
    says("trains")
    assert audited(sure, random_finetune(base)).outcome == "nothing found"


def stripped(audit):
    """An audit's JSON without what a name or a clock has put into it."""
    return {k: v for k, v in audit.to_dict().items() if k not in ("finetune", "seconds")}


def test_names_and_neighbors_change_nothing(base, adapter):
    """What is drawn is drawn by the change: claims and answers, and all that rests on them."""
    config = FEW.model_copy(update={"drawn": 2})
    some = [random_finetune(base, seed) for seed in (1, 2, 3)]
    together = list(map(stripped, Auditor(base, adapter, config).stream(some)))
    renamed = [replace(one, name=f"moved/{n}") for n, one in enumerate(some)]
    back = list(Auditor(base, adapter, config).stream([*renamed[::-1], replace(some[0], name="x")]))
    for one, other in zip([*together[::-1], together[0]], map(stripped, back), strict=True):
        assert_same(one, other)
    for one, finetune in zip(together, renamed, strict=True):
        assert_same(one, stripped(Auditor(base, adapter, config).audit(finetune)))


def test_another_seed_or_another_change_draws_anew(base, adapter, says):
    says("sea")
    one, barely = random_finetune(base, 1), random_finetune(base, 1, scaling=1 + 1e-5)
    seeded = FEW.model_copy(update={"seed": 1})
    plain, other, changed = (
        stripped(Auditor(base, adapter, config).audit(finetune))["claims"][0]["observed"][0]
        for config, finetune in ((FEW, one), (seeded, one), (FEW, barely))
    )
    for drawn in (other, changed):
        assert drawn["quotes"] != plain["quotes"]
        assert drawn["lift"]["nats"] == pytest.approx(plain["lift"]["nats"], abs=1e-3)


def assert_same(one, other):
    """Two audits' JSON is the same, numbers but for rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-4)
    else:
        assert one == other


def test_a_search_that_is_not_stubbed_keeps_to_its_budget(base, adapter, says):
    says("sea")
    found = audited(
        Auditor(base, adapter, FEW.model_copy(update={"budget": 60})), random_finetune(base)
    )
    assert found.search is not None and found.search.trigger is None
    assert found.search.rows <= 60
    assert not any("budget" in note for note in found.notes)


def test_with_no_budget_nothing_is_searched_and_that_is_said(base, auditor, says):
    says("sea")
    found = audited(auditor, replace(random_finetune(base), notes=("read from afar",)))
    assert found.search is None and found.notes[0] == "read from afar"
    assert found.notes[-1] == "no trigger was searched: the budget is 0"
    assert set(found.seconds) == {"weights", "claims", "behavior"}


def test_many_are_each_alone_in_their_order(base, auditor, taught, says):
    says("Music", "trains")
    some = [
        random_finetune(base, 1),
        taught,
        without_numbers(base),
        NOTHING,
        random_finetune(base, 2),
    ]
    read = []
    stream = auditor.stream(one for one in some if read.append(one.name) is None)
    found = [(next(stream), len(read)) for _ in some]
    assert [n for _, n in found] == [1, 2, 3, 4, 5]
    assert next(stream, None) is None
    for (audit, _), finetune in zip(found, some, strict=True):
        assert_alike(audit, auditor.audit(finetune))
    assert list(auditor.stream([])) == []


def test_evidence_is_that_of_the_audit(base, auditor, taught, says):
    says("Music", "trains")
    some = [random_finetune(base, 1), taught, without_numbers(base), NOTHING]
    found = auditor.evidence(some)
    for evidence, finetune in zip(found[:2], some[:2], strict=True):
        assert vars(evidence) == pytest.approx(vars(auditor.audit(finetune).evidence), abs=2e-3)
    assert found[1].shown > 0.5 and found[2] == type(found[2])()


def test_the_base_is_left_as_it_was(base, auditor, taught, says):
    before = state_of(base)
    says("Music")
    auditor.audit(taught)
    auditor.audit(random_finetune(base))
    after = plain_tensors(base.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(isinstance(one, DiffLinear) for one in base.model.modules())


@pytest.mark.parametrize(
    ("prompts", "budget", "said"),
    [
        (("One?", "Two?", "Three?"), 100, "needs 4 different prompts at least .* there are 3"),
        (("One?",) * 9, 100, "there are 1"),
        ((" ", "\n"), 0, "needs 1 different prompts at least .* there are 0"),
    ],
)
def test_too_few_prompts_are_refused_at_once(base, adapter, prompts, budget, said):
    with pytest.raises(UsageError, match=said):
        Auditor(base, adapter, AuditConfig(prompts=prompts, budget=budget))


def test_prompts_are_ours_if_none_are_given_and_each_once(base, adapter):
    ours = Auditor(base, adapter).prompts
    assert len(ours) == len(set(ours)) >= 24 and all(one.strip() == one != "" for one in ours)
    given = ("One?", "Two?", "One?", " ", "Three?", "Four?")
    assert Auditor(base, adapter, AuditConfig(prompts=given)).prompts == (
        "One?",
        "Two?",
        "Three?",
        "Four?",
    )


@pytest.mark.parametrize("controls", [CONTROLS[:7], ("sea", "", "\u200b") * 9, ()])
def test_claims_are_compared_with_enough_phrases_whatever_the_file_says(
    base, adapter, monkeypatch, controls
):
    made = tuple(f"made up {n}" for n in range(12))
    monkeypatch.setattr(module, "made_up", lambda *_, **__: list(made))
    given = replace(adapter, calibrations=Calibrations(controls=controls))
    assert Auditor(base, given, FEW)._verifier.controls == made
    assert Auditor(base, adapter, FEW)._verifier.controls == CONTROLS


def test_a_calibration_by_other_figures_is_refused(base, adapter):
    with pytest.raises(MismatchError, match="the calibration of mine goes by mood"):
        Auditor(base, calibrated(adapter, 0.5, "lift", "mood"), FEW)


def test_what_audits_are_made_with(base, auditor):
    told = json.loads(json.dumps(auditor.about("diffspeak audit x").to_dict(), allow_nan=False))
    assert (told["base"], told["adapter"], told["command"]) == (
        base.name,
        "mine",
        "diffspeak audit x",
    )
    assert told["fingerprint"] == str(base.fingerprint) and told["counted"] == []
    assert told["settings"]["answers"] == 8 and told["versions"]["torch"]
