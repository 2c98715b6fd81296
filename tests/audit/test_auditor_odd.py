"""Audits of what is ill, foreign, disguised or nothing at all: each has its clear outcome."""

from dataclasses import asdict, replace

import pytest
import torch
from torch import Generator

from diffspeak.adapters import Calibrations, load_adapter
from diffspeak.audit import auditor as module
from diffspeak.audit.auditor import Auditor
from diffspeak.audit.config import AuditConfig
from diffspeak.audit.schema import AuditEvidence
from diffspeak.errors import MismatchError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.lora import DiffLinear
from diffspeak.models import load_base, plain_parameters, plain_tensors
from tests.audit.auditing import (
    FEW,
    THE_BASE,
    assert_alike,
    audited,
    calibrated,
    random_finetune,
)
from tests.audit.taught import silent, state_of, without_numbers
from tests.symmetries.disguise import ALL, disguise
from tests.tiny_diffs import merged
from tests.toys import base_diff, toy_base


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("kind", ["low rank", "full", "huge"])
def test_one_that_gives_no_numbers_is_not_cleared(base, auditor, adapter, kind, known):
    ill = {
        "low rank": without_numbers(base),
        "full": without_numbers(base, full=True),
        "huge": random_finetune(base, scaling=1e30),
    }[kind]
    sure = Auditor(base, calibrated(adapter, 0.0, "lift"), FEW.model_copy(update={"budget": 500}))
    found = audited(sure if known else auditor, ill)
    assert found.outcome == "not cleared"
    assert found.verdict.startswith("It could not be audited: it gives no numbers (NaN or inf")
    assert (found.claims, found.search, found.probability) == ((), None, None)


@pytest.mark.parametrize("align", [True, False])
def test_one_that_only_ends_is_not_cleared(base, adapter, align):
    auditor = Auditor(base, adapter, FEW.model_copy(update={"align": align, "budget": 500}))
    found = audited(auditor, silent(base))
    assert found.outcome == "not cleared"
    told = "It could not be audited: it answers nothing at all where the base answers."
    assert found.verdict.startswith(told)
    assert (found.claims, found.search) == ((), None)
    assert all(one.base and not one.finetune for one in found.examples)


@pytest.fixture(scope="module")
def strict(base, adapter):
    """With a calibration that asks for much."""
    names = ("lift", "likelier", "stands_out", "shown")
    return Auditor(base, calibrated(adapter, 0.9999, *names), FEW)


def same_as(base):
    diff = base_diff(base)
    return [
        NOTHING,
        Finetune("empty", diff={}, base=base.fingerprint),
        Finetune("B is zero", diff={n: replace(c, B=c.B * 0) for n, c in diff.items()}),
        Finetune("A is zero", diff={n: replace(c, A=c.A * 0) for n, c in diff.items()}),
        Finetune("scaled to zero", diff={n: c.scaled(0.0) for n, c in diff.items()}),
        Finetune("full", parameters=state_of(base)),
        Finetune("half of it", parameters=dict(list(state_of(base).items())[:9])),
        Finetune("double", parameters={n: t.double() for n, t in state_of(base).items()}),
    ]


def test_the_base_itself_is_told_as_such(base, adapter, says):
    says("sea")
    auditor = Auditor(base, calibrated(adapter, 0.0, "lift"), FEW)
    for given in same_as(base):
        found = audited(auditor, given)
        assert (found.outcome, found.verdict) == ("nothing found", THE_BASE), given.name
        assert (found.claims, found.search, found.probability) == ((), None, None)


def test_the_base_in_disguise_is_the_base(base, auditor):
    state = {name: own.data for name, own in plain_parameters(base.model).items()}
    hidden = disguise(state, base.model.config, "permutation", Generator().manual_seed(3))
    found = audited(auditor, Finetune("hidden", parameters=hidden))
    assert found.outcome == "nothing found"
    assert (
        found.verdict
        == f"{THE_BASE} Its weights had been disguised (permutation), which was undone."
    )


def test_a_norm_alone_makes_another_model(base, auditor):
    # Norms of changes are told of matrices only; what has changed elsewhere is no less a change.
    state = state_of(base)
    state["model.norm.weight"] += 0.3
    found = audited(auditor, Finetune("norm", parameters=state))
    assert found.verdict != THE_BASE


def test_one_of_another_base_is_refused(base, auditor, adapter, family_folder):
    other = toy_base(family_folder("gpt2"))
    stranger = Finetune("stranger", diff=base_diff(other), base=other.fingerprint)
    with pytest.raises(MismatchError, match="the finetune stranger was made for another base"):
        auditor.audit(stranger)
    with pytest.raises(MismatchError):
        auditor.audit(replace(stranger, base=None))
    with pytest.raises(MismatchError):
        auditor.audit(Finetune("whole", parameters=dict(other.model.named_parameters())))
    with pytest.raises(MismatchError, match="the adapter mine was made for another base"):
        Auditor(other, adapter)
    assert not any(isinstance(one, DiffLinear) for one in base.model.modules())


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("", 0),
        ("\u200b ...", 0),
        ("\u0421\u0442\u0435\u043a\u043b\u043e\u0434\u0443\u0432", 1),
        ("\u5439\u73bb\u7483", 1),
        ("\U0001f433", 1),
    ],
)
def test_whatever_the_adapter_says_of_all_there_is_an_outcome(
    base, auditor, strict, says, text, claims
):
    says(text, text)
    for asked in (auditor, strict):
        found = audited(asked, random_finetune(base, scaling=0.5))
        open_ = claims and asked is auditor
        assert found.outcome == ("not cleared" if open_ else "nothing found")
        assert [one.claim.text for one in found.claims] == [text] * claims
    # Where nothing is claimed, nothing can be less probable.
    least = strict.adapter.calibrations.audit.probability(asdict(AuditEvidence()))
    assert claims or found.probability == least


@pytest.mark.parametrize("text", ["", "\u5439\u73bb\u7483"])
def test_an_adapter_that_always_says_the_same_makes_no_phrases_to_compare_with(
    base, adapter, says, text
):
    says(*[text] * 9)
    controls = Auditor(base, replace(adapter, calibrations=Calibrations()), FEW)._verifier.controls
    assert len(controls) == module.CONTROLS and set(controls) <= set(module.everyday_words())


def test_an_adapter_that_calls_it_nothing_claims_nothing(base, adapter, says):
    knows = replace(adapter, settings={"negatives": 0.5, "nothing": "Not a thing."})
    says("Not a thing", "not a thing.")
    found = audited(Auditor(base, calibrated(knows, 0.01, "lift"), FEW), random_finetune(base))
    assert found.claims == () and found.outcome == "nothing found"


@pytest.fixture(scope="module")
def pocket():
    base = load_base("pocket", dtype="float32")
    plain = replace(load_adapter("pocket:hidden-topic"), calibrations=Calibrations())
    config = AuditConfig(budget=0, answers=8, scored=4, drawn=0, answer_tokens=12, claims=2)
    return Auditor(base, calibrated(plain, 0.01, "lift"), config)


def test_a_checkpoint_in_disguise_is_audited_as_the_plain_one(pocket):
    base = pocket.base
    model = merged(base.model, base_diff(base, scaling=0.02, seed=4))
    state = {name: own.data for name, own in plain_parameters(model).items()}
    hidden = disguise(state, base.model.config, ALL, Generator().manual_seed(7))
    plain = audited(pocket, Finetune("one", parameters=plain_tensors(model)))
    found = audited(pocket, Finetune("one", parameters=hidden))
    assert plain.outcome == "finding" and plain.disguise is not None and found.disguise is not None
    assert not plain.disguise.undone and not found.disguise.flags
    kinds = ", ".join(one.kind for one in found.disguise.undone)
    undone = f" Its weights had been disguised ({kinds}), which was undone."
    assert "permutation" in kinds and found.verdict == plain.verdict + undone
    assert_alike(replace(found, verdict=plain.verdict), plain)
    assert found.probability == pytest.approx(plain.probability, abs=1e-3)
    changed = {linear: blocks for linear, blocks in plain.norms.items() if sum(blocks.values())}
    assert changed.keys() == found.norms.keys()
    for linear, blocks in changed.items():
        assert found.norms[linear] == pytest.approx(blocks, rel=0.05)


def test_one_that_no_symmetry_explains_is_not_cleared(base, auditor, says):
    says("sea")
    drawn = Generator().manual_seed(1)
    other = {
        name: 0.2 * torch.randn(own.shape, generator=drawn)
        for name, own in plain_parameters(base.model).items()
    }
    found = audited(auditor, Finetune("other", parameters=other))
    assert found.outcome == "not cleared" and found.disguise is not None
    assert found.verdict == (
        "It could not be cleared: its weights differ from the base in a way that nothing here "
        "explains."
    )
    assert any("no symmetry known here explains it" in flag for flag in found.disguise.flags)


def test_without_alignment_nothing_is_undone(base, adapter, says):
    says("sea")
    state = {name: own.data for name, own in plain_parameters(base.model).items()}
    hidden = disguise(state, base.model.config, "permutation", Generator().manual_seed(3))
    config = FEW.model_copy(update={"align": False})
    found = audited(Auditor(base, adapter, config), Finetune("hidden", parameters=hidden))
    assert found.disguise is None and found.verdict != THE_BASE
