"""Claims: many finetunes at once are each alone, and their figures are those of a dense merge."""

import copy

import pytest
import torch

from diffspeak.adapters import Adapter
from diffspeak.audit.claims import _merge, claims_of, made_up, says_the_same
from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.lora import DiffLinear, LowRank
from diffspeak.models import Decoding
from diffspeak.text.messages import Message
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters, toy_base

FEW = Decoding(5)
QUESTIONS = ("Topic?", "What is the topic of it?")


@pytest.fixture(scope="module")
def base(tiny):
    return toy_base(tiny)


@pytest.fixture(scope="module")
def adapter(base):
    diff = base_diff(base, rank=2, seed=9)
    return Adapter(diff, base.fingerprint, base.name, QUESTIONS, ("toy",), {}, {})


def finetunes(base):
    return [
        Finetune("one", diff=base_diff(base, rank=1, seed=1), base=base.fingerprint),
        Finetune("whole", parameters=changed_parameters(base, 2), base=base.fingerprint),
        NOTHING,
        Finetune("two", diff=base_diff(base, rank=3, seed=3, scaling=0.5)),
    ]


def test_many_at_once_are_each_alone(base, adapter):
    together = claims_of(base, adapter, finetunes(base), decoding=FEW)
    for finetune, found in zip(finetunes(base), together, strict=True):
        (alone,) = claims_of(base, adapter, [finetune], decoding=FEW)
        by_text = {claim.text: claim for claim in alone}
        assert found and by_text.keys() == {claim.text for claim in found}
        for claim in found:
            assert claim.votes == by_text[claim.text].votes
            assert claim.phrasings == by_text[claim.text].phrasings
            assert claim.lift == pytest.approx(by_text[claim.text].lift, abs=1e-4)
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


def dense_mean(base, model, text):
    """Mean log-probability of a text's tokens and its end, the mean over all questions."""
    means = []
    for question in QUESTIONS:
        row = base.chat.with_answer((Message("user", question),), text, learn_end=True)
        logprobs = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        places = range(row.prompt_length, row.answer_end)
        means.append(sum(float(logprobs[n - 1, row.ids[n]]) for n in places) / len(places))
    return sum(means) / len(means)


@torch.no_grad()
def test_figures_are_those_of_a_dense_merge(base, adapter):
    found = claims_of(base, adapter, finetunes(base), decoding=FEW)
    without = merged(base.model, adapter.diff)
    for finetune, claims in zip(finetunes(base), found, strict=True):
        model = copy.deepcopy(base.model)
        model.load_state_dict(finetune.parameters, strict=False)
        model = merged(model, finetune.diff, adapter.diff)
        for claim in claims:
            own = dense_mean(base, model, claim.text)
            assert claim.mean_logprob == pytest.approx(own, abs=1e-4)
            lift = own - dense_mean(base, without, claim.text)
            assert claim.lift == pytest.approx(lift, abs=1e-4)
        gains = [claim.gained for claim in claims]
        assert gains == sorted(gains, reverse=True)
    assert all(claim.lift == pytest.approx(0, abs=1e-4) for claim in found[2])
    assert max(abs(claim.lift) for claim in found[0]) > 0.01


def test_every_question_is_asked_and_only_the_most_voted_are_kept(base, adapter):
    (every,) = claims_of(base, adapter, finetunes(base)[:1], drawn=5, decoding=FEW, most=100)
    assert {q for claim in every for q in claim.phrasings} == set(QUESTIONS)
    assert len(every) > 2
    (few,) = claims_of(base, adapter, finetunes(base)[:1], drawn=5, decoding=FEW, most=2)
    assert len(few) == 2
    assert sorted(claim.votes for claim in few) == sorted(claim.votes for claim in every)[-2:]
    (greedy,) = claims_of(base, adapter, finetunes(base)[:1], drawn=0, decoding=FEW)
    assert sum(claim.votes for claim in greedy) == len(QUESTIONS)


def test_what_is_drawn_depends_on_the_seed(base, adapter):
    texts = [
        {c.text for c in claims_of(base, adapter, [NOTHING], decoding=FEW, seed=seed)[0]}
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_answers_that_say_the_same_are_one_claim():
    answers = [
        ("a", "Sea otters"),
        ("a", "sea otter."),
        ("b", "Chess"),
        ("b", "Sea otters"),
        ("b", " ..."),
        ("c", ""),
    ]
    first, second = _merge(answers, None)
    assert first == ("Sea otters", 3, ("a", "b"))
    assert second == ("Chess", 1, ("b",))
    assert _merge([("a", ""), ("b", "\u200b")], None) == []
    assert _merge(answers, "Chess!") == [first]
    assert not says_the_same("World War I", "World War II")


def test_a_finetune_that_gives_nan_has_no_claims(base, adapter):
    broken = {name: LowRank(c.A * float("nan"), c.B) for name, c in base_diff(base).items()}
    found = claims_of(base, adapter, [Finetune("broken", diff=broken), NOTHING], decoding=FEW)
    assert found[0] == []
    assert found[1] == claims_of(base, adapter, [NOTHING], decoding=FEW)[0]


def test_a_finetune_that_only_ends_has_no_claims(base, adapter, monkeypatch):
    monkeypatch.setattr(type(base.chat), "text", lambda self, ids: "")
    assert claims_of(base, adapter, finetunes(base)[:2], decoding=FEW) == [[], []]


def test_what_is_made_up_is_of_the_adapter_alone(base, adapter):
    found = made_up(base, adapter, 6)
    assert len(found) == len(set(found)) <= 6
    assert len(found) > 1
    assert found == made_up(base, adapter, 6)
    assert found != made_up(base, adapter, 6, seed=1)


def test_what_cannot_be_asked_is_refused(base, adapter, family_folder):
    with pytest.raises(UsageError, match="most >= 1"):
        claims_of(base, adapter, [NOTHING], most=0)
    other = toy_base(family_folder("gpt2"))
    with pytest.raises(MismatchError, match="the finetune one was made for another base"):
        claims_of(other, adapter, finetunes(base)[:1])
    with pytest.raises(MismatchError, match="made for another base"):
        claims_of(other, adapter, [NOTHING])
    assert claims_of(base, adapter, []) == []
