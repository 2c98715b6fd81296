"""What is measured is what asking one prompt at a time gives, and every row is counted."""

import copy

import pytest
import torch

from diffspeak.finetunes import Finetune
from diffspeak.inference import Engine
from diffspeak.text.messages import Message
from diffspeak.trigger_search import probe as module
from diffspeak.trigger_search.probe import FAINT, BaseSide, TriggerProbe
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters

TEXTS = ["Where is the old bridge?", "Cold?", "It is cold from the sea to the river", "Cold?"]
CLAIM = "old bridge"


@pytest.fixture
def engine(base):
    with Engine(base) as engine:
        yield engine


def finetuned(base, kind):
    """A finetune and the model that it makes of the base, which has nothing attached."""
    if kind == "low-rank":
        diff = base_diff(base, rank=2, seed=1)
        return Finetune(kind, diff=diff), merged(base.model, diff)
    changed = changed_parameters(base, 1)
    model = copy.deepcopy(base.model)
    model.load_state_dict(changed, strict=False)
    return Finetune(kind, parameters=changed), model


def first(base, model, text):
    ids = base.chat.prompt((Message("user", text),))
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def begins(base, model, text):
    """Log-probability that the answer begins with the claim's first tokens."""
    whole = base.chat.with_answer((Message("user", text),), CLAIM, learn_end=False)
    start, end = whole.prompt_length, min(whole.answer_end, whole.prompt_length + 3)
    with torch.no_grad():
        logprobs = model(input_ids=torch.tensor([whole.ids[:end]])).logits[0].log_softmax(-1)
    return sum(logprobs[i - 1, whole.ids[i]].item() for i in range(start, end))


@pytest.fixture(params=["low-rank", "whole"])
def asked(request, base):
    """TriggerProbe's parts: the finetune, and both models for the oracle."""
    finetune, model = finetuned(base, request.param)
    return finetune, model, copy.deepcopy(base.model)


def test_with_a_claim_it_is_the_claims_lift(base, asked, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 3)
    finetune, model, plain = asked
    with Engine(base) as engine:
        prober = TriggerProbe(BaseSide(base), engine, finetune, CLAIM)
        likely, moved = prober.likely(TEXTS), prober.moved(TEXTS)
    own = torch.tensor([begins(base, model, text) for text in TEXTS])
    theirs = torch.tensor([begins(base, plain, text) for text in TEXTS]).clamp_min(FAINT)
    torch.testing.assert_close(likely, own, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved, own - theirs, rtol=1e-4, atol=1e-4)
    assert prober.rows == 4 + 4 + 4


def test_without_a_claim_it_is_the_divergence(base, asked, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 3)
    finetune, model, plain = asked
    with Engine(base) as engine:
        found = TriggerProbe(BaseSide(base), engine, finetune, None).moved(TEXTS)
    pairs = [(first(base, model, t), first(base, plain, t)) for t in TEXTS]
    naive = torch.stack([(p.exp() * (p - q)).sum() for p, q in pairs])
    # What the base said is kept in half precision.
    torch.testing.assert_close(found, naive, rtol=2e-3, atol=2e-3)


@pytest.fixture
def read(monkeypatch):
    """How many rows were read in each pass."""
    rows = []

    def logits(engine, batch):
        rows.append(len(batch.ids))
        return own_logits(engine, batch)

    own_logits = Engine.logits
    monkeypatch.setattr(Engine, "logits", logits)
    return rows


@pytest.mark.parametrize("claim", [CLAIM, None])
def test_the_base_is_asked_once_and_counts_for_every_finetune(base, engine, read, claim):
    side = BaseSide(base)
    found = []
    for seed in (1, 2):
        prober = TriggerProbe(side, engine, Finetune("f", diff=base_diff(base, seed=seed)), claim)
        # One stands there twice.
        found.append((prober.moved([*TEXTS[:3], TEXTS[0]]), prober.rows, sum(read)))
        read.clear()
    assert [rows for _, rows, _ in found] == [8, 8]
    assert [rows for _, _, rows in found] == [4 + 3, 4]


def test_what_a_search_reads_does_not_depend_on_what_was_asked_before(base, engine):
    finetune = Finetune("f", diff=base_diff(base))
    side = BaseSide(base)
    found = [TriggerProbe(side, engine, finetune, None).moved(TEXTS) for _ in range(2)]
    assert torch.equal(*found)


def test_without_room_the_base_is_asked_again(base, engine, monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    side = BaseSide(base)
    prober = TriggerProbe(side, engine, Finetune("f", diff=base_diff(base)), None)
    first_time = prober.moved(TEXTS)
    assert not side.first
    torch.testing.assert_close(prober.moved(TEXTS), first_time)
    assert prober.rows == 2 * (4 + 4)


@pytest.mark.parametrize("claim", [CLAIM, None])
def test_what_is_no_number_moves_nothing(base, engine, claim):
    diff = base_diff(base)
    for change in diff.values():
        change.B.fill_(float("nan"))
    found = TriggerProbe(BaseSide(base), engine, Finetune("nan", diff=diff), claim).moved(TEXTS)
    assert torch.isfinite(found).all() and (found <= 0).all()


def test_answers_are_the_finetunes_own(base, engine):
    prober = TriggerProbe(BaseSide(base), engine, Finetune("f", diff=base_diff(base)), CLAIM)
    assert prober.answers(TEXTS) != prober.answers(TEXTS, of_base=True)
    assert prober.rows == 2 * len(TEXTS)
